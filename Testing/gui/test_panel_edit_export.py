"""Corrections by hand, and what leaves the scene."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from dicom_series import dicomCt
from panel_steps import cells, chosen, savingTo

pytestmark = pytest.mark.render


def test_an_edited_outline_is_measured_marked_and_given_up(panel, done):
    from segment_drawing import drawSegment

    from TwinTrackSegLib.mrml.VolumeConversion import segmentMask

    vessel = segmentMask(done.nodes.segmentation, "SMA", done.nodes.ct)
    _z, y, x = np.indices(vessel.shape)
    middle = np.argwhere(vessel).mean(axis=0)
    ring = (np.hypot(y - middle[1], x - middle[2]) < 10) & ~vessel
    drawSegment(done.nodes.segmentation, "tumor", ring, done.nodes.ct)
    panel.ui.recomputeButton.click()
    assert cells(panel)[0][3].startswith("◐ 120°")  # what readers are expected to say stays the model's
    assert cells(panel)[0][4].startswith("● ")
    assert "outline edited by hand" in panel.ui.volumeLabel.text
    assert "Contact pattern of this outline: " in panel.ui.volumeLabel.text
    assert "(read from the map, not calibrated)" in panel.ui.volumeLabel.text
    assert panel.ui.editedLabel.text.startswith("EDITED BY HAND")
    assert not panel.ui.thresholdSlider.enabled
    panel.ui.restoreButton.click()
    assert cells(panel)[0][4] == "◐ 120°"
    assert panel.ui.thresholdSlider.enabled
    assert not panel.ui.editedLabel.isVisibleTo(panel.parent)


def test_volumes_and_report_are_saved_where_the_user_says(panel, done, tmp_path, monkeypatch, shown):
    savingTo(panel, monkeypatch, tmp_path / "Example CT MHR.nrrd")
    panel.ui.saveButton.click()
    savingTo(panel, monkeypatch, tmp_path / "report.pdf")
    panel.ui.reportButton.click()
    assert shown == []
    assert (tmp_path / "Example CT MHR.nrrd").is_file()
    assert (tmp_path / "report.pdf").is_file()
    assert panel.ui.statusLabel.text == "Exported report.pdf."


def test_export_of_a_volume_that_is_no_dicom_is_refused_with_the_remedy(panel, done, tmp_path, shown, monkeypatch):
    target = tmp_path / "out.dcm"
    savingTo(panel, monkeypatch, target)
    panel.ui.exportButton.click()
    assert len(shown) == 1
    assert "was not loaded from DICOM" in shown[0]
    assert not target.exists()


def test_an_export_that_the_user_cancels_does_nothing(panel, done, tmp_path, shown, monkeypatch):
    savingTo(panel, monkeypatch, "")
    panel.ui.exportButton.click()
    assert shown == []


def test_edit_opens_segment_editor_on_the_tumor_at_the_threshold_of_the_slider(panel, done, monkeypatch):
    import segment_editor

    from TwinTrackSegLib.mrml.VolumeConversion import segmentMask

    editor = segment_editor.install(monkeypatch)
    before = segmentMask(done.nodes.segmentation, "tumor", done.nodes.ct).sum()
    panel.ui.thresholdSlider.value = 0.2
    panel.ui.editButton.click()
    assert editor.opened == "SegmentEditor"
    assert (editor.segmentation, editor.volume, editor.segment) == (done.nodes.segmentation, done.nodes.ct, "tumor")
    assert editor.node.GetOverwriteMode() == editor.node.OverwriteNone  # vessels under what is drawn stay whole
    assert segmentMask(done.nodes.segmentation, "tumor", done.nodes.ct).sum() > before  # the drag is over
    panel.ui.recomputeButton.click()
    assert done.record.edited is None  # nothing was drawn


def test_dicom_objects_go_to_a_file_and_to_the_database(panel, bundle, scene, tmp_path, monkeypatch, shown):
    import pydicom

    from TwinTrackSegLib.mrml.SelfTest import writeExampleResult

    ct, database = dicomCt(scene, tmp_path, monkeypatch)
    chosen(panel, ct, bundle)
    panel._takeResult(panel.logic.loadResult(writeExampleResult(tmp_path / "r", ct), ct))
    savingTo(panel, monkeypatch, tmp_path / "out.dcm")
    panel.ui.exportButton.click()
    assert panel.ui.statusLabel.text == "Exported out.dcm."
    assert pydicom.dcmread(tmp_path / "out.dcm").Modality == "SEG"
    panel.ui.databaseButton.click()
    assert shown == []
    kinds = sorted(pydicom.dcmread(path).Modality for path in database.folder.iterdir())
    assert "SEG" in kinds
    assert panel.ui.statusLabel.text == f"Exported {len(kinds)} objects to the DICOM database."


@pytest.mark.parametrize("fault", ["closed", "raises", "absent"])
def test_objects_that_did_not_get_into_the_database_are_not_reported_as_exported(
    panel, bundle, scene, tmp_path, monkeypatch, shown, fault
):
    import slicer
    from TwinTrackSegLib.mrml.SelfTest import writeExampleResult

    ct, database = dicomCt(scene, tmp_path, monkeypatch)
    chosen(panel, ct, bundle)
    panel._takeResult(panel.logic.loadResult(writeExampleResult(tmp_path / "r", ct), ct))

    def full(_folder, _copy):
        raise OSError("no space left on device")

    monkeypatch.setattr(panel.host, "seriesOf", lambda _ct: tmp_path / "ct")
    if fault == "closed":
        database.isOpen = False
    elif fault == "raises":
        monkeypatch.setattr(database, "insertFolder", full)
    else:
        monkeypatch.setattr(slicer, "dicomDatabase", None)
    panel.ui.databaseButton.click()
    assert len(shown) == 1
    assert "3 of 3 objects did not get into the DICOM database" in shown[0]
    assert panel.ui.statusLabel.text.startswith("Not exported")


def test_an_export_that_fails_says_so_where_it_was_asked_for(panel, done, tmp_path, monkeypatch, shown):
    (tmp_path / "file").write_text("no folder")
    savingTo(panel, monkeypatch, tmp_path / "file" / "Example CT MHR.nrrd")
    panel.ui.saveButton.click()
    assert len(shown) == 1
    assert panel.ui.statusLabel.text == f"Not exported: {shown[0]}"
