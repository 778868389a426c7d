"""From the wall of a vessel to what is reported of it; what could not be measured is None, with a reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.plane_contact import PLANE_AXES
from twintrack.invasion.coverage import LEAST_COVERAGE
from twintrack.invasion.rater_categories import CATEGORY_THRESHOLD, ENCASEMENT_DEG, Category, rater_view
from twintrack.invasion.result import VesselInvasion
from twintrack.invasion.wall import LEVEL_TOLERANCE
from twintrack.invasion.wall_pieces import MeasuredVessel
from twintrack.invasion.worst_section import worst_section

__all__ = [
    "ABSENT",
    "AT_LEAST",
    "HIDDEN",
    "TOO_LITTLE",
    "UNSEARCHED",
    "absent_vessel",
    "summarize",
    "too_little",
    "unsearched_vessel",
]

WHOLE = 0.995
"""Fraction of a vessel above which it counts as searched from end to end."""

SWING_DEG = 60.0
"""Angles that change by more than this with half a voxel to each side are told to be uncertain."""

ABSENT = "the vessel map does not hold this vessel"
HIDDEN = "the tumour touches the vessel where no cross-section can be measured"
UNSEARCHED = "the vessel lies outside the region that was searched for tumour"
TOO_LITTLE = "not assessed: too little of the vessel's wall near the tumour map was searched for tumour"
AT_LEAST = "too little of the vessel's wall near the tumour map was searched: what was found is the least"


def absent_vessel(thresholds: int) -> VesselInvasion:
    """Return what is reported of a vessel that is not in the vessel map: nothing, and why."""
    return _nothing_known(thresholds, ABSENT, present=False)


def unsearched_vessel(thresholds: int) -> VesselInvasion:
    """Return what is reported of a vessel that is there, but where nobody looked for tumour: nothing, and why."""
    return _nothing_known(thresholds, UNSEARCHED, present=True)


def too_little(coverage: float | None) -> bool:
    """Whether so little of a vessel was searched that without contact nothing is known of it."""
    return coverage is not None and coverage < LEAST_COVERAGE


def summarize(
    found: MeasuredVessel,
    levels: list[float],
    protocol_deg: dict[str, list[float]],
    gap_mm: Sequence[float | None],
    contact_mm: float,
    *,
    searched: float | None = None,
    coverage: float | None = None,
) -> VesselInvasion:
    """Report a vessel that is there.

    Where tumour touches the mask but no cross-section shows it, for instance beyond the end of the mask, there is
    contact of an unknown angle: the numbers that would read 0 are None there. So they are where too little of the
    vessel was searched; contact that was found there stands as the least that there is.

    Parameters
    ----------
    found : MeasuredVessel
        The vessel's wall.
    levels : list of float
        Probability levels of the curves.
    protocol_deg : dict of str to list of float
        CURVAS-PDACVI degrees per plane.
    gap_mm : sequence of float or None
        See `twintrack.invasion.gap.gaps_mm`.
    contact_mm : float
        Distance from the lumen within which tumour touches.
    searched, coverage : float, optional
        See `VesselInvasion`.
    """
    wall = found.wall
    curve = wall.curve(np.asarray(levels))
    view = rater_view(wall)
    little, missed = too_little(coverage), found.missed_level > 0
    missed_at = np.asarray(levels) <= found.missed_level + LEVEL_TOLERANCE
    unknown = (curve.angle_deg == 0) & (missed_at | little)
    hidden = missed or little
    at_half = missed and found.missed_level >= CATEGORY_THRESHOLD and view.p_contact < CATEGORY_THRESHOLD
    nothing = little and not at_half and view.category is Category.NONE
    encased = view.p_encased if not hidden or (little and not missed and view.category is Category.ENCASEMENT) else None
    less_deg, more_deg = wall.angles_by_half_a_voxel_deg(np.asarray([CATEGORY_THRESHOLD, *levels]))
    contact = None if nothing else max(view.p_contact, found.missed_level)
    reason = TOO_LITTLE if nothing else HIDDEN if missed else AT_LEAST if little else None
    return VesselInvasion(
        present=True,
        angle_deg=_known(curve.angle_deg, unknown),
        arc_deg=_known(curve.arc_deg, unknown),
        contact_length_mm=_known(curve.length_mm, unknown),
        contact_area_mm2=_known(curve.area_mm2, unknown),
        protocol_deg={plane: _known(np.asarray(values), unknown & little) for plane, values in protocol_deg.items()},
        angle_half_voxel_deg=(_known(less_deg[1:], unknown), _known(more_deg[1:], unknown)),
        near_180=None if hidden else _near_180(less_deg[0], more_deg[0], found.error_deg),
        gap_mm=_gaps_mm(gap_mm, curve.angle_deg, unknown, missed_at, contact_mm),
        expected_angle_deg=None if hidden else view.expected_angle_deg,
        angle_median_deg=None if hidden else view.angle_median_deg,
        angle_p10_deg=None if hidden else view.angle_p10_deg,
        angle_p90_deg=None if hidden else view.angle_p90_deg,
        fraction_over=None if hidden else view.fraction_over,
        p_contact=contact,
        p_encased=encased,
        level_contact=contact,
        level_encased=encased,
        category_probability=None if hidden else view.category_probability,
        category=None if at_half or nothing else view.category,
        worst=worst_section(wall),
        reason=reason,
        searched=searched,
        coverage=coverage,
        notes=(*found.notes, *_swing_notes(less_deg[0], more_deg[0]), *_search_notes(searched)),
        wall=wall,
    )


def _nothing_known(thresholds: int, reason: str, *, present: bool) -> VesselInvasion:
    nothing: tuple[None, ...] = (None,) * thresholds
    return VesselInvasion(
        present=present,
        angle_deg=nothing,
        arc_deg=nothing,
        contact_length_mm=nothing,
        contact_area_mm2=nothing,
        protocol_deg={plane: list(nothing) for plane in PLANE_AXES},
        angle_half_voxel_deg=(nothing, nothing),
        gap_mm=nothing,
        reason=reason,
        searched=0.0 if present else None,
        coverage=0.0 if present else None,
        notes=(reason,),
    )


def _near_180(less_deg: float, more_deg: float, error_deg: float) -> bool:
    """Whether encasement and abutment cannot be told apart: 180 degrees lie within the measurement's own error."""
    return bool(less_deg - error_deg <= ENCASEMENT_DEG < more_deg + error_deg)


