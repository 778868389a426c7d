"""An edit that nobody measured is noticed before anything leaves the scene, and never lost."""

from __future__ import annotations

import html

import numpy as np
import pytest

pytest.importorskip("slicer")
from segment_drawing import drawSegment

import slicer
from expected_errors import raises_error
from twintrack.dicom import ISO_LEVELS, read_series, write_ct_series
from twintrack.errors import InputError
from TwinTrackSegLib.mrml.export.DicomExport import exportDicomSeg
from TwinTrackSegLib.mrml.export.ResultFiles import EDITED_NOTE, currentRecord, saveReport, saveVolumes
from TwinTrackSegLib.mrml.result.Correction import drawnBy, measureOutline, noticeEdit, restoreOutline
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult, resultsOf
from TwinTrackSegLib.mrml.SelfTest import makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.site.Raters import ratersInScene
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume, segmentMask, volumeFromNode


@pytest.fixture
def loaded(scene, tmp_path):
    node = makeExampleCt()
    return TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "result", node), node)


def tumor(result) -> np.ndarray:
    return segmentMask(result.nodes.segmentation, "tumor", result.nodes.ct)


def edit(result, slices: slice = slice(0, 12)) -> np.ndarray:
    """Cut slices off the tumour as with Segment Editor's scissors; return what is left."""
    mask = tumor(result)
    mask[slices] = False
    assert mask.any()
    drawSegment(result.nodes.segmentation, "tumor", mask, result.nodes.ct)
    return mask


def reloaded(scene, tmp_path) -> SceneResult:
    path = str(tmp_path / "scene.mrb")
    assert scene.WriteToMRB(path, None)
    scene.Clear(False)
    assert scene.ReadFromMRB(path, True)
    (again,) = resultsOf(slicer.util.getNode("Example CT"))
    return again


@pytest.mark.slow
def test_what_the_module_draws_itself_is_no_edit(loaded, scene, tmp_path):
    assert not noticeEdit(loaded)
    for threshold in (0.3, 0.47, 0.9, 1.0):
        loaded.outline.setThreshold(threshold)
        assert not loaded.outline.changed()
    loaded.outline.setThreshold(0.3, settled=False)  # voxels are still those of 1.0
    assert not loaded.outline.changed()
    assert not SceneResult(loaded.nodes.mhr).outline.changed()
    again = reloaded(scene, tmp_path)
    assert not noticeEdit(again)
    again.outline.setThreshold(0.4)
    assert not noticeEdit(again)


def test_one_voxel_more_or_less_or_moved_is_an_edit(loaded):
    before = tumor(loaded)
    inside, outside = np.argwhere(before)[0], np.argwhere(~before)[0]
    for changes in ([inside], [outside], [inside, outside]):
        mask = before.copy()
        for place in changes:
            mask[tuple(place)] ^= True
        drawSegment(loaded.nodes.segmentation, "tumor", mask, loaded.nodes.ct)
        assert loaded.outline.changed()
        assert loaded.outline.changed(quick=True)
    drawSegment(loaded.nodes.segmentation, "tumor", before, loaded.nodes.ct)
    assert not noticeEdit(loaded)


def test_the_threshold_does_not_overwrite_an_edit_that_was_not_measured(loaded):
    mask = edit(loaded)
    for settled in (True, False):
        with raises_error(InputError, "outline-edited"):
            loaded.outline.setThreshold(0.3, settled)
    loaded.outline.settle()
    np.testing.assert_array_equal(tumor(loaded), mask)
    assert loaded.outline.threshold == 0.5


def test_an_edit_made_before_the_voxels_followed_a_drag_stays(loaded):
    loaded.outline.setThreshold(0.3, settled=False)
    mask = edit(loaded)
    loaded.outline.settle()
    np.testing.assert_array_equal(tumor(loaded), mask)
    assert noticeEdit(loaded)


@pytest.mark.slow
def test_an_edit_is_noticed_after_the_scene_was_saved_and_opened(loaded, scene, tmp_path):
    mask = edit(loaded)
    again = reloaded(scene, tmp_path)
    with raises_error(InputError, "outline-edited"):
        again.outline.setThreshold(0.3)
    assert noticeEdit(again)
    np.testing.assert_array_equal(tumor(again), mask)


@pytest.mark.render
@pytest.mark.parametrize("save", [saveReport, saveVolumes])
def test_report_and_volumes_are_marked_without_pressing_recompute(loaded, tmp_path, save):
    edit(loaded)
    if save is saveReport:
        page = saveReport(loaded, tmp_path / "r.html").read_text(encoding="utf-8")
        assert EDITED_NOTE in html.unescape(page)
    else:
        assert "1 tumor (edited by hand)" in saveVolumes(loaded, tmp_path)[2].read_text(encoding="utf-8")
    assert loaded.record.edited
    assert loaded.nodes.segmentation.GetSegmentation().GetSegment("tumor").GetName() == "Tumour (edited)"


