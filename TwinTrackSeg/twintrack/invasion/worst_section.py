"""The section in which the tumour wraps furthest around a vessel: where it lies, how it stands and how wide it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.invasion.lumen import Lumen, lumen_at
from twintrack.invasion.rater_categories import CATEGORY_THRESHOLD
from twintrack.invasion.wall import LEVEL_TOLERANCE, VesselWall

__all__ = ["WorstSection", "worst_section"]

Point = tuple[float, float, float]


@dataclass(frozen=True)
class WorstSection:
    """The worst section at level 0.5 or, without contact there, at the highest level with contact.

    Attributes
    ----------
    number : int
        Its place in the `VesselWall`.
    level : float
        The level it is taken at.
    angle_deg, arc_deg : float
        Its touched directions and the smallest arc that encloses them.
    position_lps_mm, direction_lps : tuple of float
        Middle of the lumen, and direction of the vessel there (perpendicular to the section).
    lumen : Lumen
        How wide the vessel is where it is touched at that level.
    """

    number: int
    level: float
    angle_deg: float
    arc_deg: float
    position_lps_mm: Point
    direction_lps: Point
    lumen: Lumen

    def to_json(self) -> dict[str, Any]:
        """Return the ``worst_section`` part of ``invasion.json``; also in RAS, as 3D Slicer counts."""
        return {
            "level": self.level,
            "angle_deg": self.angle_deg,
            "arc_deg": self.arc_deg,
            "position_lps_mm": list(self.position_lps_mm),
            "position_ras_mm": _ras(self.position_lps_mm),
            "direction_ras": _ras(self.direction_lps),
            "lumen_diameter_mm": self.lumen.diameter_mm,
            "lumen_reference_mm": self.lumen.reference_mm,
            "lumen_ratio": self.lumen.ratio,
            "lumen_reason": self.lumen.reason,
        }


def worst_section(wall: VesselWall) -> WorstSection | None:
    """Return the worst section of a wall; None without any contact."""
    highest = wall.level_over(0.0)
    if highest <= 0:
        return None
    level = CATEGORY_THRESHOLD if highest >= CATEGORY_THRESHOLD - LEVEL_TOLERANCE else highest
    number = wall.worst_section(level)
    curve = wall.only(number).curve(np.array([level]))
    return WorstSection(
        number=number,
        level=level,
        angle_deg=float(curve.angle_deg[0]),
        arc_deg=float(curve.arc_deg[0]),
        position_lps_mm=_point(wall.center_lps_mm[number]),
        direction_lps=_point(wall.tangent_lps[number]),
        lumen=lumen_at(wall, level),
    )


def _point(row: NDArray[np.float64]) -> Point:
    x, y, z = (float(value) for value in row)
    return x, y, z


def _ras(point: Point) -> list[float]:
    return [-point[0] + 0.0, -point[1] + 0.0, point[2]]
