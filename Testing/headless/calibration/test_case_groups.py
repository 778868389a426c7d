from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twintrack.calibration import case_groups as module
from twintrack.calibration.case_groups import COARSE_CELLS, KEY_BITS, MASS, Units, case_unit, coarse_sums, content_key
from twintrack.calibration.score_axis import CELLS, cell_of


def unit_of(number: int) -> Units:
    mass = np.zeros(CELLS, np.int64)
    mass[number % CELLS] = number + 1
    key = content_key(mass)
    return case_unit(key, ("a",), mass, mass * 0.5, mass[None], mass[None] // 2)


def test_coarse_cells_hold_the_sums_of_their_cells():
    cells = np.arange(CELLS)
    assert coarse_sums(cells).sum() == cells.sum()
    assert len(coarse_sums(cells)) == COARSE_CELLS
    one = np.zeros(CELLS, np.int64)
    one[cell_of(np.float32([1.0]))] = 7
    assert coarse_sums(one)[-1] == 7


@pytest.mark.slow
@settings(deadline=None, max_examples=15)
@given(st.permutations(range(12)), st.integers(1, 6))
def test_units_are_the_same_in_any_order_of_merging_even_when_there_are_too_many(order, most):
    kept = module.MOST_UNITS
    module.MOST_UNITS = most
    try:
        one = sum((unit_of(number) for number in range(12)), Units())
        parts = [sum((unit_of(n) for n in order[start::3]), Units()) for start in range(3)]
        other = parts[0] + (parts[1] + parts[2])
    finally:
        module.MOST_UNITS = kept
    assert len(one) <= most
    assert one.bits == other.bits
    assert sorted(one.by_key) == sorted(other.by_key)
    np.testing.assert_array_equal(one.table(("a",)), other.table(("a",)))
    assert one.table(("a",))[:, MASS].sum() == sum(range(1, 13))


def test_few_cases_stay_apart_and_an_empty_set_is_neutral():
    units = unit_of(3) + Units() + unit_of(5)
    assert (len(units), units.bits) == (2, KEY_BITS)
    assert Units().table(tuple("abcd")).shape == (0, 10, COARSE_CELLS)


def test_the_key_knows_the_voxels_and_not_their_places():
    table = np.arange(6)
    assert content_key(table) == content_key(table.copy())
    assert content_key(table) != content_key(table[::-1])
    assert content_key(table.reshape(2, 3)) != content_key(table)
    assert 0 <= content_key(table) < 2**KEY_BITS
