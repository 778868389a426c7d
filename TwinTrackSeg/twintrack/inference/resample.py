"""Linear resampling between network space and the CT grid, of a part of the output only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twintrack.inference.arrays import Array

if TYPE_CHECKING:
    import torch

__all__ = ["Range", "linear_resample", "neighbors", "network_shape", "range_touched", "slice_axis", "true_box"]

Range = tuple[int, int]
"""First index and one past the last, along one axis."""


BLOCK = 64
"""Output voxels along an axis that are taken together; their inputs lie next to each other."""


def linear_resample(volume: Array, shape: Sequence[int], window: Sequence[Range]) -> Array:
    """Resample a volume to `shape` linearly along all three axes and return the part `window` of the result.

    Both grids span the same extent and voxel centres lie half a voxel inside it, the convention of nnU-Net's own
    resampling (``skimage.transform.resize`` with order 1 and edge values); values beyond the outermost centres repeat.

    Parameters
    ----------
    volume : array
        (channel, a, b, c), floating point; see `twintrack.inference.arrays`.
    shape : sequence of int
        Size of the whole output along (a, b, c).
    window : sequence of Range
        Which part of the output to compute.

    Returns
    -------
    array
        (channel, *window sizes), same dtype and memory.
    """
    sizes = volume.shape[1:]
    growth = [(stop - start) / size for (start, stop), size in zip(window, sizes, strict=True)]
    # Shrinking axes first keeps the intermediate volumes small.
    for axis in sorted(range(3), key=lambda a: growth[a]):
        start, stop = window[axis]
        size = sizes[axis]
        if size == shape[axis]:
            volume = volume[(slice(None),) * (axis + 1) + (slice(start, stop),)]
            continue
        if isinstance(volume, np.ndarray):
            volume = _along(volume, axis, *_shares(size, shape[axis], start, stop))
        else:
            volume = _along_on_card(volume, axis, size, shape[axis], start, stop)
    return volume


def _shares(
    size_in: int, size_out: int, start: int, stop: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the two inputs of each output voxel from `start` to `stop`, and the second one's weight."""
    position = _positions(size_in, size_out)[start:stop]
    below = np.minimum(position.astype(np.int64), size_in - 1)
    return below, np.minimum(below + 1, size_in - 1), position - below


def _along(
    volume: NDArray[np.floating],
    axis: int,
    below: NDArray[np.int64],
    above: NDArray[np.int64],
    weight: NDArray[np.float64],
) -> NDArray[np.floating]:
    """Interpolate along an axis of (a, b, c), by products with small matrices of two weights a row.

    Gathering single numbers is slow; a product is not, if the matrix holds little more than the two weights: so for
    some output voxels at a time, whose inputs lie next to each other.
    """
    before, after = volume.shape[: axis + 1], volume.shape[axis + 2 :]
    volume = np.ascontiguousarray(volume)
    result = np.empty((*before, len(below), *after), dtype=volume.dtype)
    # As matrices: the rows of the last axis, or the columns of another one.
    here, there = (
        (array.reshape(-1, array.shape[-1]) if axis == 2 else array.reshape(*before, array.shape[axis + 1], -1))
        for array in (volume, result)
    )
    for start in range(0, len(below), BLOCK):
        part = slice(start, min(start + BLOCK, len(below)))
        first, stop = int(below[part][0]), int(above[part][-1]) + 1
        rows = np.arange(part.stop - part.start)
        matrix = np.zeros((len(rows), stop - first))
        matrix[rows, below[part] - first] = 1 - weight[part]
        matrix[rows, above[part] - first] += weight[part]
        matrix = matrix.astype(volume.dtype)
        if axis == 2:
            np.matmul(here[:, first:stop], matrix.T, out=there[:, part])
        else:
            np.matmul(matrix, here[..., first:stop, :], out=there[..., part, :])
    return result


def _along_on_card(volume: torch.Tensor, axis: int, size_in: int, size_out: int, start: int, stop: int) -> torch.Tensor:
    """Interpolate along an axis of (a, b, c) on a graphics card."""
    below, above, weight = _shares_on_card(size_in, size_out, start, stop, str(volume.device), volume.dtype)
    share = weight.reshape([-1 if a == axis + 1 else 1 for a in range(4)])
    return volume.index_select(axis + 1, below).lerp_(volume.index_select(axis + 1, above), share)


@lru_cache(maxsize=64)
def _shares_on_card(
    size_in: int, size_out: int, start: int, stop: int, device: str, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return `_shares` in a card's memory: one channel after the other asks for the same, and each copy waits."""
    import torch

    below, above, weight = (torch.from_numpy(values) for values in _shares(size_in, size_out, start, stop))
    place = torch.device(device)
    return below.to(place), above.to(place), weight.to(place, dtype)


def range_touched(size_in: int, size_out: int, inside: Range) -> Range:
    """Return which output voxels the input voxels `inside` of one axis have a share in."""
    position = _positions(size_in, size_out)
    (touched,) = np.nonzero((position > inside[0] - 1) & (position < inside[1]))
    return (int(touched[0]), int(touched[-1]) + 1) if touched.size else (0, 0)


def neighbors(size_in: int, size_out: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for each output voxel of one axis, the two input voxels it is interpolated from."""
    below = np.minimum(_positions(size_in, size_out).astype(np.int64), size_in - 1)
    return below, np.minimum(below + 1, size_in - 1)


def _positions(size_in: int, size_out: int) -> NDArray[np.float64]:
    """Where the output's voxel centres lie, counted in input voxels, kept between the outermost centres."""
    positions = (np.arange(size_out, dtype=np.float64) + 0.5) * (size_in / size_out) - 0.5
    positions.clip(0.0, size_in - 1.0, out=positions)
    return positions


def true_box(mask: NDArray[np.bool_]) -> tuple[Range, Range, Range] | None:
    """Return the box of a mask's true voxels along its three axes; None where there is none."""
    from scipy import ndimage

    found = ndimage.find_objects(mask.astype(np.uint8))
    if not found:
        return None
    a, b, c = ((int(s.start), int(s.stop)) for s in found[0])
    return (a, b, c)


THICK = 3.0
"""How many times larger the largest spacing must be than the smallest for slices to count as thick."""


def network_shape(shape: Sequence[int], spacing: Sequence[float], target: Sequence[float]) -> list[int]:
    """Return the size of a volume of `shape` and voxel size `spacing` when resampled to `target`.

    At least one voxel along each axis: a slab thinner than half a network voxel would vanish.
    """
    return [max(round(old / new * size), 1) for size, old, new in zip(shape, spacing, target, strict=True)]


def slice_axis(spacing: Sequence[float], target: Sequence[float], apart: bool | None) -> int | None:
    """Return the axis across thick slices, which is resampled apart from the others; None if there is none.

    Parameters
    ----------
    spacing, target : sequence of float
        Voxel size before and after, along the same axes.
    apart : bool or None
        Whether the plans ask for it; None leaves it to the spacings.
    """
    candidates = [spacing] if apart else []
    if apart is None:
        candidates = [voxel for voxel in (spacing, target) if max(voxel) / min(voxel) > THICK][:1]
    for voxel in candidates:
        largest = [axis for axis, size in enumerate(voxel) if max(voxel) / size == 1]
        if len(largest) == 1:
            return largest[0]
    return None
