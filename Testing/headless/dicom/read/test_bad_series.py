"""Each kind of input that is not one complete CT series is refused with one sentence that says why."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import UID, generate_uid
from small_series import phantom

from twintrack.dicom import read_series
from twintrack.errors import InputError

pytestmark = pytest.mark.process

MR_STORAGE = "1.2.840.10008.5.1.4.1.1.4"
PET_STORAGE = "1.2.840.10008.5.1.4.1.1.128"


def refusal(path: Path) -> str:
    """Return the sentence that `path` is refused with; it must be one line and name the path or a file in it."""
    with pytest.raises(InputError) as caught:
        read_series(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path if path.is_file() else path.name) in text
    assert "Phantom" not in text
    assert "PHANTOM" not in text
    return text


def test_a_missing_path(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent")


def test_an_empty_folder(tmp_path: Path) -> None:
    assert "no DICOM files" in refusal(tmp_path)


def test_a_folder_of_text(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    assert "no DICOM files" in refusal(tmp_path)


def test_a_folder_above_folders_without_dicom(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "notes.txt").write_text("nothing here")
    assert "no DICOM files in this folder or below it" in refusal(tmp_path)


def test_a_text_file(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    assert "not a DICOM file" in refusal(tmp_path / "notes.txt")


@pytest.mark.parametrize(("modality", "storage"), [("MR", MR_STORAGE), ("PT", PET_STORAGE)])
def test_another_modality(series_folder: Path, edit, modality: str, storage: str) -> None:
    def change(dataset) -> None:
        dataset.Modality = modality
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID(storage)

    for path in series_folder.iterdir():
        edit(path, change)
    assert f"modality is {modality}" in refusal(series_folder)
    assert f"modality is {modality}" in refusal(series_folder / "CT_0002.dcm")


@pytest.mark.parametrize("modality", ["RTSTRUCT", "SR"])
def test_objects_without_pixels(series_folder: Path, edit, modality: str) -> None:
    def change(dataset) -> None:
        for keyword in ("Rows", "Columns", "PixelData"):
            delattr(dataset, keyword)
        dataset.Modality = modality
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.481.3")

    for path in series_folder.iterdir():
        edit(path, change)
    assert modality in refusal(series_folder)
    assert modality in refusal(series_folder / "CT_0001.dcm")


def test_a_segmentation_object(series_folder: Path, edit) -> None:
    def change(dataset) -> None:
        dataset.Modality = "SEG"
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.66.4")

    for path in series_folder.iterdir():
        edit(path, change)
    assert "SEG" in refusal(series_folder)
    assert "SEG" in refusal(series_folder / "CT_0001.dcm")


def test_a_dicomdir(series_folder: Path, edit) -> None:
    def change(dataset) -> None:
        for keyword in ("Rows", "Columns", "PixelData", "Modality"):
            delattr(dataset, keyword)
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.1.3.10")

    for path in sorted(series_folder.iterdir())[1:]:
        path.unlink()
    edit(path.with_name("CT_0001.dcm"), change)
    assert "DICOMDIR" in refusal(series_folder)
    assert "DICOMDIR" in refusal(series_folder / "CT_0001.dcm")


def test_missing_slices_are_located(series_folder: Path) -> None:
    (series_folder / "CT_0003.dcm").unlink()
    (series_folder / "CT_0004.dcm").unlink()
    text = refusal(series_folder)
    assert "2 slices missing between CT_0002.dcm at -798.6" in text
    assert "CT_0005.dcm at -791.1" in text
    assert "usual distance 2.50 mm" in text


@pytest.mark.parametrize("number", [2, 4, 5])
def test_positions_rounded_by_the_scanner_are_accepted(series_folder: Path, edit, number: int) -> None:
    def jitter(dataset) -> None:
        dataset.ImagePositionPatient[2] = float(dataset.ImagePositionPatient[2]) + 0.05

    edit(series_folder / f"CT_000{number}.dcm", jitter)
    geometry = read_series(series_folder).volume.geometry
    assert geometry.same_grid(phantom().geometry)


def test_two_slices_at_one_position(series_folder: Path, edit) -> None:
    def new_instance(dataset) -> None:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()

    shutil.copy(series_folder / "CT_0004.dcm", series_folder / "again.dcm")
    edit(series_folder / "again.dcm", new_instance)
    text = refusal(series_folder)
    assert "same position" in text
    assert "again.dcm" in text
    assert "CT_0004.dcm" in text


def test_a_slice_of_another_orientation(series_folder: Path, edit) -> None:
    edit(
        series_folder / "CT_0004.dcm", lambda dataset: setattr(dataset, "ImageOrientationPatient", [1, 0, 0, 0, 0, -1])
    )
    text = refusal(series_folder)
    assert "CT_0004.dcm: its orientation" in text


def test_a_slice_of_another_size(series_folder: Path, edit) -> None:
    def smaller(dataset) -> None:
        dataset.PixelData = dataset.pixel_array[:-2].tobytes()
        dataset.Rows = dataset.Rows - 2

    edit(series_folder / "CT_0004.dcm", smaller)
    assert "CT_0004.dcm: its size (24, 18) differs from (24, 20)" in refusal(series_folder)


def test_a_slice_of_another_pixel_spacing(series_folder: Path, edit) -> None:
    edit(series_folder / "CT_0004.dcm", lambda dataset: setattr(dataset, "PixelSpacing", [0.9, 0.71]))
    assert "CT_0004.dcm: its pixel spacing" in refusal(series_folder)


@pytest.mark.parametrize("tilt_deg", [50.0, -60.0])
def test_a_stack_sheared_more_than_a_gantry_tilts(series_folder: Path, edit, tilt_deg: float) -> None:
    for k, path in enumerate(sorted(series_folder.iterdir())):

        def shear(dataset, k=k) -> None:
            moved = float(dataset.ImagePositionPatient[1]) + k * 2.5 * np.tan(np.deg2rad(tilt_deg))
            dataset.ImagePositionPatient[1] = round(moved, 6)

        edit(path, shear)
    assert f"sheared by {abs(tilt_deg):.1f} degrees" in refusal(series_folder)


def test_a_stated_tilt_that_the_positions_do_not_show_is_accepted(series_folder: Path, edit) -> None:
    for path in series_folder.iterdir():
        edit(path, lambda dataset: setattr(dataset, "GantryDetectorTilt", "15"))
    assert np.array_equal(read_series(series_folder).volume.array, phantom().array)


def test_one_slice_shifted_sideways(series_folder: Path, edit) -> None:
    def shift(dataset) -> None:
        dataset.ImagePositionPatient[0] = float(dataset.ImagePositionPatient[0]) + 4

    edit(series_folder / "CT_0003.dcm", shift)
    text = refusal(series_folder)
    assert "CT_0003.dcm: the slice is shifted sideways by 4.00 mm" in text


def test_a_single_slice(series_folder: Path) -> None:
    for path in sorted(series_folder.iterdir())[1:]:
        path.unlink()
    assert "at least 2" in refusal(series_folder)


@pytest.mark.parametrize("keep", [140, 300, 700, -10])
def test_a_file_cut_off_anywhere_is_named(series_folder: Path, keep: int) -> None:
    path = series_folder / "CT_0003.dcm"
    path.write_bytes(path.read_bytes()[:keep])
    text = refusal(series_folder)
    assert "CT_0003.dcm" in text
    assert "cut off" in text


def test_a_cut_off_compressed_file_is_named(test_data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "real"
    shutil.copytree(test_data / "data" / "ct_dicom", folder)
    path = sorted(folder.iterdir())[10]
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[: len(content) // 2])
    text = refusal(folder)
    assert path.name in text
    assert "cut off" in text


def test_slices_without_position(series_folder: Path, edit) -> None:
    edit(series_folder / "CT_0002.dcm", lambda dataset: delattr(dataset, "ImagePositionPatient"))
    text = refusal(series_folder)
    assert "CT_0002.dcm" in text
    assert "ImagePositionPatient" in text


def test_an_orientation_that_is_none(series_folder: Path, edit) -> None:
    for path in series_folder.iterdir():
        edit(path, lambda dataset: setattr(dataset, "ImageOrientationPatient", [1, 0, 0, 1, 0, 0]))
    assert "perpendicular" in refusal(series_folder)


def test_an_enhanced_ct(series_folder: Path, edit) -> None:
    def change(dataset) -> None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.2.1")

    for path in series_folder.iterdir():
        edit(path, change)
    assert "multi-frame" in refusal(series_folder)


def test_an_encoding_that_no_decoder_knows_is_named(series_folder: Path, edit) -> None:
    def change(dataset) -> None:
        dataset.compress(UID("1.2.840.10008.1.2.5"), generate_instance_uid=False)
        dataset.file_meta.TransferSyntaxUID = UID("1.2.840.10008.1.2.4.106")

    for path in series_folder.iterdir():
        edit(path, change)
    assert "MPEG-4" in refusal(series_folder)


def test_a_color_picture(series_folder: Path, edit) -> None:
    def change(dataset) -> None:
        dataset.SamplesPerPixel = 3
        dataset.PhotometricInterpretation = "RGB"
        dataset.BitsAllocated = dataset.BitsStored = 8
        dataset.HighBit = 7
        dataset.PlanarConfiguration = 0
        dataset.PixelData = bytes(24 * 20 * 3)

    for path in series_folder.iterdir():
        edit(path, change)
    assert "color" in refusal(series_folder)
