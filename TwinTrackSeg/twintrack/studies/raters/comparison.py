"""From scores of single cases to a comparison: means, pooled errors, and ratios with intervals over paired cases."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.small_samples import expanded_tail
from twintrack.metrics.bootstrap import LEVEL, case_weights
from twintrack.metrics.rater_pairs_ece import multirater_ece

__all__ = ["AFTER", "BEFORE", "METRICS", "Metric", "Records", "Runs", "compare", "summarize_runs"]

BEFORE, AFTER = "before", "after"
"""The pooled score, and the map that an isotonic calibrator makes of it."""

Records = Sequence[Mapping[str, Any]]
"""What `case_scores` gives of each test case, in the same order for all strategies."""

Runs = Mapping[str, Mapping[int, Mapping[str, Records]]]
"""By strategy, training seed and `BEFORE` or `AFTER`."""

_MULTI_RATER = {"mr_ece": "bins", "mr_ece_top": "bins_top"}
"""Metrics that are errors of bins pooled over cases, and where a record has them."""

_FRACTIONS = {"mae_ambiguous": "ambiguous"}
"""Metrics that are one sum over cases divided by another."""

_DETECTION = "d_ece"


@dataclass(frozen=True)
class Metric:
    """A column of the tables.

    Attributes
    ----------
    name : str
        In files.
    title : str
        For people.
    digits : int
        Decimals shown.
    higher : bool
        Whether more is better.
    """

    name: str
    title: str
    digits: int = 4
    higher: bool = False


METRICS = (
    Metric("tdsc", "TDSC", 3, higher=True),
    Metric("ece", "ECE"),
    Metric("mr_ece", "Multi-rater ECE"),
    Metric("mr_ece_top", "Multi-rater ECE, top label"),
    Metric("brier", "Brier"),
    Metric("rps", "RPS"),
    Metric("crps", "CRPS, mm³", 1),
    Metric(_DETECTION, "D-ECE", 3),
    Metric("ged_v", "GED (V)", 3),
    Metric("ged_u", "GED (U)", 3),
    Metric("ged_v_levels", "GED (V) of level sets", 3),
    Metric("dice_soft", "Dice, soft", 3, higher=True),
    Metric("dice_max", "Dice, best", 3, higher=True),
    Metric("dice_match", "Dice, matched", 3, higher=True),
    Metric("own_dice", "Dice, own rater", 3, higher=True),
    Metric("other_dice", "Dice, other raters", 3, higher=True),
    Metric("mae", "Error to true MHR"),
    Metric("mae_ambiguous", "Error where raters differ", 3),
    Metric("mae_raters", "Error to each rater's truth"),
)
"""In the order of the tables; those that no case has are left out there."""


def summarize_runs(runs: Runs, *, resamples: int, seed: int) -> dict[str, Any]:
    """Return for each strategy, before and after, each metric's mean over training seeds, its interval and each seed.

    The interval resamples the test cases; networks trained anew scatter further, which the values of the single seeds
    show. None stands for a metric that no case has.
    """
    return {
        strategy: {
            when: {
                metric.name: _summary(metric.name, [run[when] for run in seeds.values()], resamples, seed)
                for metric in METRICS
            }
            for when in (BEFORE, AFTER)
        }
        for strategy, seeds in runs.items()
    }


def compare(
    runs: Runs, strategy: str, against: str, metric: str, when: str, *, resamples: int, seed: int
) -> dict[str, Any] | None:
    """Return the ratio of a metric of two strategies with a 95 % interval over paired cases and training seeds.

    Each resample draws test cases, the same for both, and training seeds of each; the interval lies between percentiles
    of the ratios, moved outwards for few cases.

    Returns
    -------
    dict or None
        ``ratio``, ``low``, ``high``, and ``seeds``: the ratio of each two runs of the same place in the list of seeds.
        None where the metric is not defined.

    References
    ----------
    B. Efron, R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13.
    """
    ours, theirs = (
        _by_seed(metric, [run[when] for run in runs[name].values()], resamples, seed) for name in (strategy, against)
    )
    if ours is None or theirs is None or theirs[0].mean() == 0:
        return None
    random = np.random.default_rng([seed, 1])
    ratios = _ratio(_with_seeds_drawn(ours[1], random), _with_seeds_drawn(theirs[1], random))
    low, high = _interval(ratios, len(next(iter(runs[strategy].values()))[when]))
    return {
        "strategy": strategy,
        "against": against,
        "metric": metric,
        "when": when,
        "ratio": float(ours[0].mean() / theirs[0].mean()),
        "low": low,
        "high": high,
        "seeds": _ratio(*(values[: min(len(ours[0]), len(theirs[0]))] for values in (ours[0], theirs[0]))).tolist(),
    }


def _summary(metric: str, seeds: Sequence[Records], resamples: int, seed: int) -> dict[str, Any] | None:
    found = _by_seed(metric, seeds, resamples, seed)
    if found is None:
        return None
    values, resampled = found
    low, high = _interval(resampled.mean(axis=0), len(seeds[0]))
    return {"mean": float(values.mean()), "low": low, "high": high, "seeds": values.tolist()}


def _interval(values: NDArray[np.float64], cases: int) -> tuple[float, float]:
    tail = 100 * expanded_tail(LEVEL, cases)
    low, high = np.nanpercentile(values, [tail, 100 - tail])
    return float(low), float(high)


def _with_seeds_drawn(resampled: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """Return, for each resample, the mean over as many training seeds as there are, drawn with replacement."""
    seeds, count = resampled.shape
    drawn = random.integers(0, seeds, size=(seeds, count))
    mean: NDArray[np.float64] = np.take_along_axis(resampled, drawn, axis=0).mean(axis=0)
    return mean


def _by_seed(
    metric: str, seeds: Sequence[Records], resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return the metric of each training seed over all cases (seed,), and over resampled cases (seed, resample).

    All metrics and strategies see the same resamples. None where no case has the metric.
    """
    cases = len(seeds[0])
    drawn = np.zeros((resamples, cases))
    for rows, block, weights in case_weights(cases, resamples=resamples, seed=seed):
        drawn[rows, block] = weights
    weights = np.vstack([np.ones(cases), drawn])
    found = np.array([_estimates(metric, records, weights) for records in seeds])
    return (found[:, 0], found[:, 1:]) if np.isfinite(found[:, 0]).all() else None


def _estimates(metric: str, records: Records, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the metric for each row of weights (row, case): (row,)."""
    if metric in _MULTI_RATER:
        bins = np.array([record[_MULTI_RATER[metric]] for record in records])
        return multirater_ece(np.tensordot(weights, bins, axes=1))
    if metric == _DETECTION:
        gaps = weights @ np.array([record[_DETECTION][0] for record in records])
        return _ratio(np.abs(gaps).sum(axis=1), weights @ np.array([record[_DETECTION][1] for record in records]))
    if metric in _FRACTIONS:
        sums = weights @ np.array([record[_FRACTIONS[metric]] for record in records])
        return _ratio(sums[:, 0], sums[:, 1])
    values = np.array([record["values"][metric] for record in records], dtype=float)
    present = np.isfinite(values)
    return _ratio(weights @ np.where(present, values, 0.0), weights @ present)


def _ratio(top: NDArray[np.float64], bottom: NDArray[np.float64]) -> NDArray[np.float64]:
    found: NDArray[np.float64] = np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom > 0)
    return found
