"""The truth that the benchmarks of contact go by, where a closed formula exists, and the drawing of what has it."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from analytic import GRIDS, KINDS, Contact, Shape, contact, make_case, tissue_levels, touch_levels
from analytic.cases import TRUTH_STEP_MM
from analytic.kinds import arc_distance_mm
from analytic.shapes import Swept, ball, half_space, planar, sector, straight

RADIUS_MM, BALL_MM = 4.0, 11.0
DIRECTION_DEG = 1.0


def truth(shape: Shape, contact_mm: float = 1.5) -> Contact:
    wall = shape.vessel.wall_near(shape.tumor, contact_mm)
    if wall is None:
        return Contact(0.0, 0.0, 0.0)
    level = touch_levels(wall, lambda points: (shape.tumor(points) >= 0) * 1.0, contact_mm, TRUTH_STEP_MM)
    return contact(wall, level)


def tube(radius_mm: float = RADIUS_MM) -> Swept:
    return straight((radius_mm, radius_mm))


@pytest.mark.parametrize("angle_deg", [45, 90, 135, 180, 225, 270, 315, 360])
def test_a_sector_has_its_angle_length_and_area_whatever_the_contact_distance(angle_deg: float) -> None:
    shape = Shape(tube(), sector(tube(), azimuth_rad=0.7, angle_deg=angle_deg, length_mm=12.1))
    for contact_mm in (0.5, 1.5):
        found = truth(shape, contact_mm)
        assert found.angle_deg == pytest.approx(angle_deg, abs=DIRECTION_DEG)
        assert found.length_mm == pytest.approx(12.1, abs=0.26)
        assert found.area_mm2 == pytest.approx(np.deg2rad(angle_deg) * RADIUS_MM * 12.1, rel=0.03)


@pytest.mark.parametrize("angle_deg", [200, 260, 320])
def test_a_ball_over_more_than_half_a_tube_covers_the_arc_of_two_circles(angle_deg: float) -> None:
    distance = arc_distance_mm(RADIUS_MM, BALL_MM, angle_deg)
    found = truth(Shape(tube(), ball((0.0, distance, 0.0), BALL_MM)))
    assert found.angle_deg == pytest.approx(angle_deg, abs=DIRECTION_DEG)


@pytest.mark.parametrize("contact_mm", [0.5, 1.0, 1.5, 2.5])
@pytest.mark.parametrize("distance_mm", [14.0, RADIUS_MM + BALL_MM, 15.4])
def test_a_ball_beside_a_tube_is_met_by_radial_rays_up_to_the_contact_distance(
    contact_mm: float, distance_mm: float
) -> None:
    # The ray's far end reaches the ball where a wider tube would be cut, as long as it has not left the ball before.
    reached = RADIUS_MM + contact_mm
    cosine = (reached**2 + distance_mm**2 - BALL_MM**2) / (2 * reached * distance_mm)
    expected = 2 * np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    found = truth(Shape(tube(), ball((distance_mm, 0.0, 0.0), BALL_MM)), contact_mm)
    assert found.angle_deg == pytest.approx(expected, abs=2 * DIRECTION_DEG)
    # Along the tube the wall nearest to the ball counts.
    half = np.sqrt(max(BALL_MM**2 - (distance_mm - reached) ** 2, 0.0)) if cosine < 1 else 0.0
    assert found.length_mm == pytest.approx(2 * half, abs=0.51)


@pytest.mark.parametrize("contact_mm", [0.5, 1.5])
def test_a_tangent_plane_touches_as_far_as_the_ray_reaches_it(contact_mm: float) -> None:
    found = truth(Shape(tube(), half_space(0.3, RADIUS_MM, 15.0)), contact_mm)
    expected = 2 * np.degrees(np.arccos(RADIUS_MM / (RADIUS_MM + contact_mm)))
    assert found.angle_deg == pytest.approx(expected, abs=2 * DIRECTION_DEG)
    assert found.area_mm2 == pytest.approx(np.deg2rad(expected) * RADIUS_MM * 15.0, rel=0.05)


@pytest.mark.parametrize("gap_mm", [0.0, 0.5, 1.25, 2.5])
def test_a_gap_is_contact_up_to_the_contact_distance_and_none_beyond(gap_mm: float) -> None:
    shape = Shape(tube(), sector(tube(), azimuth_rad=1.0, angle_deg=270, length_mm=12, gap_mm=gap_mm))
    assert truth(shape, gap_mm + 0.2).angle_deg == pytest.approx(270, abs=DIRECTION_DEG)
    if gap_mm > 0.2:
        assert truth(shape, gap_mm - 0.2) == Contact(0.0, 0.0, 0.0)


@pytest.mark.slow
def test_the_wall_of_a_bend_is_as_large_as_pappus_says_and_larger_on_its_outer_side() -> None:
    bend_mm, arc_mm = 15.0, 20.0
    bend = planar([(30.0, 0.0), (arc_mm, 1 / bend_mm), (30.0, 0.0)], 40.0, (RADIUS_MM, RADIUS_MM))
    outside, inside = (
        truth(Shape(bend, sector(bend, azimuth_rad=turn, angle_deg=180, length_mm=12.1))) for turn in (np.pi, 0.0)
    )
    assert outside.angle_deg == pytest.approx(inside.angle_deg, abs=DIRECTION_DEG)
    straight_mm2 = np.pi * RADIUS_MM * 12.1
    assert outside.area_mm2 + inside.area_mm2 == pytest.approx(2 * straight_mm2, rel=0.03)
    more = 1 + 2 * RADIUS_MM / (np.pi * bend_mm)
    assert outside.area_mm2 == pytest.approx(more * straight_mm2, rel=0.03)


def test_the_wall_of_a_flat_vein_is_as_long_as_its_outline() -> None:
    vein = straight((7.0, 2.0))
    found = truth(Shape(vein, sector(vein, azimuth_rad=0.0, angle_deg=360, length_mm=12.1)))
    outline = np.linspace(0, 2 * np.pi, 20001)
    around_mm = np.hypot(np.diff(7 * np.cos(outline)), np.diff(2 * np.sin(outline))).sum()
    assert found.area_mm2 == pytest.approx(around_mm * 12.1, rel=0.03)
    assert found.angle_deg == 360.0


def test_where_a_branch_joins_the_lumen_has_no_wall() -> None:
    case = make_case("confluence", 1, GRIDS["2.5 mm"])
    vessel = case.shape.vessel
    wall = vessel.wall_near(ball((0.0, 0.0, 4.0), 9.0), 1.0)
    depth = np.abs(vessel.depth(wall.point_mm[wall.real]))
    assert depth.max() < 0.01  # what is left of each tube's wall is the wall of both
    assert 0 < np.count_nonzero(~wall.real) < 0.4 * wall.real.size


@pytest.mark.parametrize("kind", list(KINDS))
def test_every_kind_is_the_same_again_and_its_depths_never_change_faster_than_the_place(kind: str) -> None:
    shape = KINDS[kind](np.random.default_rng(3), 1)
    again = KINDS[kind](np.random.default_rng(3), 1)
    rng = np.random.default_rng(0)
    points = rng.uniform(-15, 15, (4000, 3))
    moved = points + rng.normal(size=points.shape)
    for depth, same in ((shape.vessel.depth, again.vessel.depth), (shape.tumor, again.tumor)):
        assert np.array_equal(depth(points), same(points))
        change = np.abs(depth(moved) - depth(points)) / np.linalg.norm(moved - points, axis=1)
        assert change.max() < 1.1


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["two sides", "exactly 180", "dented", "confluence"])
def test_rays_from_the_true_wall_into_the_drawn_map_find_the_truth(kind: str) -> None:
    case = make_case(kind, 1, GRIDS["1 mm"])
    expected, wall = case.truth(1.5), case.wall_lps(1.5)
    hidden = None if case.shape.overwrites else case.lumen
    found = contact(wall, touch_levels(wall, tissue_levels(case.probability, hidden), 1.5))
    assert found.angle_deg == pytest.approx(expected.angle_deg, abs=15)
    assert found.length_mm == pytest.approx(expected.length_mm, abs=1.5)
    assert found.area_mm2 == pytest.approx(expected.area_mm2, rel=0.1)


def test_a_dented_mask_has_one_label_a_voxel_and_an_eroded_one_is_smaller() -> None:
    dented, eroded = make_case("dented", 3, GRIDS["1 mm"]), make_case("eroded", 3, GRIDS["1 mm"])
    assert not np.any((dented.vessel.array > 0) & (dented.probability.array >= 0.5))
    assert np.count_nonzero(dented.vessel.array) < 0.97 * np.count_nonzero(dented.lumen)
    assert np.all(eroded.lumen[eroded.vessel.array > 0])
    assert np.count_nonzero(eroded.vessel.array) < 0.75 * np.count_nonzero(eroded.lumen)


def test_nothing_of_the_truth_comes_from_the_engine_s_own_measure() -> None:
    files = sorted((Path(__file__).resolve().parents[2] / "analytic").glob("*.py"))
    assert len(files) >= 6
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in getattr(node, "names", [])] + [getattr(node, "module", None) or ""]
            assert not any(name.startswith("twintrack.invasion") for name in names), file


@pytest.mark.slow
def test_a_phantom_s_true_map_is_the_phantom_s_own_outside_the_lumens() -> None:
    from analytic.phantoms import phantom_truth
    from twintrack.phantom import make_phantom

    case, known = make_phantom(1, raters=1), phantom_truth(1)
    outside = case.vessels.array == 0
    assert np.array_equal(known.response.array[outside], case.true_mhr.array[outside])
    wall = known.wall("PORTA", 1.5)
    index = np.rint(case.vessels.geometry.to_index(wall.center_mm[wall.counted])).astype(int)
    assert np.mean(case.vessels.array[tuple(index[:, ::-1].T)] > 0) > 0.98
    # A millimetre and a half to both sides of the wall are lumen and tissue.
    for side, share in ((-1.5, 1.0), (1.5, 0.0)):
        points = (wall.point_mm + side * wall.outward)[wall.real]
        index = np.rint(case.vessels.geometry.to_index(points)).astype(int)
        assert np.mean(case.vessels.array[tuple(index[:, ::-1].T)] > 0) == pytest.approx(share, abs=0.2)
    assert known.contact("PORTA", 1.5).angle_deg == 360.0
    assert known.contact("AORTA", 1.5) == Contact(0.0, 0.0, 0.0)
