"""The distance to the nearest tumour, at every level, where there is no contact."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from twintrack.invasion import measure_invasion
from twintrack.invasion.gap import FAR_MM, gaps_mm
from twintrack.volume import Geometry, Volume

TubeMaker = Callable[..., Any]
LEVELS = (0.1, 0.5, 0.9)


def slab(
    starts: int, *, level: float = 1.0, spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0), size: int = 48
) -> tuple[Volume, Volume]:
    """A vessel with flat sides, x from 4 to 8, along z, and tumour from x = `starts` on."""
    grid = Geometry((size, 12, 12), spacing_mm)
    vessel, tumor = np.zeros(grid.shape, np.uint8), np.zeros(grid.shape, np.float32)
    vessel[:, 2:10, 4:9] = 1
    tumor[:, 2:10, starts:] = level
    return Volume(tumor, grid), Volume(vessel, grid)


def gaps(probability: Volume, vessels: Volume, levels: tuple[float, ...] = LEVELS) -> tuple[float | None, ...]:
    whole = tuple(slice(0, n) for n in vessels.array.shape)
    return gaps_mm(probability, vessels.array == 1, whole, levels)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5), (2.5, 1.0, 1.0)])
@pytest.mark.parametrize("free", [0, 1, 2, 5])
def test_between_flat_sides_it_is_the_free_voxels(free: int, spacing_mm: tuple[float, float, float]) -> None:
    found = gaps(*slab(9 + free, spacing_mm=spacing_mm))
    assert found[1] == pytest.approx(free * spacing_mm[0], abs=0.2 * spacing_mm[0])
    assert found[1] is not None
    assert (found[0] or 0) <= found[1] <= (found[2] or 0)


@pytest.mark.parametrize("gap_mm", [2.5, 4.0, 7.0, 12.0])
@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.5)])
def test_of_an_analytic_tube_it_is_right_to_about_half_a_voxel(
    tube: TubeMaker, gap_mm: float, spacing_mm: tuple[float, float, float]
) -> None:
    case = tube(radius_mm=4.0, angle_deg=120, spacing_mm=spacing_mm, gap_mm=gap_mm)
    assert gaps(case.probability, case.vessel)[1] == pytest.approx(gap_mm, abs=0.7 * spacing_mm[0])


def test_tumor_over_the_vessel_leaves_no_gap_up_to_its_level() -> None:
    probability, vessels = slab(6, level=0.6)
    assert gaps(probability, vessels) == (0.0, 0.0, None)


def test_it_is_that_of_the_nearest_tumor_of_each_level() -> None:
    probability, vessels = slab(12, level=0.3)
    probability.array[:, :, 20:] = 0.7
    probability.array[6, 6, 30] = 1.0
    found = gaps(probability, vessels, (0.1, 0.25, 0.5, 0.69, 0.95))
    assert all(gap is not None for gap in found)
    assert np.all(np.diff(np.array(found, dtype=float)) >= 0)
    assert found[1] == pytest.approx(3, abs=0.5)
    assert found[2] == pytest.approx(11, abs=0.5)
    assert found[4] == pytest.approx(20.9, abs=0.5)


def test_what_is_too_far_away_has_no_distance() -> None:
    assert gaps(*slab(9 + 29, size=64))[1] == pytest.approx(29, abs=0.2)
    assert gaps(*slab(9 + int(FAR_MM) + 2, size=64)) == (None, None, None)
    assert gaps(*slab(48)) == (None, None, None)


def test_tumor_that_goes_on_beyond_the_distance_changes_nothing() -> None:
    probability, vessels = slab(20, size=96, level=0.4)
    probability.array[:, :, 24:] = 0.8
    probability.array[:, :, :2] = 0.3
    grid = Geometry((96, 80, 80), (1.0, 1.0, 1.0))
    wide, small = np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.uint8)
    wide[:, :, 20:], small[38:42, 38:42, 4:9] = 0.9, 1
    assert gaps(probability, vessels, (0.1, 0.35, 0.6)) == pytest.approx((1.6, 10.9, 15), abs=0.5)
    assert gaps(Volume(wide, grid), Volume(small, grid), (0.5, 0.85)) == pytest.approx((11, 11.4), abs=0.5)
    wide[:, :, :37] = 0
    assert gaps(Volume(wide, grid), Volume(small, grid), (0.5, 0.85)) == pytest.approx((28, 28.4), abs=0.5)


def test_it_does_not_depend_on_what_else_is_in_the_map() -> None:
    rng = np.random.default_rng(5)
    grid = Geometry((40, 40, 30), (0.9, 0.9, 1.5))
    field = np.clip(rng.normal(0.2, 0.3, grid.shape), 0, 1).astype(np.float32)
    vessel = np.zeros(grid.shape, np.uint8)
    vessel[:, 18:22, 18:22] = 1
    field[:, 12:28, 12:28] = 0
    levels = tuple(np.linspace(0.1, 0.95, 12).tolist())
    found = gaps(Volume(field, grid), Volume(vessel, grid), levels)
    for level, gap in zip(levels, found, strict=True):
        alone = np.where(field >= level, field, 0).astype(np.float32)
        # Without the lower voxels the map falls to 0, so that its surface is a part of a voxel further in or out.
        (only,) = gaps(Volume(alone, grid), Volume(vessel, grid), (level,))
        assert gap == pytest.approx(only, abs=1.5)


@pytest.mark.parametrize("gap_mm", [0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0])
@pytest.mark.parametrize("contact_mm", [1.0, 1.9, 3.0])
def test_gap_and_angle_agree_on_contact(tube: TubeMaker, gap_mm: float, contact_mm: float) -> None:
    case = tube(radius_mm=4.0, angle_deg=120, spacing_mm=(0.8, 0.8, 1.0), gap_mm=gap_mm)
    vessel = measure_invasion(case.probability, case.vessel, {"SMA": 1}, contact_mm=contact_mm).vessels["SMA"]
    for angle, gap in zip(vessel.angle_deg, vessel.gap_mm, strict=True):
        assert angle is not None
        assert gap is not None
        assert gap <= contact_mm if angle > 0 else gap >= contact_mm


def test_of_a_vessel_that_is_not_there_there_is_none(tube: TubeMaker) -> None:
    case = tube(radius_mm=4.0, angle_deg=120, spacing_mm=(1.0, 1.0, 1.0))
    found = measure_invasion(case.probability, case.vessel, {"SMA": 1, "AORTA": 3}).to_json()
    assert set(found["vessels"]["AORTA"]["gap_mm"]) == {None}
