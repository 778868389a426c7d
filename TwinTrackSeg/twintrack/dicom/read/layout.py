"""Where the slices of a series lie on a regular voxel grid, and the way from slices to grid and back.

Most series are regular: slices are the grid's planes. Slices at uneven distances, with a few missing, or sheared by a
tilted gantry are resampled onto a grid by linear interpolation, and results are brought back to the slices that way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.volume import Geometry

__all__ = ["SliceLayout"]

WHOLE = 1e-6
"""Shifts and places this close to a whole number, in voxels, are whole."""


@dataclass(frozen=True)
class SliceLayout:
    """Where each slice lies on a grid, in voxels.

    Attributes
    ----------
    geometry : Geometry
        The grid.
    size : tuple of int
        (columns, rows) of a slice.
    shift_ij : numpy.ndarray
        (slice, 2): where the first pixel of each slice lies along the grid's (i, j); at least 0.
    place_k : numpy.ndarray
        (slice,): where each slice lies along k, rising.
    """

    geometry: Geometry
    size: tuple[int, int]
    shift_ij: NDArray[np.float64]
    place_k: NDArray[np.float64]

    def to_grid(self, slices: NDArray[Any], outside: float) -> NDArray[np.float32]:
        """Interpolate `slices` (slice, y, x) linearly to the grid (z, y, x), with `outside` where no slice reaches."""
        _, rows, columns = self.geometry.shape
        grid = np.empty(self.geometry.shape, dtype=np.float32)
        for k in range(len(grid)):
            below, above, weight = _between(self.place_k, float(k))
            plane = np.zeros((rows, columns), dtype=np.float32)
            for index, share in ((below, 1 - weight), (above, weight)):
                if share > 0:
                    shift_i, shift_j = self.shift_ij[index]
                    plane += np.float32(share) * _shifted(slices[index], shift_j, shift_i, (rows, columns), outside)
            grid[k] = plane
        return grid

    def to_slices(self, grid: NDArray[Any]) -> NDArray[np.float32]:
        """Interpolate `grid` (z, y, x) linearly to where the slices lie: (slice, y, x)."""
        columns, rows = self.size
        slices = np.empty((len(self.place_k), rows, columns), dtype=np.float32)
        planes = np.arange(len(grid), dtype=np.float64)
        for index, (place, (shift_i, shift_j)) in enumerate(zip(self.place_k, self.shift_ij, strict=True)):
            below, above, weight = _between(planes, float(place))
            plane = grid[below].astype(np.float32)
            if weight > 0:
                plane = (1 - np.float32(weight)) * plane + np.float32(weight) * grid[above].astype(np.float32)
            slices[index] = _shifted(plane, -shift_j, -shift_i, (rows, columns), 0.0)
        return slices

    def labels_to_grid(self, slices: NDArray[Any]) -> NDArray[Any]:
        """Move labels (slice, y, x) to the grid (z, y, x) by whole voxels: each takes the nearest, 0 where none is."""
        _, rows, columns = self.geometry.shape
        grid = np.zeros(self.geometry.shape, dtype=slices.dtype)
        for k in range(len(grid)):
            index = int(np.abs(self.place_k - k).argmin())
            shift_i, shift_j = np.rint(self.shift_ij[index]).astype(int)
            grid[k] = _moved(slices[index], shift_j, shift_i, (rows, columns))
        return grid

    def labels_to_slices(self, grid: NDArray[Any]) -> NDArray[Any]:
        """Move labels (z, y, x) back to where the slices lie: (slice, y, x)."""
        columns, rows = self.size
        slices = np.zeros((len(self.place_k), rows, columns), dtype=grid.dtype)
        for index, (place, shift) in enumerate(zip(self.place_k, self.shift_ij, strict=True)):
            shift_i, shift_j = np.rint(shift).astype(int)
            nearest = int(np.clip(np.rint(place), 0, len(grid) - 1))
            slices[index] = _moved(grid[nearest], -shift_j, -shift_i, (rows, columns))
        return slices


def _moved(plane: NDArray[Any], rows: int, columns: int, shape: tuple[int, int]) -> NDArray[Any]:
    """Move a plane (y, x) by whole pixels into one of `shape`, 0 where it does not reach."""
    moved = np.zeros(shape, dtype=plane.dtype)
    target, source = [], []
    for shift, length, there in zip((rows, columns), shape, plane.shape, strict=True):
        start, stop = max(shift, 0), min(shift + there, length)
        target.append(slice(start, max(start, stop)))
        source.append(slice(start - shift, max(start, stop) - shift))
    moved[tuple(target)] = plane[tuple(source)]
    return moved


def _between(places: NDArray[np.float64], place: float) -> tuple[int, int, float]:
    """Return the two neighbours of `place` among rising `places`, and the weight of the second."""
    above = int(np.clip(np.searchsorted(places, place), 1, len(places) - 1))
    below = above - 1
    weight = float(np.clip((place - places[below]) / (places[above] - places[below]), 0.0, 1.0))
    if weight < WHOLE or weight > 1 - WHOLE:
        weight = round(weight)
    return below, above, weight


def _shifted(
    plane: NDArray[Any], rows: float, columns: float, shape: tuple[int, int], outside: float
) -> NDArray[np.float32]:
    """Move a plane (y, x) by `rows` and `columns`, which may be fractions of a pixel, into one of `shape`."""
    for axis, shift in enumerate((rows, columns)):
        plane = _shifted_along(plane.astype(np.float32, copy=False), axis, shift, shape[axis], outside)
    return plane


def _shifted_along(
    plane: NDArray[np.float32], axis: int, shift: float, length: int, outside: float
) -> NDArray[np.float32]:
    """Move a plane along one axis; what comes from beyond its edge by less than a pixel repeats the edge."""
    shift = round(shift) if abs(shift - round(shift)) < WHOLE else shift
    wanted = np.arange(length) - shift
    last = plane.shape[axis] - 1
    low = np.clip(np.floor(wanted).astype(int), 0, last)
    high = np.clip(low + 1, 0, last)
    share = np.clip(wanted - low, 0.0, 1.0).astype(np.float32)
    share = share[:, None] if axis == 0 else share[None, :]
    moved = (1 - share) * plane.take(low, axis) + share * plane.take(high, axis)
    beyond = (wanted <= -1) | (wanted >= last + 1)
    moved[(beyond, slice(None)) if axis == 0 else (slice(None), beyond)] = outside
    return moved
