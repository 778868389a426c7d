"""Real MRML for the tests in this folder: Slicer's own wheel, no application."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
MODULE = HERE.parent.parent / "TwinTrackSeg"
for folder in (HERE, MODULE):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture
def scene():
    """An empty scene, ``slicer.mrmlScene``."""
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    from mrml_environment import preparedScene

    scene = preparedScene()
    yield scene
    scene.Clear(False)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures go: a temporary folder, or the one named by TWINTRACK_PICTURES to look at them."""
    kept = os.environ.get("TWINTRACK_PICTURES")
    folder = Path(kept) if kept else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def scriptedWorker(tmp_path: Path):
    """Return a function that makes a worker command out of Python statements, to test process handling alone.

    The worker ends with its statements, after one request, unless they read more of them.
    """

    def make(body: str) -> list[str]:
        script = tmp_path / "scripted_worker.py"
        head = (
            "import json, os, signal, shutil, subprocess, sys, time\n"
            "request = json.loads(sys.stdin.readline())\n"
            "def say(**event):\n    print(json.dumps(event), flush=True)\n"
        )
        script.write_text(head + body, encoding="utf-8")
        return [sys.executable, str(script)]

    return make
