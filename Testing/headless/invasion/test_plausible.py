"""What can be the vessel of its name, and what cannot."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.invasion.plausible import plausible_vessels
from twintrack.io.volumes import read_volume
from twintrack.labels import VESSEL_VALUES
from twintrack.phantom import make_phantom
from twintrack.volume import Geometry, Volume

GRID = Geometry((80, 80, 60), (1.5, 1.5, 2.0))
DATA = os.environ.get("TWINTRACK_TEST_DATA")


def shape(radii_mm: tuple[float, float, float], center: tuple[int, int, int] = (40, 40, 30)) -> np.ndarray:
    """An ellipsoid, (z, y, x)."""
    z, y, x = np.indices(GRID.shape)
    place = [(axis - c) * s for axis, c, s in zip((x, y, z), center, GRID.spacing_mm, strict=True)]
    return sum((p / r) ** 2 for p, r in zip(place, radii_mm, strict=True)) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("seed", [200, 205, 211])
def test_the_vessels_of_phantoms_pass_untouched(seed) -> None:
    vessels = make_phantom(seed).vessels
    found, notes = plausible_vessels(vessels, VESSEL_VALUES)
    assert found is vessels
    assert notes == ()


@pytest.mark.skipif(DATA is None, reason="TWINTRACK_TEST_DATA is not set")
@pytest.mark.parametrize(
    ("file", "name"), [("aorta", "AORTA"), ("celiac_trunk", "CELIAC"), ("superior_mesenteric_artery", "SMA")]
)
def test_real_vessels_pass(file, name) -> None:
    mask = read_volume(Path(str(DATA)) / "data" / "aorta" / f"{file}.nii.gz")
    found, _ = plausible_vessels(mask.with_array(mask.array.astype(np.int32)), {name: 1})
    assert np.array_equal(found.array != 0, mask.array != 0)


@pytest.mark.parametrize(
    ("radii_mm", "name", "limit"),
    [
        ((12, 12, 12), "SMV", "tube"),
        ((50, 50, 50), "PORTA", "100 mL"),
        ((18, 18, 45), "CELIAC", "40 mL"),
        ((17, 17, 24), "SMA", "30 mm"),
    ],
    ids=["a tumour", "a liver", "a kidney", "a lymph node"],
)
def test_organs_and_tumors_are_no_vessels(radii_mm, name, limit) -> None:
    with raises_error(InputError, "vessel-implausible", name, limit):
        plausible_vessels(Volume(shape(radii_mm).astype(np.int32), GRID), {name: 1})


def test_a_vessel_that_the_volume_cuts_is_not_judged_by_its_length() -> None:
    cut = shape((12, 12, 12), center=(40, 40, 4)).astype(np.int32)  # 8 mm below its middle the volume ends
    found, _ = plausible_vessels(Volume(cut, GRID), {"AORTA": 1})
    assert np.array_equal(found.array, cut)
    with raises_error(InputError, "vessel-implausible"):  # the same piece away from the border
        plausible_vessels(Volume(np.roll(cut, 20, axis=0), GRID), {"AORTA": 1})


def test_stray_voxels_are_left_out_and_told_and_noise_is_refused() -> None:
    array = shape((5, 5, 50)).astype(np.int32)
    strays = array.copy()
    strays[::12, ::12, ::12] = np.where(strays[::12, ::12, ::12] == 0, 1, strays[::12, ::12, ::12])
    found, (note,) = plausible_vessels(Volume(strays, GRID), {"SMV": 1})
    assert np.array_equal(found.array, array)
    assert "of SMV below 60 mm3 left out" in note
    noise = np.zeros(GRID.shape, np.int32)
    for start in np.ndindex(6, 6, 5):
        corner = tuple(9 * n + 1 for n in start)
        noise[tuple(slice(c, c + 3) for c in corner)] = 1
    with raises_error(InputError, "vessel-implausible"):
        plausible_vessels(Volume(noise, GRID), {"SMV": 1})


def test_vessels_of_other_names_are_not_judged() -> None:
    large = Volume(shape((50, 50, 50)).astype(np.int32), GRID)
    assert plausible_vessels(large, {"IVC": 1}) == (large, ())


def test_a_stray_voxel_at_the_border_does_not_hide_a_ball() -> None:
    ball = shape((12, 12, 12)).astype(np.int32)
    ball[0, 0, 0] = 1
    with raises_error(InputError, "vessel-implausible"):
        plausible_vessels(Volume(ball, GRID), {"PORTA": 1})


def test_a_large_label_takes_no_large_memory() -> None:
    tube = shape((5, 5, 50)).astype(np.int32) * 900_000_000
    found, _ = plausible_vessels(Volume(tube, GRID), {"AORTA": 900_000_000})
    assert found.array.max() == 900_000_000
