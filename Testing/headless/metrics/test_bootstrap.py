from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from twintrack.metrics import bootstrap, bootstrap_means


def test_the_interval_of_a_normal_mean_has_the_textbook_width():
    values = np.random.default_rng(3).normal(10, 2, size=(400, 1))
    (found,) = bootstrap_means(values, resamples=4000, seed=0)
    half = 1.96 * values.std() / 20
    assert found.mean == pytest.approx(values.mean())
    assert found.bootstrap_mean == pytest.approx(values.mean(), abs=0.02)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.05)


def test_seeds_repeat_and_chunks_do_not_matter(monkeypatch):
    values = np.random.default_rng(1).random((20, 3))
    once = bootstrap_means(values, resamples=500, seed=7)
    monkeypatch.setattr(bootstrap, "CHUNK", 33)
    again = bootstrap_means(values, resamples=500, seed=7)
    for one, other in zip(once, again, strict=True):
        assert asdict(other) == pytest.approx(asdict(one), rel=1e-12)
    assert bootstrap_means(values, resamples=500, seed=8) != once


def test_cases_that_are_drawn_in_blocks_have_the_same_mean_interval_and_number(monkeypatch):
    values = np.random.default_rng(3).normal(10, 2, size=(300, 1))
    values[::3] = np.nan
    (whole,) = bootstrap_means(values, resamples=4000, seed=0)
    monkeypatch.setattr(bootstrap, "BLOCK", 64)
    (blocks,) = bootstrap_means(values, resamples=4000, seed=0)
    assert (blocks.mean, blocks.cases) == (whole.mean, 200)
    assert blocks.bootstrap_mean == pytest.approx(whole.bootstrap_mean, abs=0.01)
    assert (blocks.low, blocks.high) == pytest.approx((whole.low, whole.high), abs=0.03)
    for weights in gathered(300, resamples=50):
        assert weights.sum() == 300
        assert set(np.unique(weights)) <= set(range(12))


def gathered(cases: int, *, resamples: int) -> np.ndarray:
    """All weights in one array."""
    together = np.full((resamples, cases), np.nan)
    for rows, block, weights in bootstrap.case_weights(cases, resamples=resamples, seed=1):
        together[rows, block] = weights
    return together


def test_pairs_share_their_resamples_so_that_a_constant_gap_has_no_spread():
    values = np.random.default_rng(1).random((12, 1))
    (gap,) = bootstrap_means(values - (values + 0.25), resamples=300, seed=0)
    assert (gap.low, gap.high) == pytest.approx((-0.25, -0.25))


def test_missing_values_count_in_no_mean():
    values = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan], [5.0, 7.0, np.nan]])
    first, second, third = bootstrap_means(values, resamples=2000, seed=0)
    assert (first.cases, second.cases, third) == (3, 2, None)
    assert second.mean == 6
    assert 5 <= second.low <= second.high <= 7


def test_one_case_has_a_mean_but_no_interval():
    (found,) = bootstrap_means(np.array([[4.0]]), resamples=10, seed=0)
    assert (found.mean, found.low, found.high) == (4, None, None)


@pytest.mark.parametrize("cases", [6, 10])
def test_the_interval_of_few_cases_covers_the_mean_as_often_as_it_says(cases):
    values = np.random.default_rng(0).normal(size=(cases, 1000))
    found = bootstrap_means(values, resamples=1000, seed=1)
    covered = np.mean([mean.low <= 0 <= mean.high for mean in found])
    assert 0.915 < covered < 0.98  # of 95 %; the plain percentile interval: 87 and 90 %
