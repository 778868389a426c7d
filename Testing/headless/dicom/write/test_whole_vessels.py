"""Segments of vessels that the tumour overlaps: whole in the segmentation, which says that segments overlap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from other_readers import DCMQI_VERSIONS, segments_by_dcmqi, segments_by_highdicom, values_on_grid
from small_series import oblique_direction, phantom

from twintrack.dicom import DicomSeries, read_series, segments_from_labels, write_ct_series, write_segmentation
from twintrack.dicom.write.derived import Algorithm
from twintrack.results.dicom_objects import write_objects
from twintrack.volume import Volume

pytestmark = pytest.mark.process

ALGORITHM = Algorithm("demo bundle", "1.2", "0123456789abcdef" * 4)

RESULT = {
    "bundle": {"name": "test bundle", "version": "1.0", "sha256": "ab" * 32, "raters": 5},
    "calibrator": {"target": "mhr", "bins": 250},
    "device": "cpu",
    "threshold": 0.6,
    "volume_ml": {"expected": 2.0, "at_threshold": 1.0, "p10": 0.5, "p90": 3.0},
    "lesions": [{"volume_ml": 1.0, "longest_diameter_mm": 14.0, "max_probability": 1.0}],
    "labels": {"tumor": 1, "SMV": 2, "SMA": 3},
    "vessel_values": {"SMV": 2, "SMA": 5},
}


@pytest.fixture(params=[None, oblique_direction()], ids=["axial", "oblique"])
def series(tmp_path: Path, request) -> DicomSeries:
    write_ct_series(phantom(request.param), tmp_path / "ct", description="source")
    return read_series(tmp_path / "ct")


def volumes(like: Volume) -> tuple[Volume, Volume, Volume]:
    """Return a map, the label map in which the tumour wins, and two vessels, one of which runs through the tumour."""
    k, j, i = np.indices(like.array.shape)
    probability = np.clip(1.2 - np.sqrt((i - 8) ** 2 + (j - 10) ** 2 + (2 * (k - 3)) ** 2) / 7, 0, 1).astype(np.float32)
    whole = np.zeros(like.array.shape, np.uint8)
    whole[:, 9:12, 10:13] = 5
    whole[1:6, 17:20, 20:22] = 2
    labels = np.choose(whole, [0, 0, 2, 0, 0, 3]).astype(np.uint8)
    labels[probability >= np.float32(0.6)] = 1
    return tuple(like.with_array(array) for array in (probability, labels, whole))


def numbers(path: Path) -> dict[str, int]:
    return {item.get("TrackingID"): int(item.SegmentNumber) for item in pydicom.dcmread(path).SegmentSequence}


@pytest.mark.parametrize("version", DCMQI_VERSIONS)
def test_vessels_are_whole_for_every_reader(series: DicomSeries, tmp_path: Path, dicom_errors, version) -> None:
    probability, labels, whole = volumes(series.volume)
    covered = (labels.array == 1) & (whole.array == 5)
    assert covered.sum() > 20
    write_objects(tmp_path / "out", series, labels, probability, RESULT, vessels=whole)
    path = tmp_path / "out" / "segmentation.dcm"
    assert dicom_errors(path) == []
    assert pydicom.dcmread(path).SegmentsOverlap == "YES"
    places = numbers(path)
    for found in (segments_by_highdicom(path), segments_by_dcmqi(path, tmp_path / "dcmqi", version)):
        for name, value in RESULT["vessel_values"].items():
            assert np.array_equal(values_on_grid(found[places[name]], series) > 0, whole.array == value)
        assert np.array_equal(values_on_grid(found[places["tumor"]], series) > 0, labels.array == 1)


@pytest.mark.slow
def test_a_label_map_and_a_result_of_an_earlier_version_have_what_the_tumor_leaves(
    series: DicomSeries, tmp_path: Path
) -> None:
    probability, labels, whole = volumes(series.volume)
    write_objects(tmp_path / "new", series, labels, probability, RESULT, vessels=whole, labelmap=True)
    earlier = {name: value for name, value in RESULT.items() if name != "vessel_values"}
    write_objects(tmp_path / "old", series, labels, probability, earlier)
    for path in (tmp_path / "new" / "labelmap.dcm", tmp_path / "old" / "segmentation.dcm"):
        found = segments_by_highdicom(path)[numbers(path)["SMA"]]
        assert np.array_equal(values_on_grid(found, series) > 0, labels.array == 3)
    assert pydicom.dcmread(tmp_path / "new" / "labelmap.dcm").get("SegmentsOverlap", "NO") == "NO"


def test_overlap_is_stated_as_it_is_with_and_without_levels_of_the_map(series: DicomSeries, tmp_path: Path) -> None:
    _, labels, whole = volumes(series.volume)
    cut = segments_from_labels(labels, RESULT["labels"])
    stated = {}
    for name, masks in (("NO", cut), ("YES", cut | segments_from_labels(whole, RESULT["vessel_values"]))):
        path = write_segmentation(masks, series, tmp_path / f"{name}.dcm", algorithm=ALGORITHM, threshold=0.6)
        stated[name] = pydicom.dcmread(path).SegmentsOverlap
    assert stated == {"NO": "NO", "YES": "YES"}
