"""Masks grown and shrunk by one voxel, and how deep in a mask its voxels lie: what SciPy gives, at a part of the cost.

SciPy's morphology visits every voxel with every neighbour; here whole slices are combined with the slice beside them.
Its distances hold nine numbers of each voxel of the array at a time; here of those in the mask.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["depth_mm", "eroded", "grown_all_around", "grown_along"]


def grown_along(mask: NDArray[np.bool_], axes: Sequence[int] = (0, 1, 2)) -> NDArray[np.bool_]:
    """Return a mask with the neighbours of its voxels along some axes."""
    result = mask.copy()
    for axis in axes:
        for here, there in _pairs(axis):
            result[here] |= mask[there]
    return result


def grown_all_around(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask with the neighbours of its voxels that share a face, an edge or a corner with them."""
    result = mask
    for axis in range(mask.ndim):
        result = grown_along(result, [axis])
    return result


def eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the voxels of a mask that have no side outside of it; beyond the array is outside."""
    result = mask.copy()
    for axis in range(mask.ndim):
        for here, there in _pairs(axis):
            result[here] &= mask[there]
        for end in (slice(0, 1), slice(-1, None)):
            result[_at(axis, end)] = False
    return result


def depth_mm(
    mask: NDArray[np.bool_], spacing_mm: NDArray[np.float64]
) -> tuple[NDArray[np.float64], tuple[NDArray[np.int32], ...]]:
    """Return how far each voxel of a mask is from the nearest outside of it, and which that is.

    Parameters
    ----------
    mask : numpy.ndarray of bool
        With a voxel outside of it; (z, y, x).
    spacing_mm : numpy.ndarray
        Edge lengths of a voxel, (z, y, x).

    Returns
    -------
    tuple
        The distances (n,), in the order of the mask's voxels, and the indices along each axis, (n,) each.
    """
    nearest = ndimage.distance_transform_edt(mask, spacing_mm, return_distances=False, return_indices=True)
    found = tuple(along[mask] for along in nearest)
    squared = np.zeros(len(found[0]))
    for place, other, edge_mm in zip(np.nonzero(mask), found, spacing_mm.tolist(), strict=True):
        way_mm = (other - place) * edge_mm
        squared += way_mm * way_mm
    return np.sqrt(squared), found


def _pairs(axis: int) -> tuple[tuple[tuple[slice, ...], tuple[slice, ...]], ...]:
    """Return which part of an array has which other part beside it, on either side along an axis."""
    later, earlier = _at(axis, slice(1, None)), _at(axis, slice(None, -1))
    return (later, earlier), (earlier, later)


def _at(axis: int, place: slice) -> tuple[slice, ...]:
    return (*(slice(None),) * axis, place)
