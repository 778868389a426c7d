"""Sets of outlines, with answers by hand."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from numpy.typing import NDArray

from twintrack.metrics.outline_sets import level_dice, outline_set_scores

EMPTY = np.zeros(8, bool)


def mask(*voxels: int) -> NDArray[np.bool_]:
    made = EMPTY.copy()
    made[list(voxels)] = True
    return made


A, B = mask(0, 1), mask(4, 5)


def test_equal_sets_have_no_distance_where_an_outline_counts_with_itself() -> None:
    scores = outline_set_scores([A, B], [A, B])
    assert scores.ged_v == pytest.approx(0.0, abs=1e-12)
    # Without the pairs of an outline with itself: 2 * 0.5 - 1 - 1.
    assert scores.ged_u == pytest.approx(-1.0)
    assert (scores.dice_soft, scores.dice_max, scores.dice_match) == (1.0, 1.0, 1.0)


def test_two_disjoint_outlines_have_the_largest_distance() -> None:
    assert outline_set_scores([A], [B]).ged_v == pytest.approx(2.0)


def test_one_outline_against_two_of_which_it_is_one() -> None:
    scores = outline_set_scores([A], [A, B])
    assert scores.ged_v == pytest.approx(2 * 0.5 - 0 - 0.5)
    assert scores.ged_u is None


def test_the_distance_without_own_pairs_by_hand() -> None:
    # Across: 4 of 6 pairs disjoint for B against (A, A), A against B: d(A, A) = 0, d = 1 else.
    scores = outline_set_scores([A, A, B], [A, B])
    across = 2 * np.mean([0, 1, 0, 1, 1, 0])
    assert scores.ged_u == pytest.approx(across - np.mean([0, 1, 1]) - 1.0)
    assert scores.ged_v == pytest.approx(max(across - 4 / 9 - 0.5, 0.0))


def test_two_empty_outlines_agree() -> None:
    scores = outline_set_scores([EMPTY], [EMPTY, EMPTY])
    assert (scores.ged_v, scores.dice_max, scores.dice_soft) == (0.0, 1.0, 1.0)
    assert outline_set_scores([EMPTY], [A]).dice_match == 0.0


def test_the_best_assignment_is_the_best_of_all() -> None:
    random = np.random.default_rng(0)
    predicted, drawn = (list(random.uniform(size=(4, 30)) < 0.5) for _ in range(2))
    dice = [[2 * np.sum(p & d) / (p.sum() + d.sum()) for d in drawn] for p in predicted]
    best = max(np.mean([dice[i][j] for i, j in enumerate(order)]) for order in permutations(range(4)))
    assert outline_set_scores(predicted, drawn).dice_match == pytest.approx(best)


def test_an_outline_that_stands_for_a_rater_is_compared_with_this_rater_and_with_the_others() -> None:
    scores = outline_set_scores([B, A, A], [A, B], stands_for=[1, 0, 1])
    assert scores.own_dice == pytest.approx((1 + 1 + 0) / 3)
    assert scores.other_dice == pytest.approx((0 + 0 + 1) / 3)
    assert outline_set_scores([A], [A]).own_dice is None
    assert outline_set_scores([A], [A], stands_for=[0]).other_dice is None


def test_maps_are_compared_level_by_level() -> None:
    one, other = np.array([0.95, 0.4, 0.0]), np.array([0.95, 0.0, 0.0])
    # Above 0.1 and 0.3 two voxels against one: 2 / 3; above 0.5, 0.7 and 0.9 the same voxel.
    assert level_dice(one, other) == pytest.approx((2 * 2 / 3 + 3) / 5)
