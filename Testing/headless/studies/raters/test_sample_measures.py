"""What the benchmark of samples measures, where the answer is known."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "benchmarks"))

from sample_measures import (
    DEGRADATIONS,
    degraded,
    dice_table,
    entropy_sums,
    mean_distance,
    nested_outlines,
    sample_curve,
)

from twintrack.metrics.outline_sets import outline_set_scores


def mask(*voxels: int) -> np.ndarray:
    found = np.zeros((1, 2, 4), bool)
    found.ravel()[list(voxels)] = True
    return found


A, B = mask(0, 1), mask(4, 5)


def test_the_energy_distance_of_known_sets():
    same = sample_curve([A, B], [A, B], (2,))[2]
    assert same["v"] == pytest.approx(0.0)
    assert same["u"] == pytest.approx(2 * 0.5 - 1 - 1)  # 2 E[d] - E[d(S, S')] - E[d(Y, Y')] without the equal pairs
    apart = sample_curve([A, A], [B, B], (1, 2))
    assert apart[1] == {"v": pytest.approx(2.0)}
    assert apart[2] == {"v": pytest.approx(2.0), "u": pytest.approx(2.0)}
    one = sample_curve([A, B], [A, B], (1,))[1]
    assert one["v"] == pytest.approx(2 * 0.5 - 0 - 0.5)


def test_the_curve_is_the_score_of_the_first_samples():
    rng = np.random.default_rng(0)
    samples, masks = ([rng.random((3, 4, 5)) > 0.6 for _ in range(n)] for n in (8, 5))
    curve = sample_curve(samples, masks, (1, 4, 8))
    for n, found in curve.items():
        expected = outline_set_scores(samples[:n], masks)
        assert found["v"] == pytest.approx(expected.ged_v)
        assert found.get("u") == (None if n == 1 else pytest.approx(expected.ged_u))


def test_diversity_is_the_mean_over_different_pairs():
    assert mean_distance([A, A, B]) == pytest.approx(2 / 3)
    assert mean_distance([mask(), mask()]) == 0.0
    assert mean_distance([mask(0, 1, 2), mask(0)]) == pytest.approx(1 - 1 / 3)


def test_entropy_is_told_by_right_and_wrong_and_by_agreement():
    chance = np.array([[[0.5, 1.0, 0.0, 0.25]]])
    masks = [np.array([[[1, 1, 0, 1]]], bool), np.array([[[1, 0, 0, 1]]], bool), np.array([[[0, 1, 0, 1]]], bool)]
    found = entropy_sums(chance, masks)
    quarter = 0.25 * 2 + 0.75 * math.log2(4 / 3)
    assert found["tp"] == [pytest.approx(1.0), 2]
    assert found["fn"] == [pytest.approx(quarter), 1]
    assert found["tn"] == [pytest.approx(0.0, abs=1e-9), 1]
    assert found["fp"] == [0.0, 0]
    assert [found[str(n)][1] for n in range(4)] == [1, 0, 2, 1]
    assert found["2"][0] == pytest.approx(1.0)


def test_level_sets_are_given_out_by_the_raters_order():
    score = np.linspace(0.0, 1.0, 100).reshape(1, 10, 10)
    second, most, least = nested_outlines(score, (1, 0, 2))
    assert [int(one.sum()) for one in (most, second, least)] == [int((score > t).sum()) for t in (1 / 6, 3 / 6, 5 / 6)]


def test_dice_of_every_outline_with_every_rater():
    np.testing.assert_allclose(dice_table([A, mask(1, 2)], [A, B]), [[1.0, 0.0], [0.5, 0.0]])


WINDOW_HU = (-100.0, 300.0)


def test_noise_is_in_parts_of_the_window():
    found = degraded(np.full((20, 64, 64), 100.0), WINDOW_HU, "noise", 0.25, np.random.default_rng(1))
    count = found.size
    assert found.mean() == pytest.approx(100.0, abs=4 * 100 / math.sqrt(count))
    assert found.std() == pytest.approx(0.25 * 400, rel=4 / math.sqrt(2 * count))


def test_blur_stays_in_the_slice_and_keeps_the_sum():
    hu = np.full((3, 41, 41), -100.0)
    hu[1, 20, 20] = 300.0
    found = (degraded(hu, WINDOW_HU, "blur", 1.5, np.random.default_rng(0)) + 100) / 400
    assert np.abs(found[[0, 2]]).max() < 1e-6
    assert found.sum() == pytest.approx(1.0, rel=1e-4)
    x = np.arange(41) - 20
    assert (found[1].sum(axis=0) * x**2).sum() == pytest.approx(1.5**2, rel=0.01)


def test_gamma_leaves_both_ends_and_what_lies_outside_is_cut():
    hu = np.array([[[-500.0, -100.0, 0.0, 300.0, 900.0]]])
    found = degraded(hu, WINDOW_HU, "gamma", 1.5, np.random.default_rng(0))
    np.testing.assert_allclose(found, [[[-100, -100, -100 + 400 * 0.25**1.5, 300, 300]]], rtol=1e-5)


def test_another_kind_is_refused_and_all_of_the_papers_are_known():
    for kind, amount in DEGRADATIONS:
        degraded(np.zeros((1, 3, 3)), WINDOW_HU, kind, amount, np.random.default_rng(0))
    with pytest.raises(ValueError, match="zoom"):
        degraded(np.zeros((1, 3, 3)), WINDOW_HU, "zoom", 1.0, np.random.default_rng(0))
