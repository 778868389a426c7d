"""nnU-Net's cubic resampling of a CT as matrix products: the same numbers, many times faster, in little memory.

nnU-Net resamples with ``skimage.transform.resize`` of order 3, which hands the whole volume in float64 to
``scipy.ndimage.zoom``. A cubic spline through samples is linear in the samples and separable, so along one axis it is a
matrix. That matrix is made by ``scipy.ndimage.zoom`` itself, applied to unit vectors; the products are taken in float64
on a few slices at a time. Rounding differs from scipy's by some 1e-15 of the values, far below the float32 that both
end in: results agree in every bit but for about one voxel in ten million, which may differ in its last bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from twintrack.inference.arrays import (
    Array,
    as_float32,
    as_float64,
    edge_values,
    like,
    transposed,
    zeros_beside,
)

__all__ = ["Prepare", "resample_cubic", "resample_slices"]

Prepare = Callable[[Array], Array]
"""Turns a part of the input into the float32 intensities that are resampled; works voxel by voxel."""

SLAB_VOXELS = 2 * 2**20
"""Input voxels held in float64 at a time (16 MiB)."""


def resample_cubic(volume: Array, shape: Sequence[int], prepare: Prepare) -> Array:
    """Resample a volume with cubic splines along all three axes, as ``resize(order=3, mode="edge", clip=True)`` does.

    Parameters
    ----------
    volume : array
        (a, b, c); see `twintrack.inference.arrays`. The products are taken where it lies, and a graphics card is not
        waited for.
    shape : sequence of int
        Size of the result.
    prepare : callable
        Applied to a few slices at a time before they are resampled.

    Returns
    -------
    array
        float32, of `shape`, in the same memory.
    """
    growth = [m / n for n, m in zip(volume.shape, shape, strict=True)]
    # The axes that shrink most come first: what is kept in float64 between the two passes is small then.
    first, second, last = sorted(range(3), key=growth.__getitem__)
    turned = transposed(volume, (last, first, second))
    size = [shape[last], shape[first], shape[second]]
    deep, rows, columns = (_matrix_beside(turned, axis, n) for axis, n in enumerate(size))
    between = zeros_beside(volume, (turned.shape[0], size[1], size[2]), np.float64)
    edges: list[tuple[Array, Array]] = []
    for part in _slabs(turned.shape):
        values = _contiguous(prepare(turned[part]))
        edges.append(edge_values(values, (0, 1, 2)))
        between[part] = _along_both(as_float64(values), rows, columns)
    low, high = _range(edges)
    result = zeros_beside(volume, size, np.float32)
    for part in _slabs((size[1], between.shape[0], size[2])):
        resized = _along(between[:, part], 0, deep)
        # skimage clips to the input's range, since a spline swings beyond it.
        result[:, part] = as_float32(resized.clip(low, high))
    return _contiguous(transposed(result, np.argsort([last, first, second])))


def resample_slices(volume: Array, shape: Sequence[int], axis: int, prepare: Prepare) -> Array:
    """Resample with cubic splines within the slices across `axis`, and take the nearest slice along it.

    This is what nnU-Net does with a CT of thick slices (``order_z=0``). Parameters and result are those of
    `resample_cubic`.
    """
    from scipy import ndimage

    order = (axis, *(a for a in range(3) if a != axis))
    turned = transposed(volume, order)
    across = [n for a, n in enumerate(shape) if a != axis]
    here, wanted = turned.shape[0], shape[axis]
    centers = here / wanted * (np.arange(wanted) + 0.5) - 0.5
    source = ndimage.map_coordinates(np.arange(here, dtype=float), centers[None], order=0, mode="nearest").astype(int)
    chosen = like(source, volume)
    rows, columns = (_matrix_beside(turned, a, n) for a, n in enumerate(across, start=1))
    result = zeros_beside(volume, (wanted, *across), np.float32)
    for part in _slabs((wanted, *turned.shape[1:])):
        values = _contiguous(prepare(turned[chosen[part]]))
        low, high = (as_float64(edge) for edge in edge_values(values, (1, 2)))
        resized = _along_both(as_float64(values), rows, columns)
        if list(turned.shape[1:]) != across:
            resized = resized.clip(low, high)
        result[part] = as_float32(resized)
    return _contiguous(transposed(result, np.argsort(order)))


def _range(edges: list[tuple[Array, Array]]) -> tuple[Array, Array]:
    """Return the smallest and the largest of all smallest and largest values, in float64."""
    if isinstance(edges[0][0], np.ndarray):
        # Beginning as a running minimum would: NaN is passed over.
        lows, highs = zip(*((float(low.item()), float(high.item())) for low, high in edges), strict=True)
        return min(np.inf, *lows), max(-np.inf, *highs)
    import torch

    low, high = (torch.stack(values) for values in zip(*edges, strict=True))
    return low.amin().double(), high.amax().double()


def _contiguous(array: Array) -> Array:
    return np.ascontiguousarray(array) if isinstance(array, np.ndarray) else array.contiguous()


def _slabs(shape: Sequence[int]) -> list[slice]:
    step = max(1, SLAB_VOXELS // (int(shape[1]) * int(shape[2])))
    return [slice(start, start + step) for start in range(0, shape[0], step)]


def _matrix_beside(volume: Array, axis: int, size: int) -> Array | None:
    """Return the matrix that resamples an axis, where the volume lies; None if there is nothing to do."""
    samples = volume.shape[axis]
    return None if samples == size else like(_matrix(samples, size), volume)  # a spline passes through its samples


def _along_both(slab: Array, rows: Array | None, columns: Array | None) -> Array:
    """Resample along axes 1 and 2, the one that shrinks more first."""
    tall, wide = (slab.shape[1 + n] if m is None else m.shape[0] for n, m in enumerate((rows, columns)))
    if tall * slab.shape[2] < wide * slab.shape[1]:
        return _along(_along(slab, 1, rows), 2, columns)
    return _along(_along(slab, 2, columns), 1, rows)


def _along(values: Array, axis: int, matrix: Array | None) -> Array:
    """Resample one axis."""
    if matrix is None:
        return values
    if axis == 2:
        return values @ matrix.T
    if axis == 1:
        return matrix @ values
    return (matrix @ values.reshape(values.shape[0], -1)).reshape(matrix.shape[0], *values.shape[1:])


@lru_cache(maxsize=16)
def _matrix(samples: int, size: int) -> NDArray[np.float64]:
    """Return the matrix (size, samples) of cubic spline interpolation with repeated edge values."""
    from scipy import ndimage

    matrix = np.empty((size, samples))
    for n, unit in enumerate(np.eye(samples)):
        matrix[:, n] = ndimage.zoom(unit, size / samples, order=3, mode="nearest", grid_mode=True)
    return matrix
