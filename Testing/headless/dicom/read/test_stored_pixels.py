"""Stored values of every bit depth, sign, padding and encoding become the HU that they stand for."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID
from small_series import phantom

from expected_errors import raises_error
from twintrack.dicom import read_series, write_ct_series
from twintrack.dicom.read.hounsfield import AIR_HU
from twintrack.errors import InputError
from twintrack.volume import Volume

pytestmark = pytest.mark.process

BIG_ENDIAN = UID("1.2.840.10008.1.2.2")
JPEG_LOSSLESS, JPEG_EXTENDED = UID("1.2.840.10008.1.2.4.70"), UID("1.2.840.10008.1.2.4.51")


def store(folder: Path, edit, stored: np.ndarray, *, bits: int, signed: bool, **elements) -> None:
    """Replace the pixels of a series by `stored` values (z, y, x) of so many bits."""
    for path, plane in zip(sorted(folder.iterdir()), stored, strict=True):

        def change(dataset, plane=plane) -> None:
            dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, int(signed)
            dataset.PixelData = (plane.astype(np.int64) & 0xFFFF).astype("<u2").tobytes()
            for keyword, value in elements.items():
                setattr(dataset, keyword, value)

        edit(path, change)


@pytest.mark.parametrize("bits", [12, 13, 14, 15, 16])
@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_every_bit_depth_and_sign(series_folder: Path, edit, bits: int, signed: bool) -> None:
    hu = np.clip(phantom().array.astype(int), -1024, 1023)
    offset = 0 if signed else 1024
    store(series_folder, edit, hu + offset, bits=bits, signed=signed, RescaleIntercept=str(-offset))
    found = read_series(series_folder).volume.array
    assert found.dtype == np.int16
    assert np.array_equal(found, hu)


def test_bits_outside_of_those_stored_do_not_count(series_folder: Path, edit) -> None:
    """Old scanners keep overlay planes in the four upper bits."""
    hu = np.clip(phantom().array.astype(int), -1024, 1023)
    overlay = (np.indices(hu.shape).sum(axis=0) % 16) << 12
    store(series_folder, edit, (hu + 1024) | overlay, bits=12, signed=False, RescaleIntercept="-1024")
    assert np.array_equal(read_series(series_folder).volume.array, hu)


@pytest.mark.parametrize("padding", [-2000, -32768])
@pytest.mark.parametrize("as_unsigned", [False, True], ids=["SS", "US"])
def test_padding_becomes_air(series_folder: Path, edit, padding: int, as_unsigned: bool) -> None:
    stored = phantom().array.astype(int).copy()
    outside = np.zeros(stored.shape, dtype=bool)
    outside[:, :3], outside[:, :, -2:] = True, True
    stored[outside] = padding
    store(series_folder, edit, stored, bits=16, signed=True)
    for path in series_folder.iterdir():

        def state(dataset) -> None:
            # Files in the wild write the value with either sign.
            dataset.add_new(0x00280120, "US" if as_unsigned else "SS", padding & 0xFFFF if as_unsigned else padding)

        edit(path, state)
    found = read_series(series_folder).volume.array
    assert (found[outside] == AIR_HU).all()
    assert np.array_equal(found[~outside], phantom().array[~outside])


def test_a_padding_value_that_tissue_has_punches_no_hole(series_folder: Path, edit) -> None:
    for path in series_folder.iterdir():
        edit(path, lambda dataset: dataset.add_new(0x00280120, "SS", 350))
    assert np.array_equal(read_series(series_folder).volume.array, phantom().array)


@pytest.mark.parametrize(("keyword", "value"), [("RescaleSlope", "0"), ("RescaleIntercept", "nan")])
def test_a_rescale_that_is_none_is_refused(series_folder: Path, edit, keyword: str, value: str) -> None:
    with pydicom.config.disable_value_validation():
        edit(series_folder / "CT_0004.dcm", lambda dataset: setattr(dataset, keyword, value))
    with raises_error(InputError, "not-hounsfield", "CT_0004.dcm", keyword):
        read_series(series_folder)


def test_each_slice_has_its_own_rescale(series_folder: Path, edit) -> None:
    # https://github.com/innolitics/dicom-numpy/issues/1
    for number, path in enumerate(sorted(series_folder.iterdir())):
        edit(path, lambda dataset, number=number: setattr(dataset, "RescaleSlope", number + 1))
    read = read_series(series_folder)
    for k, path in enumerate(read.files):
        dataset = pydicom.dcmread(path)
        expected = dataset.pixel_array.astype(float) * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        np.testing.assert_allclose(read.volume.array[k], expected)


def test_a_table_in_place_of_the_rescale_is_refused(series_folder: Path, edit) -> None:
    # https://github.com/fo-dicom/fo-dicom/pull/844 and https://github.com/Enet4/dicom-rs/issues/242
    def change(dataset) -> None:
        table = pydicom.Dataset()
        table.LUTDescriptor, table.ModalityLUTType = [4096, 0, 16], "HU"
        table.add_new(0x00283006, "OW", np.arange(4096, dtype="<u2").tobytes())
        dataset.ModalityLUTSequence = [table]
        del dataset.RescaleIntercept, dataset.RescaleSlope

    for path in series_folder.iterdir():
        edit(path, change)
    with raises_error(InputError, "not-hounsfield", "ModalityLUTSequence"):
        read_series(series_folder)


def test_values_that_are_not_stated_as_hu_are_told(series_folder: Path, edit) -> None:
    for path in series_folder.iterdir():
        edit(path, lambda dataset: delattr(dataset, "RescaleIntercept"))
    assert "no RescaleIntercept" in " ".join(read_series(series_folder).notes)
    for path in series_folder.iterdir():
        edit(path, lambda dataset: setattr(dataset, "RescaleType", "MGML"))
    assert "MGML" in " ".join(read_series(series_folder).notes)


def dcmtk(name: str) -> str:
    """Return the path of a program of dcmtk, which writes encodings that pydicom does not; skips without it."""
    program = shutil.which(name)
    if program is None:
        pytest.skip(f"{name} (dcmtk) is not installed")
    return program


def test_big_endian_files_give_the_same_voxels(series_folder: Path) -> None:
    program = dcmtk("dcmconv")
    for path in series_folder.iterdir():
        subprocess.run([program, "+tb", str(path), str(path)], check=True)
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == BIG_ENDIAN
    assert np.array_equal(read_series(series_folder).volume.array, phantom().array)


@pytest.mark.parametrize("signed", [False, True], ids=["unsigned", "signed"])
def test_lossless_jpeg_as_most_archives_store_it(tmp_path: Path, edit, signed: bool) -> None:
    program = dcmtk("dcmcjpeg")
    hu = np.clip(np.tile(phantom().array.astype(int), (1, 4, 3)), -1024, 1023)
    volume = Volume(hu.astype(np.int16), dataclasses.replace(phantom().geometry, size=hu.shape[::-1]))
    write_ct_series(volume, tmp_path / "ct", description="lossless")
    offset = 0 if signed else 1024
    store(tmp_path / "ct", edit, hu + offset, bits=16 if signed else 12, signed=signed, RescaleIntercept=str(-offset))
    for path in (tmp_path / "ct").iterdir():
        subprocess.run([program, "+e1", str(path), str(path)], check=True)
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == JPEG_LOSSLESS
    assert np.array_equal(read_series(tmp_path / "ct").volume.array, hu)


def test_lossy_twelve_bit_jpeg_is_read_to_within_its_loss(tmp_path: Path, edit) -> None:
    program = dcmtk("dcmcjpeg")
    k, j, i = np.indices((3, 64, 64))
    hu = np.rint(200 * np.sin(i / 9) + 150 * np.cos(j / 7) + 40 * k).astype(int)
    volume = Volume(hu.astype(np.int16), dataclasses.replace(phantom().geometry, size=(64, 64, 3)))
    write_ct_series(volume, tmp_path / "ct", description="lossy")
    store(tmp_path / "ct", edit, hu + 1024, bits=12, signed=False, RescaleIntercept="-1024")
    for path in (tmp_path / "ct").iterdir():
        # Baseline would keep 8 bits only; the extended process keeps 12.
        subprocess.run([program, "+ee", "+q", "95", str(path), str(path)], check=True)
        assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == JPEG_EXTENDED
    found = read_series(tmp_path / "ct").volume.array
    assert np.abs(found - hu).max() < 25


@pytest.mark.parametrize("order", ["little", "big"])
def test_an_odd_bit_allocation_is_refused_not_guessed(series_folder: Path, edit, order: str) -> None:
    for path in series_folder.iterdir():
        edit(path, lambda dataset: setattr(dataset, "BitsAllocated", 12 if order == "little" else 24))
    with raises_error(InputError, "pixels-unsupported", "CT"):
        read_series(series_folder)
