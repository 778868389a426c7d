"""Linear resampling between network space and the CT grid, of a part of the output only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twintrack.inference.arrays import Array

if TYPE_CHECKING:
    import torch

__all__ = [
    "Piece",
    "Range",
    "linear_pieces",
    "linear_resample",
    "neighbors",
    "network_shape",
    "range_touched",
    "slice_axis",
    "true_box",
]

Range = tuple[int, int]
"""First index and one past the last, along one axis."""


BLOCK = 64
"""Output voxels along an axis that are taken together; their inputs lie next to each other."""

PIECE_VOXELS = 2**18
"""About so many voxels are a piece where that can be chosen: a megabyte, which a processor's cache holds."""


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
    for axis in _order(volume.shape[1:], window):
        volume = _resampled_along(volume, axis, shape[axis], window[axis])
    return volume


@dataclass(frozen=True)
class Piece:
    """A part of what `linear_pieces` makes.

    Attributes
    ----------
    place : tuple of slice
        Where it lies in the window, along (a, b, c).
    touched : tuple of slice
        The input voxels that it is interpolated from, along (a, b, c).
    values : callable
        Makes the piece (a, b, c) of the volume of a number.
    """

    place: tuple[slice, ...]
    touched: tuple[slice, ...]
    values: Callable[[int], NDArray[np.floating]]


def linear_pieces(
    volumes: Sequence[NDArray[np.floating]], shape: Sequence[int], window: Sequence[Range]
) -> Iterator[Piece]:
    """Do for several volumes in main memory what `linear_resample` does, a piece of all of them at a time.

    The numbers are the same to the last bit, for each piece is made by products that are made there. But nothing as
    large as the whole output is made, and what is done with a piece finds it in the processor's cache. A volume of
    which no piece is asked for costs nothing.

    Parameters
    ----------
    volumes : sequence of numpy.ndarray
        (a, b, c), floating point, all of one size.
    shape, window
        As in `linear_resample`.
    """
    sizes = volumes[0].shape
    *before, last = _order(sizes, window)
    shares = [_shares(size, n, *part) for size, n, part in zip(sizes, shape, window, strict=True)]
    touched = [slice(int(below[0]), int(above[-1]) + 1) for below, above, _ in shares]

    @cache
    def but_last(number: int) -> NDArray[np.floating]:
        volume = volumes[number][None]
        for axis in before:
            volume = _resampled_along(volume, axis, shape[axis], window[axis])
        return np.ascontiguousarray(volume[0])

    outer = [slice(0, stop - start) for start, stop in window]
    if sizes[last] == shape[last]:
        start, stop = window[last]
        whole = (slice(None),) * last + (slice(start, stop),)
        yield Piece(tuple(outer), tuple(touched), lambda number: but_last(number)[whole])
        return
    slab = outer[0].stop
    if last == 1:  # a product for each row of the first axis
        slab = max(PIECE_VOXELS // (BLOCK * outer[2].stop), 1)
    for rows in (slice(a, min(a + slab, outer[0].stop)) for a in range(0, outer[0].stop, slab)):
        for part, inputs, matrix in _products(*shares[last], volumes[0].dtype):

            def made(
                number: int, rows: slice = rows, inputs: slice = inputs, matrix: NDArray[np.floating] = matrix
            ) -> NDArray[np.floating]:
                volume = but_last(number)
                if last == 1:
                    return np.matmul(matrix, volume[rows, inputs])
                here = volume.reshape(-1, sizes[2]) if last == 2 else volume.reshape(sizes[0], -1)
                product = here[:, inputs] @ matrix.T if last == 2 else matrix @ here[inputs]
                new = list(volume.shape)
                new[last] = len(matrix)
                return np.asarray(product.reshape(new))

            place, looked_at = list(outer), list(touched)
            if last == 1:
                below, above, _ = shares[0]
                place[0] = rows
                looked_at[0] = slice(int(below[rows][0]), int(above[rows][-1]) + 1)
            place[last], looked_at[last] = part, inputs
            yield Piece(tuple(place), tuple(looked_at), made)


def _order(sizes: Sequence[int], window: Sequence[Range]) -> list[int]:
    """Return the axes in the order in which they are resampled: shrinking ones first, to keep what follows small."""
    growth = [(stop - start) / size for (start, stop), size in zip(window, sizes, strict=True)]
    return sorted(range(3), key=lambda axis: growth[axis])


def _resampled_along(volume: Array, axis: int, size: int, part: Range) -> Array:
    """Resample (channel, a, b, c) along one axis of (a, b, c) to `size`, and return a part of that."""
    own = volume.shape[axis + 1]
    if own == size:
        return volume[(slice(None),) * (axis + 1) + (slice(*part),)]
    if isinstance(volume, np.ndarray):
        return _along(volume, axis, *_shares(own, size, *part))
    return _along_on_card(volume, axis, own, size, *part)


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
    for part, inputs, matrix in _products(below, above, weight, volume.dtype):
        if axis == 2:
            np.matmul(here[:, inputs], matrix.T, out=there[:, part])
        else:
            np.matmul(matrix, here[..., inputs, :], out=there[..., part, :])
    return result


def _products(
    below: NDArray[np.int64], above: NDArray[np.int64], weight: NDArray[np.float64], dtype: np.dtype[Any]
) -> Iterator[tuple[slice, slice, NDArray[np.floating]]]:
    """Yield some output voxels of an axis, their inputs, and the matrix that makes the ones of the others."""
    for start in range(0, len(below), BLOCK):
        part = slice(start, min(start + BLOCK, len(below)))
        first, stop = int(below[part][0]), int(above[part][-1]) + 1
        rows = np.arange(part.stop - part.start)
        matrix = np.zeros((len(rows), stop - first))
        matrix[rows, below[part] - first] = 1 - weight[part]
        matrix[rows, above[part] - first] += weight[part]
        yield part, slice(first, stop), matrix.astype(dtype)


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
