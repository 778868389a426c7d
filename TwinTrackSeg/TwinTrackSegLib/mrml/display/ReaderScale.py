"""The MHR in the words of a reading room: how many of the readers behind the calibrator would mark it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["DEFAULT_LEVELS", "MOST_READERS", "readerLevels", "readersAt", "readersOf"]

DEFAULT_LEVELS = (0.2, 0.4, 0.6, 0.8)
"""Levels of the contours where nobody knows how many readers there were."""

MOST_READERS = 7
"""More readers than this would crowd the slider and the views: the default levels are taken then."""


def readersOf(record: Mapping[str, Any]) -> int | None:
    """Return how many readers the result's calibrator stands for, from its record; None if it does not say."""
    result = record.get("result", {})
    number = (result.get("calibrator") or {}).get("raters") or result.get("bundle", {}).get("raters")
    return int(number) if isinstance(number, int) and number > 0 else None


def readerLevels(readers: int | None) -> tuple[float, ...]:
    """Return the MHR at which one more reader agrees: 1 of N, 2 of N, up to N - 1 of N."""
    if readers is None or not 2 <= readers <= MOST_READERS:
        return DEFAULT_LEVELS
    return tuple(round(k / readers, 4) for k in range(1, readers))


def readersAt(threshold: float, readers: int) -> int:
    """Return the least number of `readers` that a fraction `threshold` stands for: 0.5 of 5 readers are 3."""
    return math.ceil(threshold * readers - 1e-6)
