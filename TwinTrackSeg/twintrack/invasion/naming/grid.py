"""A mask on voxels of about a millimetre and a half, its voxels' places in the patient, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from twintrack.imaging.plane_contact import bounding_box
from twintrack.volume import Geometry

__all__ = ["Grid", "Mask"]

EDGE_MM = 1.4
"""Edge that voxels of the working grid come nearest to: small ones are pooled, slices are divided."""

MARGIN = 2
"""Empty voxels around the mask."""

LEAST_SHARE = 0.5
"""Share of a pooled voxel that must be labelled."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Grid:
    """The working grid: every axis of the given one, in whole parts or whole multiples of its voxels.

    Attributes
    ----------
    box : tuple of slice
        The part of the given array that it covers, (z, y, x).
    pool, split : tuple of int
        Given voxels in one of the grid, and grid voxels in a given one, along (z, y, x).
    geometry : Geometry
        Of the given array.
    """

    box: tuple[slice, slice, slice]
    pool: tuple[int, int, int]
    split: tuple[int, int, int]
    geometry: Geometry

    @classmethod
    def around(cls, inside: Mask, geometry: Geometry) -> Grid | None:
        """Return the grid around all of a mask (z, y, x) on `geometry`; None if it is empty."""
        box = bounding_box(inside)
        if box is None:
            return None
        spacing = geometry.spacing_mm[::-1]
        pool = tuple(max(1, round(EDGE_MM / step)) for step in spacing)
        split = tuple(max(1, round(step / EDGE_MM)) for step in spacing)
        return cls(box, (pool[0], pool[1], pool[2]), (split[0], split[1], split[2]), geometry)

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels (z, y, x), margin included."""
        sizes = [side.stop - side.start for side in self.box]
        z, y, x = (-(-n // p) * s + 2 * MARGIN for n, p, s in zip(sizes, self.pool, self.split, strict=True))
        return (z, y, x)

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Voxel edges along (z, y, x)."""
        edges = zip(self.geometry.spacing_mm[::-1], self.pool, self.split, strict=True)
        z, y, x = (step * p / s for step, p, s in edges)
        return (z, y, x)

    @property
    def voxel_mm3(self) -> float:
        """Volume of a voxel."""
        return float(np.prod(self.spacing_mm))

    def down(self, inside: Mask) -> Mask:
        """Bring a mask (z, y, x) of the given array's shape here."""
        part = inside[self.box].view(np.uint8)
        for axis, pool in enumerate(self.pool):
            if pool > 1:
                part = _pooled(part, axis, pool)
        result: Mask = part >= LEAST_SHARE * np.prod(self.pool)
        for axis, split in enumerate(self.split):
            if split > 1:
                result = _between_slices(result, axis, split)
        return np.pad(result, MARGIN)

    def lps_mm(self, index_zyx: NDArray[np.integer] | NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the places (n, 3) in LPS mm of voxel indices (n, 3) of this grid in (z, y, x) order."""
        start = np.array([side.start for side in self.box])
        pool, split = np.array(self.pool), np.array(self.split)
        given = start + (index_zyx - MARGIN + 0.5) * pool / split - 0.5
        return self.geometry.to_lps_mm(given[:, ::-1])

    def up(self, labels: NDArray[np.uint8], inside: Mask) -> NDArray[np.uint8]:
        """Return the label here of each voxel of a mask of the given array's shape, in the order of `argwhere`.

        A voxel whose own place here is empty has the label of the nearest that is not.
        """
        index = np.argwhere(inside[self.box]).astype(np.int32)
        pool, split = np.array(self.pool, np.int32), np.array(self.split, np.int32)
        here = (index * split + split // 2) // pool + MARGIN
        found = labels[here[:, 0], here[:, 1], here[:, 2]]
        lost = np.flatnonzero(found == 0)
        if lost.size and bool(labels.any()):
            from scipy.spatial import cKDTree

            held = np.argwhere(labels)
            edge = np.array(self.spacing_mm)
            reached = cKDTree(held * edge).query(here[lost] * edge, distance_upper_bound=4.0 * EDGE_MM)
            distance, nearest = np.asarray(reached[0]), np.asarray(reached[1], np.int64)
            near = np.isfinite(distance)
            found[lost[near]] = labels[tuple(held[nearest[near]].T)]
        return found


def _pooled(part: NDArray[np.uint8], axis: int, pool: int) -> NDArray[np.uint8]:
    """Add up groups of `pool` voxels along an axis; the last group may be smaller."""
    rest = -part.shape[axis] % pool
    if rest:
        part = np.pad(part, [(0, rest if number == axis else 0) for number in range(3)])
    pieces = [
        part[tuple(slice(n, None, pool) if number == axis else slice(None) for number in range(3))] for n in range(pool)
    ]
    total = pieces[0].copy()
    for piece in pieces[1:]:
        total += piece
    return total


def _between_slices(inside: Mask, axis: int, split: int) -> Mask:
    """Divide thick slices; between two of them the outline moves evenly from one to the other.

    References
    ----------
    Raya and Udupa, IEEE Transactions on Medical Imaging 9(1):32, 1990 (shape-based interpolation).
    """
    slices = np.moveaxis(inside, axis, 0)
    depth = np.stack([_signed_depth(one) for one in slices])
    place = np.clip((np.arange(len(slices) * split) + 0.5) / split - 0.5, 0, len(slices) - 1)
    low = np.minimum(place.astype(int), max(len(slices) - 2, 0))
    high = np.minimum(low + 1, len(slices) - 1)
    share = (place - low)[:, None, None].astype(np.float32)
    finer = (1 - share) * depth[low] + share * depth[high] > 0
    return np.moveaxis(finer, 0, axis)


def _signed_depth(inside: Mask) -> NDArray[np.float32]:
    if not inside.any():
        return np.full(inside.shape, -6.0, np.float32)
    outside = ndimage.distance_transform_edt(~inside)
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    return np.clip(depth - outside, -6.0, 6.0).astype(np.float32)
