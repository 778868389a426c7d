"""Means over cases with intervals from resampling the cases."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.small_samples import expanded_tail

__all__ = ["BootstrapMean", "bootstrap_means", "case_weights", "summarize"]

LEVEL = 0.95
"""Coverage of the intervals."""

CHUNK = 1 << 18
"""Case weights held at once, so that more cases need no more memory."""

BLOCK = 1 << 12
"""Cases that are drawn together; of more, the number drawn from each block is drawn first, which is the same."""


@dataclass(frozen=True)
class BootstrapMean:
    """Mean of one metric over cases.

    Attributes
    ----------
    mean : float
        Mean over the cases that have the metric.
    bootstrap_mean : float
        Mean of the resampled means, which the paper reports.
    low, high : float or None
        Ends of the 95 % interval; None for fewer than two cases, which say nothing about the next one.
    cases : int
        Cases that have the metric.
    """

    mean: float
    bootstrap_mean: float
    low: float | None
    high: float | None
    cases: int


def bootstrap_means(values: NDArray[np.float64], *, resamples: int, seed: int) -> list[BootstrapMean | None]:
    """Resample cases with replacement and average every metric over them.

    All metrics see the same resamples. For a paired comparison, pass the differences: resampling cases keeps pairs
    together. A missing value (NaN) counts in no mean. The interval lies between percentiles of the resampled means,
    which `expanded_tail` moves outwards for few cases.

    Parameters
    ----------
    values : numpy.ndarray
        float64 (case, metric).
    resamples, seed : int
        The same seed gives the same intervals.

    Returns
    -------
    list of BootstrapMean or None
        None for a metric that no case has.

    References
    ----------
    B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13 (percentile interval); T. C.
    Hesterberg, The American Statistician 69 (2015) 371, doi:10.1080/00031305.2015.1089789 (expanded percentiles).
    """
    cases, metrics = values.shape
    totals, drawn = np.zeros((resamples, metrics)), np.zeros((resamples, metrics))
    for rows, block, weights in case_weights(cases, resamples=resamples, seed=seed):
        present = np.isfinite(values[block])
        drawn[rows] += weights @ present
        totals[rows] += weights @ np.where(present, values[block], 0.0)
    means = np.divide(totals, drawn, out=np.full_like(drawn, np.nan), where=drawn > 0)
    columns = (values[np.isfinite(values[:, m]), m] for m in range(metrics))
    return [summarize(float(c.mean()), means[:, m], c.size) if c.size else None for m, c in enumerate(columns)]


def case_weights(cases: int, *, resamples: int, seed: int) -> Iterator[tuple[slice, slice, NDArray[np.float64]]]:
    """Yield how often each case is drawn, piece by piece: which resamples, which cases, float64 (resample, case)."""
    random = np.random.default_rng(seed)
    blocks = [slice(start, min(start + BLOCK, cases)) for start in range(0, cases, BLOCK)]
    sizes = np.array([block.stop - block.start for block in blocks])
    step = max(CHUNK // min(BLOCK, cases), 1)
    for start in range(0, resamples, step):
        rows = slice(start, min(start + step, resamples))
        count = rows.stop - rows.start
        if len(blocks) == 1:
            shares = np.full((count, 1), cases)
        else:
            shares = random.multinomial(cases, sizes / cases, size=count)
        for number, block in enumerate(blocks):
            drawn = random.multinomial(shares[:, number], np.full(sizes[number], 1 / sizes[number]))
            yield rows, block, drawn.astype(float)


def summarize(value: float, resampled: NDArray[np.float64], cases: int) -> BootstrapMean:
    """Return `value` of all cases with the interval of its `resampled` values."""
    if cases == 1:
        return BootstrapMean(value, value, None, None, 1)
    tail = 100 * expanded_tail(LEVEL, cases)
    low, high = np.nanpercentile(resampled, [tail, 100 - tail])
    return BootstrapMean(value, float(np.nanmean(resampled)), float(low), float(high), cases)
