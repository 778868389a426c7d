"""The segments in the scene become a DICOM-SEG on the source series, voxel by voxel."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("slicer")
import slicer
from expected_errors import raises_error
from twintrack.dicom import ISO_LEVELS, read_series, write_ct_series
from twintrack.errors import InputError, OutputError
from twintrack.io.volumes import read_volume
from TwinTrackSegLib.mrml.SelfTest import makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume, segmentMask, volumeFromNode


@pytest.fixture
def series(scene, tmp_path):
    """Folder of a DICOM series of the example CT."""
    folder = tmp_path / "ct series"
    write_ct_series(volumeFromNode(makeExampleCt()), folder, description="Example")
    scene.Clear(False)
    return folder


@pytest.fixture
def logic(series, tmp_path):
    """A logic with a result for the CT that was loaded from `series`."""
    read = read_series(series)
    node = nodeFromVolume(read.volume, "CT from DICOM")
    node.SetAttribute("DICOM.instanceUIDs", " ".join(read.sop_instance_uids))
    logic = TwinTrackSegLogic(["unused"])
    logic.loadResult(writeExampleResult(tmp_path / "r", node), node)
    return logic


@pytest.fixture
def database(series, monkeypatch):
    """Slicer's DICOM database, as far as it is asked: which file holds an instance."""
    read = read_series(series)
    files = dict(zip(read.sop_instance_uids, map(str, read.files), strict=True))
    monkeypatch.setattr(
        slicer, "dicomDatabase", SimpleNamespace(fileForInstance=lambda uid: files.get(uid, "")), raising=False
    )
    return files


def exportedMasks(path, series) -> dict[str, np.ndarray]:
    """Read a DICOM-SEG back as masks (z, y, x) on the grid of the series, by tracking ID."""
    import highdicom as hd

    read = read_series(series)
    segmentation = hd.seg.segread(path)
    masks = {}
    for number in segmentation.segment_numbers:
        frames = segmentation.get_pixels_by_source_instance(
            list(read.sop_instance_uids), segment_numbers=[number], assert_missing_frames_are_empty=True
        )
        description = segmentation.get_segment_description(number)
        masks[description.tracking_id] = frames[..., 0] > 0
    return masks


@pytest.mark.process
def test_exported_masks_are_the_segments_in_the_scene(logic, series, database, tmp_path):
    result = logic.result
    result.outline.setThreshold(0.2)
    path = logic.exportDicomSeg(tmp_path / "out.dcm")
    masks = exportedMasks(path, series)
    mhr = volumeFromNode(result.nodes.mhr).array
    for level in ISO_LEVELS:
        np.testing.assert_array_equal(masks.pop(f"tumor-{level}"), mhr >= np.float32(level))
    assert set(masks) == {"tumor", "SMA"}
    for name, mask in masks.items():
        np.testing.assert_array_equal(mask, segmentMask(result.nodes.segmentation, name, result.nodes.ct), name)
    assert masks["tumor"].sum() > 1000
    np.testing.assert_array_equal(masks["SMA"], read_volume(tmp_path / "r" / "vessels.nii.gz").array > 0)
    assert (masks["SMA"] & masks["tumor"]).sum() > 100


@pytest.mark.slow
def test_the_series_can_be_named_where_there_is_no_database(logic, series, tmp_path):
    path = logic.exportDicomSeg(tmp_path / "out.dcm", series=series)
    assert exportedMasks(path, series)["tumor"].any()


@pytest.mark.slow
def test_map_and_report_are_written_beside_the_segmentation(logic, series, tmp_path):
    import highdicom as hd
    import pydicom

    logic.result.outline.setThreshold(0.3)
    path = logic.exportDicomSeg(tmp_path / "out.dcm", series=series)
    mhr = volumeFromNode(logic.result.nodes.mhr).array
    frames = pydicom.dcmread(tmp_path / "out-map.dcm").pixel_array
    assert frames.sum() == pytest.approx(mhr.sum(), rel=1e-5)
    report = hd.sr.srread(tmp_path / "out-report.dcm")
    assert pydicom.dcmread(path).SOPInstanceUID in str(report.CurrentRequestedProcedureEvidenceSequence)
    tumor = report.content.get_volumetric_roi_measurement_groups()[0]
    volume = tumor.get_measurements()[0].value
    assert volume == pytest.approx(logic.result.outline.volumeMl, abs=1e-4)


@pytest.mark.process
def test_the_export_names_bundle_and_threshold(logic, series, tmp_path):
    import pydicom

    logic.result.outline.setThreshold(0.4)
    dataset = pydicom.dcmread(logic.exportDicomSeg(tmp_path / "out.dcm", series=series))
    first = dataset.SegmentSequence[0]
    assert first.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "example"
    assert "at least 2 of 5 readers" in first.SegmentLabel


@pytest.mark.slow
def test_a_volume_that_was_not_loaded_from_dicom_is_refused(scene, tmp_path):
    node = makeExampleCt()
    logic = TwinTrackSegLogic(["unused"])
    logic.loadResult(writeExampleResult(tmp_path / "r", node), node)
    with raises_error(InputError, "no-dicom-source", "CT", "DICOM"):
        logic.exportDicomSeg(tmp_path / "out.dcm")
    assert not (tmp_path / "out.dcm").exists()


@pytest.mark.process
def test_files_that_left_the_database_are_reported(logic, database, tmp_path):
    database.clear()
    with raises_error(InputError, "not-in-database"):
        logic.exportDicomSeg(tmp_path / "out.dcm")


@pytest.mark.process
def test_the_series_of_another_ct_is_refused(logic, scene, tmp_path):
    other = makeExampleCt(np.diag([-1.0, -1.0, 3.0, 1.0]), "Other")
    write_ct_series(volumeFromNode(other), tmp_path / "other", description="Other")
    with raises_error(InputError, "grid-differs"):
        logic.exportDicomSeg(tmp_path / "out.dcm", series=tmp_path / "other")


@pytest.mark.process
def test_nothing_to_export_is_an_error_that_writes_nothing(logic, series, tmp_path):
    result = logic.result
    result.outline.setThreshold(1.0)
    result.nodes.segmentation.GetSegmentation().RemoveSegment("SMA")
    with raises_error(OutputError, "segments-empty"):
        logic.exportDicomSeg(tmp_path / "out.dcm", series=series)
    assert not (tmp_path / "out.dcm").exists()


def test_export_without_a_result_is_an_error(scene, tmp_path):
    with raises_error(InputError, "no-result"):
        TwinTrackSegLogic(["unused"]).exportDicomSeg(tmp_path / "out.dcm")
