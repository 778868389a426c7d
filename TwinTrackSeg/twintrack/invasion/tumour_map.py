"""The tumour map as it would be if the vessel were tissue, so that it can be read right up to the wall.

Nobody marks tumour in a lumen: a map is 0 there, and interpolating across the wall would halve it just where it
matters. Reading among tissue voxels only loses what ends between the wall and the first of them: a tumour that wraps
around a vessel gets thinner and thinner before it ends. So the map is continued into the lumen as smoothly as the
tissue around it allows (the least bending: the squared Laplacian is smallest).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from twintrack.imaging.neighbours import grown_all_around, grown_along

__all__ = ["DRAWN_OVER", "continued_into", "laplacian_rows"]

DRAWN_OVER = 0.5
"""From this probability on a map that is not 0 in the lumen says that the tumour has grown there."""

REACH_MM = 6.0
"""Lumen further than this from the tumour's box is left as it is."""

DEEP_MM = 5.0
"""Lumen deeper than this is far from its wall: there what lies nearest will do."""

ITERATIONS = 200
TOLERANCE = 1e-3

Field = NDArray[np.float32]


def continued_into(
    lumen: NDArray[np.bool_],
    probability: Field,
    known: NDArray[np.bool_],
    spacing_mm: NDArray[np.float64],
    floor: float,
) -> Field:
    """Return the map with the smoothest continuation of its values into the lumen, where that is larger.

    Parameters
    ----------
    lumen : numpy.ndarray of bool
        Voxels of the vessel; (z, y, x).
    probability : numpy.ndarray of float32
        Tumour probability. A tumour drawn over the lumen (`DRAWN_OVER`) is continued like one outside.
    known : numpy.ndarray of bool
        Voxels of the volume.
    spacing_mm : numpy.ndarray
        Voxel edge lengths (x, y, z).
    floor : float
        Probability below which a voxel cannot matter.
    """
    drawn_over = lumen & (probability >= DRAWN_OVER)
    # Beside voxels that the tumour has taken the map knows of the tumour's border in the lumen.
    hidden = lumen & ~(grown_all_around(drawn_over) if drawn_over.any() else drawn_over)
    result = probability.copy()
    tumour = (result >= floor) & known & ~hidden
    if not tumour.any() or not hidden.any():
        return result
    sampling = spacing_mm[::-1]
    reach = np.ceil(REACH_MM / sampling).astype(int)
    places = np.nonzero(tumour)
    box = tuple(
        slice(max(int(p.min()) - r, 0), min(int(p.max()) + r + 1, n))
        for p, r, n in zip(places, reach, hidden.shape, strict=True)
    )
    part, inside = result[box].astype(np.float64), hidden[box]
    if not inside.any() or inside.all():
        return result
    depth_mm, nearest = ndimage.distance_transform_edt(inside, sampling, return_indices=True)
    start = ndimage.gaussian_filter(part[tuple(nearest)], 1.0)
    part = np.where(inside, start, part)
    inside &= depth_mm <= DEEP_MM
    unknown = np.flatnonzero(inside)
    # Where an equation for the bending of every voxel in or beside the lumen is asked for, its neighbours take part.
    equations = laplacian_rows(part.shape, sampling, np.flatnonzero(grown_along(inside)))
    inner = equations[:, unknown]
    fixed = np.where(inside, 0.0, part).ravel()
    right = -(equations @ fixed)
    matrix = (inner.T @ inner).tocsr()
    solved = _conjugate_gradients(matrix, inner.T @ right, start.ravel()[unknown])
    part.ravel()[unknown] = np.clip(solved, 0.0, 1.0)
    result[box] = np.maximum(result[box], part)
    return result


def _conjugate_gradients(
    matrix: sparse.csr_array, right: NDArray[np.float64], start: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Solve a symmetric system; the solution is not far from `start`.

    SciPy's own takes its scalar products from a BLAS whose threads wait for each other longer than the work takes.

    References
    ----------
    M. R. Hestenes and E. Stiefel, Journal of Research of the National Bureau of Standards 49(6), 1952,
    doi:10.6028/jres.049.044.
    """
    found = start.copy()
    rest = right - matrix @ found
    way = rest.copy()
    length, enough = float((rest * rest).sum()), TOLERANCE**2 * float((right * right).sum())
    for _ in range(ITERATIONS):
        if length <= enough:
            break
        image = matrix @ way
        step = length / float((way * image).sum())
        found += step * way
        rest -= step * image
        before, length = length, float((rest * rest).sum())
        way = rest + (length / before) * way
    return found


def laplacian_rows(shape: tuple[int, ...], sampling: NDArray[np.float64], rows: NDArray[np.intp]) -> sparse.csr_array:
    """Return rows of the matrix of the Laplacian on a grid, without flow across its faces.

    Parameters
    ----------
    shape : tuple of int
        Of the grid, (z, y, x).
    sampling : numpy.ndarray
        Voxel edge lengths (z, y, x); the matrix is in units of the finest.
    rows : numpy.ndarray of int
        Flat indices of the voxels.
    """
    weights = (float(sampling.min()) / sampling) ** 2
    place = np.stack(np.unravel_index(rows, shape), axis=1)
    steps = np.array([int(np.prod(shape[axis + 1 :])) for axis in range(3)])
    last = np.array(shape) - 1
    before, after = place > 0, place < last
    middle = np.zeros(len(rows))
    for axis in range(3):
        middle -= (before[:, axis].astype(float) + after[:, axis]) * weights[axis]
    # The neighbours of a voxel by rising index: those before it along z, y, x, itself, those after it along x, y, z.
    there = np.concatenate([before, np.ones((len(rows), 1), dtype=bool), after[:, ::-1]], axis=1)
    column = rows[:, None] + np.concatenate([-steps, [0], steps[::-1]])
    value = np.empty(there.shape)
    value[:] = np.concatenate([weights, [0.0], weights[::-1]])
    value[:, 3] = middle
    ends = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
    return sparse.csr_array((value[there], column[there], ends), shape=(len(rows), int(np.prod(shape))))
