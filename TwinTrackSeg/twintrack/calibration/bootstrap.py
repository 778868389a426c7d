"""The band around a calibrator, by resampling its cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.band import LEVEL, SCORE_GRID, STEPS, CalibratorBand
from twintrack.calibration.resampling import ResampledFit
from twintrack.progress.callbacks import CancelToken, Progress, no_progress

if TYPE_CHECKING:
    from twintrack.calibration.sketch import ScoreSketch

__all__ = ["FEWEST_UNITS", "STORED_CURVES", "bootstrap_band"]

FEWEST_UNITS = 5
"""Fewer cases give no band: they can be drawn in too few ways."""

STORED_CURVES = 200
"""Resampled maps kept in the band; enough for a 95 % interval of a sum, and about 150 kB."""

_BATCH = 16
"""Resamples added up at a time, in one product of matrices."""

_TRIES = 1000
"""Draws until a resample holds a case of the rater in question."""


def bootstrap_band(
    sketch: ScoreSketch,
    *,
    target: str = "mhr",
    rater: str | None = None,
    bins: int = 250,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> CalibratorBand | None:
    """Draw cases with replacement, fit each draw anew, bins included, and return the widened band of the maps.

    The number of bins stays what it is, also where it was chosen by cross-validation. The interval tells how the map
    depends on the choice of the calibration patients; not on the choice of the raters, the networks or the scanner.

    Parameters
    ----------
    sketch : ScoreSketch
        All calibration cases.
    target, rater, bins
        As the calibrator was fitted.
    resamples : int
        Number of draws.
    seed : int
        Start of the random numbers; the same seed on the same cases gives the same band, in any order of merging.

    Returns
    -------
    CalibratorBand or None
        None if there are fewer than `FEWEST_UNITS` cases with voxels.
    """
    cancel = cancel or CancelToken()
    fit = ResampledFit(sketch, target, rater)
    if fit.units < FEWEST_UNITS:
        return None
    random, maps = np.random.default_rng(seed), np.empty((resamples, len(SCORE_GRID)))
    for start in range(0, resamples, _BATCH):
        cancel.check()
        progress(start / resamples, "resampling the cases")
        draws = np.array([_draw(random, fit) for _ in range(min(_BATCH, resamples - start))])
        for number, sums in enumerate(fit.sums(draws), start):
            maps[number] = np.interp(SCORE_GRID, *fit.knots(sums, bins))
    low, high = np.quantile(maps, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    curves = np.rint(maps[:STORED_CURVES] * STEPS).astype(int).tolist()
    band = CalibratorBand(
        score=SCORE_GRID,
        low=tuple(low.tolist()),
        high=tuple(high.tolist()),
        level=LEVEL,
        resamples=resamples,
        seed=seed,
        units=fit.units,
        curves=tuple(tuple(curve) for curve in curves),
    )
    return band.widened(*(knots.tolist() for knots in fit.knots(fit.sums(np.ones((1, fit.units)))[0], bins)))


def _draw(random: np.random.Generator, fit: ResampledFit) -> NDArray[np.float64]:
    """Return how often each unit is drawn; a draw that nobody in question has seen is taken again."""
    share = np.full(fit.units, 1 / fit.units)
    for _ in range(_TRIES):
        times = random.multinomial(fit.units, share).astype(float)
        if fit.can_be_fitted(times):
            return times
    return np.ones(fit.units)
