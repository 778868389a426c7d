"""The distribution of the number of raters, and its score."""

from __future__ import annotations

import numpy as np
import pytest

from twintrack.metrics.rater_levels import binomial_levels, independent_levels, ranked_probability_score


def score(levels: list[float], marked: int) -> float:
    return ranked_probability_score(np.array(levels)[:, None], np.array([marked]))


def test_a_certain_prediction_scores_nothing_if_right_and_one_if_as_wrong_as_can_be() -> None:
    assert score([1, 0, 0, 0, 0, 0], 5) == 1.0
    for marked in range(6):
        assert score(list(np.eye(6)[marked]), marked) == 0.0


def test_the_uniform_distribution() -> None:
    # (1/5) * sum over k of ((k + 1) / 6 - 1)^2.
    assert score([1 / 6] * 6, 0) == pytest.approx(55 / 180)


def test_it_is_the_mean_brier_score_of_more_than_k_raters() -> None:
    random = np.random.default_rng(1)
    levels = random.dirichlet(np.ones(6), size=40).T
    marked = random.integers(0, 6, 40)
    more = 1 - np.cumsum(levels, axis=0)[:-1]
    brier = np.mean([(more[k] - (marked > k)) ** 2 for k in range(5)])
    assert ranked_probability_score(levels, marked) == pytest.approx(brier, abs=1e-12)
    assert ranked_probability_score(levels[::-1], 5 - marked) == pytest.approx(brier, abs=1e-12)


def test_no_other_distribution_does_better_than_the_true_one() -> None:
    random = np.random.default_rng(2)
    true = random.dirichlet(np.ones(4))

    def expected(levels: np.ndarray) -> float:
        return sum(true[n] * score(list(levels), n) for n in range(4))

    best = expected(true)
    assert all(expected(other) >= best for other in random.dirichlet(np.ones(4), size=300))


def test_one_rater_gives_the_brier_score() -> None:
    p, marked = np.array([0.2, 0.9]), np.array([1, 1])
    assert ranked_probability_score(binomial_levels(p, 1), marked) == pytest.approx(np.mean((p - marked) ** 2))


def test_raters_with_the_same_chance_are_binomial() -> None:
    p = np.array([[0.0, 0.3], [0.75, 1.0]])
    levels = binomial_levels(p, 5)
    assert np.allclose(levels.sum(axis=0), 1)
    assert np.allclose(np.tensordot(np.arange(6), levels, 1), 5 * p)
    assert np.allclose(independent_levels(np.stack([p] * 5)), levels, atol=1e-12)


def test_raters_with_chances_of_their_own_by_trying_all_that_may_happen() -> None:
    chances = np.array([0.1, 0.5, 0.9])
    expected = np.zeros(4)
    for bits in range(8):
        marks = [(bits >> rater) & 1 for rater in range(3)]
        expected[sum(marks)] += np.prod([c if m else 1 - c for c, m in zip(chances, marks, strict=True)])
    assert np.allclose(independent_levels(chances), expected, atol=1e-15)
