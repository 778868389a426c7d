"""A course that is known gives the same numbers as one that is found anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from twintrack.invasion import RaterContact, course, rater_contact, rater_contacts, wall_pieces
from twintrack.invasion.centerline import center_lines
from twintrack.invasion.geometry import Neighborhood
from twintrack.invasion.sections import cross_sections
from twintrack.phantom import make_phantom
from twintrack.volume import Geometry, Volume

TubeMaker = Callable[..., Any]
NAMES = {"SMA": 1}


def forget() -> None:
    """Let nothing be known: no course, and no wall that a test still holds."""
    course._kept.clear()
    wall_pieces._kept.clear()


@pytest.fixture(autouse=True)
def nothing_known() -> Iterator[None]:
    forget()
    yield
    forget()


@pytest.fixture(scope="module")
def case(tube: TubeMaker) -> Any:
    return tube(radius_mm=3.0, angle_deg=150, spacing_mm=(1.0, 1.0, 1.5), size_mm=26.0, length_mm=8.0, seed=3)


def assert_same(one: RaterContact | None, other: RaterContact | None) -> None:
    assert (one is None) == (other is None)
    if one is None or other is None:
        return
    assert one.angle_deg == other.angle_deg
    for name in one.wall.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(one.wall, name), getattr(other.wall, name))


def readings(case: Any) -> list[Volume]:
    """Masks that reach around the same vessel differently far, and into one another's sections."""
    whole = case.probability.array >= 0.5
    half, part = whole.copy(), whole.copy()
    half[:, : whole.shape[1] // 2] = False
    part[: whole.shape[0] // 2] = False
    empty = np.zeros_like(whole)
    return [case.probability.with_array(mask.astype(np.uint8)) for mask in (half, whole, part, empty, whole)]


def test_several_masks_on_one_vessel_give_what_each_gives_alone(case: Any) -> None:
    masks = readings(case)
    together = rater_contacts(masks, case.vessel, NAMES, contact_mm=1.9)
    assert course._kept  # otherwise nothing was shared
    for mask, found in zip(masks, together, strict=True):
        forget()
        assert_same(found["SMA"], rater_contact(mask, case.vessel, NAMES, contact_mm=1.9)["SMA"])


@pytest.mark.slow
def test_the_raters_of_a_phantom_give_what_each_gives_alone() -> None:
    names = {"PORTA": 1, "SMV": 2, "AORTA": 3, "CELIAC": 4, "SMA": 5}
    phantom = make_phantom(12, raters=3)
    masks = list(phantom.annotations)
    together = rater_contacts(masks, phantom.vessels, names, contact_mm=1.9)
    for mask, found in zip(masks, together, strict=True):
        forget()
        alone = rater_contact(mask, phantom.vessels, names, contact_mm=1.9)
        assert found.keys() == alone.keys()
        for name, contact in found.items():
            assert_same(contact, alone[name])


def neighborhood(case: Any, start: tuple[int, int, int] = (0, 0, 0)) -> tuple[Neighborhood, Any]:
    piece = case.vessel.array > 0
    return Neighborhood.around(case.probability.array, piece, case.probability.geometry, np.array(start)), piece


def test_a_course_is_found_once_and_again_where_the_vessel_or_its_place_differs(case: Any) -> None:
    near, piece = neighborhood(case)
    first = course.course_of(near, piece)
    assert course.course_of(*neighborhood(case)) is first
    assert course.course_of(*neighborhood(case, (1, 0, 0))) is not first
    dented = piece.copy()
    dented[tuple(np.argwhere(piece)[0])] = False
    assert course.course_of(near, dented) is not first


def bent_vessel() -> np.ndarray:
    """Return a quarter of a ring, which a straight continuation leaves sideways."""
    z, y, x = np.indices((12, 44, 44))
    inside = np.hypot(np.hypot(y - 4, x - 4) - 28, z - 6) <= 4
    inside[:, :4], inside[:, :, :4] = False, False
    return np.asarray(inside)


def test_a_line_that_the_tumor_has_continued_otherwise_is_measured_anew() -> None:
    vessel = bent_vessel()
    geometry, known = Geometry(vessel.shape[::-1], (1.0, 1.0, 1.0)), course.KnownSections()
    first_points = None
    for corner in ((slice(4, 8), slice(0, 6), slice(36, 44)), (slice(4, 8), slice(20, 24), slice(20, 24))):
        map_ = np.zeros(vessel.shape, np.float32)
        map_[corner] = 1
        near = Neighborhood.around(map_, vessel, geometry, np.zeros(3, np.int64))
        line = center_lines(near, vessel)[0]
        shared, alone = cross_sections(near, line, vessel, known), cross_sections(near, line, vessel)
        np.testing.assert_array_equal(shared.center_mm, alone.center_mm)
        np.testing.assert_array_equal(shared.wall_mm, alone.wall_mm)
        if first_points is not None:
            assert not np.array_equal(first_points, shared.center_mm)
        first_points = shared.center_mm
    assert len(known.walls) == 2


def test_no_more_courses_are_kept_than_some(case: Any) -> None:
    for shift in range(course.MOST_KEPT + 3):
        course.course_of(*neighborhood(case, (shift % 8, shift // 8, 0)))
    assert len(course._kept) == course.MOST_KEPT


def test_two_veins_are_measured_as_one_only_where_that_is_asked_for() -> None:
    shape = (16, 24, 24)
    vessels, tumor = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    vessels[:8, 10:14, 10:14], vessels[8:, 10:14, 10:14] = 1, 2
    tumor[4:12, 14:20, 8:16] = 1
    geometry = Geometry(shape[::-1], (1.0, 1.0, 1.0))
    masks, labels = [Volume(tumor, geometry)], Volume(vessels, geometry)
    names = {"PORTA": 1, "SMV": 2}
    both = rater_contacts(masks, labels, names, contact_mm=1.9)[0]
    forget()
    apart = rater_contacts(masks, labels, names, contact_mm=1.9, joint=False)[0]
    assert both.keys() - apart.keys() == {"PORTA_SMV"}
    for name, contact in apart.items():
        assert_same(contact, both[name])
