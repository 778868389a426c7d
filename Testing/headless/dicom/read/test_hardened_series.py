"""Series that are no regular stack are resampled where that is sound, say so, and give results back slice by slice.

The analytic answer: HU that are linear in patient space are reproduced exactly by linear interpolation, so that every
voxel of the grid must hold the field's value at the voxel's own place.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import generate_uid
from small_series import oblique_direction, phantom

from expected_errors import raises_error
from twintrack.dicom import read_series, write_ct_series
from twintrack.dicom.read.hounsfield import AIR_HU
from twintrack.errors import InputError
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.process

COLUMNS, ROWS = 24, 20
SPACING_MM = (0.75, 1.25)


def field_hu(points_mm: np.ndarray) -> np.ndarray:
    """Return HU that rise linearly, and differently, along the three patient axes."""
    return 3.0 * points_mm[..., 0] - 5.0 * points_mm[..., 1] + 2.0 * points_mm[..., 2] + 40.0


def write_field(folder: Path, edit, offsets_mm: Sequence[Sequence[float]], direction: np.ndarray | None = None) -> None:
    """Write slices of the field that start at the `offsets_mm` along the axes (i, j, k)."""
    cosines = np.eye(3) if direction is None else direction
    geometry = Geometry((COLUMNS, ROWS, len(offsets_mm)), (*SPACING_MM, 1.0), (5.0, -7.0, 30.0), tuple(cosines.ravel()))
    volume = Volume(np.zeros(geometry.shape, np.int16), geometry)
    i, j = np.meshgrid(np.arange(COLUMNS), np.arange(ROWS))
    in_plane = np.stack([i * SPACING_MM[0], j * SPACING_MM[1], np.zeros_like(i, dtype=float)], axis=-1)
    for path, offset in zip(write_ct_series(volume, folder, description="field"), offsets_mm, strict=True):

        def place(dataset, offset=offset) -> None:
            start = np.array([5.0, -7.0, 30.0]) + cosines @ np.asarray(offset, dtype=float)
            dataset.ImagePositionPatient = [round(float(value), 8) for value in start]
            hu = field_hu(start + in_plane @ cosines.T)
            # 64 steps for each HU keep the rounding of the stored values below what the test sees.
            dataset.RescaleSlope, dataset.RescaleIntercept = str(1 / 64), "0"
            dataset.PixelData = np.rint(hu * 64).astype("<i2").tobytes()

        edit(path, place)


def tilted(tilt_deg: float, count: int = 8, distance_mm: float = 2.5) -> list[tuple[float, float, float]]:
    return [(0.0, k * distance_mm * np.tan(np.deg2rad(tilt_deg)), k * distance_mm) for k in range(count)]


def uneven(*along_mm: float) -> list[tuple[float, float, float]]:
    return [(0.0, 0.0, value) for value in along_mm]


@pytest.mark.parametrize("direction", [np.eye(3), np.diag([-1.0, -1.0, 1.0]), oblique_direction()], ids=range(3))
@pytest.mark.parametrize(
    ("offsets", "words"),
    [
        (tilted(17.0), "sheared by 17.0 degrees (gantry tilt)"),
        (tilted(-8.5), "sheared by 8.5 degrees (gantry tilt)"),
        (uneven(0, 2, 4, 8, 10), "between slices 3 and 4 (1 slice missing)"),
        (uneven(0, 2, 4, 5, 6, 7), "even distances"),
        (uneven(0, 1.5, 3, 4.5, 6.6), "between slices 4 and 5 (uneven slice distance)"),
        ([tilted(12.0)[k] for k in (0, 1, 3, 4, 5)], "1 slice missing"),
    ],
    ids=["tilt", "tilt-back", "missing", "two-spacings", "last-off", "tilt-missing"],
)
def test_every_voxel_has_the_value_of_its_place(tmp_path: Path, edit, offsets, words: str, direction) -> None:
    write_field(tmp_path / "ct", edit, offsets, direction)
    series = read_series(tmp_path / "ct")
    volume = series.volume
    assert words in " ".join(series.notes)
    k, j, i = np.indices(volume.array.shape)
    truth = field_hu(volume.geometry.to_lps_mm(np.stack([i, j, k], axis=-1)))
    right = np.abs(volume.array - truth) < 0.05
    for plane, good in zip(volume.array, right, strict=True):
        # What a tilted stack does not reach is air; in the last pixel before that its edge is repeated.
        rows = np.flatnonzero((plane != AIR_HU).any(axis=1))
        assert len(rows) >= ROWS
        assert good[rows[0] + 2 : rows[-1] - 1].all()


@pytest.mark.parametrize("offsets", [tilted(17.0), tilted(-8.5), uneven(0, 2, 4, 8, 10)], ids=["tilt", "back", "gap"])
def test_results_come_back_to_the_slices(tmp_path: Path, edit, offsets) -> None:
    write_field(tmp_path / "ct", edit, offsets)
    series = read_series(tmp_path / "ct")
    k, j, i = np.indices(series.volume.array.shape)
    points = series.volume.geometry.to_lps_mm(np.stack([i, j, k], axis=-1))
    on_slices = series.on_slices(field_hu(points).astype(np.float32))
    assert on_slices.shape == (len(offsets), ROWS, COLUMNS)
    for index, offset in enumerate(offsets):
        j, i = np.indices((ROWS, COLUMNS))
        place = np.stack([i * SPACING_MM[0], j * SPACING_MM[1], 0.0 * i], axis=-1) + offset + [5.0, -7.0, 30.0]
        assert np.allclose(on_slices[index], field_hu(place), atol=0.05)
        assert np.allclose(series.positions_mm[index], place[0, 0], atol=1e-6)


def test_a_mask_comes_back_to_the_slices_as_a_mask(tmp_path: Path, edit) -> None:
    write_field(tmp_path / "ct", edit, tilted(10.0))
    series = read_series(tmp_path / "ct")
    mask = np.zeros(series.volume.array.shape, dtype=bool)
    mask[2:5, 8:14, 6:15] = True
    back = series.on_slices(mask)
    assert back.dtype == bool
    assert back.sum() == mask.sum()  # shifted by rows, by half a pixel at most
    for k in range(len(back)):
        rows = np.flatnonzero(back[k].any(axis=1))
        if mask[k].any():
            shift = series.layout.shift_ij[k, 1]
            assert abs(rows[0] - (8 - shift)) <= 0.5


def test_a_regular_series_is_never_resampled(series_folder: Path) -> None:
    series = read_series(series_folder)
    assert series.layout is None
    assert series.notes == ()
    assert np.array_equal(series.volume.array, phantom().array)
    assert series.on_slices(series.volume.array) is series.volume.array


def test_whole_hu_stay_whole(series_folder: Path) -> None:
    (series_folder / "CT_0003.dcm").unlink()
    series = read_series(series_folder)
    assert series.volume.array.dtype == np.int16
    assert series.volume.geometry.same_grid(phantom().geometry)
    kept = [0, 1, 3, 4, 5]
    assert np.array_equal(series.volume.array[kept], phantom().array[kept])
    middle = phantom().array[[1, 3]].astype(float).mean(axis=0)
    assert np.abs(series.volume.array[2] - middle).max() <= 0.5


@pytest.mark.parametrize(
    ("along_mm", "words"),
    [
        ((0, 2, 4, 10, 12), "2 slices missing between CT_0003.dcm at 34.00 mm and CT_0004.dcm at 40.00 mm"),
        ((0, 2, 4, 9.5, 12), "uneven slice distance between CT_0003.dcm"),
        ((0, 0.5, 1.0, 5.5, 10.0), "between CT_0003.dcm"),
    ],
    ids=["wide", "wide-uneven", "mostly-made-up"],
)
def test_what_would_be_invention_is_refused_with_the_slices(tmp_path: Path, edit, along_mm, words: str) -> None:
    write_field(tmp_path / "ct", edit, uneven(*along_mm))
    with pytest.raises(InputError) as caught:
        read_series(tmp_path / "ct")
    assert words in str(caught.value)
    assert "of 5; usual distance" in str(caught.value)


def test_copies_of_a_slice_do_not_matter_and_other_slices_at_its_place_do(series_folder: Path, edit) -> None:
    (series_folder / "copy.dcm").write_bytes((series_folder / "CT_0002.dcm").read_bytes())
    assert np.array_equal(read_series(series_folder).volume.array, phantom().array)
    edit(series_folder / "copy.dcm", lambda dataset: setattr(dataset, "SOPInstanceUID", generate_uid()))
    with raises_error(InputError, "slices-coincide"):
        read_series(series_folder)
