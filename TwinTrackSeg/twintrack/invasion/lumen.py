"""Whether a vessel's lumen narrows where the tumour touches it, against the vessel's own neighbourhood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.invasion.wall import VesselWall

__all__ = ["Lumen", "diameters_mm", "lumen_at"]

NEIGHBORHOOD_MM = 20.0
"""Length of free vessel on each side of the contact that tells how wide it is there."""

LEAST_FREE_MM = 4.0
"""Least length of free vessel on a side for that side to tell anything."""


@dataclass(frozen=True)
class Lumen:
    """The lumen at a contact.

    Attributes
    ----------
    diameter_mm : float
        Diameter of the circle with the narrowest touched section's area.
    reference_mm : float or None
        The same in the middle of the free vessel beside the contact, the mean of both sides where both are there.
    ratio : float or None
        Their quotient; clearly below 1 where the lumen narrows.
    reason : str or None
        Why there is no ratio.
    """

    diameter_mm: float
    reference_mm: float | None
    ratio: float | None
    reason: str | None


def diameters_mm(wall: VesselWall) -> NDArray[np.float64]:
    """Return the diameter of the circle with each section's area; shape (n,)."""
    if len(wall.wall_mm) == 0:
        return np.zeros(0)
    return np.asarray(2 * np.sqrt(np.nanmean(wall.wall_mm**2, axis=1)))


def lumen_at(wall: VesselWall, threshold: float) -> Lumen:
    """Compare the lumen where the tumour touches it at `threshold` with the free vessel beside.

    Only the branch with the worst section is looked at. One radius at its ends is left out unless nothing else is
    touched: a mask rounds off there.
    """
    worst = wall.worst_section(threshold)
    on_branch = np.flatnonzero(wall.branch == wall.branch[worst])
    diameter = diameters_mm(wall)[on_branch]
    along_mm = np.cumsum(wall.step_mm[on_branch])
    end_mm = float(np.median(diameter)) / 2
    inner = (along_mm > end_mm) & (along_mm < along_mm[-1] - end_mm)
    touched = wall.touched(threshold)[on_branch].any(axis=1)
    looked_at = touched & inner if (touched & inner).any() else touched
    narrowest_mm = float(diameter[looked_at].min())
    first_mm, last_mm = along_mm[touched][0], along_mm[touched][-1]
    sides = [
        diameter[inner & (along_mm < first_mm) & (along_mm >= first_mm - NEIGHBORHOOD_MM)],
        diameter[inner & (along_mm > last_mm) & (along_mm <= last_mm + NEIGHBORHOOD_MM)],
    ]
    least = LEAST_FREE_MM / float(wall.step_mm[worst])
    free = [float(np.median(side)) for side in sides if len(side) >= least]
    if not free:
        return Lumen(narrowest_mm, None, None, f"less than {LEAST_FREE_MM:g} mm of free vessel beside the contact")
    reference_mm = float(np.mean(free))
    return Lumen(narrowest_mm, reference_mm, narrowest_mm / reference_mm, None)
