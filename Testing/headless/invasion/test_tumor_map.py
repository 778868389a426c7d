"""The map is continued into the lumen smoothly, and nowhere else is anything changed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, sparse

from twintrack.invasion.tumor_map import _conjugate_gradients, _laplacian, continued_into

SPACING_MM = np.array([1.0, 1.0, 1.0])
SHAPE = (21, 21, 21)


def tube(radius: float) -> np.ndarray:
    _, y, x = np.indices(SHAPE) - 10
    return np.hypot(y, x) <= radius


def continued(lumen: np.ndarray, probability: np.ndarray, spacing_mm: np.ndarray = SPACING_MM) -> np.ndarray:
    return continued_into(lumen, probability.astype(np.float32), np.ones(SHAPE, dtype=bool), spacing_mm, 0.01)


def test_a_slope_goes_on_through_the_lumen_and_tissue_stays_as_it_is() -> None:
    slope = np.broadcast_to(np.linspace(0.1, 0.9, 21), SHAPE)
    lumen = tube(3.5)
    found = continued(lumen, np.where(lumen, 0, slope))
    assert np.array_equal(found[~lumen], slope[~lumen].astype(np.float32))
    # The array's ends hold the map flat, so that the middle alone can be compared.
    assert found[8:13][lumen[8:13]] == pytest.approx(slope[8:13][lumen[8:13]], abs=0.03)


def test_a_border_that_runs_through_the_lumen_is_found_again() -> None:
    z, y, x = np.indices(SHAPE) - 10.0
    share = np.clip(8.5 - np.sqrt(z**2 + y**2 + (x + 7) ** 2), -0.5, 0.5) + 0.5
    lumen = tube(2.5)
    found = continued(lumen, np.where(lumen, 0, share))
    assert np.mean((found >= 0.5)[lumen] == (share >= 0.5)[lumen]) > 0.9
    assert not np.any(np.where(lumen, 0, share)[lumen])


def test_what_is_drawn_over_the_lumen_stays_and_values_stay_probabilities() -> None:
    rng = np.random.default_rng(0)
    probability, lumen = rng.random(SHAPE) ** 3, tube(4.0)
    found = continued(lumen, probability, np.array([0.7, 0.7, 2.5]))
    assert np.all(found[lumen] >= probability[lumen].astype(np.float32))
    assert found.min() >= 0
    assert found.max() <= 1
    empty = np.zeros(SHAPE)
    assert not continued(lumen, empty).any()
    assert np.array_equal(continued(np.zeros(SHAPE, dtype=bool), probability), probability.astype(np.float32))


def test_the_system_is_solved() -> None:
    rng = np.random.default_rng(1)
    half = sparse.csr_array(rng.random((30, 20)) * (rng.random((30, 20)) < 0.3))
    matrix = (half.T @ half + sparse.eye_array(20)).tocsr()
    expected = rng.random(20)
    assert _conjugate_gradients(matrix, matrix @ expected, np.zeros(20)) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("shape", [(5, 6, 7), (2, 1, 9), (1, 1, 1)])
def test_rows_of_the_laplacian_give_its_filter_at_their_voxels(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(2)
    field, sampling = rng.random(shape), np.array([2.0, 0.5, 1.0])
    filtered = sum(
        (0.5 / edge) ** 2 * ndimage.correlate1d(field, [1.0, -2.0, 1.0], axis=axis, mode="nearest")
        for axis, edge in enumerate(sampling)
    )
    rows = np.flatnonzero(rng.random(field.size) < 0.7)
    assert _laplacian(rows, shape, sampling) @ field.ravel() == pytest.approx(filtered.ravel()[rows])
    assert len(rows)
