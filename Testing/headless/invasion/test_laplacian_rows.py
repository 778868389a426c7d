"""The rows of the Laplacian are those of the whole matrix, to the last bit and in the same order."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from twintrack.invasion.tumour_map import laplacian_rows


def whole_laplacian(shape: tuple[int, ...], sampling: np.ndarray) -> sparse.csr_array:
    """The matrix of the whole grid, from Kronecker products of the one along each axis."""
    weights = (float(sampling.min()) / sampling) ** 2
    parts = []
    for axis, n in enumerate(shape):
        differences = sparse.csr_array(np.diff(np.eye(n), axis=0))
        along = -(differences.T @ differences)
        factors = [sparse.eye_array(m) for m in shape]
        factors[axis] = along * weights[axis]
        parts.append(sparse.kron(sparse.kron(factors[0], factors[1]), factors[2]))
    return sparse.csr_array(sum(parts[1:], parts[0]))


@pytest.mark.parametrize("seed", range(12))
def test_some_rows_are_those_of_the_whole_matrix(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(1 if seed % 3 == 0 else 2, 7, 3))
    sampling = rng.uniform(0.4, 3.0, 3)
    rows = np.flatnonzero(rng.random(int(np.prod(shape))) < 0.5)
    found, expected = laplacian_rows(shape, sampling, rows), whole_laplacian(shape, sampling)[rows]
    expected.eliminate_zeros()  # Kronecker products keep some along axes of two voxels
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found.indptr, expected.indptr)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_array_equal(found.data, expected.data)
