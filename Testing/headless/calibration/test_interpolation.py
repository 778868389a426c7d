from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twintrack.calibration.interpolation import InterpolationTable

knot = st.floats(0, 1, width=64)


def mapped(x, y, scores) -> np.ndarray:
    return InterpolationTable(x, y)(np.asarray(scores, np.float32))


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(st.lists(knot, min_size=1, max_size=40, unique=True), st.integers(0, 2**32 - 1))
def test_the_table_equals_interpolation_between_the_knots(places, seed):
    random = np.random.default_rng(seed)
    x, y = np.sort(places), np.sort(random.random(len(places)))
    near = np.concatenate([np.nextafter(np.float32(x), np.float32(side)) for side in (0, 1)])
    powers = 2.0 ** -np.arange(0, 40)
    scores = np.concatenate([random.random(200), powers, x, near, [0, 1]]).astype(np.float32)
    scores = scores[scores > 2e-30]
    closest = np.diff(x).min(initial=1)
    tolerance = 1.3e-7 if closest > 1e-6 else 1e-5
    np.testing.assert_allclose(mapped(x, y, scores), np.interp(scores, x, y), atol=tolerance, rtol=0)


def test_scores_below_the_first_and_above_the_last_knot_take_their_values_exactly():
    values = mapped([0.25, 0.5], [0.1, 0.7], [0.0, -0.0, 1e-38, 0.1, 0.25, 0.5, 0.51, 1.0])
    np.testing.assert_array_equal(values, np.float32([0.1, 0.1, 0.1, 0.1, 0.1, 0.7, 0.7, 0.7]))


@pytest.mark.parametrize("size", [0, 1, (1 << 13) - 1, 1 << 13, (1 << 13) + 1, 50_000])
def test_every_length_is_mapped_to_its_end(size):
    scores = np.random.default_rng(size).random(size, dtype=np.float32)
    np.testing.assert_allclose(
        mapped([0.0, 0.2, 1.0], [0, 0.5, 1], scores), np.interp(scores, [0, 0.2, 1], [0, 0.5, 1])
    )


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(2, 300))
def test_the_map_of_rising_scores_rises(seed, knots):
    random = np.random.default_rng(seed)
    x, y = np.sort(random.random(knots)), np.sort(random.random(knots))
    scores = np.sort(random.random(5000, dtype=np.float32) ** random.integers(1, 9))
    assert np.all(np.diff(mapped(x, y, scores)) >= 0)
