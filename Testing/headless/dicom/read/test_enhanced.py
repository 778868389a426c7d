"""An enhanced (multi-frame) CT gives the same volume as the single-frame series that holds the same slices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from enhanced_ct import enhance
from pydicom.uid import UID
from small_series import oblique_direction, phantom

from expected_errors import raises_error
from twintrack.dicom import read_series
from twintrack.errors import InputError

pytestmark = pytest.mark.process


@pytest.mark.parametrize("order", [None, [5, 4, 3, 2, 1, 0], [2, 0, 5, 1, 4, 3]], ids=["up", "down", "mixed"])
@pytest.mark.parametrize("compress", [False, True], ids=["native", "rle"])
def test_frames_are_slices(series_folder: Path, tmp_path: Path, edit, order, compress: bool) -> None:
    path = enhance(series_folder, tmp_path / "enhanced" / "one.dcm", order)
    if compress:
        edit(path, lambda dataset: dataset.compress(UID("1.2.840.10008.1.2.5"), generate_instance_uid=False))
    for place in (path, path.parent):
        series = read_series(place)
        assert np.array_equal(series.volume.array, phantom().array)
        assert series.volume.geometry.same_grid(phantom().geometry)
        numbers = order or list(range(6))
        assert list(series.frames) == [numbers.index(k) + 1 for k in range(6)]
        assert set(series.files) == {path}


def test_each_frame_has_its_own_rescale(series_folder: Path, tmp_path: Path) -> None:
    path = enhance(series_folder, tmp_path / "enhanced" / "one.dcm", per_frame_rescale=True)
    expected = phantom().array.astype(int) * 2 + np.arange(6)[:, None, None]
    assert np.array_equal(read_series(path).volume.array, expected)


def test_an_oblique_enhanced_ct_lies_where_its_slices_lie(tmp_path: Path) -> None:
    from twintrack.dicom import write_ct_series

    volume = phantom(oblique_direction())
    write_ct_series(volume, tmp_path / "ct", description="oblique")
    found = read_series(enhance(tmp_path / "ct", tmp_path / "enhanced" / "one.dcm")).volume
    assert found.geometry.same_grid(volume.geometry)
    assert np.array_equal(found.array, volume.array)


def test_an_enhanced_ct_in_two_parts_is_one_series(series_folder: Path, tmp_path: Path) -> None:
    enhance(series_folder, tmp_path / "enhanced" / "a.dcm", [0, 2, 4])
    enhance(series_folder, tmp_path / "enhanced" / "b.dcm", [1, 3, 5])
    series = read_series(tmp_path / "enhanced")
    assert np.array_equal(series.volume.array, phantom().array)
    assert [path.name for path in series.files] == ["a.dcm", "b.dcm"] * 3


def test_a_file_that_does_not_describe_its_frames_is_refused(series_folder: Path, tmp_path: Path, edit) -> None:
    path = enhance(series_folder, tmp_path / "enhanced" / "one.dcm")
    edit(path, lambda dataset: dataset.PerFrameFunctionalGroupsSequence.pop())
    with raises_error(InputError, "frames-undescribed"):
        read_series(path)


def test_a_cut_off_enhanced_ct_is_refused(series_folder: Path, tmp_path: Path) -> None:
    path = enhance(series_folder, tmp_path / "enhanced" / "one.dcm")
    path.write_bytes(path.read_bytes()[:-100])
    with raises_error(InputError, "dicom-damaged", "one.dcm"):
        read_series(path)
