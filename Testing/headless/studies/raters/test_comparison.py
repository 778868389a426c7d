"""Ratios with paired intervals, from scores whose answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from twintrack.metrics.rater_pairs_ece import BINS
from twintrack.studies.raters.comparison import AFTER, BEFORE, METRICS, compare, summarize_runs

CASES = 60


def record(value: float | None, gap: float = 0.0) -> dict[str, Any]:
    """A case whose mean metrics all are `value`, and whose voxels say `gap` too much."""
    bins = np.zeros((3, BINS))
    bins[:, 7] = (10.0, 10 * (0.15 + gap), 10 * 0.15)
    names = [metric.name for metric in METRICS]
    return {
        "values": dict.fromkeys(names, value),
        "bins": bins.tolist(),
        "bins_top": bins.tolist(),
        "d_ece": [[gap * 2] + [0.0] * 9, 2.0],
        "ambiguous": [gap * 5, 5.0],
    }


def run(values: list[float | None], gaps: list[float]) -> dict[str, list[dict[str, Any]]]:
    records = [record(value, gap) for value, gap in zip(values, gaps, strict=True)]
    return {BEFORE: records, AFTER: records}


def test_means_are_over_the_cases_that_have_a_metric_and_pooled_errors_over_all() -> None:
    runs = {"a": {0: run([1.0, None, 3.0], [0.0, 0.3, 0.0]), 1: run([2.0, 2.0, 2.0], [0.0, 0.0, 0.0])}}
    found = summarize_runs(runs, resamples=50, seed=0)["a"][BEFORE]
    assert found["tdsc"]["mean"] == pytest.approx(2.0)
    assert found["mr_ece"]["seeds"] == pytest.approx([0.1, 0.0])
    assert found["d_ece"]["seeds"] == pytest.approx([0.1, 0.0])
    assert found["mae_ambiguous"]["seeds"] == pytest.approx([0.1, 0.0])


def test_a_metric_that_no_case_has_is_none() -> None:
    runs = {"a": {0: run([None] * 4, [0.1] * 4)}}
    assert summarize_runs(runs, resamples=20, seed=0)["a"][AFTER]["own_dice"] is None
    assert compare(runs, "a", "a", "own_dice", AFTER, resamples=20, seed=0) is None


def test_errors_of_opposite_cases_cancel_in_the_pool() -> None:
    runs = {"a": {0: run([1.0, 1.0], [0.1, -0.1])}}
    assert summarize_runs(runs, resamples=20, seed=0)["a"][BEFORE]["mr_ece"]["mean"] == pytest.approx(0.0, abs=1e-12)


def test_pairs_make_the_interval_of_a_ratio_narrow() -> None:
    """Cases differ tenfold; in every case one method has 0.8 times the other's error."""
    random = np.random.default_rng(0)
    hard = random.uniform(0.1, 1.0, CASES)
    runs = {
        "b": {seed: run(list(hard), list(hard / 10)) for seed in range(3)},
        "a": {seed: run(list(0.8 * hard), list(0.8 * hard / 10)) for seed in range(3)},
    }
    for metric in ("brier", "mr_ece", "mae_ambiguous", "d_ece"):
        found = compare(runs, "a", "b", metric, BEFORE, resamples=300, seed=1)
        assert found is not None
        assert found["ratio"] == pytest.approx(0.8)
        assert (found["low"], found["high"]) == pytest.approx((0.8, 0.8))
        assert found["seeds"] == pytest.approx([0.8] * 3)


@pytest.mark.slow
def test_the_interval_holds_what_it_says_where_there_is_no_difference() -> None:
    """Two methods with independent errors per case: in about 95 of 100 studies the interval holds 1."""
    random = np.random.default_rng(2)
    held = 0
    for study in range(200):
        a, b = (run(list(random.uniform(0.5, 1.5, CASES)), [0.0] * CASES) for _ in range(2))
        found = compare({"a": {0: a}, "b": {0: b}}, "a", "b", "brier", BEFORE, resamples=300, seed=study)
        assert found is not None
        held += found["low"] <= 1 <= found["high"]
    # 4 standard deviations of a binomial around 190.
    assert 178 <= held <= 200


def test_training_seeds_that_differ_widen_it() -> None:
    ones = [1.0] * CASES
    runs = {
        "b": {seed: run(ones, [0.1] * CASES) for seed in range(3)},
        "a": {seed: run([0.5 + 0.5 * seed] * CASES, [0.1] * CASES) for seed in range(3)},
    }
    found = compare(runs, "a", "b", "brier", BEFORE, resamples=300, seed=1)
    assert found is not None
    assert found["ratio"] == pytest.approx(1.0)
    assert found["low"] < 0.8 < 1.2 < found["high"]
