"""The module's panel outside Slicer: real MRML, stand-ins for Qt widgets and the application."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

HERE = Path(__file__).resolve().parent
MODULE = HERE.parent.parent / "TwinTrackSeg"
for folder in (HERE, HERE / "standin", HERE.parent / "mrml", MODULE):
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
    import qt
    from mrml_environment import preparedScene

    scene = preparedScene()
    yield scene
    # No event loop runs that would delete what waits for it: the selectors of all earlier panels would see each change.
    qt.QApplication.sendPostedEvents(None, qt.QEvent.DeferredDelete)
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
def shown(monkeypatch):
    """The sentences that the panel shows as errors."""
    import slicer

    sentences = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, *_a, **_k: sentences.append(text))
    return sentences


@pytest.fixture
def ct(scene):
    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt

    return makeExampleCt()


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    """A demo bundle's document, all that the panel itself reads of a bundle; a short path, for the pictures."""
    monkeypatch.chdir(tmp_path)
    folder = Path("models") / "phäntom-demo"
    folder.mkdir(parents=True)
    document = {
        "schema": 1,
        "name": "phantom-demo",
        "version": "1.2",
        "license": "Apache-2.0",
        "description": "Knows phantoms only",
        "intended_use": "demonstration",
        "demo": True,
        "tumor_labels": ["tumor"],
        "vessel_labels": {},
        "organ_labels": ["pancreas"],
        "roi_margin_mm": 20.0,
        "mirroring": False,
        "pooling": "mean-softmax",
        "coarse": {"folds": ["0"]},
        "fine": {"folds": ["0", "1", "2"]},
        "configuration": {"coarse": "3d_fullres", "fine": "3d_fullres"},
        "raters": 5,
        "files": {"coarse/plans.json": "0" * 64, "calibrator.json": "0" * 64},
    }
    (folder / "bundle.json").write_text(json.dumps(document), encoding="utf-8")
    return folder


@pytest.fixture
def worker(panel, tmp_path):
    """Return a function that makes the panel run the given statements instead of the model."""

    def use(body: str) -> None:
        from panel_steps import HEAD

        script = tmp_path / "panel_worker.py"
        script.write_text(HEAD + body, encoding="utf-8")
        panel.logic.workerCommand = [sys.executable, str(script)]
        panel.logic.graceSec = 0.3

    return use


@pytest.fixture(scope="session")
def readyResult(application, tmp_path_factory):
    """A result folder of the example CT, written once."""
    from mrml_environment import preparedScene

    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt, writeExampleResult

    scene = preparedScene()
    folder = writeExampleResult(tmp_path_factory.mktemp("example") / "result", makeExampleCt())
    scene.Clear(False)
    return folder


@pytest.fixture
def done(panel, ct, bundle, readyResult):
    """The example result, shown in the panel as after a run."""
    from panel_steps import chosen

    chosen(panel, ct, bundle)
    panel._takeResult(panel.logic.loadResult(readyResult, ct))
    return panel.results.result


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
