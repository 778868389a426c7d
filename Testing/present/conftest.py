"""Presenters on real MRML, without Qt and without an application: what they ask of it is written down."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "mrml", HERE.parent.parent / "TwinTrackSeg"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture
def host():
    """What presenters ask of an application is written down."""
    from written_host import WrittenHost

    return WrittenHost()


@pytest.fixture
def scene():
    """An empty scene, ``slicer.mrmlScene``."""
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    from mrml_environment import preparedScene

    scene = preparedScene()
    yield scene
    scene.Clear(False)


@pytest.fixture
def ct(scene):
    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt

    return makeExampleCt()


@pytest.fixture
def load(ct, tmp_path):
    """Return a function that brings the example result into the scene, its files changed before as asked."""
    import json

    from TwinTrackSegLib.mrml.SelfTest import writeExampleResult
    from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic

    def bring(change=None, write=writeExampleResult):
        folder = write(tmp_path / f"result-{len(list(tmp_path.iterdir()))}", ct)
        files = {
            name: json.loads((folder / name).read_text(encoding="utf-8")) for name in ("result.json", "invasion.json")
        }
        if change is not None:
            change(files["result.json"], files["invasion.json"])
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content), encoding="utf-8")
        return TwinTrackSegLogic().loadResult(folder, ct)

    return bring
