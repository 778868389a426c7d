"""The module's panel outside Slicer: real MRML, stand-ins for Qt widgets and the application."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

HERE = Path(__file__).resolve().parent
MODULE = HERE.parent.parent / "TwinTrackSeg"
for folder in (HERE / "standin", HERE.parent / "mrml", MODULE):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture(scope="session")
def application():
    """The stand-in of the Slicer application."""
    pytest.importorskip("slicer", reason="slicer-core is not installed")
    pytest.importorskip("PySide6", reason="PySide6 is not installed")
    from mrml_environment import preparedScene
    from slicer_application import start

    preparedScene()
    return start()


@pytest.fixture(scope="session")
def module(application):
    """The loaded module."""
    from slicer_application import loadModule

    return loadModule(MODULE / "TwinTrackSeg.py")


@pytest.fixture
def scene(application):
    """An empty scene."""
    from mrml_environment import preparedScene

    scene = preparedScene()
    yield scene
    scene.Clear(False)


@pytest.fixture
def panel(module, scene):
    """The module's opened panel, its Python object."""
    widget = module.makeWidget()
    widget.enter()
    yield widget.pythonWidget
    if widget.isEntered:
        widget.exit()
    widget.pythonWidget.cleanup()
    widget.deleteLater()


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where pictures go: a temporary folder, or the one named by TWINTRACK_PICTURES to look at them."""
    kept = os.environ.get("TWINTRACK_PICTURES")
    folder = Path(kept) if kept else tmp_path
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def noSwallowedExceptions():
    """Exceptions in Qt slots and VTK observers are only printed, in Slicer too: here they fail the test."""
    seen, original = [], sys.excepthook

    def record(kind, error, trace):
        seen.append(error)
        original(kind, error, trace)

    sys.excepthook = record
    yield
    sys.excepthook = original
    assert not seen, f"exceptions in slots or observers: {seen}"