def _swing_notes(less_deg: float, more_deg: float) -> tuple[str, ...]:
    """Say so where the angle hangs on the last half of a voxel between vessel and tumour."""
    if more_deg - less_deg <= SWING_DEG:
        return ()
    return (
        f"a vessel mask half a voxel smaller gives {less_deg:.0f} degrees, one half a voxel larger {more_deg:.0f}: "
        "at this resolution the angle is not certain",
    )


def _search_notes(searched: float | None) -> tuple[str, ...]:
    """Say how much of a vessel's length was searched, where that is not all; the coverage stands in its own field."""
    if searched is None or searched >= WHOLE:
        return ()
    return (f"tumour was looked for along {max(100 * searched, 1):.0f} % of this vessel; nothing is known of the rest",)


def _gaps_mm(
    gap_mm: Sequence[float | None],
    angle_deg: NDArray[np.float64],
    unknown: NDArray[np.bool_],
    missed_at: NDArray[np.bool_],
    contact_mm: float,
) -> tuple[float | None, ...]:
    """Return the gaps so that they agree with the angles: both say contact, or none of them does.

    Wall and tumour have their places to a part of a voxel, in the cross-sections and in the gap each in its own way.
    """
    told: list[float | None] = []
    for gap, angle, hide, touches in zip(gap_mm, angle_deg, unknown, missed_at, strict=True):
        if hide and not touches:
            told.append(None)
        elif hide or angle > 0:
            told.append(contact_mm if gap is None else min(gap, contact_mm))
        else:
            told.append(None if gap is None else max(gap, contact_mm))
    return tuple(told)


def _known(values: NDArray[np.float64], unknown: NDArray[np.bool_]) -> tuple[float | None, ...]:
    return tuple(None if hide else float(value) for value, hide in zip(values, unknown, strict=True))
