"""A volume written as a CT series comes back voxel for voxel, and the files keep to the standard."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from small_series import all_axis_directions, oblique_direction, phantom

from expected_errors import raises_error
from twintrack.dicom import read_series, write_ct_series
from twintrack.errors import InputError, OutputError
from twintrack.volume import Volume


@pytest.mark.process
@pytest.mark.parametrize("direction", all_axis_directions(), ids=lambda d: "".join(f"{v:+.0f}"[:2] for v in d.sum(0)))
def test_every_flip_and_permutation_of_axes_comes_back_exactly(tmp_path: Path, direction: np.ndarray) -> None:
    volume = phantom(direction)
    write_ct_series(volume, tmp_path / "ct", description="round trip")
    back = read_series(tmp_path / "ct").volume
    restored = back.restored_to(volume.geometry)
    assert np.array_equal(restored.array, volume.array)
    assert np.linalg.det(back.geometry.direction_matrix) == pytest.approx(1.0)
    # An independent way: the brightest voxel lies at the same point of the patient.
    brightest = np.array(np.unravel_index(back.array.argmax(), back.array.shape))[::-1]
    assert np.allclose(back.geometry.to_lps_mm(brightest), volume.geometry.origin_mm, atol=1e-6)


@pytest.mark.process
def test_an_oblique_series_comes_back_exactly(tmp_path: Path) -> None:
    volume = phantom(oblique_direction())
    write_ct_series(volume, tmp_path / "ct", description="oblique")
    back = read_series(tmp_path / "ct").volume
    assert np.allclose(back.geometry.affine, volume.geometry.affine, atol=1e-6)
    assert np.array_equal(back.array, volume.array)


@pytest.mark.process
def test_hu_are_rounded_to_the_nearest_integer(tmp_path: Path) -> None:
    volume = phantom()
    noise = np.random.default_rng(1).uniform(-0.49, 0.49, volume.array.shape)
    write_ct_series(volume.with_array(volume.array + noise), tmp_path / "ct", description="rounded")
    back = read_series(tmp_path / "ct").volume
    assert back.array.dtype == np.int16
    assert np.array_equal(back.array, volume.array)


@pytest.mark.process
@pytest.mark.parametrize("direction", [np.eye(3), oblique_direction(), -np.eye(3)], ids=["axial", "oblique", "flipped"])
def test_the_standard_finds_no_error(tmp_path: Path, dicom_errors, direction: np.ndarray) -> None:
    for path in write_ct_series(phantom(direction), tmp_path / "ct", description="checked"):
        assert dicom_errors(path) == []


def test_the_series_says_that_it_is_synthetic(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(write_ct_series(phantom(), tmp_path / "ct", description="demo")[0])
    assert str(dataset.PatientName) == "TwinTrack^Phantom"
    assert "not of a patient" in dataset.ImageComments
    assert dataset.SeriesDescription == "demo"


@pytest.mark.process
def test_equal_seeds_give_equal_uids_and_others_differ(tmp_path: Path) -> None:
    def uids(name: str, seed: str | None) -> set[str]:
        write_ct_series(phantom(), tmp_path / name, description="uids", uid_seed=seed)
        series = read_series(tmp_path / name)
        return {series.study_uid, series.series_uid, series.frame_of_reference_uid, *series.sop_instance_uids}

    first = uids("a", "7")
    assert len(first) == 9
    assert uids("b", "7") == first
    assert not uids("c", "8") & first
    assert not uids("d", None) & uids("e", None)


@pytest.mark.parametrize("value", [40000.0, -40000.0, np.nan, np.inf])
def test_values_that_a_ct_cannot_hold_are_refused_before_anything_is_written(tmp_path: Path, value: float) -> None:
    array = phantom().array.astype(np.float32)
    array[1, 2, 3] = value
    with raises_error(InputError, "hu-out-of-range"):
        write_ct_series(Volume(array, phantom().geometry), tmp_path / "ct", description="bad")
    assert list(tmp_path.iterdir()) == []


def test_too_long_a_description_is_refused(tmp_path: Path) -> None:
    with raises_error(InputError, "dicom-text", "64"):
        write_ct_series(phantom(), tmp_path / "ct", description="d" * 65)


def test_a_folder_with_files_is_left_alone(series_folder: Path) -> None:
    before = sorted(path.name for path in series_folder.iterdir())
    with raises_error(OutputError, "folder-not-empty"):
        write_ct_series(phantom(), series_folder, description="second")
    assert sorted(path.name for path in series_folder.iterdir()) == before
    assert [path.name for path in series_folder.parent.iterdir()] == ["ct"]


def test_an_empty_folder_is_taken_and_a_missing_parent_is_told(tmp_path: Path) -> None:
    (tmp_path / "ct").mkdir()
    assert len(write_ct_series(phantom(), tmp_path / "ct", description="x")) == 6
    with raises_error(OutputError, "not-writable"):
        write_ct_series(phantom(), tmp_path / "absent" / "ct", description="x")
