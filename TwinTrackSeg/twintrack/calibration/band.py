"""How far a calibrator would move if other patients had been drawn: the band around the map, and sums within it.

References
----------
Efron, Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall, 1993, chapter 13 (percentile intervals).
Hesterberg, The American Statistician 69, 371 (2015), doi:10.1080/00031305.2015.1089789 (few cases).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.score_axis import cell_bounds
from twintrack.calibration.small_samples import small_sample_factor
from twintrack.errors import InputError

__all__ = ["LEVEL", "SCORE_GRID", "STEPS", "CalibratorBand"]

LEVEL = 0.95
"""How often a band is to cover the map of all patients, at any one score."""

FIT_ALLOWANCE = 1.1
"""What bins and the monotone fit add to the scatter of a mean, measured by ``bench_band.py``."""

STEPS = 1_000_000
"""Resampled maps are kept as whole numbers of this fraction of 1."""

MOST_WIDENING = 1000
"""Largest factor of a file that is taken for one."""

_OCTAVES = 2.0 ** np.arange(-16, -1, 0.25)

SCORE_GRID: tuple[float, ...] = tuple(np.concatenate([[0.0], _OCTAVES, [0.5], 1.0 - _OCTAVES[::-1], [1.0]]).tolist())
"""The scores at which a band is given: four an octave from both ends, as scores of a softmax crowd there."""


@dataclass(frozen=True)
class CalibratorBand:
    """Band of a calibrator: percentiles over bootstrap resamples of its cases, widened for their small number.

    Attributes
    ----------
    score : tuple of float
        Strictly rising scores from 0 to 1; between two of them the edges are linear.
    low, high : tuple of float
        Lower and upper edge at these scores.
    level : float
        How often the band is to cover the map of all patients, at any one score.
    resamples, seed : int
        How many resamples were drawn, and from which seed.
    units : int
        Cases, or random groups of cases in a large cohort, that were resampled.
    curves : tuple of tuple of int
        Some of the resampled maps at `score`, in steps of 1 / `STEPS`, moved like the edges. A sum over voxels needs
        whole maps: its interval is not the sum of the edges, which would take all scores for wrong in the same
        direction at once.
    widening : float
        By how much edges and maps were moved away from the calibrator; 1 for bare percentiles, which cover too little.
    """

    score: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    level: float
    resamples: int
    seed: int
    units: int
    curves: tuple[tuple[int, ...], ...]
    widening: float = 1.0

    def __post_init__(self) -> None:
        _check(self)

    def widened(self, knots_x: Sequence[float], knots_y: Sequence[float]) -> CalibratorBand:
        """Return the band of bare percentiles widened around the calibrator's knots; one that is wide already as it is.

        Edges stay within [0, 1] and never fall, as no map does.
        """
        if self.widening != 1 or self.units < 2:
            return self
        factor = FIT_ALLOWANCE * small_sample_factor(self.level, self.units)
        middle = np.interp(self.score, knots_x, knots_y)

        def moved(values: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.clip(middle + factor * (values - middle), 0.0, 1.0)

        low = np.minimum.accumulate(moved(np.asarray(self.low))[::-1])[::-1]
        high = np.maximum.accumulate(moved(np.asarray(self.high)))
        curves = np.rint(moved(np.asarray(self.curves) / STEPS) * STEPS).astype(int).tolist()
        return replace(
            self,
            low=tuple(low.tolist()),
            high=tuple(high.tolist()),
            curves=tuple(tuple(curve) for curve in curves),
            widening=factor,
        )

    def sum_range(
        self, counts: NDArray[np.int64], knots_x: Sequence[float], knots_y: Sequence[float]
    ) -> tuple[float, float]:
        """Return how far the sum of the map over voxels may lie from what the knots give: (lower, upper) difference.

        Parameters
        ----------
        counts : numpy.ndarray
            How many scores of the mapped voxels fall into each cell of the score axis.
        knots_x, knots_y : sequence of float
            The calibrator's knots.

        Returns
        -------
        tuple of float
            Percentiles, over the resampled maps, of their sum less the calibrator's, both taken at the band's scores.
        """
        weight = self._weights(counts)
        sums = np.asarray(self.curves) / STEPS @ weight
        middle = float(np.interp(self.score, knots_x, knots_y) @ weight)
        low, high = np.quantile(sums, [(1 - self.level) / 2, (1 + self.level) / 2]) - middle
        return float(low), float(high)

    def _weights(self, counts: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the weight of each grid score in a sum of linearly interpolated values at the counted scores."""
        low, high = cell_bounds()
        used = np.flatnonzero(counts)
        grid, center = np.asarray(self.score), (low[used] + high[used]) / 2
        left = np.clip(np.searchsorted(grid, center, side="right") - 1, 0, grid.size - 2)
        share = (center - grid[left]) / (grid[left + 1] - grid[left])
        weight = np.zeros(grid.size)
        np.add.at(weight, left, counts[used] * (1 - share))
        np.add.at(weight, left + 1, counts[used] * share)
        return weight


def _check(band: CalibratorBand) -> None:
    """Refuse a band whose numbers contradict each other."""
    if not 1 <= band.widening <= MOST_WIDENING:
        raise InputError(
            f'"band.widening" must lie between 1 and {MOST_WIDENING}, got {band.widening}', code="calibrator-band"
        )
    if not 0 < band.level < 1:
        raise InputError(f'"band.level" must lie between 0 and 1, got {band.level}', code="calibrator-band")
    score, low, high = band.score, band.low, band.high
    if len(score) < 2 or score[0] != 0 or score[-1] != 1 or any(b <= a for a, b in pairwise(score)):
        raise InputError('"band.score" must rise strictly from 0 to 1', code="calibrator-band")
    for name, values in (("low", low), ("high", high)):
        if len(values) != len(score) or not all(0 <= value <= 1 for value in values):
            raise InputError(
                f'"band.{name}" must hold a number in [0, 1] for each of "band.score"', code="calibrator-band"
            )
    if any(b < a for a, b in zip(low, high, strict=True)):
        raise InputError('"band.low" must not lie above "band.high"', code="calibrator-band")
    if not band.curves or any(len(curve) != len(score) for curve in band.curves):
        raise InputError('"band.curves" must hold lists of as many numbers as "band.score"', code="calibrator-band")
    if any(not 0 <= value <= STEPS for curve in band.curves for value in curve):
        raise InputError(f'"band.curves" must hold whole numbers from 0 to {STEPS}', code="calibrator-band")