def test_a_second_edit_after_the_first_was_measured_is_measured_too(loaded):
    edit(loaded)
    measureOutline(loaded)
    first = loaded.outline.volumeMl
    edit(loaded, slice(11, 13))
    assert noticeEdit(loaded)
    assert loaded.outline.volumeMl < first
    assert not loaded.outline.changed()


def test_the_lesions_are_those_of_the_edited_outline_with_the_maps_values(loaded):
    mask = edit(loaded, slice(11, 13))  # cuts the sphere in two, without its centre
    mask[2:5, 4:9, 4:9] = True  # and where the map is 0
    drawSegment(loaded.nodes.segmentation, "tumor", mask, loaded.nodes.ct)
    assert noticeEdit(loaded)
    lesions = currentRecord(loaded)[0]["lesions"]
    assert sum(lesion["volume_ml"] for lesion in lesions) == pytest.approx(loaded.outline.volumeMl)
    highest = volumeFromNode(loaded.nodes.mhr).array[mask].max()
    assert [round(lesion["max_probability"], 4) for lesion in lesions] == [round(float(highest), 4)] * 2 + [0.0]
    assert loaded.nodes.lesionTable.GetTable().GetNumberOfRows() == 3
    restoreOutline(loaded)
    assert loaded.nodes.lesionTable.GetTable().GetNumberOfRows() == 1


@pytest.mark.process
def test_in_dicom_only_the_edited_segment_is_not_the_algorithms_alone(scene, tmp_path):
    import pydicom

    write_ct_series(volumeFromNode(makeExampleCt()), tmp_path / "ct", description="Example")
    scene.Clear(False)
    node = nodeFromVolume(read_series(tmp_path / "ct").volume, "CT from DICOM")
    result = TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "r", node), node)
    before = kinds(pydicom.dcmread(exportDicomSeg(result, tmp_path / "a.dcm", tmp_path / "ct")))
    assert set(before.values()) == {"AUTOMATIC"}
    edit(result)
    path = exportDicomSeg(result, tmp_path / "b.dcm", tmp_path / "ct")
    after = kinds(pydicom.dcmread(path))
    assert after == before | {"tumor": "SEMIAUTOMATIC"}
    assert {f"tumor-{level}" for level in ISO_LEVELS} | {"SMA"} < set(after)
    labels = [str(item.SegmentLabel) for item in pydicom.dcmread(path).SegmentSequence]
    assert labels[0] == "Tumour, edited by hand"
    assert not any("edited" in label for label in labels[1:])
    report = str(pydicom.dcmread(tmp_path / "b-report.dcm"))
    assert "Edited by hand after the model had run" in report
    assert "Edited by hand" not in str(pydicom.dcmread(tmp_path / "a-report.dcm"))


def kinds(dataset) -> dict[str, str]:
    return {item.TrackingID: item.SegmentAlgorithmType for item in dataset.SegmentSequence}


def test_an_outline_with_nothing_of_the_models_is_manual(loaded):
    mask = np.zeros_like(tumor(loaded))
    mask[2:5, 4:9, 4:9] = True
    assert not (mask & tumor(loaded)).any()
    drawSegment(loaded.nodes.segmentation, "tumor", mask, loaded.nodes.ct)
    assert noticeEdit(loaded)
    assert drawnBy(loaded) == "MANUAL"
    restoreOutline(loaded)
    assert drawnBy(loaded) == "AUTOMATIC"


@pytest.mark.slow
def test_going_back_keeps_every_edited_outline_in_a_hidden_segmentation_of_the_result(loaded, scene, tmp_path):
    outlines = []
    for slices in (slice(0, 12), slice(13, 24)):
        outlines.append(edit(loaded, slices))
        restoreOutline(loaded)
        assert not loaded.outline.changed()
    loaded.outline.setThreshold(0.3)
    again = reloaded(scene, tmp_path)
    former = again.nodes.editedOutlines
    assert not former.GetDisplayVisibility()
    segmentation = former.GetSegmentation()
    for number, outline in enumerate(outlines, start=1):
        segment = segmentation.GetSegment(f"edited-{number}")
        assert segment.GetName() == f"Tumour (edited {number})"
        np.testing.assert_array_equal(segmentMask(former, f"edited-{number}", again.nodes.ct), outline)
    assert former in again.nodes.all
    assert [reader.segment for reader in ratersInScene()] == ["edited-1", "edited-2"]
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folders = {hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) for node in (former, again.nodes.mhr)}
    assert len(folders) == 1


def test_a_removed_or_emptied_tumor_segment_comes_back(loaded):
    before = tumor(loaded)
    drawSegment(loaded.nodes.segmentation, "tumor", np.zeros_like(before), loaded.nodes.ct)
    with raises_error(InputError, "tumour-empty"):
        noticeEdit(loaded)
    loaded.nodes.segmentation.GetSegmentation().RemoveSegment("tumor")
    with raises_error(InputError, "ct-removed"):
        noticeEdit(loaded)
    restoreOutline(loaded)
    np.testing.assert_array_equal(tumor(loaded), before)
    assert loaded.nodes.editedOutlines is None
    loaded.outline.setThreshold(0.3)
