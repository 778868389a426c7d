"""Headers that are not written as DICOM asks: decimal commas, texts for numbers, no frame of reference."""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from small_series import phantom

from expected_errors import raises_error
from twintrack.dicom import read_series, write_segmentation
from twintrack.dicom.read.headers import decimal
from twintrack.dicom.write.derived import Algorithm
from twintrack.errors import InputError

NUMBERS = ("PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "RescaleSlope", "RescaleIntercept")


def with_commas(folder: Path) -> None:
    """Put decimal commas into the numbers of each file, as it is stored; its other texts stay as they are."""
    for path in folder.glob("CT_*.dcm"):
        content = path.read_bytes()
        for keyword in NUMBERS:
            element = pydicom.dcmread(path)[keyword]
            stored = "\\".join(map(str, np.atleast_1d(np.asarray(element.value, dtype=object)))).encode()
            content = content.replace(stored, stored.replace(b".", b","))
        path.write_bytes(content)


def segmented(series, out: Path):
    """Write a segmentation of the bright voxels, and return them with what highdicom reads: (z, y, x)."""
    mask = series.volume.with_array(series.volume.array > 300)
    algorithm = Algorithm("a", "1", "ab" * 32, {})
    write_segmentation({"tumor": mask}, series, out, algorithm=algorithm, threshold=0.5)
    read = highdicom.seg.segread(out)
    grid = series.volume.geometry
    other = read.get_volume(combine_segments=False)
    seen = np.zeros(grid.shape, bool)
    for k, j, i in np.argwhere(other.array[..., 0] != 0):
        place = (np.array(other.affine @ [k, j, i, 1])[:3] - grid.origin_mm) @ grid.direction_matrix / grid.spacing_mm
        seen[tuple(np.rint(place[::-1]).astype(int))] = True
    return mask.array, seen, read


@pytest.mark.slow
def test_decimal_commas_are_read_as_points_and_told(series_folder: Path, edit, tmp_path: Path) -> None:
    def state(dataset) -> None:
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", "-3.5"

    for path in series_folder.glob("CT_*.dcm"):
        edit(path, state)
    right = read_series(series_folder)
    assert right.notes == ()
    with_commas(series_folder)
    raw = pydicom.dcmread(series_folder / "CT_0001.dcm")
    with pytest.raises(ValueError, match="could not convert string to float"):
        float(raw.RescaleSlope)
    series = read_series(series_folder)
    assert series.volume.geometry == right.volume.geometry
    assert np.array_equal(series.volume.array, right.volume.array)
    assert [note for note in series.notes if "decimal commas" in note] == list(series.notes)
    drawn, seen, _ = segmented(series, tmp_path / "seg.dcm")
    assert drawn.any()
    assert np.array_equal(drawn, seen)


@pytest.mark.process
@pytest.mark.parametrize("kind", ["UT", "LO", "UN"])
def test_numbers_that_a_file_calls_a_text_are_read(series_folder: Path, edit, tmp_path: Path, kind) -> None:
    value = b"0.9\\0.7 " if kind == "UN" else "0.9\\0.7"
    for path in series_folder.glob("CT_*.dcm"):
        edit(path, lambda dataset: dataset.add_new(0x00280030, kind, value))
    series = read_series(series_folder)
    assert series.volume.geometry.spacing_mm == pytest.approx(phantom().geometry.spacing_mm)
    drawn, seen, _ = segmented(series, tmp_path / "seg.dcm")
    assert np.array_equal(drawn, seen)


@pytest.mark.process
@pytest.mark.parametrize("stored", [b"0.9,0.7", b"1,2,3,4", b"0,9;0,7"])
def test_commas_that_divide_numbers_are_not_guessed(series_folder: Path, stored) -> None:
    path = series_folder / "CT_0003.dcm"
    content = path.read_bytes()
    assert content.count(b"0.9\\0.7") == 1
    path.write_bytes(content.replace(b"0.9\\0.7", stored))
    with raises_error(InputError, "dicom-header", "PixelSpacing", path=path):
        read_series(series_folder)


@pytest.mark.parametrize(
    ("text", "number"), [(" -1,5E+2 ", -150.0), (",75", 0.75), ("0.75", 0.75), ("+3", 3.0), ("1e-1", 0.1)]
)
def test_a_number_is_read_as_it_is_meant(text, number) -> None:
    assert decimal(text) == number


@pytest.mark.parametrize("text", ["1,000.5", "1.000,5", "1,2,3", ",", "0,", "a,5", ""])
def test_what_could_be_two_numbers_is_none(text) -> None:
    with pytest.raises(ValueError, match="could not convert"):
        decimal(text)


@pytest.mark.process
def test_a_series_without_a_frame_of_reference_is_told_and_its_objects_agree(series_folder, edit, tmp_path) -> None:
    for path in series_folder.glob("CT_*.dcm"):
        edit(path, lambda dataset: dataset.__delattr__("FrameOfReferenceUID"))
    series = read_series(series_folder)
    (note,) = series.notes
    assert "no FrameOfReferenceUID" in note
    drawn, seen, first = segmented(series, tmp_path / "first.dcm")
    assert np.array_equal(drawn, seen)
    _, _, second = segmented(series, tmp_path / "second.dcm")
    assert first.FrameOfReferenceUID == second.FrameOfReferenceUID


@pytest.mark.process
def test_slices_of_which_some_state_no_frame_of_reference_are_named(series_folder: Path, edit) -> None:
    files = sorted(series_folder.glob("CT_*.dcm"))
    for path in files[:2]:
        edit(path, lambda dataset: dataset.__delattr__("FrameOfReferenceUID"))
    with raises_error(InputError, "slices-differ", "(none)", "CT_0003.dcm", path=files[0]):
        read_series(series_folder)
