"""DICOM-SEG objects as masks, beside what highdicom says of the same file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pydicom.encaps
import pytest
from other_readers import segments_by_highdicom, values_on_grid
from small_series import oblique_direction, phantom, sign_directions

from expected_errors import raises_error
from twintrack.dicom import (
    Algorithm,
    DicomSeries,
    SegmentationKind,
    read_series,
    segments_from_labels,
    write_ct_series,
    write_segmentation,
)
from twintrack.dicom.read.segmentation import is_segmentation, read_segmentation
from twintrack.errors import InputError
from twintrack.io.masks import read_mask
from twintrack.io.vessel_maps import read_vessel_map
from twintrack.volume import Volume

pytestmark = pytest.mark.process

ALGORITHM = Algorithm("demo bundle", "1.2", "0123456789abcdef" * 4, {"roi": "auto"})
LABELS = {"tumor": 1, "PORTA": 2, "SMA": 6}


def labels_of(series: DicomSeries) -> Volume:
    array = np.zeros(series.volume.array.shape, dtype=np.uint8)
    array[1:3, 2:7, 3:11] = 1
    array[1:6, 10, 4] = 2
    array[2:4, 15:18, 19:21] = 6
    return series.volume.with_array(array)


@pytest.fixture
def series(tmp_path) -> DicomSeries:
    write_ct_series(phantom(), tmp_path / "ct", description="source")
    return read_series(tmp_path / "ct")


def written(series: DicomSeries, path: Path, **options) -> Path:
    masks = segments_from_labels(labels_of(series), LABELS)
    return write_segmentation(masks, series, path, algorithm=ALGORITHM, threshold=0.5, **options)


DIRECTIONS = [*sign_directions(), oblique_direction(), np.eye(3)[:, [2, 0, 1]]]


@pytest.mark.slow
@pytest.mark.parametrize("direction", DIRECTIONS, ids=[*(f"flip{n}" for n in range(8)), "oblique", "sagittal"])
@pytest.mark.parametrize("kind", [SegmentationKind.BINARY, SegmentationKind.LABELMAP])
def test_every_voxel_is_where_highdicom_sees_it(tmp_path, direction, kind) -> None:
    write_ct_series(phantom(direction), tmp_path / "ct", description="source")
    series = read_series(tmp_path / "ct")
    path = written(series, tmp_path / "seg.dcm", kind=kind)
    found = read_segmentation(path)
    assert [segment.number for segment in found] == [1, 2, 3]
    if kind is SegmentationKind.BINARY:
        for segment, (number, points) in zip(found, sorted(segments_by_highdicom(path).items()), strict=True):
            assert segment.number == number
            theirs = values_on_grid(points, series) != 0
            ours, note = read_mask(path.with_name(f"seg.dcm#{segment.name}"), series.volume.geometry, "it")
            assert np.array_equal(ours.array != 0, theirs)
            assert note == ()
    for segment, value in zip(found, LABELS.values(), strict=True):
        ours, _ = read_mask(path.with_name(f"seg.dcm#{segment.number}"), series.volume.geometry, "it")
        assert np.array_equal(ours.array != 0, labels_of(series).array == value)


def test_vessels_are_found_by_their_codes(series, tmp_path) -> None:
    path = written(series, tmp_path / "seg.dcm")
    dataset = pydicom.dcmread(path)
    for item in dataset.SegmentSequence:
        item.SegmentLabel = f"Segment_{item.SegmentNumber}"
    dataset.save_as(path)
    found = read_vessel_map(path)
    assert found.named_by == "file"
    assert set(found.names) == {"PORTA", "SMA"}
    assert "not measured" in found.notes[0]


def test_the_tumor_is_taken_of_a_whole_object(series, tmp_path) -> None:
    path = written(series, tmp_path / "seg.dcm")
    dataset = pydicom.dcmread(path)
    dataset.SegmentSequence[0].SegmentLabel = "Tumor"
    dataset.save_as(path)
    found, _ = read_mask(path, series.volume.geometry, "the mask")
    assert np.array_equal(found.array != 0, labels_of(series).array == 1)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda d: setattr(d, "SegmentationType", "FRACTIONAL"), ("segmentation-fractional",)),
        (
            lambda d: setattr(d, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.481.3"),
            ("contours-not-voxels", "RTSTRUCT"),
        ),
        (lambda d: setattr(d, "PixelData", d.PixelData[:10]), ("pixels-cut-off",)),
        (
            lambda d: setattr(d, "PerFrameFunctionalGroupsSequence", d.PerFrameFunctionalGroupsSequence[:1]),
            ("segmentation-frames",),
        ),
        (lambda d: delattr(d, "SegmentSequence"), ("segmentation-segments",)),
        (lambda d: setattr(d.file_meta, "TransferSyntaxUID", pydicom.uid.JPEG2000Lossless), ("pixels-unsupported",)),
    ],
    ids=["fractional", "contours", "cut", "frames", "no segments", "compressed"],
)
def test_what_cannot_be_read_says_what_to_do(series, tmp_path, change, error) -> None:
    path = written(series, tmp_path / "seg.dcm")
    dataset = pydicom.dcmread(path)
    dataset.PixelData  # noqa: B018 - read before the file is written again
    change(dataset)
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.PixelData = pydicom.encaps.encapsulate([dataset.PixelData])
    dataset.save_as(path)
    with raises_error(InputError, *error) as said:
        read_segmentation(path)
    assert str(path) in str(said.value)
    assert len(str(said.value)) - len(str(path)) < 300


def test_other_files_are_no_segmentations(series, tmp_path) -> None:
    (tmp_path / "text.dcm").write_text("hello")
    assert not is_segmentation(tmp_path / "text.dcm")
    assert not is_segmentation(series.files[0])
    assert not is_segmentation(tmp_path)


@pytest.mark.parametrize("seed", range(40))
def test_damaged_objects_end_in_a_sentence(series, tmp_path, seed) -> None:
    path = written(series, tmp_path / "seg.dcm")
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    for place in rng.integers(132, len(content), 6):
        content[place] = int(rng.integers(256))
    path.write_bytes(bytes(content[: len(content) - int(rng.integers(0, 40)) * (seed % 3)]))
    sentence = ""
    try:
        assert len(read_segmentation(path)) > 0
    except InputError as error:
        sentence = str(error)
    assert sentence == "" or str(path) in sentence
