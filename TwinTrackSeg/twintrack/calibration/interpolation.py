"""Piecewise linear interpolation of float32 scores in one table look-up a voxel.

A binary search for the knots costs more than reading and writing the volume. Here the leading bits of a score choose a
row of a table that holds the map's value at the row's lower edge and its slope there. Both are float64, and what is
left of the score, its distance to that edge, is exact in float32; so the result is that of interpolation in float64
but for its last bit. Rows with a knot inside are not linear; the few scores in them are interpolated one by one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["InterpolationTable"]

_SHIFT = np.uint32(12)
"""Mantissa bits of float32 (23) that a row ignores: 2**11 rows an octave, 35,000 in all, which a core's cache holds."""

_SMALLEST = int(np.float32(1e-30).view(np.uint32)) >> int(_SHIFT)
"""Row of the least score that is told from 0; it keeps the table short."""


class InterpolationTable:
    """The map through knots, constant beyond the first and the last one, as `numpy.interp` draws it.

    Parameters
    ----------
    knots_x, knots_y : sequence of float
        Knots in [0, 1]; `knots_x` rises strictly.
    """

    def __init__(self, knots_x: Sequence[float], knots_y: Sequence[float]) -> None:
        self._x, self._y = np.asarray(knots_x, dtype=float), np.asarray(knots_y, dtype=float)
        first, top = (int(row) for row in np.array([self._x[0], 1], np.float32).view(np.uint32) >> _SHIFT)
        # The first row lies below the first knot and is flat; all lower scores are taken for its edge.
        self._base = np.uint32(max(first, _SMALLEST) - 1)
        bits = np.arange(self._base, top + 2, dtype=np.uint32) << _SHIFT
        self._least = bits[:1].view(np.float32)[0]
        low = bits[:-1].view(np.float32).astype(float)
        high = (bits[1:] - np.uint32(1)).view(np.float32).astype(float)
        left = np.searchsorted(self._x, low, side="right") - 1
        right = np.searchsorted(self._x, high, side="left") - 1
        with np.errstate(over="ignore"):  # of knots so close that a row holds both: it is not linear
            slope = np.append(np.diff(self._y) / np.diff(self._x), 0.0)
        self._slope = np.where(left < 0, 0.0, slope[left])
        self._value = np.interp(low, self._x, self._y)
        self._value[right > left] = np.nan

    def __call__(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the map of `scores`, one-dimensional and in [0, 1]."""
        scores = np.maximum(scores, self._least)
        row = scores.view(np.uint32) >> _SHIFT
        part = scores - (row << _SHIFT).view(np.float32)
        place = (row - self._base).astype(np.intp)
        value = self._slope.take(place, mode="clip")
        value *= part
        value += self._value.take(place, mode="clip")
        mapped: NDArray[np.float32] = value.astype(np.float32)
        if np.isnan(mapped.sum()):
            bent = np.isnan(mapped)
            mapped[bent] = np.interp(scores[bent], self._x, self._y)
        return mapped
