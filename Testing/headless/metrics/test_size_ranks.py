from __future__ import annotations

import numpy as np
import pytest

from twintrack.metrics.size_ranks import size_rank_p_value


def test_raters_with_one_order_in_all_cases_are_told_apart():
    sizes = [{"A": n, "B": 2 * n, "C": 3 * n} for n in range(1, 9)]
    assert size_rank_p_value(sizes) < 0.01


def test_the_p_value_of_two_raters_is_that_of_the_sign_test():
    """Seven of eight cases with the same order: as likely as 0, 1, 7 or 8 heads of eight tosses."""
    sizes = [{"A": 1.0, "B": 2.0 if n else 0.5} for n in range(8)]
    exact = 2 * (1 + 8) / 2**8
    assert size_rank_p_value(sizes, permutations=20_000) == pytest.approx(exact, abs=0.006)


def test_without_habits_small_p_values_are_as_rare_as_they_should_be():
    rng = np.random.default_rng(0)
    found = [
        size_rank_p_value([dict(zip("ABCD", case, strict=True)) for case in rng.random((10, 4))], permutations=99)
        for _ in range(200)
    ]
    assert 2 <= np.sum(np.array(found) <= 0.05) <= 22  # 10 expected, four standard deviations


def test_raters_who_read_different_cases_are_compared_within_cases_alone():
    """B reads large tumours and C small ones; in each case A draws more. Of B and C nothing can be said."""
    sizes = [{"A": 110.0, "B": 100.0}] * 6 + [{"A": 11.0, "C": 10.0}] * 6
    assert size_rank_p_value(sizes) < 0.05
    alternating = [{"A": 110.0 if n % 2 else 90.0, "B": 100.0} for n in range(6)]
    alternating += [{"A": 11.0 if n % 2 else 9.0, "C": 10.0} for n in range(6)]
    assert size_rank_p_value(alternating) > 0.5


def test_equal_sizes_say_nothing():
    assert size_rank_p_value([{"A": 0.0, "B": 0.0}] * 5) == 1.0


def test_without_two_readers_of_a_case_there_is_no_value():
    assert size_rank_p_value([{"A": 1.0}, {"B": 2.0}]) is None
    assert size_rank_p_value([]) is None
