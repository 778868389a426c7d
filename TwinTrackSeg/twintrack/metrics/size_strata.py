"""Cases by tumour size: what works for large tumours need not work for small ones."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["STRATA", "SizeStratum", "equivalent_diameter_mm"]


@dataclass(frozen=True)
class SizeStratum:
    """Tumours of one range of sizes.

    The size of a case's tumour is the diameter of the ball with the mean volume of the raters' masks. The ranges are
    those of the T categories of pancreatic cancer (up to 2 cm, up to 4 cm, more), without their other criteria.

    Attributes
    ----------
    name : str
        In words.
    above_mm, up_to_mm : float
        Ends of the range; the lower one does not belong to it.

    References
    ----------
    M. B. Amin et al. (editors), AJCC Cancer Staging Manual, 8th edition, 2017, chapter 28 (exocrine pancreas).
    """

    name: str
    above_mm: float
    up_to_mm: float

    def holds(self, volume_ml: float) -> bool:
        """Whether a tumour of this volume belongs to the range."""
        return self.above_mm < equivalent_diameter_mm(volume_ml) <= self.up_to_mm


def equivalent_diameter_mm(volume_ml: float) -> float:
    """Return the diameter of the ball with this volume."""
    return 2 * (3 * volume_ml * 1000 / (4 * math.pi)) ** (1 / 3)


STRATA = (
    SizeStratum("no tumour drawn", -math.inf, 0.0),
    SizeStratum("up to 20 mm", 0.0, 20.0),
    SizeStratum("20 to 40 mm", 20.0, 40.0),
    SizeStratum("above 40 mm", 40.0, math.inf),
)
"""All ranges; every case belongs to exactly one."""
