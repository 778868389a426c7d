"""How long a run will still take, told from how its fraction done has grown."""

from __future__ import annotations

import math
import time
from bisect import bisect_right
from collections.abc import Callable

__all__ = ["TimeLeft", "round_time"]

LEAST_FRACTION = 0.15
"""Nothing is said before this much is done: what a run costs shows only once its networks are at work."""

LEAST_S = 1.0
"""Nothing is said before this time."""

CALM = 0.1
"""A new estimate takes over within this share of the time left, so that what is said does not jump."""


class TimeLeft:
    """Estimates the seconds left from the rate in the later half of the time so far.

    Parameters
    ----------
    clock : callable
        Seconds that never run back; the run begins now.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._begun = clock()
        self._times = [0.0]
        self._fractions = [0.0]
        self._said: float | None = None

    def update(self, fraction: float) -> float | None:
        """Take note of the fraction done; return the seconds left, or None as long as it is too early to tell."""
        now = self._clock() - self._begun
        since_last = now - self._times[-1]
        half = max(bisect_right(self._times, now / 2) - 1, 0)
        took, gained = now - self._times[half], fraction - self._fractions[half]
        self._times.append(now)
        self._fractions.append(fraction)
        if fraction >= 1.0:
            self._said = 0.0
        elif self._said is None:
            if fraction >= LEAST_FRACTION and now >= LEAST_S and gained > 0:
                self._said = (1.0 - fraction) * took / gained
        else:
            self._said = max(self._said - since_last, 0.0)
            if gained > 0:
                estimate = (1.0 - fraction) * took / gained
                weight = 1.0 - math.exp(-since_last / max(CALM * estimate, 1e-3))
                self._said += weight * (estimate - self._said)
        return self._said


def round_time(seconds: float) -> tuple[int, str]:
    """Return a time as people say it: a whole number, and ``s``, ``min`` or ``h``; never less than 1 s."""
    if seconds < 10:
        return max(math.ceil(seconds), 1), "s"
    if seconds < 90:
        return 5 * math.ceil(seconds / 5), "s"
    if seconds < 90 * 60:
        return math.ceil(seconds / 60), "min"
    return math.ceil(seconds / 3600), "h"
