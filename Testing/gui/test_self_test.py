"""The module's own self test, as Slicer runs it: every step works here, and one that does not is named."""

from __future__ import annotations

import importlib.util
import unittest

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from absent_packages import AbsentPackages

pytestmark = pytest.mark.render

STEPS = 18


@pytest.fixture
def red(scene):
    """The layers of a slice view, as its widget makes them."""
    node = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    node.SetLayoutName("Red")
    yield node
    scene.RemoveNode(node)


@pytest.fixture
def layout(scene, red):
    """The layout node, as Slicer's main window makes it."""
    import slicer

    logic = slicer.vtkMRMLLayoutLogic()
    logic.SetMRMLScene(scene)
    yield logic.GetLayoutNode()
    node = logic.GetLayoutNode()
    logic.SetMRMLScene(None)
    for left in (node, *slicer.util.getNodesByClass("vtkMRMLAbstractViewNode")):
        scene.RemoveNode(left)


@pytest.fixture
def widget(module, scene):
    """The panel that the application shows, once it has started."""
    import slicer

    slicer.app.startupCompleted.emit()
    representation = module.widgetRepresentation()
    yield representation.self()
    representation.self().exit()
    representation.self().cleanup()
    module._widget = None
    representation.deleteLater()


@pytest.fixture
def absent(monkeypatch, widget):
    """None of the model's packages is installed."""
    from TwinTrackSegLib.gui.Dependencies import readRequirements

    names = [requirement.name for requirement in readRequirements(widget.resourcePath("requirements.txt"))]
    absent = AbsentPackages(monkeypatch, names)
    yield absent
    absent.close()


def told(capsys) -> dict[str, str]:
    """Return what was said of each step."""
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("TwinTrackSeg self test")]
    assert len(lines) == STEPS
    steps = dict(line.split(", ", 1)[1].split(": ", 1) for line in lines)
    assert len(steps) == STEPS
    return steps


@pytest.mark.skipif(importlib.util.find_spec("nnunetv2") is None, reason="nnunetv2 is not installed")
def test_every_step_works_where_everything_is_installed(module, widget, layout, capsys):
    case = module.pythonModule.TwinTrackSegTest
    outcome = unittest.TestResult()
    unittest.TestSuite(case(name) for name in dir(case) if name.startswith("test_")).run(outcome)
    assert [text for _test, text in outcome.errors + outcome.failures] == []
    assert outcome.testsRun == 2
    steps = told(capsys)
    assert {step: text for step, text in steps.items() if not text.startswith("ok (")} == {}
    assert steps["segment with the demo bundle"].startswith("ok (done)")


def test_without_the_packages_the_rest_of_the_way_is_walked(module, widget, layout, absent, capsys):
    module.pythonModule.TwinTrackSegTest().runTest()
    steps = told(capsys)
    left = [step for step, text in steps.items() if not text.startswith("ok (")]
    assert left == ["segment with the demo bundle", "correction by hand", "report", "DICOM objects"]
    assert all(steps[step].startswith("NOT RUN (not installed: ") for step in left)
    assert "torch" in steps["segment with the demo bundle"]
    assert not [name for name in vars(widget.export) if name.startswith("ask")]  # the user's dialogs are back


def test_a_step_that_fails_is_named_and_the_others_go_on(module, widget, absent, capsys, monkeypatch):
    import slicer
    from TwinTrackSegLib.gui.WholeWay import SelfTestFailed

    widget.ui.thresholdSlider.disconnect("valueChanged(double)", widget.reading._onThreshold)
    monkeypatch.setattr(slicer.modules, "dicomPlugins", {})
    monkeypatch.setattr(slicer.modules, "sampleDataSources", {})
    with pytest.raises(SelfTestFailed, match="steps failed: threshold slider, DICOM export dialog, sample data"):
        module.pythonModule.TwinTrackSegTest().runTest()
    steps = told(capsys)
    assert steps["threshold slider"].startswith("FAILED (SelfTestFailed: the volume does not follow the slider")
    assert steps["layout"].startswith("NOT RUN (there is no main window)")
    assert steps["save the scene"].startswith("ok (")
