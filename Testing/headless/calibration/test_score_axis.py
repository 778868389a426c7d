from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from twintrack.calibration.score_axis import CELLS, FLOOR, cell_bounds, cell_counts, cell_of

scores = st.floats(0, 1, width=32)


@given(st.lists(scores, min_size=2, max_size=50))
def test_the_cell_never_decreases_with_the_score(values):
    ordered = np.sort(np.array(values, np.float32))
    assert np.all(np.diff(cell_of(ordered).astype(int)) >= 0)


@given(scores)
def test_every_score_lies_between_the_bounds_of_its_cell(value):
    low, high = cell_bounds()
    cell = int(cell_of(np.array([value], np.float32))[0])
    assert low[cell] <= np.float32(value) <= high[cell]


def test_the_cells_cover_every_float32_score_without_gap_or_overlap():
    low, high = cell_bounds()
    held = low <= high
    low, high = low[held].astype(np.float32), high[held].astype(np.float32)
    assert low[0] == 0
    assert high[-1] == 1
    np.testing.assert_array_equal(np.nextafter(high[:-1], np.float32(2)), low[1:])
    assert len(held) == CELLS < 2**16


def test_all_scores_below_the_floor_share_one_cell_and_the_floor_starts_the_next():
    tiny = np.array([0.0, 1e-38, 1e-12, np.nextafter(np.float32(FLOOR), np.float32(0)), FLOOR], np.float32)
    np.testing.assert_array_equal(cell_of(tiny), [0, 0, 0, 0, 1])


def test_different_float32_scores_just_below_one_never_share_a_cell():
    top = np.float32(1) - np.arange(2**10, dtype=np.float32) * np.float32(2**-24)
    assert len(np.unique(cell_of(top))) == top.size


def test_cells_are_at_most_an_eight_thousandth_wide():
    low, high = cell_bounds()
    assert (high - low).max() < 1 / 8000


def test_counting_cells_is_counting_the_cell_of_each_score():
    random = np.random.default_rng(3)
    score = (10.0 ** random.uniform(-12, 0, (20, 30))).astype(np.float32)
    score[:2], score[2, :5] = [[0.0]], [1.0, 0.5, FLOOR, np.nextafter(np.float32(FLOOR), np.float32(0)), 1e-30]
    np.testing.assert_array_equal(cell_counts(score), np.bincount(cell_of(score).ravel(), minlength=CELLS))
