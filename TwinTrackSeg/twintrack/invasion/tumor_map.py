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

from twintrack.imaging.neighbors import depth_mm, grown_all_around, grown_along
from twintrack.imaging.plane_contact import bounding_box

__all__ = ["DRAWN_OVER", "continued_into"]

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
    tumor = bounding_box((result >= floor) & known & ~hidden)
    if tumor is None or not hidden.any():
        return result
    sampling = spacing_mm[::-1]
    reach = np.ceil(REACH_MM / sampling).astype(int)
    box = tuple(
        slice(max(side.start - r, 0), min(side.stop + r, n))
        for side, r, n in zip(tumor, reach.tolist(), hidden.shape, strict=True)
    )
    part, inside = result[box], hidden[box]
    if not inside.any() or inside.all():
        return result
    places, (deep_mm, nearest) = np.flatnonzero(inside), depth_mm(inside, sampling)
    continued, near = _carried_in(part, inside, nearest), deep_mm <= DEEP_MM
    inside[inside] = near
    continued[near] = np.clip(_smoothest(part, places, continued, near, inside, sampling), 0.0, 1.0)
    index = np.unravel_index(places, part.shape)
    part[index] = np.maximum(part[index], continued)
    return result


def _carried_in(part: Field, inside: NDArray[np.bool_], nearest: tuple[NDArray[np.int32], ...]) -> NDArray[np.float64]:
    """Return what lies nearest to each voxel of the lumen (n,), smoothed."""
    whole = part.astype(np.float64)
    whole[inside] = whole[nearest]
    ndimage.gaussian_filter(whole, 1.0, output=whole)
    return np.asarray(whole[inside])


def _smoothest(
    part: Field,
    places: NDArray[np.intp],
    start: NDArray[np.float64],
    near: NDArray[np.bool_],
    unknown: NDArray[np.bool_],
    sampling: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the continuation with the least bending in the `unknown` voxels: the `near` ones of the lumen's `places`.

    The others of the lumen keep their `start`. Nothing of the size of `part` is held while the equations are solved.
    """
    fixed = part.astype(np.float64).ravel()
    fixed[places] = np.where(near, 0.0, start)
    # Where an equation for the bending of every voxel in or beside the lumen is asked for, its neighbours take part.
    equations = _laplacian(np.flatnonzero(grown_along(unknown)), part.shape, sampling)
    bending, inner = -(equations @ fixed), equations[:, places[near]]
    del fixed, equations
    right, matrix = inner.T @ bending, (inner.T @ inner).tocsr()
    del inner
    return _conjugate_gradients(matrix, right, start[near])


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


def _laplacian(rows: NDArray[np.intp], shape: tuple[int, ...], sampling: NDArray[np.float64]) -> sparse.csr_array:
    """Return rows of the matrix of the Laplacian, without flow across the array's faces, in units of the finest voxel.

    One row for each of the voxels at the flat places `rows`, one column for every voxel.
    """
    weights = (float(sampling.min()) / sampling) ** 2
    own = np.zeros(len(rows))
    before, after = [], []
    for place, n, step, weight in zip(
        np.unravel_index(rows, shape), shape, (shape[1] * shape[2], shape[2], 1), weights, strict=True
    ):
        own -= ((place > 0).astype(float) + (place < n - 1)) * weight
        before.append((np.where(place > 0, rows - step, -1), weight))
        after.append((np.where(place < n - 1, rows + step, -1), weight))
    entries = [*before, (rows, own), *reversed(after)]
    columns = np.stack([column for column, _ in entries], axis=1)
    values = np.stack([np.broadcast_to(value, rows.shape) for _, value in entries], axis=1)
    there = columns >= 0
    ends = np.concatenate([[0], np.cumsum(np.count_nonzero(there, axis=1))])
    # 32-bit indices are what products of such matrices are fastest with.
    columns, ends = columns[there].astype(np.int32), ends.astype(np.int32)
    return sparse.csr_array((values[there], columns, ends), shape=(len(rows), int(np.prod(shape))))
