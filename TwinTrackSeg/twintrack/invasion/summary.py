"""From the wall of a vessel to what is reported of it; what could not be measured is None, with a reason."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.plane_contact import PLANE_AXES
from twintrack.invasion.rater_categories import CATEGORY_THRESHOLD, rater_view
from twintrack.invasion.result import VesselInvasion
from twintrack.invasion.wall import LEVEL_TOLERANCE
from twintrack.invasion.wall_pieces import MeasuredVessel
from twintrack.invasion.worst_section import worst_section

__all__ = ["ABSENT", "HIDDEN", "UNSEARCHED", "absent_vessel", "summarise", "unsearched_vessel"]

WHOLE = 0.995
"""Fraction of a vessel above which it counts as searched from end to end."""

ABSENT = "the vessel map does not hold this vessel"
HIDDEN = "the tumour touches the vessel where no cross-section can be measured"
UNSEARCHED = "the vessel lies outside the region that was searched for tumour"


def absent_vessel(thresholds: int) -> VesselInvasion:
    """Return what is reported of a vessel that is not in the vessel map: nothing, and why."""
    return _nothing_known(thresholds, ABSENT, present=False)


def unsearched_vessel(thresholds: int) -> VesselInvasion:
    """Return what is reported of a vessel that is there, but where nobody looked for tumour: nothing, and why."""
    return _nothing_known(thresholds, UNSEARCHED, present=True)


def summarise(
    found: MeasuredVessel, levels: list[float], protocol_deg: dict[str, list[float]], searched: float | None = None
) -> VesselInvasion:
    """Report a vessel that is there, of which the fraction `searched` lies where tumour was looked for.

    Where tumour touches the mask but no cross-section shows it, for instance beyond the end of the mask, there is
    contact of an unknown angle: the numbers that would read 0 are None there.
    """
    wall = found.wall
    curve = wall.curve(np.asarray(levels))
    view = rater_view(wall)
    unknown = (curve.angle_deg == 0) & (np.asarray(levels) <= found.missed_level + LEVEL_TOLERANCE)
    hidden = found.missed_level > 0
    at_half = hidden and found.missed_level >= CATEGORY_THRESHOLD and view.p_contact < CATEGORY_THRESHOLD
    return VesselInvasion(
        present=True,
        angle_deg=_known(curve.angle_deg, unknown),
        arc_deg=_known(curve.arc_deg, unknown),
        contact_length_mm=_known(curve.length_mm, unknown),
        contact_area_mm2=_known(curve.area_mm2, unknown),
        protocol_deg={plane: list(values) for plane, values in protocol_deg.items()},
        expected_angle_deg=None if hidden else view.expected_angle_deg,
        angle_p10_deg=None if hidden else view.angle_p10_deg,
        angle_p90_deg=None if hidden else view.angle_p90_deg,
        p_contact=max(view.p_contact, found.missed_level),
        p_encased=None if hidden else view.p_encased,
        category_probability=None if hidden else view.category_probability,
        category=None if at_half else view.category,
        worst=worst_section(wall),
        reason=HIDDEN if hidden else None,
        searched=searched,
        notes=found.notes if searched is None or searched >= WHOLE else (*found.notes, _partly_searched(searched)),
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
        reason=reason,
        searched=0.0 if present else None,
        notes=(reason,),
    )


def _partly_searched(searched: float) -> str:
    return f"tumour was looked for along {max(100 * searched, 1):.0f} % of this vessel; nothing is known of the rest"


def _known(values: NDArray[np.float64], unknown: NDArray[np.bool_]) -> tuple[float | None, ...]:
    return tuple(None if hide else float(value) for value, hide in zip(values, unknown, strict=True))
