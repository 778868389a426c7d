"""Rising maps from a level of the score to a fraction of raters: logistic ones, and isotonic ones by blocks of cases.

References
----------
Barlow et al., "Statistical Inference under Order Restrictions", Wiley, 1972 (the pool-adjacent-violators algorithm).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FEWEST_IN_BLOCK", "Knots", "isotonic_knots", "logistic", "logit"]

LEAST_LEVEL = 0.003
"""Levels nearer to 0 or 1 than this are taken as this far, so that their logit is bounded."""

FEWEST_IN_BLOCK = 5
"""No value of an isotonic map rests on fewer cases than this."""

MOST_KNOTS = 40

Reals = NDArray[np.float64]


def logit(level: NDArray[np.floating] | float) -> Reals:
    """Return log(t / (1 - t)) of levels."""
    bounded = np.clip(np.asarray(level, dtype=float), LEAST_LEVEL, 1 - LEAST_LEVEL)
    return np.asarray(np.log(bounded / (1 - bounded)))


def logistic(value: NDArray[np.floating]) -> Reals:
    """Return 1 / (1 + exp(-z))."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(value, -30.0, 30.0))))


@dataclass(frozen=True)
class Knots:
    """A rising, piecewise linear map on [0, 1]; constant beyond its ends.

    Attributes
    ----------
    at : tuple of float
        Strictly rising places.
    value : tuple of float
        Never falling values.
    """

    at: tuple[float, ...]
    value: tuple[float, ...]

    def __call__(self, at: NDArray[np.floating]) -> Reals:
        """Return the map at `at`."""
        return np.asarray(np.interp(at, self.at, self.value))


def isotonic_knots(
    at: NDArray[np.floating], value: NDArray[np.floating], weight: NDArray[np.floating], case: NDArray[np.integer]
) -> Knots:
    """Fit a rising map by weighted least squares, in blocks of at least `FEWEST_IN_BLOCK` cases.

    Parameters
    ----------
    at, value, weight : numpy.ndarray
        Place, fraction and weight of each observation; shape (n,).
    case : numpy.ndarray of int
        The case each of them comes from.
    """
    from sklearn.isotonic import isotonic_regression

    used = weight > 0
    at, value, weight, case = at[used], value[used], weight[used], case[used]
    # Observations at one place are one.
    _, which = np.unique(at, return_inverse=True)
    mass = np.bincount(which, weight)
    mean = np.bincount(which, weight * value) / mass
    fitted = isotonic_regression(mean, sample_weight=mass)
    starts = np.flatnonzero(np.concatenate([[True], np.diff(fitted) > 1e-12]))
    blocks = np.repeat(np.arange(len(starts)), np.diff([*starts, len(fitted)]))[which]
    blocks = _large_enough(blocks, fitted[starts], case)
    _, blocks = np.unique(blocks, return_inverse=True)
    total = np.bincount(blocks, weight)
    center, height = np.bincount(blocks, weight * at) / total, np.bincount(blocks, weight * value) / total
    height = np.maximum.accumulate(height)
    while len(center) > MOST_KNOTS:  # thin out where it bends least
        bend = np.abs(np.diff(height, 2))
        keep = np.ones(len(center), dtype=bool)
        keep[1 + int(np.argmin(bend))] = False
        center, height = center[keep], height[keep]
    return Knots(tuple(center.tolist()), tuple(np.clip(height, 0.0, 1.0).tolist()))


def _large_enough(blocks: NDArray[np.intp], height: Reals, case: NDArray[np.integer]) -> NDArray[np.intp]:
    """Join blocks of too few cases with the neighbour whose height is nearer, the smallest first."""
    members = [set(case[blocks == number].tolist()) for number in range(len(height))]
    owner, heights = [[number] for number in range(len(height))], height.tolist()
    while len(members) > 1:
        smallest = min(range(len(members)), key=lambda number: len(members[number]))
        if len(members[smallest]) >= FEWEST_IN_BLOCK:
            break
        sides = [number for number in (smallest - 1, smallest + 1) if 0 <= number < len(members)]
        other = min(sides, key=lambda number: abs(heights[number] - heights[smallest]))
        low, high = sorted((smallest, other))
        sizes = len(members[low]), len(members[high])
        heights[low] = (heights[low] * sizes[0] + heights[high] * sizes[1]) / sum(sizes)
        members[low] |= members[high]
        owner[low] += owner[high]
        del members[high], owner[high], heights[high]
    joined = np.empty(len(height), dtype=np.intp)
    for number, parts in enumerate(owner):
        joined[parts] = number
    return np.asarray(joined[blocks], dtype=np.intp)
