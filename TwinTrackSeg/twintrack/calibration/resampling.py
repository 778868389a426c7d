"""Fits on any weighting of a cohort's cases, from their coarse sums."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.bins import Bins, bin_starts, per_bin
from twintrack.calibration.case_groups import MASS, MHR, coarse_sums
from twintrack.calibration.fit import fit_bins, rater_place

if TYPE_CHECKING:
    from twintrack.calibration.sketch import ScoreSketch

__all__ = ["ResampledFit"]


class ResampledFit:
    """Fits a calibrator's knots on resampled cases.

    Bins are formed anew, of coarse cells (see `twintrack.calibration.case_groups`). A coarse cell counts with the mean
    score of all its voxels in the cohort; cells are so narrow that a resample's own mean differs by less than 0.8 %.

    Parameters
    ----------
    sketch : ScoreSketch
        The cohort.
    target, rater
        As in `fit_calibrator`.

    Attributes
    ----------
    units : int
        Cases, or random groups of cases.
    score : numpy.ndarray
        float64 (cell,): mean score of every occupied coarse cell, strictly rising.
    table : numpy.ndarray
        float64 (unit, row, cell): mass, MHR, then mass seen and marked by each rater; see `Units`.
    """

    def __init__(self, sketch: ScoreSketch, target: str, rater: str | None) -> None:
        mass = coarse_sums(sketch.mass)
        used = np.flatnonzero(mass)
        rows = slice(None) if target != "mhr" else slice(0, 2)
        self._target, self._place = target, rater_place(sketch, rater)
        self._judged = MASS if self._place is None else 2 + 2 * self._place
        self.table = np.ascontiguousarray(sketch.units.table(sketch.rater_names)[:, rows, used])
        self.units = len(self.table)
        self.score: NDArray[np.float64] = coarse_sums(sketch.score_sums)[used] / mass[used]

    def can_be_fitted(self, times: NDArray[np.float64]) -> bool:
        """Whether the cases drawn `times` hold one that the rater in question drew."""
        if self._place is None:
            return True
        return bool(times @ self.table[:, self._judged].any(axis=1) > 0)

    def held_out_mass(self) -> NDArray[np.float64]:
        """Return the mass (unit,) that `loss` is a sum over."""
        mass: NDArray[np.float64] = self.table[:, self._judged].sum(axis=-1)
        return mass

    def loss(self, unit: int, knots_x: NDArray[np.float64], knots_y: NDArray[np.float64]) -> float:
        """Return the Brier score of a map on one unit: summed over voxels, averaged over the raters of the target."""
        mapped = np.interp(self.score, knots_x, knots_y)
        mass, marked = self.table[unit, self._judged], self.table[unit, self._judged + 1]
        return float((mass * mapped**2 - 2 * mapped * marked + marked).sum())

    def rate(self, sums: NDArray[np.float64]) -> float:
        """Return the fraction of tumour in the `sums` (row, cell) of some cases: the best constant map of them."""
        return float(sums[self._judged + 1].sum() / max(float(sums[self._judged].sum()), 1.0))

    def sums(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the sums (draw, row, cell) of draws (draw, unit) that say how often each unit counts."""
        flat = times @ self.table.reshape(self.units, -1)
        return flat.reshape(len(times), *self.table.shape[1:])

    def knots(self, sums: NDArray[np.float64], bins: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the knots (score, MHR) of a fit on `sums` (row, cell)."""
        held = np.flatnonzero(sums[MASS] > 0)
        sums = sums[:, held]
        first = bin_starts(sums[MASS], bins)
        mass = per_bin(sums[MASS], first)
        binned = Bins(
            counts=mass.astype(np.int64),
            mass=mass,
            score=per_bin(sums[MASS] * self.score[held], first) / mass,
            mhr=per_bin(sums[MHR], first) / mass,
            rater_counts=per_bin(sums[2::2], first),
            rater_positives=per_bin(sums[3::2], first),
        )
        return binned.score, fit_bins(binned, self._target, self._place)
