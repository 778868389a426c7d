"""Levels of the score, and a rater's own contact, on tubes whose contact is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.calibration.statements import ANGLES_DEG
from twintrack.errors import InputError
from twintrack.invasion import measure_invasion, rater_contact, score_levels
from twintrack.volume import Geometry, Volume

TubeMaker = Callable[..., Any]
NAMES = {"SMA": 1, "PORTA": 2}
SPACING = (1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def sector(tube: TubeMaker) -> Any:
    """A tube with 200 degrees of tumour at score 0.8."""
    return tube(radius_mm=5.0, angle_deg=200, spacing_mm=SPACING, level=0.8)


def levels(case: Any, **options: Any) -> Any:
    return score_levels(case.probability, case.vessel, NAMES, contact_mm=1.9, **options)


def test_levels_end_where_the_contact_does(sector: Any) -> None:
    found = levels(sector)["SMA"]
    over = dict(zip(ANGLES_DEG, found.over, strict=True))
    assert over[0] == pytest.approx(0.8, abs=0.02)
    assert over[180] > 0.6
    assert over[225] < 0.2
    assert (np.diff(found.over) <= 0).all()
    assert (found.gap_mm, found.far, found.hidden) == (0.0, 0, False)


def test_levels_follow_a_rising_map_of_the_score(sector: Any) -> None:
    squared = sector.probability.with_array(sector.probability.array**2)
    plain, other = levels(sector)["SMA"], score_levels(squared, sector.vessel, NAMES, contact_mm=1.9)["SMA"]
    # Inside the sector the score is even, so that levels are those of the voxels.
    assert other.over[: ANGLES_DEG.index(150)] == pytest.approx(
        np.square(plain.over[: ANGLES_DEG.index(150)]), abs=0.03
    )


@pytest.mark.parametrize(("gap_mm", "far"), [(3.6, 0), (7.0, 1)])
def test_without_contact_the_distance_is_told(tube: TubeMaker, gap_mm: float, far: int) -> None:
    case = tube(radius_mm=4.0, angle_deg=120, spacing_mm=SPACING, gap_mm=gap_mm, thickness_mm=6.0)
    found = levels(case)["SMA"]
    assert found.over[0] == 0
    assert gap_mm - 2.0 < found.gap_mm < gap_mm + 0.5  # the lowest level reaches a voxel beyond one half
    assert found.far == far


def test_a_vessel_that_is_not_there_or_was_not_searched_has_no_levels(sector: Any) -> None:
    assert levels(sector)["PORTA"] is None
    nothing = sector.probability.with_array(np.zeros_like(sector.probability.array))
    nowhere = nothing.with_array(np.zeros(nothing.array.shape, dtype=np.uint8))
    assert score_levels(nothing, sector.vessel, NAMES, contact_mm=1.9, searched=nowhere)["SMA"] is None


def test_the_region_must_lie_on_the_scores_grid(sector: Any) -> None:
    other = Volume(np.ones((3, 3, 3), dtype=np.uint8), Geometry((3, 3, 3), SPACING))
    with raises_error(InputError, "grid-differs"):
        levels(sector, searched=other)


@pytest.mark.parametrize("angle_deg", [0, 60, 150, 240, 360])
def test_a_raters_angle_is_that_of_the_measure(tube: TubeMaker, angle_deg: int) -> None:
    case = tube(radius_mm=5.0, angle_deg=angle_deg, spacing_mm=SPACING)
    mask = case.probability.with_array((case.probability.array >= 0.5).astype(np.uint8))
    found = rater_contact(mask, case.vessel, NAMES, contact_mm=1.9)
    measured = measure_invasion(
        mask.with_array(mask.array.astype(np.float32)), case.vessel, NAMES, thresholds=(0.5,), contact_mm=1.9
    )
    assert found["SMA"].angle_deg == measured.vessels["SMA"].angle_deg[0] == pytest.approx(angle_deg, abs=15)
    assert found["PORTA"] is None
