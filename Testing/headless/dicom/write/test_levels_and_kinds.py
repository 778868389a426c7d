"""Nested levels, label maps and fractions: what each object holds, and what other readers find in it."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pydicom
import pytest
from other_readers import DCMQI_VERSIONS, from_highdicom, segments_by_dcmqi, segments_by_highdicom, values_on_grid
from small_series import oblique_direction, phantom, sign_directions

from expected_errors import raises_error
from twintrack.dicom import (
    ISO_LEVELS,
    Algorithm,
    DicomSeries,
    MapMeaning,
    SegmentationKind,
    read_series,
    segments_from_labels,
    tumor_label,
    write_ct_series,
    write_fractional,
    write_segmentation,
)
from twintrack.errors import InputError
from twintrack.volume import Volume

pytestmark = pytest.mark.process

ALGORITHM = Algorithm("demo bundle", "1.2", "0123456789abcdef" * 4)
DIRECTIONS = [*sign_directions(), oblique_direction()]
NAMES = [*(f"flip{n}" for n in range(8)), "oblique"]


def probability_like(like: Volume) -> Volume:
    """Return values that fall off from a point that no flip keeps, exactly on a level in some voxels."""
    k, j, i = np.indices(like.array.shape)
    distance = np.sqrt((i - 8) ** 2 + (1.3 * (j - 12)) ** 2 + (2.5 * (k - 2)) ** 2 + 0.3 * i)
    array = np.clip(np.rint(20 * (1.1 - distance / 9)) / 20, 0, 1).astype(np.float32)
    return like.with_array(array)


def labels_like(like: Volume) -> Volume:
    array = (probability_like(like).array >= np.float32(0.5)).astype(np.uint8)
    array[1:6, 17, 20:22] = 2
    return like.with_array(array)


def series_of(folder: Path, direction: np.ndarray | None = None) -> DicomSeries:
    write_ct_series(phantom(direction), folder, description="source")
    return read_series(folder)


def export(series: DicomSeries, path: Path, **options) -> Path:
    masks = segments_from_labels(labels_like(series.volume), {"tumor": 1, "SMA": 2})
    return write_segmentation(masks, series, path, algorithm=ALGORITHM, threshold=0.5, **options)


@pytest.mark.parametrize("version", DCMQI_VERSIONS)
@pytest.mark.parametrize("direction", DIRECTIONS, ids=NAMES)
def test_every_level_is_found_where_the_map_reaches_it(tmp_path: Path, direction: np.ndarray, version: str) -> None:
    series = series_of(tmp_path / "ct", direction)
    probability = probability_like(series.volume)
    path = export(series, tmp_path / "seg.dcm", probability=probability, raters=5)
    found = segments_by_dcmqi(path, tmp_path / "dcmqi", version)
    assert sorted(found) == [1, 2, 3, 4, 5, 6]
    for number, level in enumerate(ISO_LEVELS, start=3):
        assert np.array_equal(values_on_grid(found[number], series), probability.array >= np.float32(level))
    assert np.array_equal(values_on_grid(found[1], series), probability.array >= np.float32(0.5))


def test_levels_are_named_by_readers_nested_and_valid(tmp_path: Path, dicom_errors) -> None:
    series = series_of(tmp_path / "ct")
    path = export(series, tmp_path / "seg.dcm", probability=probability_like(series.volume), raters=5)
    assert dicom_errors(path) == []
    dataset = pydicom.dcmread(path)
    assert [item.SegmentLabel for item in dataset.SegmentSequence][2:] == [
        f"Tumour, at least {count} of 5 readers" for count in (1, 2, 3, 4)
    ]
    assert [item.TrackingID for item in dataset.SegmentSequence][2:] == [f"tumor-{level}" for level in ISO_LEVELS]
    modifiers = [
        item.SegmentedPropertyTypeCodeSequence[0].SegmentedPropertyTypeModifierCodeSequence[0].CodeMeaning
        for item in dataset.SegmentSequence[2:]
    ]
    assert modifiers == [f"At least {count} of 5 readers" for count in (1, 2, 3, 4)]
    found = segments_by_highdicom(path)
    masks = [values_on_grid(found[number], series).astype(bool) for number in range(3, 7)]
    for outer, inner in itertools.pairwise(masks):
        assert (outer | ~inner).all()
        assert outer.sum() > inner.sum() > 0
    assert len({item.TrackingUID for item in dataset.SegmentSequence}) == 6


@pytest.mark.parametrize(
    ("raters", "text"),
    [(5, "at least 3 of 5 readers"), (10, "at least 6 of 10 readers"), (4, "60 %"), (None, "60 %")],
)
def test_a_level_is_told_in_readers_where_it_is_a_whole_number_of_them(raters, text: str) -> None:
    assert text in tumor_label(0.6, MapMeaning.MHR, raters)
    assert "readers" not in tumor_label(0.6, MapMeaning.SCORE, raters)


@pytest.mark.parametrize("direction", DIRECTIONS, ids=NAMES)
def test_a_label_map_holds_tumor_and_vessels(tmp_path: Path, direction: np.ndarray, dicom_errors) -> None:
    series = series_of(tmp_path / "ct", direction)
    path = export(series, tmp_path / "map.dcm", kind=SegmentationKind.LABELMAP)
    labels = labels_like(series.volume).array
    dataset = pydicom.dcmread(path)
    assert dataset.SegmentationType == "LABELMAP"
    assert dataset.SOPClassUID == "1.2.840.10008.5.1.4.1.1.66.7"
    # The label map of Supplement 243 is newer than the validator, which does not know the object.
    found = segments_by_dcmqi(path, tmp_path / "dcmqi")
    for value in (1, 2):
        assert np.array_equal(values_on_grid(found[value], series), labels == value)
        assert np.array_equal(values_on_grid(segments_by_highdicom(path)[value], series) > 0, labels == value)


def test_a_label_map_refuses_overlap(tmp_path: Path) -> None:
    series = series_of(tmp_path / "ct")
    mask = series.volume.with_array(np.ones(series.volume.array.shape, dtype=bool))
    with raises_error(InputError, "segments-overlap"):
        write_segmentation(
            {"tumor": mask, "SMA": mask},
            series,
            tmp_path / "map.dcm",
            algorithm=ALGORITHM,
            threshold=0.5,
            kind=SegmentationKind.LABELMAP,
        )


@pytest.mark.parametrize("direction", [np.eye(3), -np.eye(3), oblique_direction()], ids=["axial", "flipped", "oblique"])
def test_fractions_are_the_map_to_within_a_step(tmp_path: Path, direction: np.ndarray, dicom_errors) -> None:
    import highdicom as hd

    series = series_of(tmp_path / "ct", direction)
    probability = probability_like(series.volume)
    path = write_fractional(probability, series, tmp_path / "fractional.dcm", algorithm=ALGORITHM)
    assert dicom_errors(path) == []
    dataset = pydicom.dcmread(path)
    assert (dataset.SegmentationType, dataset.SegmentationFractionalType) == ("FRACTIONAL", "PROBABILITY")
    assert "not for Slicer" in dataset.SeriesDescription
    assert "Weasis" in dataset.SegmentSequence[0].SegmentDescription
    assert "fraction of readers" in dataset.SegmentSequence[0].SegmentLabel.lower()
    found = from_highdicom(hd.seg.segread(str(path)).get_volume(segment_numbers=[1]).squeeze_channel())
    assert np.abs(values_on_grid(found, series) - probability.array).max() <= 0.5 / 255 + 1e-6


def test_the_same_input_gives_the_same_pixels_and_identifiers(tmp_path: Path) -> None:
    series = series_of(tmp_path / "ct")
    probability = probability_like(series.volume)
    for number in (1, 2):
        export(series, tmp_path / f"s{number}.dcm", probability=probability)
        write_fractional(probability, series, tmp_path / f"f{number}.dcm", algorithm=ALGORITHM)
    for kind in "sf":
        one, two = (pydicom.dcmread(tmp_path / f"{kind}{number}.dcm") for number in (1, 2))
        assert one.PixelData == two.PixelData
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID"):
            assert one[keyword].value == two[keyword].value
            assert one[keyword].value.startswith("2.25.")
