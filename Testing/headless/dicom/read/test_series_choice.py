"""A folder or ZIP archive with several series lists them, one is chosen by its UID; what is no slice does not count."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import UID, generate_uid
from small_series import phantom

from expected_errors import raises_error
from twintrack.dicom import is_dicom_input, read_series, write_ct_series
from twintrack.errors import InputError

pytestmark = pytest.mark.process

SCREEN_SHOT = UID("1.2.840.10008.5.1.4.1.1.7")


def zipped(folder: Path, path: Path, inner: str = "study/series 1") -> Path:
    """Pack the files of `folder` into the ZIP archive `path`."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for item in sorted(folder.iterdir()):
            archive.write(item, f"{inner}/{item.name}")
    return path


@pytest.fixture
def two_series(series_folder: Path, tmp_path: Path) -> dict[str, str]:
    """Add a second series with other values to the folder of the first; return the UID of each by its description."""
    first = pydicom.dcmread(series_folder / "CT_0001.dcm").SeriesInstanceUID
    second = phantom()
    for path in write_ct_series(second.with_array(second.array + 1), tmp_path / "other", description="second phase"):
        shutil.copy(path, series_folder / f"other-{path.name}")
    return {"good series": first, "second phase": pydicom.dcmread(path).SeriesInstanceUID}


def test_two_series_are_both_listed_and_the_option_is_named(series_folder: Path, two_series) -> None:
    with pytest.raises(InputError) as caught:
        read_series(series_folder)
    for description, uid in two_series.items():
        assert f"{uid} '{description}', CT, 6 files" in str(caught.value)
    assert "--series-uid" in str(caught.value)
    assert "Phantom" not in str(caught.value)


def test_the_uid_picks_one_of_several_in_a_folder_and_in_a_zip(series_folder: Path, tmp_path: Path, two_series) -> None:
    packed = zipped(series_folder, tmp_path / "both.zip")
    for place in (series_folder, packed):
        for added, (description, uid) in enumerate(two_series.items()):
            series = read_series(place, series_uid=uid)
            assert series.series_uid == uid
            assert series.description == description
            assert np.array_equal(series.volume.array, phantom().array + added)


def test_a_uid_that_is_not_there_lists_those_that_are(series_folder: Path, two_series) -> None:
    with raises_error(InputError, "series-unknown", "UID", "'1.2.3'"):
        read_series(series_folder, series_uid="1.2.3")


def test_a_file_of_another_series_than_the_uid_is_refused(series_folder: Path, two_series) -> None:
    with raises_error(InputError, "series-unknown"):
        read_series(series_folder / "CT_0001.dcm", series_uid=two_series["second phase"])


def test_a_zip_gives_what_its_folder_gives(series_folder: Path, tmp_path: Path) -> None:
    packed = zipped(series_folder, tmp_path / "a scan.zip")
    assert is_dicom_input(packed)
    series = read_series(packed)
    assert np.array_equal(series.volume.array, phantom().array)
    assert series.volume.geometry.same_grid(phantom().geometry)
    assert all(path.exists() for path in series.files)


def test_the_unpacked_files_live_as_long_as_the_series(series_folder: Path, tmp_path: Path) -> None:
    series = read_series(zipped(series_folder, tmp_path / "scan.zip"))
    path = series.files[0]
    assert path.exists()
    del series
    assert not path.exists()


def test_files_of_an_archive_are_told_by_their_place_in_it(series_folder: Path, tmp_path: Path) -> None:
    bad = series_folder / "CT_0004.dcm"
    bad.write_bytes(bad.read_bytes()[:400])
    with pytest.raises(InputError) as caught:
        read_series(zipped(series_folder, tmp_path / "scan.zip"))
    assert str(tmp_path / "scan.zip" / "study" / "series 1" / "CT_0004.dcm") in str(caught.value)


@pytest.mark.parametrize(
    "name", ["../../outside.dcm", "/absolute.dcm", "..\\outside.dcm", "a/../../b.dcm", "Größe 膵.dcm"]
)
def test_no_name_in_an_archive_leads_out_of_its_folder(series_folder: Path, tmp_path: Path, name: str) -> None:
    packed = tmp_path / "inner" / "scan.zip"
    packed.parent.mkdir()
    with zipfile.ZipFile(packed, "w") as archive:
        for item in sorted(series_folder.iterdir()):
            archive.writestr(name.replace(".dcm", f"{item.name}"), item.read_bytes())
    before = sorted(tmp_path.rglob("*"))
    assert np.array_equal(read_series(packed).volume.array, phantom().array)
    assert sorted(tmp_path.rglob("*")) == before


def test_damaged_and_encrypted_archives_are_refused(series_folder: Path, tmp_path: Path) -> None:
    content = bytearray(zipped(series_folder, tmp_path / "good.zip").read_bytes())
    content[200:260] = bytes(60)
    (tmp_path / "bad.zip").write_bytes(content)
    with raises_error(InputError, "archive-damaged", "bad.zip"):
        read_series(tmp_path / "bad.zip")
    (tmp_path / "cut.zip").write_bytes(content[: len(content) // 2])
    with raises_error(InputError, "not-dicom", "cut.zip"):
        read_series(tmp_path / "cut.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    with raises_error(InputError, "no-dicom-files", "DICOM", "ZIP"):
        read_series(tmp_path / "empty.zip")


def scout(dataset) -> None:
    """Turn a slice into a scout of a series of its own."""
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    dataset.SeriesDescription = "Topogram"
    dataset.SeriesInstanceUID = generate_uid()
    dataset.SOPInstanceUID = generate_uid()
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]


def scout_of_the_same_series(dataset) -> None:
    uid = dataset.SeriesInstanceUID
    scout(dataset)
    dataset.SeriesInstanceUID = uid


def dose_report(dataset) -> None:
    """Turn a slice into a dose report as a screen shot, of the same series, as some scanners store it."""
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = SCREEN_SHOT
    dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesDescription = "Dose Report"
    for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(dataset, keyword)


def dose_report_of_its_own(dataset) -> None:
    dose_report(dataset)
    dataset.SeriesInstanceUID = generate_uid()


@pytest.mark.parametrize("change", [scout, scout_of_the_same_series, dose_report, dose_report_of_its_own])
def test_scouts_and_dose_reports_are_passed_over(series_folder: Path, edit, change) -> None:
    shutil.copy(series_folder / "CT_0001.dcm", series_folder / "extra.dcm")
    edit(series_folder / "extra.dcm", change)
    series = read_series(series_folder)
    assert np.array_equal(series.volume.array, phantom().array)
    assert "extra.dcm" not in [path.name for path in series.files]


def test_a_scout_given_by_itself_is_refused_for_what_it_is(series_folder: Path, edit) -> None:
    shutil.copy(series_folder / "CT_0001.dcm", series_folder / "scout.dcm")
    edit(series_folder / "scout.dcm", scout)
    with raises_error(InputError, "single-slice"):
        read_series(series_folder / "scout.dcm")


def test_a_slice_of_another_frame_of_reference_is_named(series_folder: Path, edit) -> None:
    edit(series_folder / "CT_0003.dcm", lambda dataset: setattr(dataset, "FrameOfReferenceUID", generate_uid()))
    with raises_error(InputError, "slices-differ", "CT_0003.dcm"):
        read_series(series_folder)
