"""Masks grown and shrunk by one voxel: what SciPy's morphology gives, several times faster.

SciPy visits every voxel with every neighbour; here whole slices are combined with the slice beside them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["eroded", "grown_all_around", "grown_along"]


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


def _pairs(axis: int) -> tuple[tuple[tuple[slice, ...], tuple[slice, ...]], ...]:
    """Return which part of an array has which other part beside it, on either side along an axis."""
    later, earlier = _at(axis, slice(1, None)), _at(axis, slice(None, -1))
    return (later, earlier), (earlier, later)


def _at(axis: int, place: slice) -> tuple[slice, ...]:
    return (*(slice(None),) * axis, place)
