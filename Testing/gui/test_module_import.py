"""Opening the module in Slicer is fast: nothing heavy is imported for it, measured in a fresh interpreter."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")

HERE = Path(__file__).resolve().parent
MODULE = HERE.parent.parent / "TwinTrackSeg" / "TwinTrackSeg.py"
HEAVY = ("torch", "nnunetv2", "highdicom", "pydicom", "matplotlib", "sklearn", "skimage", "SimpleITK", "scipy")
MOST_SEC = 0.3

SCRIPT = """
import json, sys, time
sys.path[:0] = {paths}
from mrml_environment import preparedScene
from slicer_application import loadModule, start
preparedScene(); start()
import pathlib, packaging.requirements
import slicer.i18n, slicer.parameterNodeWrapper, slicer.ScriptedLoadableModule, slicer.util
before = set(sys.modules)
started = time.perf_counter()
loadModule(pathlib.Path({module}))
print(json.dumps([time.perf_counter() - started, sorted(set(sys.modules) - before)]))
"""


def test_importing_the_module_takes_no_time_and_no_heavy_package():
    paths = [str(HERE / "standin"), str(HERE.parent / "mrml")]
    seconds = []
    for _attempt in range(3):  # the best of three: the machine may be busy
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(paths=paths, module=repr(str(MODULE)))],
            capture_output=True,
            text=True,
            check=True,
        )
        taken, imported = json.loads(done.stdout.splitlines()[-1])
        tops = {name.split(".")[0] for name in imported}
        assert "twintrack" in tops
        assert not tops & set(HEAVY)
        seconds.append(taken)
        if taken < MOST_SEC:
            break
    assert min(seconds) < MOST_SEC, seconds
