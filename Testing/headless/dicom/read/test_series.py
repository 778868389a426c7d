"""A CT series read from DICOM has the voxels, in HU, at the places where the scanner saw them."""

from __future__ import annotations

import dataclasses
import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID, generate_uid
from small_series import phantom

from twintrack.dicom import is_dicom_input, read_series, write_ct_series
from twintrack.errors import Cancelled
from twintrack.io.volumes import read_volume, write_volume
from twintrack.progress.callbacks import CancelToken
from twintrack.volume import Volume

pytestmark = pytest.mark.process


def test_files_and_uids_are_in_slice_order(series_folder: Path) -> None:
    series = read_series(series_folder)
    for k, (path, uid) in enumerate(zip(series.files, series.sop_instance_uids, strict=True)):
        dataset = pydicom.dcmread(path)
        assert dataset.SOPInstanceUID == uid
        assert np.array_equal(dataset.pixel_array, series.volume.array[k])
        expected = series.volume.geometry.to_lps_mm(np.array([0, 0, k]))
        assert np.allclose(np.array(dataset.ImagePositionPatient, dtype=float), expected, atol=1e-6)
    assert series.modality == "CT"
    assert series.description == "good series"
    assert series.series_uid == dataset.SeriesInstanceUID
    assert series.study_uid == dataset.StudyInstanceUID
    assert series.frame_of_reference_uid == dataset.FrameOfReferenceUID


def test_slice_order_comes_from_positions_and_from_nothing_else(series_folder: Path, edit) -> None:
    expected = read_series(series_folder)
    for index, path in enumerate(sorted(series_folder.iterdir())):

        def mislead(dataset, index=index) -> None:
            dataset.InstanceNumber = (index * 5) % 6 + 1
            dataset.SliceLocation = str(-index)
            dataset.SpacingBetweenSlices = "-1"
            dataset.SliceThickness = "7"

        edit(path, mislead)
        path.rename(path.with_name(f"{(index * 5) % 6}-renamed"))
    got = read_series(series_folder)
    assert got.volume.geometry == expected.volume.geometry
    assert got.sop_instance_uids == expected.sop_instance_uids
    assert np.array_equal(got.volume.array, expected.volume.array)


def test_each_slice_has_its_own_rescale(series_folder: Path, edit) -> None:
    before = read_series(series_folder).volume.array.astype(float)

    def rescale(dataset) -> None:
        dataset.RescaleSlope = "0.5"
        dataset.RescaleIntercept = "-100"

    edit(series_folder / "CT_0003.dcm", rescale)
    after = read_series(series_folder).volume.array
    assert after.dtype == np.float32
    expected = before.copy()
    expected[2] = before[2] * 0.5 - 100
    assert np.array_equal(after, expected)


def test_unsigned_twelve_bit_pixels_with_intercept_become_int16_hu(series_folder: Path, edit) -> None:
    before = read_series(series_folder).volume.array

    def as_scanners_do(dataset) -> None:
        stored = dataset.pixel_array.astype(int) + 1024
        dataset.RescaleIntercept = "-1024"
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, 12, 11
        dataset.PixelData = stored.astype("<u2").tobytes()

    for path in series_folder.iterdir():
        edit(path, as_scanners_do)
    after = read_series(series_folder).volume.array
    assert after.dtype == np.int16
    assert np.array_equal(after, before)


def test_hu_beyond_int16_are_kept_as_float(series_folder: Path, edit) -> None:
    def metal(dataset) -> None:
        dataset.RescaleSlope = "20"

    before = read_series(series_folder).volume.array.astype(np.float32)
    for path in series_folder.iterdir():
        edit(path, metal)
    after = read_series(series_folder).volume.array
    assert after.dtype == np.float32
    assert np.array_equal(after, before * 20)


@pytest.mark.parametrize(
    ("syntax", "package"),
    [
        ("1.2.840.10008.1.2.5", "pydicom"),  # RLE
        ("1.2.840.10008.1.2.4.80", "jpeg_ls"),  # JPEG-LS lossless
        ("1.2.840.10008.1.2.4.90", "openjpeg"),  # JPEG 2000 lossless
    ],
    ids=["rle", "jpeg-ls", "jpeg-2000"],
)
def test_compressed_series_give_the_same_voxels(tmp_path: Path, edit, syntax: str, package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"no encoder: {package} is not installed")
    array = np.tile(phantom().array, (1, 4, 3))  # the encoders want more than a thumbnail
    size = (array.shape[2], array.shape[1], array.shape[0])
    before = Volume(array, dataclasses.replace(phantom().geometry, size=size))
    for path in write_ct_series(before, tmp_path / "ct", description="compressed"):
        edit(path, lambda dataset: dataset.compress(UID(syntax), generate_instance_uid=False))
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == syntax
    after = read_series(tmp_path / "ct").volume
    assert np.array_equal(after.array, before.array)
    assert after.geometry.same_grid(before.geometry)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2", "1.2.840.10008.1.2.1.99"], ids=["implicit", "deflated"])
def test_other_uncompressed_encodings_give_the_same_voxels(series_folder: Path, syntax: str) -> None:
    before = read_series(series_folder).volume
    for path in series_folder.iterdir():
        dataset = pydicom.dcmread(path)
        dataset.file_meta.TransferSyntaxUID = UID(syntax)
        dataset.save_as(path, implicit_vr=UID(syntax).is_implicit_VR, little_endian=True)
    assert np.array_equal(read_series(series_folder).volume.array, before.array)


