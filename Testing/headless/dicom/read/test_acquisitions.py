"""A CT is one pass over one patient in one study; what else lies under its UID is named, picked or refused."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid
from small_series import phantom

from expected_errors import raises_error
from twintrack.dicom import read_series, write_ct_series, write_segmentation
from twintrack.dicom.write.derived import Algorithm
from twintrack.errors import InputError
from twintrack.io.ct import load_ct

pytestmark = pytest.mark.process

STEP_MM = 2.5


def add_second(folder: Path, *, shift_mm: float, raise_hu: int = 100, **changes: object) -> None:
    """Add the slices of a second pass to a series, `shift_mm` higher and `raise_hu` brighter, under the same UID."""
    for number, path in enumerate(sorted(folder.glob("CT_*.dcm"))):
        dataset = pydicom.dcmread(path)
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.ImagePositionPatient[2] = float(dataset.ImagePositionPatient[2]) + shift_mm
        dataset.RescaleIntercept = float(dataset.RescaleIntercept) + raise_hu
        for keyword, value in changes.items():
            setattr(dataset, keyword, value)
        dataset.save_as(folder / f"second_{number}.dcm")


def stated(folder: Path, edit, **values: object) -> None:
    def change(dataset) -> None:
        for keyword, value in values.items():
            setattr(dataset, keyword, value)

    for path in folder.glob("CT_*.dcm"):
        edit(path, change)


def refusal(place: Path, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        read_series(place, **options)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 1200
    return text


@pytest.mark.parametrize("shift_mm", [1.25, 0.0, 10.0], ids=["interleaved", "same-places", "overlapping"])
def test_two_acquisitions_over_the_same_place_are_named_and_one_is_picked(series_folder, edit, shift_mm) -> None:
    stated(series_folder, edit, AcquisitionNumber=1, AcquisitionTime="120000.5")
    add_second(series_folder, shift_mm=shift_mm, AcquisitionNumber=2, AcquisitionTime="120036.5")
    told = refusal(series_folder)
    assert "2 acquisitions over the same part of the patient" in told
    assert "2: 6 slices" in told
    assert "36 s after the first" in told
    assert "--acquisition N" in told
    for number, added in ((1, 0), (2, 100)):
        series = read_series(series_folder, acquisition=number)
        assert np.array_equal(series.volume.array, phantom().array + added)
        assert series.acquisition == number
        assert load_ct(series_folder, None, number).volume.geometry.same_grid(series.volume.geometry)
    assert "has no acquisition 3; it has 1: 6 slices" in refusal(series_folder, acquisition=3)


def test_acquisitions_that_follow_each_other_are_one_ct(series_folder, edit) -> None:
    for number, path in enumerate(sorted(series_folder.iterdir())):  # step and shoot: one a slice
        edit(path, lambda dataset, number=number: setattr(dataset, "AcquisitionNumber", number // 2))
    assert np.array_equal(read_series(series_folder).volume.array, phantom().array)


def test_passes_of_one_number_are_told_apart_by_their_time(series_folder, edit) -> None:
    stated(series_folder, edit, AcquisitionNumber=1, AcquisitionTime="120000")
    add_second(series_folder, shift_mm=1.25, AcquisitionTime="120040")
    assert "40 s after the first" in refusal(series_folder)
    assert np.array_equal(read_series(series_folder, acquisition=2).volume.array, phantom().array + 100)


def test_slices_of_two_patients_or_studies_are_refused_and_nobody_is_named(series_folder, edit, caplog) -> None:
    stated(series_folder, edit, PatientID="ID-ALPHA-1")
    add_second(series_folder, shift_mm=1.25, PatientID="ID-BETA-2")
    told = refusal(series_folder)
    assert "slices of 2 patients under one series UID" in told
    assert "ALPHA" not in told + caplog.text
    assert "BETA" not in told + caplog.text
    uid = generate_uid()
    for path in series_folder.glob("second_*.dcm"):
        edit(
            path,
            lambda dataset: [setattr(dataset, "PatientID", "ID-ALPHA-1"), setattr(dataset, "StudyInstanceUID", uid)],
        )
    told = refusal(series_folder)
    assert "slices of 2 studies under one series UID" in told
    assert uid not in told


@pytest.mark.parametrize("uid", ["kept", ""])
def test_two_series_numbers_under_one_uid_are_two_series(series_folder, edit, uid) -> None:
    changes = {} if uid else {"SeriesInstanceUID": ""}
    stated(series_folder, edit, SeriesNumber=2, SeriesDescription="A", **changes)
    add_second(series_folder, shift_mm=1.25, SeriesNumber=3, SeriesDescription="B", **changes)
    told = refusal(series_folder)
    assert "'A', CT, 6 files number 2" in told
    assert "'B', CT, 6 files number 3" in told
    for number, added in (("2", 0), ("3", 100)):
        assert np.array_equal(read_series(series_folder, series_uid=number).volume.array, phantom().array + added)
    assert np.array_equal(read_series(series_folder / "second_0.dcm").volume.array, phantom().array + 100)


def test_a_series_is_gathered_from_all_folders_below_as_from_a_zip_of_them(series_folder, tmp_path) -> None:
    # https://github.com/BIC-MNI/minc-tools/issues/74: exports whose files spill over into a sub-folder
    below = series_folder / "A" / "B"
    below.mkdir(parents=True)
    for path in sorted(series_folder.glob("CT_*.dcm"))[4:]:
        path.rename(below / path.name)
    (series_folder / "__MACOSX").mkdir()
    (series_folder / "__MACOSX" / "._CT_0001.dcm").write_bytes(b"\0\5\x16\7" + bytes(300))
    packed = tmp_path / "all.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        for path in series_folder.rglob("*.dcm"):
            archive.write(path, path.relative_to(series_folder))
    for place in (series_folder, packed, series_folder.parent):
        if place == series_folder.parent:
            packed.unlink()
        assert np.array_equal(read_series(place).volume.array, phantom().array)


def test_other_series_below_are_listed_and_copies_below_passed_over(series_folder, tmp_path) -> None:
    shutil.copytree(series_folder, series_folder / "copy")
    assert np.array_equal(read_series(series_folder).volume.array, phantom().array)
    write_ct_series(phantom(), series_folder / "other", description="another")
    assert "holds 2 series" in refusal(series_folder)


def test_one_instance_uid_for_all_slices_is_told_and_no_object_refers_to_it(series_folder, edit, tmp_path) -> None:
    uid = generate_uid()
    for path in series_folder.iterdir():
        edit(path, lambda dataset: setattr(dataset, "SOPInstanceUID", uid))
    series = read_series(series_folder)
    assert np.array_equal(series.volume.array, phantom().array)
    assert "6 slices have 1 SOPInstanceUID (a faulty anonymization)" in " ".join(series.notes)
    mask = series.volume.with_array(series.volume.array > 300)
    with raises_error(InputError, "instance-uids-shared", "DICOM"):
        write_segmentation(
            {"tumor": mask}, series, tmp_path / "seg.dcm", algorithm=Algorithm("a", "1", "ab" * 32, {}), threshold=0.5
        )
    assert not (tmp_path / "seg.dcm").exists()


def test_a_series_uid_for_each_slice_is_one_short_sentence(series_folder, edit) -> None:
    for number in range(3):
        add = series_folder.parent / f"more{number}"
        write_ct_series(phantom(), add, description="more")
        for path in add.iterdir():
            path.rename(series_folder / f"{number}_{path.name}")
    for path in series_folder.iterdir():
        edit(path, lambda dataset: setattr(dataset, "SeriesInstanceUID", generate_uid()))
    told = refusal(series_folder)
    assert "each of its 24 slices has a series UID of its own" in told
    assert len(told) < 400 + len(str(series_folder))


def test_many_series_are_listed_in_part(tmp_path) -> None:
    (tmp_path / "all").mkdir()
    for number in range(12):
        write_ct_series(phantom(), tmp_path / "all" / str(number), description=f"series {number}")
    told = refusal(tmp_path / "all")
    assert "holds 12 series" in told
    assert "and 4 more" in told


@pytest.mark.parametrize(
    ("description", "times", "expected"),
    [
        ("Abdomen nativ", None, "unenhanced CT"),
        ("WITHOUT CONTRAST 3.0", None, "unenhanced CT"),
        ("Oberbauch arteriell", None, "arterial phase"),
        ("art 1.0 B30f", None, "arterial phase"),
        ("Delayed 5 min", None, "delayed phase"),
        ("late arterial", None, None),
        ("Pankreasphase", None, None),
        ("portal venous", None, None),
        ("art + ven", None, None),
        ("Abdomen 2.0", None, None),
        ("Abdomen 2.0", ("101500", "101522.4"), "arterial phase"),
        ("Abdomen 2.0", ("101500", "101540"), None),
        ("Abdomen 2.0", ("101500", "101610"), None),
        ("Abdomen 2.0", ("101500", "102100"), "delayed phase"),
        ("portal venous", ("101500", "101522"), None),
    ],
)
def test_a_phase_in_which_the_pancreas_is_not_read_is_told(series_folder, edit, description, times, expected) -> None:
    values: dict[str, object] = {"SeriesDescription": description}
    if times is not None:
        values |= {"ContrastBolusStartTime": times[0], "AcquisitionTime": times[1]}
    stated(series_folder, edit, **values)
    notes = [note for note in load_ct(series_folder).notes if note.startswith("By its header")]
    assert len(notes) == (expected is not None)
    assert expected is None or expected in notes[0]


def test_slices_of_two_distances_are_not_called_incomplete(tmp_path, edit) -> None:
    write_ct_series(phantom(), tmp_path / "ct", description="two distances")
    files = sorted((tmp_path / "ct").iterdir(), key=lambda path: float(pydicom.dcmread(path).ImagePositionPatient[2]))
    # 2.5 mm three times, then 7.5 mm: a whole multiple, and no slice is missing.
    for path, along in zip(files, (0, 2.5, 5.0, 7.5, 15.0, 22.5), strict=True):
        edit(path, lambda dataset, along=along: dataset.ImagePositionPatient.__setitem__(2, -800.0 + along))
    told = refusal(tmp_path / "ct")
    assert "export the complete series" in told  # two gaps alone may be missing slices
    write_ct_series(phantom(), tmp_path / "more", description="more")
    more = sorted((tmp_path / "more").iterdir())
    uid = pydicom.dcmread(files[0]).SeriesInstanceUID
    study, frame = pydicom.dcmread(files[0]).StudyInstanceUID, pydicom.dcmread(files[0]).FrameOfReferenceUID
    for number, path in enumerate(more[:3]):
        dataset = pydicom.dcmread(path)
        dataset.SeriesInstanceUID, dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = uid, study, frame
        dataset.PatientID = pydicom.dcmread(files[0]).PatientID
        dataset.ImagePositionPatient[2] = -800.0 + 30.0 + 7.5 * number
        dataset.save_as(tmp_path / "ct" / f"z{number}.dcm")
    told = refusal(tmp_path / "ct")
    assert "complete" not in told
    assert "missing" not in told
    assert "the slices lie 2.50 to 7.50 mm apart" in told
    assert "more than 5 mm are not filled in" in told
