"""Masks that are noise, and lumens that are narrow, bent or parted under the tumour."""

from __future__ import annotations

import numpy as np
import pytest

from analytic.cases import AnalyticCase, make_case_of
from analytic.kinds import Shape
from analytic.shapes import ball, planar, sector, straight
from twintrack.invasion import VesselInvasion, measure_invasion
from twintrack.invasion.centerline import MOST_BRANCHES, center_lines
from twintrack.invasion.geometry import Neighborhood
from twintrack.volume import Geometry, Volume

COMPLETED = "were completed"
UNCERTAIN = "its course under the tumour and the angle are uncertain"
TAKEN = "under the tumour the lumen narrows to"
MM = (1.0, 1.0, 1.0)


def measured(probability: Volume, vessel: Volume) -> VesselInvasion:
    return measure_invasion(probability, vessel, {"V": 1}, thresholds=[0.5]).vessels["V"]


def drawn(shape: Shape, seed: int) -> tuple[AnalyticCase, VesselInvasion]:
    case = make_case_of(shape, MM, np.random.default_rng(seed))
    return case, measured(case.probability, case.vessel)


def sharp_bend(radius_mm: float, tumor_mm: float, away_mm: float) -> Shape:
    """Return a vessel that turns by 90 degrees on a circle of 10 mm and a ball drawn over it, from its inner side."""
    arc_mm = 5 * np.pi
    vessel = planar([(35, 0), (arc_mm, 1 / 10), (35, 0)], 35 + arc_mm / 2, (radius_mm, radius_mm))
    return Shape(vessel, ball((away_mm, 0.0, 0.0), tumor_mm), overwrites=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize(("depth", "length_mm"), [(0.4, 8.0), (0.65, 6.0)])
def test_a_lumen_that_is_narrow_on_its_free_side_too_is_not_filled_up(
    seed: int, depth: float, length_mm: float
) -> None:
    vessel = straight(lambda z: np.repeat(4.5 * (1 - depth * np.exp(-((z / length_mm) ** 2)))[:, None], 2, axis=1))
    case, result = drawn(Shape(vessel, sector(vessel, azimuth_rad=1.0, angle_deg=160, length_mm=12)), seed)
    assert not any(COMPLETED in note for note in result.notes)
    assert result.angle_deg[0] == pytest.approx(case.truth(1.9).angle_deg, abs=20)


@pytest.mark.slow
def test_where_the_course_under_the_tumor_cannot_be_told_that_is_said() -> None:
    _, result = drawn(sharp_bend(4.5, tumor_mm=11, away_mm=10), 1)
    assert any(UNCERTAIN in note or TAKEN in note for note in result.notes)


def test_a_straight_dented_lumen_is_completed_without_that_doubt() -> None:
    vessel = straight((4.5, 4.5))
    case, result = drawn(Shape(vessel, ball((9.0, 0.0, 0.0), 10.0), overwrites=True), 1)
    assert any(COMPLETED in note for note in result.notes)
    assert not any(UNCERTAIN in note for note in result.notes)
    assert result.angle_deg[0] == pytest.approx(case.truth(1.9).angle_deg, abs=15)


@pytest.mark.slow
def test_a_vessel_parted_by_the_tumor_whose_course_cannot_be_told_is_said_to_be_narrowed() -> None:
    case, result = drawn(sharp_bend(4.5, tumor_mm=10, away_mm=3.7), 1)
    assert result.angle_deg[0] is not None
    assert result.angle_deg[0] < case.truth(1.9).angle_deg - 60
    assert any(TAKEN in note for note in result.notes)


@pytest.mark.slow
@pytest.mark.parametrize("edge_mm", [0.3, 1.0, 3.0])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_ragged_masks_under_a_tumor_are_measured_without_a_warning(seed: int, edge_mm: float) -> None:
    rng = np.random.default_rng(seed)
    grid = Geometry((18, 16, 14), (edge_mm, edge_mm, 2 * edge_mm))
    z, _, x = np.indices(grid.shape)
    vessel = (np.abs(x - 9) < 3) & (rng.random(grid.shape) < 0.8)
    tumor = z > 7
    result = measured(Volume(tumor.astype(np.float32), grid), Volume((vessel & ~tumor).astype(np.uint8), grid))
    assert result.present


@pytest.mark.slow
def test_a_mask_of_noise_has_its_longest_branches_only() -> None:
    grid = Geometry((20, 22, 24), (2.0, 2.0, 2.0))
    checkers = np.indices(grid.shape).sum(axis=0) % 2 == 0
    near = Neighborhood.around(np.zeros(grid.shape), checkers, grid, np.zeros(3, dtype=np.int64))
    assert len(center_lines(near, checkers)) == MOST_BRANCHES
    result = measured(Volume((~checkers).astype(np.float32), grid), Volume(checkers.astype(np.uint8), grid))
    assert any("branches like noise" in note for note in result.notes)
