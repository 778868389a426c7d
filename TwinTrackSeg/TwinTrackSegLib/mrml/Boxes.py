"""Index boxes: most of a CT is not tumour, and nothing that follows the slider should touch it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twintrack.volume import Geometry, Volume

__all__ = ["Box", "boundingBox", "cropped", "grown"]

Box = tuple[slice, slice, slice]
"""Voxel ranges in (z, y, x) order."""


def boundingBox(mask: NDArray[np.bool_]) -> Box | None:
    """Return the smallest box around the True voxels of `mask` (z, y, x), or None if there are none."""
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
