"""The tumour map as it would be if the vessel were tissue, so that it can be read right up to the wall.

Nobody marks tumour in a lumen: a map is 0 there, and interpolating across the wall would halve it just where it
matters. Reading among tissue voxels only loses what ends between the wall and the first of them: a tumour that wraps
around a vessel gets thinner and thinner before it ends. So the map is continued into the lumen as smoothly as the tissue
around it allows (the least bending: the squared Laplacian is smallest).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import cg

__all__ = ["continued_into"]

SURE_MM = 12.0
"""Lumen further than this from any tumour is left at 0."""

ITERATIONS = 200
TOLERANCE = 1e-3

Field = NDArray[np.float32]


def continued_into(
    hidden: NDArray[np.bool_], probability: Field, known: NDArray[np.bool_], spacing_mm: NDArray[np.float64], floor: float
) -> Field:
    """Return the map with the values of hidden voxels replaced by the smoothest continuation of those around them.

    Parameters
    ----------
    hidden : numpy.ndarray of bool
        The lumen; (z, y, x).
    probability : numpy.ndarray of float32
        Tumour probability; what it says in hidden voxels is not looked at.
    known : numpy.ndarray of bool
        Voxels of the volume.
    spacing_mm : numpy.ndarray
        Voxel edge lengths (x, y, z).
    floor : float
        Probability below which a voxel cannot matter.
    """
    result = np.where(hidden, np.float32(0), probability)
    tumour = (result >= floor) & known
    if not tumour.any() or not hidden.any():
        return result
    sampling = spacing_mm[::-1]
    reach = np.ceil(SURE_MM / sampling).astype(int)
    places = np.nonzero(tumour)
    box = tuple(
        slice(max(int(p.min()) - r, 0), min(int(p.max()) + r + 1, n))
        for p, r, n in zip(places, reach, hidden.shape, strict=True)
    )
    part, lumen = result[box].astype(np.float64), hidden[box]
    unknown = np.flatnonzero(lumen)
    if len(unknown) == 0 or lumen.all():
        return result
    nearest = ndimage.distance_transform_edt(lumen, sampling, return_distances=False, return_indices=True)
    start = ndimage.gaussian_filter(part[tuple(nearest)], 1.0)
    # Where an equation for the bending of every voxel in or beside the lumen is asked for, its neighbours take part.
    laplacian = _laplacian(part.shape, sampling)
    rows = ndimage.binary_dilation(lumen).ravel()
    equations = laplacian[np.flatnonzero(rows)]
    inner = equations[:, unknown]
    fixed = np.where(lumen, 0.0, part).ravel()
    right = -(equations @ fixed)
    matrix = (inner.T @ inner).tocsr()
    solved, _ = cg(matrix, inner.T @ right, x0=start.ravel()[unknown], rtol=TOLERANCE, maxiter=ITERATIONS)
    part.ravel()[unknown] = np.clip(solved, 0.0, 1.0)
    result[box] = part
    return result


def _laplacian(shape: tuple[int, ...], sampling: NDArray[np.float64]) -> sparse.csr_array:
    """Return the matrix of the Laplacian, without flow across the array's faces, in units of the finest voxel."""
    weights = (float(sampling.min()) / sampling) ** 2
    parts = []
    for axis, n in enumerate(shape):
        along = sparse.diags_array([np.ones(n - 1), np.ones(n - 1)], offsets=[-1, 1]).tolil()
        along.setdiag(-np.asarray(along.sum(axis=1)).ravel())
        factors = [sparse.eye_array(m) for m in shape]
        factors[axis] = along * weights[axis]
        parts.append(sparse.kron(sparse.kron(factors[0], factors[1]), factors[2]))
    return sparse.csr_array(sum(parts[1:], parts[0]))
