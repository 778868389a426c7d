"""Objects made from enhanced CTs and resampled stacks refer to the right frames and are found at the right places."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from enhanced_ct import ENHANCED_CT, enhance
from other_readers import map_by_dcmqi, segments_by_dcmqi, segments_by_highdicom, values_on_grid
from small_series import oblique_direction, phantom

from twintrack.dicom import (
    Algorithm,
    DicomSeries,
    read_series,
    write_ct_series,
    write_parametric_map,
    write_segmentation,
    write_structured_report,
)

pytestmark = pytest.mark.process

ALGORITHM = Algorithm("demo bundle", "1.2", "0123456789abcdef" * 4)
RESULT = {"threshold": 0.5, "volume_ml": {"at_threshold": 1.0}, "lesions": []}


def make_objects(series: DicomSeries, folder: Path) -> tuple[np.ndarray, list[Path]]:
    """Write a segmentation, a map and a report of a ramp; return the map (z, y, x) and the files."""
    array = np.zeros(series.volume.array.shape, dtype=np.float32)
    array[1:4, 3:9, 4:12] = np.linspace(0.3, 1, 8, dtype=np.float32)
    array[2, 4, 5] = 0.875
    probability = series.volume.with_array(array)
    tumor = probability.with_array(array >= np.float32(0.5))
    seg = write_segmentation({"tumor": tumor}, series, folder / "seg.dcm", algorithm=ALGORITHM, threshold=0.5)
    return array, [
        seg,
        write_parametric_map(probability, series, folder / "map.dcm", algorithm=ALGORITHM),
        write_structured_report(RESULT, None, series, seg, folder / "sr.dcm", algorithm=ALGORITHM),
    ]


@pytest.mark.parametrize("order", [None, [2, 0, 5, 1, 4, 3]], ids=["up", "mixed"])
@pytest.mark.parametrize("direction", [np.eye(3), oblique_direction()], ids=["axial", "oblique"])
def test_objects_of_an_enhanced_ct_name_its_frames(tmp_path: Path, dicom_errors, order, direction) -> None:
    write_ct_series(phantom(direction), tmp_path / "ct", description="source")
    path = enhance(tmp_path / "ct", tmp_path / "enhanced" / "one.dcm", order)
    source = pydicom.dcmread(path)
    series = read_series(path)
    array, files = make_objects(series, tmp_path)
    for written in files:
        assert dicom_errors(written) == []
    for written in files[:2]:
        dataset = pydicom.dcmread(written)
        for group in dataset.PerFrameFunctionalGroupsSequence:
            named = group.DerivationImageSequence[0].SourceImageSequence[0]
            assert named.ReferencedSOPClassUID == ENHANCED_CT
            assert named.ReferencedSOPInstanceUID == source.SOPInstanceUID
            frame = source.PerFrameFunctionalGroupsSequence[int(named.ReferencedFrameNumber) - 1]
            expected = frame.PlanePositionSequence[0].ImagePositionPatient
            assert np.allclose(group.PlanePositionSequence[0].ImagePositionPatient, expected, atol=1e-5)
        listed = dataset.ReferencedSeriesSequence[0].ReferencedInstanceSequence
        assert [item.ReferencedSOPInstanceUID for item in listed] == [source.SOPInstanceUID]
    found = segments_by_dcmqi(files[0], tmp_path / "dcmqi")[1]
    assert np.array_equal(values_on_grid(found, series), array >= np.float32(0.5))
    values = map_by_dcmqi(files[1], tmp_path / "dcmqi-map")
    assert np.allclose(values_on_grid(values, series), array, atol=1e-6)
    assert source.SOPInstanceUID in str(pydicom.dcmread(files[2]).CurrentRequestedProcedureEvidenceSequence)


def test_objects_of_a_stack_with_a_missing_slice_lie_on_the_slices_that_are_there(
    series_folder: Path, tmp_path: Path, dicom_errors
) -> None:
    (series_folder / "CT_0003.dcm").unlink()
    series = read_series(series_folder)
    array, files = make_objects(series, tmp_path)
    for written in files:
        assert dicom_errors(written) == []
    on_slices = array[[0, 1, 3, 4, 5]]
    for path, expected in zip(files[:2], (on_slices >= np.float32(0.5), on_slices), strict=True):
        dataset = pydicom.dcmread(path)
        frames = dataset.pixel_array
        for frame, group in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
            named = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
            assert np.allclose(frame, expected[series.sop_instance_uids.index(named)])
    found = segments_by_highdicom_frames(files[0], series)
    assert np.array_equal(found, on_slices >= np.float32(0.5))


def segments_by_highdicom_frames(path: Path, series: DicomSeries) -> np.ndarray:
    """Return the first segment (slice, y, x) by the slices it was drawn on, as viewers overlay it."""
    import highdicom as hd

    segmentation = hd.seg.segread(str(path))
    pixels = segmentation.get_pixels_by_source_instance(
        list(series.sop_instance_uids), segment_numbers=[1], assert_missing_frames_are_empty=True
    )
    return pixels[..., 0] > 0


@pytest.mark.parametrize("tilt_mm", [0.9, -0.45], ids=["whole-rows", "half-rows"])
def test_objects_of_a_tilted_stack_lie_on_its_slices(
    series_folder: Path, tmp_path: Path, edit, dicom_errors, tilt_mm: float
) -> None:
    for number, path in enumerate(sorted(series_folder.iterdir())):

        def shear(dataset, number=number) -> None:
            dataset.ImagePositionPatient[1] = float(dataset.ImagePositionPatient[1]) + number * tilt_mm

        edit(path, shear)
    series = read_series(series_folder)
    array, files = make_objects(series, tmp_path)
    for written in files:
        assert dicom_errors(written) == []
    expected = series.on_slices(array >= np.float32(0.5))
    assert expected.sum() > 50
    assert np.array_equal(segments_by_highdicom_frames(files[0], series), expected)
    dataset = pydicom.dcmread(files[1])
    for group, frame in zip(dataset.PerFrameFunctionalGroupsSequence, dataset.pixel_array, strict=True):
        named = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        index = series.sop_instance_uids.index(named)
        assert np.allclose(group.PlanePositionSequence[0].ImagePositionPatient, series.positions_mm[index], atol=1e-6)
        assert np.allclose(frame, series.on_slices(array)[index])


def test_every_reader_sees_a_plain_series_the_same(series_folder: Path, tmp_path: Path) -> None:
    series = read_series(series_folder)
    array, files = make_objects(series, tmp_path)
    by_place = values_on_grid(segments_by_highdicom(files[0])[1], series) > 0
    assert np.array_equal(by_place, segments_by_highdicom_frames(files[0], series))
    assert np.array_equal(by_place, array >= np.float32(0.5))
