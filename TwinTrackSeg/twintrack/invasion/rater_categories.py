"""From a vessel's wall to how many raters would call it what.

The map's value is the expected fraction of raters who mark a voxel. If the raters are nested, so that a more generous
one marks all that a tighter one marks, the set ``map >= t`` is what the rater at quantile ``t`` of tightness draws,
and a share ``t`` of the raters is at least as generous. An integral over ``t`` is then a mean over raters, and the
angle at ``t = 0.9`` the one that a tenth of the raters stay below. Raters are only roughly nested and a map is only
as good as its calibration, so these are expectations, not counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from twintrack.calibration.statements.table import ANGLES_DEG
from twintrack.invasion.wall import VesselWall

__all__ = ["CATEGORY_THRESHOLD", "ENCASEMENT_DEG", "Category", "RaterView", "category_of", "rater_view"]

CATEGORY_THRESHOLD = 0.5
"""Level at which the one-word category is taken: the outline of the median rater."""

ENCASEMENT_DEG = 180.0
"""Contact of more than this is encasement; exactly this is still abutment."""

QUADRATURE_LEVELS = 400
"""Number of levels, evenly spaced in (0, 1), over which the angle is averaged."""


class Category(str, Enum):
    """Contact of a tumour with one vessel."""

    NONE = "none"
    ABUTMENT = "abutment"
    ENCASEMENT = "encasement"


@dataclass(frozen=True)
class RaterView:
    """What nested raters would report of one vessel.

    Attributes
    ----------
    expected_angle_deg : float
        Mean over raters of the contact angle at the worst section.
    angle_median_deg, angle_p10_deg, angle_p90_deg : float
        Angle of the median rater, and angles that a tenth of the raters stay below and that a tenth exceed.
    fraction_over : tuple of float
        Largest level at which the angle exceeds each of `twintrack.calibration.statements.ANGLES_DEG`.
    p_contact : float
        Largest probability level with contact: the expected fraction of raters who see contact.
    p_encased : float
        Largest level with more than 180 degrees: the expected fraction of raters who see encasement.
    category : Category
        At `CATEGORY_THRESHOLD`.
    """

    expected_angle_deg: float
    angle_median_deg: float
    angle_p10_deg: float
    angle_p90_deg: float
    fraction_over: tuple[float, ...]
    p_contact: float
    p_encased: float
    category: Category

    @property
    def category_probability(self) -> dict[str, float]:
        """Expected fraction of raters who give each category; sums to 1."""
        return {
            Category.NONE.value: 1 - self.p_contact,
            Category.ABUTMENT.value: self.p_contact - self.p_encased,
            Category.ENCASEMENT.value: self.p_encased,
        }


def category_of(angle_deg: float) -> Category:
    """Name a contact angle by the 180-degree rule."""
    if angle_deg <= 0:
        return Category.NONE
    return Category.ENCASEMENT if angle_deg > ENCASEMENT_DEG else Category.ABUTMENT


def rater_view(wall: VesselWall) -> RaterView:
    """Turn the touch levels of a vessel into the distribution over raters."""
    levels = (np.arange(QUADRATURE_LEVELS) + 0.5) / QUADRATURE_LEVELS
    at_half, p10, p90 = wall.angles_deg(np.array([CATEGORY_THRESHOLD, 0.9, 0.1]))
    return RaterView(
        expected_angle_deg=float(wall.angles_deg(levels).mean()),
        angle_median_deg=float(at_half),
        angle_p10_deg=float(p10),
        angle_p90_deg=float(p90),
        fraction_over=tuple(wall.level_over(angle) for angle in ANGLES_DEG),
        p_contact=wall.level_over(0.0),
        p_encased=wall.level_over(ENCASEMENT_DEG),
        category=category_of(float(at_half)),
    )
