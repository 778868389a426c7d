"""Parts of a volume: most of a CT is not tumour, and nothing that follows the slider should touch it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from twintrack.volume import Geometry, Volume

__all__ = ["Box", "Part", "ThresholdPart", "boundingBox", "compacted", "cropped", "grown"]

Box = tuple[slice, slice, slice]
"""Voxel ranges in (z, y, x) order."""


class Part(NamedTuple):
    """Voxels of a part of a CT's grid, (z, y, x), and where it lies."""

    array: NDArray[Any]
    box: Box


def compacted(array: NDArray[Any]) -> Part:
    """Return a copy of the part of `array` (z, y, x) that is not 0: the whole need not be kept. Empty if all is 0."""
    box = boundingBox(array) or (slice(0, 0), slice(0, 0), slice(0, 0))
    return Part(array[box].copy(), box)


def boundingBox(mask: NDArray[Any]) -> Box | None:
    """Return the smallest box around the voxels of `mask` (z, y, x) that are True, or not 0; None if there are none."""
    sides = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        hit = np.flatnonzero(mask.any(axis=others))
        if hit.size == 0:
            return None
        sides.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return (sides[0], sides[1], sides[2])


def grown(box: Box, shape: tuple[int, ...], voxels: int = 1) -> Box:
    """Return `box` with `voxels` more on every side, cut at the borders of `shape` (z, y, x)."""
    z, y, x = (
        slice(max(side.start - voxels, 0), min(side.stop + voxels, size)) for side, size in zip(box, shape, strict=True)
    )
    return (z, y, x)


def cropped(volume: Volume, box: Box) -> Volume:
    """Return the part of `volume` in `box`, at its own place; the array is a view."""
    array = volume.array[box]
    grid = volume.geometry
    origin = grid.to_lps_mm(np.array([side.start for side in reversed(box)]))
    size = (array.shape[2], array.shape[1], array.shape[0])
    return Volume(array, Geometry(size, grid.spacing_mm, tuple(float(v) for v in origin), grid.direction))


class ThresholdPart:
    """The part of a map with values from `lowest` on, with look-up tables of what depends on the threshold.

    Parameters
    ----------
    whole : Volume
        The map, on the CT's grid; its memory is shared, not copied.
    lowest : float
        The lowest threshold that will be asked for.
    """

    def __init__(self, whole: Volume, lowest: float) -> None:
        nothing = (slice(0, 1), slice(0, 1), slice(0, 1))
        box = boundingBox(whole.array >= lowest)
        self.box: Box = nothing if box is None else grown(box, whole.array.shape)
        self.volume = cropped(whole, self.box)
        array = self.volume.array
        self._sorted = np.sort(array[array >= lowest], axis=None)
        # The largest value of every slice, on each axis, says at once where any threshold begins and ends.
        self._highest = [array.max(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]

    @property
    def voxels(self) -> NDArray[np.generic]:
        """The values (z, y, x), a view of the map."""
        return self.volume.array

    def volumeMl(self, threshold: float) -> float:
        """Return the volume at or above `threshold`, in mL: a look-up among the sorted values."""
        first = np.searchsorted(self._sorted, np.asarray(threshold, dtype=self._sorted.dtype), side="left")
        return float(self._sorted.size - first) * self.volume.geometry.voxel_ml

    def at(self, threshold: float) -> Volume | None:
        """Return the smallest part that holds all values at or above `threshold`; None if there are none."""
        sides = [np.flatnonzero(highest >= threshold) for highest in self._highest]
        if any(side.size == 0 for side in sides):
            return None
        z, y, x = (slice(int(side[0]), int(side[-1]) + 1) for side in sides)
        return cropped(self.volume, grown((z, y, x), self.voxels.shape))
