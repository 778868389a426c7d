"""Presenters know no toolkit, and their texts are marked as Slicer's translation tools read them."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("slicer")

PRESENT = Path(__file__).resolve().parents[2] / "TwinTrackSeg" / "TwinTrackSegLib" / "present"
SOURCES = sorted(PRESENT.glob("*.py"))


@pytest.mark.process
def test_all_presenters_are_imported_without_qt_and_without_an_application():
    names = [f"TwinTrackSegLib.present.{path.stem}" for path in SOURCES if path.stem != "__init__"]
    script = (
        "import importlib, sys\n"
        f"for name in {names!r}: importlib.import_module(name)\n"
        "bad = [n for n in sys.modules if n.split('.')[0] in ('qt', 'ctk', 'PySide6', 'PyQt5')]\n"
        "assert not bad, bad\n"
        "from TwinTrackSegLib.present.Translation import tr\n"
        "assert tr('Segment') == 'Segment'\n"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=PRESENT.parents[1], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def calls(tree):
    return [n for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name) and n.func.id == "_"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_no_sentence_is_put_together_before_it_is_translated(path):
    """An f-string or a concatenation is another text each time: no language can know it."""
    for call in calls(ast.parse(path.read_text(encoding="utf-8"))):
        assert not isinstance(call.args[0], ast.JoinedStr | ast.BinOp), f"{path.name}:{call.lineno}"
        assert len(call.args) == 1, f"{path.name}:{call.lineno}"


WORDLESS = ("__init__", "Translation", "Host", "OfflineHelp", "CtAndResult", "Running", "SetUp", "Checking")
"""They put together what others say."""


@pytest.mark.parametrize("path", [p for p in SOURCES if p.stem not in WORDLESS], ids=lambda p: p.stem)
def test_each_presenter_calls_the_translation_itself(path):
    """Slicer looks a text up by the file that calls: a helper in another file would hide which one."""
    text = path.read_text(encoding="utf-8")
    assert "from TwinTrackSegLib.present.Translation import tr as _\n" in text
    assert calls(ast.parse(text))
