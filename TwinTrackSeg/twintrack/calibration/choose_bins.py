"""The number of bins, by leaving each case out in turn.

References
----------
Stone, "Cross-validatory choice and assessment of statistical predictions", J. R. Stat. Soc. B 36(2), 1974.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.calibrator import UPPER_SCORE, BinSelection
from twintrack.calibration.fit import UPPER_BINS, check_options
from twintrack.calibration.resampling import ResampledFit
from twintrack.errors import InputError
from twintrack.progress.callbacks import CancelToken, Progress, no_progress

if TYPE_CHECKING:
    from twintrack.calibration.sketch import ScoreSketch

__all__ = ["CANDIDATES", "select_bins"]

CANDIDATES = (10, 20, 50, 100, 150, 250, 500, 1000)
"""Numbers of bins that are tried; the paper's 250 is one of them."""


def select_bins(
    sketch: ScoreSketch,
    *,
    target: str = "mhr",
    rater: str | None = None,
    candidates: tuple[int, ...] = CANDIDATES,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> BinSelection:
    """Choose the number of bins by leave-case-out cross-validation.

    Every case (in a cohort above 256 every random group of cases) is left out in turn, a map is fitted on the others
    with each number of bins, and the left-out case is charged the Brier score of that map, averaged over the raters it
    is fitted to: the sum of m(s)^2 - 2 m(s) y + y over its voxels, with the share y of raters. Chosen is the number of
    bins with the least loss, the smaller of two equal ones. Numbers that leave fewer than `UPPER_BINS` bins above score
    `UPPER_SCORE` are only chosen if all do: the loss, most of which is background, hardly notices a coarse map.

    Parameters
    ----------
    sketch : ScoreSketch
        All calibration cases.
    target, rater
        As the calibrator will be fitted.
    candidates : tuple of int
        Numbers to try, each at least 2.

    Raises
    ------
    InputError
        If nothing can be fitted, or fewer than 2 cases can be left out.
    """
    cancel = cancel or CancelToken()
    for bins in candidates:
        check_options(sketch, target, rater, bins)
    fit = ResampledFit(sketch, target, rater)
    held_out = np.flatnonzero(fit.held_out_mass() > 0).tolist()
    if len(held_out) < 2:
        raise InputError(
            "the number of bins can be chosen from at least 2 cases only; give --bins, or add cases",
            code="too-few-cases",
        )
    everything = fit.table.sum(axis=0)
    loss, constant = np.empty((len(held_out), len(candidates))), 0.0
    for place, unit in enumerate(held_out):
        cancel.check()
        progress(place / len(held_out), "choosing the number of bins")
        rest = everything - fit.table[unit]
        constant += fit.loss(unit, np.array([0.0, 1.0]), np.full(2, fit.rate(rest)))
        for column, bins in enumerate(candidates):
            loss[place, column] = fit.loss(unit, *fit.knots(rest, bins))
    upper = np.array([np.count_nonzero(fit.knots(everything, bins)[0] > UPPER_SCORE) for bins in candidates])
    mass = float(fit.held_out_mass().sum())
    return replace(_choose(loss, mass, candidates, upper >= UPPER_BINS), constant_loss=constant / mass)


def _choose(
    loss: NDArray[np.float64], mass: float, candidates: tuple[int, ...], fine_enough: NDArray[np.bool_]
) -> BinSelection:
    """Choose by the summed losses (unit, candidate)."""
    total = loss.sum(axis=0) / mass
    above = loss - loss[:, [int(total.argmin())]]
    excess = above.sum(axis=0) / mass
    error = above.std(axis=0, ddof=1) * np.sqrt(len(loss)) / mass
    allowed = fine_enough if fine_enough.any() else np.ones_like(fine_enough)
    _, chosen = min((more, bins) for bins, more, fits in zip(candidates, excess, allowed, strict=True) if fits)
    return BinSelection(
        bins=candidates,
        loss=tuple(total.tolist()),
        excess=tuple(excess.tolist()),
        excess_error=tuple(error.tolist()),
        chosen=chosen,
        folds=len(loss),
    )
