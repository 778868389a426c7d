"""What is measured once and kept while it is held, and which walls belong to another branch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from twintrack.imaging.plane_contact import bounding_box
from twintrack.invasion import wall_pieces
from twintrack.invasion.sections import Sections
from twintrack.invasion.wall_pieces import MeasuredVessel, measure_wall, without_other_branches
from twintrack.volume import Volume

TubeMaker = Callable[..., Any]


def measured(probability: Volume, vessel: Volume, contact_mm: float = 1.9) -> MeasuredVessel:
    mask = vessel.array > 0
    box = bounding_box(mask)
    assert box is not None
    return measure_wall(probability, mask[box], box, contact_mm, 0.01)


@pytest.fixture(scope="module")
def case(tube: TubeMaker) -> Any:
    return tube(radius_mm=3.0, angle_deg=150, spacing_mm=(1.0, 1.0, 1.5), size_mm=26.0, length_mm=8.0, seed=3)


def test_the_same_vessel_and_map_are_measured_once_while_the_wall_is_held(case: Any) -> None:
    first = measured(case.probability, case.vessel)
    again = measured(case.probability.with_array(case.probability.array.copy()), case.vessel)
    assert again.wall is first.wall
    assert (again.missed_level, again.notes, again.error_deg) == (first.missed_level, first.notes, first.error_deg)
    kept = len(wall_pieces._kept)
    del first, again
    assert len(wall_pieces._kept) == kept - 1


def test_what_differs_is_measured_anew(case: Any) -> None:
    first = measured(case.probability, case.vessel)
    assert measured(case.probability, case.vessel, contact_mm=2.0).wall is not first.wall
    lower = measured(case.probability.with_array(case.probability.array * np.float32(0.5)), case.vessel)
    assert lower.wall.level.max() == pytest.approx(0.5 * first.wall.level.max())
    wider = case.vessel.with_array(case.vessel.array.copy())
    wider.array[:, 1:] |= case.vessel.array[:, :-1]
    assert measured(case.probability, wider).wall is not first.wall


def test_levels_alone_are_the_same_levels(case: Any) -> None:
    """Members of an ensemble are measured so: what nobody is told of them is left out."""
    whole, mask = measured(case.probability, case.vessel), case.vessel.array > 0
    box = bounding_box(mask)
    assert box is not None
    alone = measure_wall(case.probability, mask[box], box, 1.9, 0.01, level_only=True)
    for table in (alone.wall.level, alone.wall.level_less, alone.wall.level_more):
        np.testing.assert_array_equal(table, whole.wall.level)
    np.testing.assert_array_equal(alone.wall.wall_mm, whole.wall.wall_mm)
    assert alone.missed_level == whole.missed_level
    assert (alone.wall.area_mm2.max(), bool(whole.wall.area_mm2.any())) == (0.0, True)


def straight(rng: np.random.Generator, start: tuple[float, float, float], radius_mm: float) -> Sections:
    """Return the sections of a branch along z with a wall that is rough, and open in places."""
    center = np.array(start) + np.arange(20)[:, None] * [0.0, 0.0, 0.5]
    angle = np.arange(36) * (2 * np.pi / 36)
    ray = np.stack([np.cos(angle), np.sin(angle), np.zeros(36)], axis=1)
    wall_mm = radius_mm * rng.uniform(0.9, 1.15, (20, 36))
    wall_mm[rng.random(wall_mm.shape) < 0.05] = np.nan
    shape = (20, 36)
    tangent = np.tile([0.0, 0.0, 1.0], (20, 1))
    return Sections(center, tangent, np.tile(ray, (20, 1, 1)), wall_mm, 0.5, np.zeros(shape, dtype=bool))


def nearer_elsewhere(sections: Sections, other: Sections) -> NDArray[np.bool_]:
    """Look at every point of the wall: is it, in radii, nearer to the other branch?"""
    points = sections.center_mm[:, None] + np.nan_to_num(sections.wall_mm)[..., None] * sections.direction
    gaps = np.linalg.norm(points[:, :, None] - other.center_mm, axis=-1)
    radius, others = (np.nanmedian(part.wall_mm, axis=1) for part in (sections, other))
    nearest = gaps.argmin(axis=2)
    return np.asarray(gaps.min(axis=2) / others[nearest] < sections.wall_mm / radius[:, None])


@pytest.mark.parametrize("away_mm", [2.0, 4.0, 5.5, 7.0, 30.0])
def test_a_wall_is_elsewhere_where_another_branch_is_nearer_in_radii(away_mm: float) -> None:
    rng = np.random.default_rng(int(away_mm))
    branches = [straight(rng, (0.0, 0.0, 0.0), 3.0), straight(rng, (away_mm, 0.5, 0.1), 2.0)]
    found = without_other_branches(branches)
    for number, sections in enumerate(branches):
        expected = nearer_elsewhere(sections, branches[1 - number])
        assert np.array_equal(found[number].elsewhere, expected)
        assert expected.any() == (away_mm < 6)