def test_files_without_preamble_are_read(series_folder: Path) -> None:
    before = read_series(series_folder)
    for path in series_folder.iterdir():
        path.write_bytes(path.read_bytes()[132:])
    after = read_series(series_folder)
    assert np.array_equal(after.volume.array, before.volume.array)
    assert is_dicom_input(path)


def test_one_file_picks_its_own_series_among_several(tmp_path: Path) -> None:
    first, second = phantom(), phantom()
    second = second.with_array(second.array + 1)
    write_ct_series(first, tmp_path / "a", description="arterial")
    write_ct_series(second, tmp_path / "b", description="venous")
    mixed = tmp_path / "mixed"
    mixed.mkdir()
    for source in ("a", "b"):
        for path in (tmp_path / source).iterdir():
            shutil.copy(path, mixed / f"{source}-{path.name}")
    assert np.array_equal(read_series(mixed / "b-CT_0004.dcm").volume.array, second.array)
    assert np.array_equal(read_series(mixed / "a-CT_0001.dcm").volume.array, first.array)


def test_other_files_in_the_folder_do_not_matter(series_folder: Path, tmp_path: Path) -> None:
    before = read_series(series_folder)
    (series_folder / "README").write_text("burnt on Monday")
    (series_folder / "empty").write_bytes(b"")
    (series_folder / ".DS_Store").write_bytes(b"\x00\x00\x00\x01Bud1")
    (series_folder / "below").mkdir()
    index = pydicom.dcmread(series_folder / "CT_0001.dcm")
    structures = pydicom.dcmread(series_folder / "CT_0001.dcm")
    for keyword in ("Rows", "Columns", "PixelData", "Modality", "SeriesInstanceUID"):
        delattr(index, keyword)
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(structures, keyword)
    index.SOPClassUID = index.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.1.3.10")
    index.save_as(series_folder / "DICOMDIR")
    structures.SOPClassUID = structures.file_meta.MediaStorageSOPClassUID = UID("1.2.840.10008.5.1.4.1.1.481.3")
    structures.Modality = "RTSTRUCT"
    structures.SeriesInstanceUID = generate_uid()
    structures.save_as(series_folder / "RS.dcm")
    after = read_series(series_folder)
    assert after.files == before.files
    assert np.array_equal(after.volume.array, before.volume.array)


def test_paths_and_descriptions_in_any_script_work(tmp_path: Path) -> None:
    folder = tmp_path / "Bauchspeicheldrüse 膵臓 @ home"
    write_ct_series(phantom(), folder, description="Bauch portalvenös 膵臓")
    series = read_series(folder)
    assert series.description == "Bauch portalvenös 膵臓"
    assert np.array_equal(series.volume.array, phantom().array)


@pytest.mark.slow
def test_a_cancelled_reading_stops(series_folder: Path) -> None:
    token = CancelToken()
    seen: list[float] = []

    def report(fraction: float, message: str) -> None:
        seen.append(fraction)
        if fraction > 0.3:
            token.cancel()

    with pytest.raises(Cancelled):
        read_series(series_folder, progress=report, cancel=token)
    assert seen == sorted(seen)
    assert seen[-1] < 0.9


def test_what_is_dicom_and_what_is_a_volume_file_can_be_told(series_folder: Path, tmp_path: Path) -> None:
    write_volume(phantom(), tmp_path / "ct.nii.gz")
    write_volume(phantom(), tmp_path / "ct.nrrd")
    (tmp_path / "text").write_text("a" * 400)
    assert is_dicom_input(series_folder)
    assert is_dicom_input(series_folder / "CT_0001.dcm")
    for name in ("ct.nii.gz", "ct.nrrd", "text", "absent"):
        assert not is_dicom_input(tmp_path / name)


def test_the_real_jpeg_2000_series_is_decoded_as_two_decoders_do(test_data: Path) -> None:
    if importlib.util.find_spec("openjpeg") is None:
        pytest.skip("pylibjpeg-openjpeg, the second decoder, is not installed")
    folder = test_data / "data" / "ct_dicom"
    series = read_series(folder)
    assert series.volume.array.dtype == np.int16
    assert series.volume.geometry.size == (512, 512, 20)
    assert series.volume.geometry.spacing_mm == pytest.approx((0.9765625, 0.9765625, 2.0), abs=1e-9)
    for k, path in enumerate(series.files):
        dataset = pydicom.dcmread(path)
        assert dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.90"
        stored = dataset.pixel_array.astype(int)
        hu = stored * int(dataset.RescaleSlope) + int(dataset.RescaleIntercept)
        assert np.array_equal(series.volume.array[k], hu)
        assert float(dataset.ImagePositionPatient[2]) == series.volume.geometry.affine[2, 3] + 2.0 * k


@pytest.mark.slow
def test_the_real_series_lies_where_another_reader_puts_it(test_data: Path, tmp_path: Path) -> None:
    import SimpleITK as sitk

    series = read_series(test_data / "data" / "ct_dicom")
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in series.files])
    sitk.WriteImage(reader.Execute(), str(tmp_path / "itk.nrrd"))
    other = read_volume(tmp_path / "itk.nrrd")
    assert other.geometry.same_grid(series.volume.geometry)
    assert np.array_equal(other.array, series.volume.array)
