"""Marks of significance hold their level, find what is there, and are corrected for their number."""

from __future__ import annotations

import numpy as np
import pytest

from twintrack.metrics.paired_test import LEVEL, holm, paired_p_value


@pytest.mark.parametrize("cases", [6, 10, 20, 64])
@pytest.mark.parametrize(("kind", "limit"), [("normal", 0.08), ("exponential", 0.09)])
def test_differences_of_mean_zero_are_marked_as_often_as_the_level_says(cases, kind, limit):
    random = np.random.default_rng(7)
    draw = random.normal if kind == "normal" else lambda size: random.exponential(size=size) - 1
    found = [paired_p_value(draw(size=cases), resamples=400, seed=1) < LEVEL for _ in range(400)]
    assert np.mean(found) < limit  # four standard errors of 400 trials are 0.04


def test_a_shift_as_large_as_the_spread_is_found_in_twenty_cases():
    random = np.random.default_rng(8)
    found = [paired_p_value(random.normal(1, 1, 20), resamples=400, seed=1) < LEVEL for _ in range(50)]
    assert np.mean(found) > 0.9


def test_sign_flips_of_a_constant_difference_have_the_textbook_p_value():
    assert paired_p_value(np.full(6, 0.3), resamples=100, seed=0) == pytest.approx(2 / 2**6)
    assert paired_p_value(np.full(9, -2.0), resamples=100, seed=0) == pytest.approx(2 / 2**9)
    assert paired_p_value(np.full(40, -2.0), resamples=999, seed=0) == pytest.approx(1 / 1000)


def test_fewer_than_six_cases_have_no_p_value_and_missing_ones_do_not_count():
    values = np.array([1.0, 1.1, 0.9, 1.2, 1.0, np.nan])
    assert paired_p_value(values, resamples=100, seed=0) is None
    whole = np.append(values, 1.05)
    assert paired_p_value(whole, resamples=5000, seed=0) == pytest.approx(2 / 2**6)


def test_equal_methods_and_both_signs():
    assert paired_p_value(np.zeros(12), resamples=100, seed=0) == 1
    assert paired_p_value(np.array([1.0, -1.0] * 5), resamples=200, seed=0) == 1
    values = np.random.default_rng(2).normal(0.5, 1, 15)
    one, other = (paired_p_value(sign * values, resamples=4000, seed=3) for sign in (1, -1))
    assert one == pytest.approx(other, abs=0.01)


def test_holm_s_correction_as_worked_by_hand():
    # 4 x 0.01, then the larger one of that and 3 x 0.02, 2 x 0.03, 1 x 0.04.
    found = holm({"a": 0.04, "b": 0.01, "c": None, "d": 0.03, "e": 0.02})
    assert found == pytest.approx({"a": 0.06, "b": 0.04, "c": None, "d": 0.06, "e": 0.06})
    assert holm({"a": 0.7, "b": 0.8}) == {"a": 1.0, "b": 1.0}
