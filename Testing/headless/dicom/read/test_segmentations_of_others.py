"""DICOM-SEG objects as other writers make them: each mask is where it was drawn, whatever else the header says.

The right answers are the masks that were handed to the writer (highdicom), on the slices they were drawn on.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from small_series import phantom

from expected_errors import raises_error
from twintrack.dicom import DicomSeries, read_series, write_ct_series
from twintrack.dicom.read.segmentation import read_segmentation
from twintrack.errors import InputError
from twintrack.io.masks import read_mask

pytestmark = pytest.mark.process

Masks = dict[str, NDArray[np.bool_]]


@pytest.fixture
def series(tmp_path: Path) -> DicomSeries:
    write_ct_series(phantom(), tmp_path / "ct", description="source")
    return read_series(tmp_path / "ct")


def masks_of(series: DicomSeries) -> Masks:
    """Two that overlap, one of them with a slice between its parts that holds nothing, and one that holds nothing."""
    one, other, none = (np.zeros(series.volume.geometry.shape, bool) for _ in range(3))
    one[1:3, 2:9, 3:15] = one[4, 3:7, 5:9] = True
    other[2:5, 5:14, 8:20] = True
    return {"Reader A": one, "Reader B": other, "Reader C": none}


def written(series: DicomSeries, masks: Masks, kind: str = "BINARY", **options: object) -> Dataset:
    """Write masks with highdicom; a label map or fractions of masks that do not overlap."""
    stacked = np.stack(list(masks.values()), axis=-1)
    pixels = stacked.astype(np.float32 if kind == "FRACTIONAL" else np.uint8)
    if kind == "LABELMAP":
        pixels = (stacked * np.arange(1, len(masks) + 1)).sum(axis=-1).astype(np.uint8)
    described = [
        hd.seg.SegmentDescription(
            number,
            name,
            codes.SCT.MorphologicallyAbnormalStructure,
            codes.SCT.Tumor,
            hd.seg.SegmentAlgorithmTypeValues.MANUAL,
        )
        for number, name in enumerate(masks, 1)
    ]
    return hd.seg.Segmentation(
        source_images=[pydicom.dcmread(path) for path in series.files],
        pixel_array=pixels,
        segmentation_type=kind,
        segment_descriptions=described,
        series_instance_uid=hd.UID(),
        series_number=9,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer="maker",
        manufacturer_model_name="model",
        software_versions="1",
        device_serial_number="1",
        **options,
    )


def check(dataset: Dataset, masks: Masks, series: DicomSeries, folder: Path, notes: int = 0) -> None:
    path = folder / "seg.dcm"
    dataset.save_as(path)
    for name, drawn in masks.items():
        found, told = read_mask(path.with_name(f"seg.dcm#{name}"), series.volume.geometry, "the mask")
        assert np.array_equal(found.array != 0, drawn), name
        assert len(told) == notes


def measures(dataset: Dataset) -> Dataset:
    return dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]


@pytest.mark.parametrize("omit", [True, False])
def test_overlapping_and_empty_segments_are_each_whole(series, tmp_path, omit) -> None:
    check(written(series, masks_of(series), omit_empty_frames=omit), masks_of(series), series, tmp_path)


def test_segment_numbers_may_have_gaps(series, tmp_path) -> None:
    dataset, numbers = written(series, masks_of(series)), {1: 4, 2: 4002, 3: 7}
    for item in dataset.SegmentSequence:
        item.SegmentNumber = numbers[item.SegmentNumber]
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        item = frame.SegmentIdentificationSequence[0]
        item.ReferencedSegmentNumber = numbers[item.ReferencedSegmentNumber]
    check(dataset, masks_of(series), series, tmp_path)


@pytest.mark.parametrize("stated", [None, 5.0, 3.0, 0.0, -2.5, 2.5])
def test_the_distance_of_slices_is_that_of_the_frames_whatever_is_stated(series, tmp_path, stated) -> None:
    dataset = written(series, masks_of(series))
    measures(dataset).SliceThickness = 5.0
    if stated is None:
        del measures(dataset).SpacingBetweenSlices
    else:
        measures(dataset).SpacingBetweenSlices = stated
    check(dataset, masks_of(series), series, tmp_path)


@pytest.mark.parametrize("slices", [(1, 5), (3,), (0, 2, 5)], ids=["two-far-apart", "one", "three-uneven"])
@pytest.mark.parametrize("thickness", [None, 5.0, 10.0])
def test_slices_between_frames_hold_nothing(series, tmp_path, slices, thickness) -> None:
    drawn = np.zeros(series.volume.geometry.shape, bool)
    drawn[list(slices), 3:8, 3:8] = True
    dataset = written(series, {"tumour": drawn})
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        if keyword in measures(dataset):
            del measures(dataset)[keyword]
    if thickness is not None:
        measures(dataset).SliceThickness = thickness
    check(dataset, {"tumour": drawn}, series, tmp_path)


def test_a_mask_of_thicker_slices_fills_the_thin_ones(series, tmp_path) -> None:
    """Frames on every second slice of the image, as a reconstruction of twice the distance has them."""
    drawn = np.zeros(series.volume.geometry.shape, bool)
    drawn[0:6:2, 3:8, 3:8] = True
    dataset = written(series, {"tumour": drawn})
    measures(dataset).SpacingBetweenSlices = measures(dataset).SliceThickness = 5.0
    path = tmp_path / "seg.dcm"
    dataset.save_as(path)
    found, told = read_mask(path, series.volume.geometry, "the mask")
    between = found.array[:5] != 0  # the highest slice lies on the edge of the last frame
    assert np.array_equal(between, np.broadcast_to(drawn[0], between.shape))
    assert "resampled" in told[0]


def shuffled(dataset: Dataset) -> None:
    frames = list(dataset.PerFrameFunctionalGroupsSequence)
    order = np.random.default_rng(3).permutation(len(frames))
    pixels = dataset.pixel_array[order]
    dataset.PerFrameFunctionalGroupsSequence = Sequence([frames[number] for number in order])
    dataset.PixelData = np.packbits(pixels.ravel() != 0, bitorder="little").tobytes()


def with_wrong_references(dataset: Dataset) -> None:
    for frame in dataset.PerFrameFunctionalGroupsSequence:
        frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"
        frame.FrameContentSequence[0].DimensionIndexValues = [1, 1]
    dataset.ReferencedSeriesSequence = Sequence([])


def with_rounded_positions(dataset: Dataset) -> None:
    for number, frame in enumerate(dataset.PerFrameFunctionalGroupsSequence):
        frame.PlanePositionSequence[0].ImagePositionPatient[2] += 0.003 * (-1) ** number
    del measures(dataset).SpacingBetweenSlices


@pytest.mark.parametrize("change", [shuffled, with_wrong_references, with_rounded_positions])
def test_positions_alone_place_frames(series, tmp_path, change: Callable[[Dataset], None]) -> None:
    dataset = written(series, masks_of(series))
    change(dataset)
    check(dataset, masks_of(series), series, tmp_path)


def apart(series: DicomSeries) -> Masks:
    masks = masks_of(series)
    return {"Reader A": masks["Reader A"] & ~masks["Reader B"], "Reader B": masks["Reader B"]}


@pytest.mark.parametrize("value", [0, 9, 255])
def test_the_background_of_a_label_map_is_no_structure_whatever_its_number(series, tmp_path, value) -> None:
    masks = apart(series)
    dataset = written(series, {"Reader A": masks["Reader A"]}, "LABELMAP")
    (background,) = (item for item in dataset.SegmentSequence if item.SegmentLabel == "Background")
    background.SegmentNumber = dataset.PixelPaddingValue = value
    pixels = dataset.pixel_array.copy()
    pixels[pixels == 0] = value
    dataset.PixelData = pixels.tobytes()
    path = tmp_path / "seg.dcm"
    dataset.save_as(path)
    found, _ = read_mask(path, series.volume.geometry, "the mask")
    assert np.array_equal(found.array != 0, masks["Reader A"])


def test_fractions_that_are_all_or_nothing_are_a_mask(series, tmp_path) -> None:
    masks = masks_of(series)
    whole = written(series, masks, "FRACTIONAL", fractional_type="OCCUPANCY", max_fractional_value=200)
    check(whole, masks, series, tmp_path)
    half = {name: mask.astype(np.float32) / 2 for name, mask in masks.items()}
    written(series, half, "FRACTIONAL", fractional_type="OCCUPANCY").save_as(tmp_path / "half.dcm")
    with raises_error(InputError, "segmentation-fractional"):
        read_segmentation(tmp_path / "half.dcm")
