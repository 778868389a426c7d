"""Paths are chosen by the dialog of the right kind, can be taken away again, and dialogs to save begin where one is."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import chosen

pytestmark = pytest.mark.render

DIALOGS = ("getExistingDirectory", "getOpenFileName", "getSaveFileName")


@pytest.fixture
def dialogs(monkeypatch):
    """Answer every dialog for paths with `answer`; return what was asked: (kind, where it began)."""
    import qt

    class Dialogs:
        answer = ""
        asked: list[tuple[str, str]]

    stand = Dialogs()
    stand.asked = []
    for kind in DIALOGS:

        def ask(_parent, _title, start="", *_filters, kind=kind):
            stand.asked.append((kind, start))
            return stand.answer

        monkeypatch.setattr(qt.QFileDialog, kind, staticmethod(ask))
    return stand


def browse(edit) -> None:
    """Press the button beside the line."""
    import qt

    (button,) = edit.findChildren(qt.QToolButton)
    button.click()


def reopened(module, name: str) -> str:
    """Return the path that a new panel begins with."""
    another = module.makeWidget()
    try:
        return getattr(another.pythonWidget.ui, name).currentPath
    finally:
        another.pythonWidget.cleanup()
        another.deleteLater()


def test_bundle_and_certificates_are_chosen_as_folders(panel, ct, bundle, tmp_path, dialogs):
    dialogs.answer = str(bundle)
    browse(panel.ui.bundlePathEdit)
    assert "phantom-demo 1.2" in panel.ui.bundleLabel.text
    dialogs.answer = str(tmp_path)
    browse(panel.ui.certificatesPathEdit)
    assert panel.ui.certificatesPathEdit.currentPath == str(tmp_path)
    assert [kind for kind, _start in dialogs.asked] == ["getExistingDirectory"] * 2
    panel.ui.certificatesPathEdit.currentPath = ""


def test_calibrator_and_python_are_chosen_as_files(panel, dialogs):
    browse(panel.ui.calibratorPathEdit)
    browse(panel.ui.pythonPathEdit)
    assert [kind for kind, _start in dialogs.asked] == ["getOpenFileName"] * 2


def test_a_zipped_bundle_has_a_button_of_its_own(panel, ct, bundle, tmp_path, dialogs):
    archive = shutil.make_archive(str(tmp_path / "bundle"), "zip", bundle.parent, bundle.name)
    panel.ui.bundlePathEdit.currentPath = str(bundle)
    dialogs.answer = archive
    panel.ui.zipBundleButton.click()
    assert dialogs.asked == [("getOpenFileName", str(bundle.parent))]
    assert panel.ui.bundlePathEdit.currentPath == archive
    assert "phantom-demo 1.2" in panel.ui.bundleLabel.text
    dialogs.answer = ""
    panel.ui.zipBundleButton.click()
    assert panel.ui.bundlePathEdit.currentPath == archive


@pytest.mark.parametrize("name", ["calibratorPathEdit", "certificatesPathEdit", "pythonPathEdit"])
def test_a_path_that_was_taken_away_does_not_come_back(panel, module, name, tmp_path):
    path = tmp_path / "calibrator.json"
    path.write_text("{}")
    kept = {"calibratorPathEdit": str(path), "certificatesPathEdit": str(tmp_path), "pythonPathEdit": sys.executable}
    before = list(panel.logic.workerCommand)
    edit = getattr(panel.ui, name)
    edit.currentPath = kept[name]
    assert reopened(module, name) == kept[name]
    edit.currentPath = ""
    assert reopened(module, name) == ""
    assert panel.logic.workerCommand == before


def test_without_a_bundle_nothing_is_started(panel, ct, bundle, shown):
    chosen(panel, ct, bundle)
    assert "phantom-demo" in panel.ui.bundleLabel.text
    panel.ui.bundlePathEdit.currentPath = ""
    assert panel.ui.bundleLabel.text == "Choose a model bundle."
    assert "phantom-demo" not in panel.ui.bundleLabel.text
    panel.ui.segmentButton.click()
    assert not panel.logic.running
    assert shown == ["Choose a model bundle."]


def test_saving_begins_beside_the_ct_and_then_where_one_saved_last(panel, done, tmp_path, dialogs, shown):
    import slicer
    from TwinTrackSegLib.gui.Parameters import forget

    forget("saveFolder")
    (tmp_path / "cts").mkdir()
    (tmp_path / "reports").mkdir()
    storage = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(tmp_path / "cts" / "ct.nrrd"))
    done.nodes.ct.SetAndObserveStorageNodeID(storage.GetID())
    panel.ui.reportButton.click()
    dialogs.answer = str(tmp_path / "reports" / "own name.html")
    panel.ui.reportButton.click()
    assert (tmp_path / "reports" / "own name.html").is_file()
    dialogs.answer = ""
    for button in (panel.ui.exportButton, panel.ui.saveButton):
        button.click()
    panel.raters.presenter.fit()
    beside, after = tmp_path / "cts", tmp_path / "reports"
    assert dialogs.asked == [
        ("getSaveFileName", str(beside / "Example CT report.html")),
        ("getSaveFileName", str(beside / "Example CT report.html")),
        ("getSaveFileName", str(after / "Example CT segmentation.dcm")),
        ("getSaveFileName", str(after / "Example CT MHR.nii.gz")),
        ("getSaveFileName", str(after / "calibrator.json")),
    ]
    assert shown == []


def test_saving_begins_at_home_where_nothing_better_is_known(panel, done, dialogs):
    from TwinTrackSegLib.gui.Parameters import forget, remember

    remember("saveFolder", "/no/such/folder")
    done.nodes.ct.SetName("a/b: c?")
    done.record.result["input"].pop("case")
    panel.ui.saveButton.click()
    panel.ui.reportButton.click()
    assert [start for _kind, start in dialogs.asked] == [
        str(Path.home() / "Example CT MHR.nii.gz"),
        str(Path.home() / "a_b_ c_ report.html"),
    ]
    forget("saveFolder")


def test_the_volumes_are_written_under_the_name_that_was_asked_of(panel, done, tmp_path, dialogs, shown):
    from TwinTrackSegLib.gui.Parameters import remember

    remember("saveFolder", str(tmp_path))
    panel.ui.saveButton.click()
    dialogs.answer = dialogs.asked[0][1]
    panel.ui.saveButton.click()
    assert Path(dialogs.answer).is_file()
    assert shown == []
