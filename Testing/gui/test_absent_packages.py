"""A result on a computer without the model's packages: each action asks for what it needs, or needs nothing."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from absent_packages import AbsentPackages
from dicom_series import dicomCt
from panel_steps import addSegments, chosen, savingTo

pytestmark = pytest.mark.render


@pytest.fixture
def done(panel, scene, bundle, tmp_path, monkeypatch):
    """The example result on a CT from DICOM, with two readers in the scene, as a saved scene brings it."""
    from TwinTrackSegLib.mrml.SelfTest import writeExampleResult

    ct, _database = dicomCt(scene, tmp_path, monkeypatch)
    chosen(panel, ct, bundle)
    panel._takeResult(panel.logic.loadResult(writeExampleResult(tmp_path / "r", ct), ct))
    addSegments(ct, ["Reader 1", "Reader 2"])
    return panel.results.result


@pytest.fixture
def absent(panel, done, monkeypatch, shown):
    """None of the model's packages is installed; a question is answered with `answer`, and pip would install."""
    import slicer.packaging

    import slicer
    from TwinTrackSegLib.gui.Dependencies import readRequirements

    names = [requirement.name for requirement in readRequirements(panel.resourcePath("requirements.txt"))]
    absent = AbsentPackages(monkeypatch, names)
    absent.questions, absent.installed, absent.answer, absent.shown = [], [], True, shown

    def confirm(text, *_a, **_k):
        absent.questions.append(text.split("\n")[0])
        return absent.answer

    def install(texts, **_how):
        wanted = [text.split(">=")[0] for text in texts]
        absent.installed += wanted
        absent.install(*wanted)

    monkeypatch.setattr(type(slicer.app), "testingEnabled", lambda _self: False)
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", confirm)
    monkeypatch.setattr(slicer.packaging, "pip_install", install)
    yield absent
    absent.close()


def drawOutline(result) -> None:
    from segment_drawing import drawSegment

    from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

    mask = np.zeros(volumeFromNode(result.nodes.ct).array.shape, dtype=bool)
    mask[8:16, 18:30, 20:32] = True
    drawSegment(result.nodes.segmentation, "tumor", mask, result.nodes.ct)


def report(panel, monkeypatch, folder, ending):
    path = folder / f"report{ending}"
    savingTo(panel, monkeypatch, path)
    panel.ui.reportButton.click()
    return path.is_file()


def volumes(panel, monkeypatch, folder, edited):
    if edited:
        drawOutline(panel.results.result)
    savingTo(panel, monkeypatch, folder / "CT MHR.nrrd")
    panel.ui.saveButton.click()
    return (folder / "CT MHR.nrrd").is_file()


def dicom(panel, monkeypatch, folder, _how):
    savingTo(panel, monkeypatch, folder / "out.dcm")
    panel.ui.exportButton.click()
    return (folder / "out.dcm").is_file()


def dicomDialog(panel, _monkeypatch, folder, _how):
    """Slicer's own dialog for export, which asks the module's plug-in."""
    from types import SimpleNamespace

    import slicer
    from TwinTrackSegLib.gui.DicomPlugin import TwinTrackSegDicomPlugin

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(panel.results.result.nodes.mhr)
    exportable = SimpleNamespace(subjectHierarchyItemID=item, directory=str(folder))
    sentence = TwinTrackSegDicomPlugin().export([exportable])
    if sentence:
        slicer.util.errorDisplay(sentence)
    return not sentence


def recompute(panel, _monkeypatch, _folder, onServer):
    if onServer:
        panel.ui.runOnComboBox.setCurrentIndex(1)
    if panel.results.result.record.edited is None:
        drawOutline(panel.results.result)
    panel.ui.recomputeButton.click()
    panel.ui.runOnComboBox.setCurrentIndex(0)
    return panel.results.result.record.edited is not None


def evaluate(panel, _monkeypatch, _folder, _how):
    import qt

    panel.raters.presenter.update()
    for row in range(panel.ui.readersList.count):
        item = panel.ui.readersList.item(row)
        item.setCheckState(qt.Qt.Checked if "Reader" in item.text() else qt.Qt.Unchecked)
    panel.ui.evaluateButton.click()
    return panel.ui.metricsTable.rowCount > 10


ACTIONS = [
    (report, ".html", "The export", ["matplotlib", "jinja2"]),
    (report, ".pdf", "The export", ["matplotlib"]),
    (volumes, False, "", []),
    (volumes, True, "The export", ["scikit-image"]),
    (dicom, None, "The export", ["scikit-image", "highdicom"]),
    (dicomDialog, None, "The DICOM export", ["scikit-image", "highdicom"]),
    (recompute, False, "Measuring the outline", ["scikit-image"]),
    (recompute, True, "Measuring the outline", ["scikit-image"]),
    (evaluate, None, "", []),
]
"""Action, how, what the question says needs something, and what: in the order of the list of requirements."""


@pytest.mark.parametrize(("action", "how", "purpose", "needs"), ACTIONS)
def test_every_action_asks_for_what_it_needs_and_then_works(
    panel, absent, tmp_path, monkeypatch, action, how, purpose, needs
):
    folder = tmp_path / "out"
    folder.mkdir()
    if needs:
        question = f"{purpose} needs Python packages that are not installed: {', '.join(needs)}."
        absent.answer = False
        assert not action(panel, monkeypatch, folder, how)
        assert absent.questions == [question]
        assert len(absent.shown) == 1
        assert "declined" in absent.shown[0]
        assert list(folder.iterdir()) == []
    absent.answer = True
    absent.shown.clear()
    assert action(panel, monkeypatch, folder, how)
    assert absent.shown == []
    assert sorted(absent.installed) == sorted(needs)


def test_coming_back_with_an_edit_asks_nothing_and_says_what_measures_it(panel, done, absent):
    drawOutline(done)
    threshold = done.outline.threshold
    panel.parent.exit()
    panel.parent.enter()
    assert absent.questions == absent.shown == []
    assert "scikit-image. Measure asks" in panel.ui.statusLabel.text
    panel.ui.thresholdSlider.value = 0.2  # would overwrite what was drawn
    assert panel.ui.thresholdSlider.value == threshold
    assert done.outline.changed()
    panel.ui.recomputeButton.click()
    assert panel.ui.editedLabel.isVisibleTo(panel.parent)
    assert absent.installed == ["scikit-image"]


def test_cases_and_calibrator_ask_for_what_they_need(panel, done, absent, tmp_path, monkeypatch):
    from TwinTrackSegLib.mrml.site.SiteCalibrator import SiteCases

    asked = []
    panel.raters.presenter.cases = SiteCases(tmp_path / "cases.npz")
    monkeypatch.setattr(panel.raters.presenter.cases, "addStep", lambda *_a: lambda: asked.append("add"))
    monkeypatch.setattr(panel.raters.presenter.cases, "fitStep", lambda *_a: lambda: asked.append("fit") or ())
    savingTo(panel, monkeypatch, str(tmp_path / "own.json"))
    absent.answer = False
    panel.raters.presenter.addCase()
    panel.raters.presenter.fit()
    assert asked == []
    assert [question.split(" needs")[0] for question in absent.questions] == ["Adding a case", "Fitting a calibrator"]
    absent.answer = True
    panel.raters.presenter.addCase()
    panel.raters.presenter.fit()
    assert asked == ["add", "fit"]
    assert absent.installed == ["scikit-image", "scikit-learn"]
    panel.ui.calibratorPathEdit.currentPath = ""
