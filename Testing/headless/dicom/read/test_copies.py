"""Slices that an archive sent twice are read once; two versions of a slice are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from enhanced_ct import enhance
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian, RLELossless, generate_uid
from small_series import phantom

from expected_errors import raises_error
from twintrack.dicom import read_series
from twintrack.errors import InputError

pytestmark = pytest.mark.process


def with_other_elements(dataset: Dataset) -> None:
    dataset.InstanceCreationTime = "120000"
    dataset.StationName = "ARCHIVE"
    dataset.SeriesDescription = "sent again"
    dataset.add_new(0x00090010, "LO", "PACS X")


def compressed(dataset: Dataset) -> None:
    dataset.compress(RLELossless, generate_instance_uid=False)


def with_implicit_types(dataset: Dataset) -> None:
    dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian


def rescaled(dataset: Dataset) -> None:
    """Write the same HU with another rescale."""
    stored = dataset.pixel_array.astype(np.int16) + np.int16(24)
    dataset.PixelData = stored.tobytes()
    dataset.RescaleIntercept = float(dataset.RescaleIntercept) - 24


def sent_again(folder: Path, change, names: str = "CT_*.dcm") -> int:
    files = sorted(folder.glob(names))
    for path in files:
        dataset = pydicom.dcmread(path)
        change(dataset)
        implicit = dataset.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
        dataset.save_as(folder / f"again_{path.name}", implicit_vr=implicit, little_endian=True)
    return len(files)


@pytest.mark.parametrize(
    "change", [with_other_elements, compressed, with_implicit_types, rescaled, lambda dataset: None]
)
@pytest.mark.parametrize("names", ["CT_*.dcm", "CT_0006.dcm"], ids=["all", "one"])
def test_slices_that_were_sent_again_are_read_once_and_told(series_folder: Path, change, names) -> None:
    count = sent_again(series_folder, change, names)
    series = read_series(series_folder)
    assert np.array_equal(series.volume.array, phantom().array)
    assert len(set(series.sop_instance_uids)) == len(series.sop_instance_uids) == 6
    (note,) = series.notes
    assert note.startswith(f"{count} slice{'s are' if count > 1 else ' is'} there more than once")


def other_pixel(dataset: Dataset) -> None:
    stored = dataset.pixel_array.copy()
    stored[3, 4] += 1
    dataset.PixelData = stored.tobytes()


def other_rescale(dataset: Dataset) -> None:
    dataset.RescaleIntercept = float(dataset.RescaleIntercept) + 10


def other_spacing(dataset: Dataset) -> None:
    dataset.PixelSpacing = [0.9, 0.71]


def other_direction(dataset: Dataset) -> None:
    dataset.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]


@pytest.mark.parametrize("change", [other_pixel, other_rescale, other_spacing, other_direction])
def test_two_versions_of_a_slice_are_refused_with_both_names(series_folder: Path, change) -> None:
    sent_again(series_folder, change, "CT_0002.dcm")
    first, second = (series_folder / name for name in ("CT_0002.dcm", "again_CT_0002.dcm"))
    with raises_error(InputError, "instance-differs", first, path=second):
        read_series(series_folder)


def test_an_enhanced_ct_that_was_sent_again_is_read_once(series_folder: Path, tmp_path: Path) -> None:
    enhance(series_folder, tmp_path / "enhanced" / "one.dcm")
    sent_again(tmp_path / "enhanced", compressed, "one.dcm")
    series = read_series(tmp_path / "enhanced")
    assert np.array_equal(series.volume.array, phantom().array)
    assert len(series.notes) == 1


def test_equal_slices_with_uids_of_their_own_are_not_taken_for_copies(series_folder: Path) -> None:
    sent_again(series_folder, lambda dataset: setattr(dataset, "SOPInstanceUID", generate_uid()))
    with raises_error(InputError, "slices-coincide"):
        read_series(series_folder)
