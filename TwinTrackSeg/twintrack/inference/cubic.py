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

from twintrack.inference.arrays import Array, as_float32, as_float64, like, to_device, to_host, zeros

__all__ = ["resample_cubic", "resample_slices"]

Prepare = Callable[[NDArray[np.generic]], NDArray[np.float32]]
"""Turns a part of the input into the float32 intensities that are resampled; works voxel by voxel."""

SLAB_VOXELS = 2 * 2**20
"""Input voxels held in float64 at a time (16 MiB)."""


def resample_cubic(
    volume: NDArray[np.generic], shape: Sequence[int], prepare: Prepare, device: str
) -> NDArray[np.float32]:
    """Resample a volume with cubic splines along all three axes, as ``resize(order=3, mode="edge", clip=True)`` does.

    Parameters
    ----------
    volume : numpy.ndarray
        (a, b, c).
    shape : sequence of int
        Size of the result.
    prepare : callable
        Applied to a few slices at a time before they are resampled.
    device : str
        torch's name of where the products are taken.

    Returns
    -------
    numpy.ndarray
        float32, of `shape`.
    """
    growth = [m / n for n, m in zip(volume.shape, shape, strict=True)]
    # The axes that shrink most come first: what is kept in float64 between the two passes is small then.
    first, second, last = sorted(range(3), key=growth.__getitem__)
    turned = volume.transpose(last, first, second)
    size = [shape[last], shape[first], shape[second]]
    between = zeros((turned.shape[0], size[1], size[2]), device, np.float64)
    low, high = np.inf, -np.inf
    for part in _slabs(turned.shape):
        values = prepare(turned[part])
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        between[part] = _along_both(_double(values, device), size[1], size[2])
    result = np.empty(size, dtype=np.float32)
    for part in _slabs((size[1], between.shape[0], size[2])):
        columns = _along(between[:, part], 0, size[0])
        # skimage clips to the input's range, since a spline swings beyond it.
        result[:, part] = to_host(as_float32(columns.clip(low, high)))
    return np.ascontiguousarray(result.transpose(np.argsort([last, first, second])))


def resample_slices(
    volume: NDArray[np.generic], shape: Sequence[int], axis: int, prepare: Prepare, device: str
) -> NDArray[np.float32]:
    """Resample with cubic splines within the slices across `axis`, and take the nearest slice along it.

    This is what nnU-Net does with a CT of thick slices (``order_z=0``). Parameters and result are those of
    `resample_cubic`.
    """
    from scipy import ndimage

    turned = np.moveaxis(volume, axis, 0)
    across = [n for a, n in enumerate(shape) if a != axis]
    here, wanted = turned.shape[0], shape[axis]
    centers = here / wanted * (np.arange(wanted) + 0.5) - 0.5
    source = ndimage.map_coordinates(np.arange(here, dtype=float), centers[None], order=0, mode="nearest").astype(int)
    result = np.empty((wanted, *across), dtype=np.float32)
    for part in _slabs((wanted, *turned.shape[1:])):
        values = prepare(turned[source[part]])
        low, high = (_double(edge(values, axis=(1, 2), keepdims=True), device) for edge in (np.min, np.max))
        resized = _along_both(_double(values, device), *across)
        if list(turned.shape[1:]) != across:
            resized = resized.clip(low, high)
        result[part] = to_host(as_float32(resized))
    return np.ascontiguousarray(np.moveaxis(result, 0, axis))


def _slabs(shape: Sequence[int]) -> list[slice]:
    step = max(1, SLAB_VOXELS // (int(shape[1]) * int(shape[2])))
    return [slice(start, start + step) for start in range(0, shape[0], step)]


def _double(values: NDArray[np.float32], device: str) -> Array:
    return as_float64(to_device(np.ascontiguousarray(values), device))


def _along_both(slab: Array, rows: int, columns: int) -> Array:
    """Resample along axes 1 and 2, the one that shrinks more first."""
    if rows * slab.shape[2] < columns * slab.shape[1]:
        return _along(_along(slab, 1, rows), 2, columns)
    return _along(_along(slab, 2, columns), 1, rows)


def _along(values: Array, axis: int, size: int) -> Array:
    """Resample one axis."""
    if values.shape[axis] == size:
        return values  # a spline passes through its samples
    matrix = like(_matrix(values.shape[axis], size), values)
    if axis == 2:
        return values @ matrix.T
    if axis == 1:
        return matrix @ values
    return (matrix @ values.reshape(values.shape[0], -1)).reshape(size, *values.shape[1:])


@lru_cache(maxsize=16)
def _matrix(samples: int, size: int) -> NDArray[np.float64]:
    """Return the matrix (size, samples) of cubic spline interpolation with repeated edge values."""
    from scipy import ndimage

    matrix = np.empty((size, samples))
    for n, unit in enumerate(np.eye(samples)):
        matrix[:, n] = ndimage.zoom(unit, size / samples, order=3, mode="nearest", grid_mode=True)
    return matrix
