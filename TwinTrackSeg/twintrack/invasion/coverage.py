"""How much of a vessel was searched for tumour, judged where tumour could be.

A map is 0 where nobody looked. Whether its 0 beside a vessel is a finding depends on the part of the vessel that tumour
could reach, and not on how long the vessel is in the image: the far end of an aorta says nothing, and one voxel of it
inside the searched region makes no finding of the rest.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from twintrack.imaging.plane_contact import Box, bounding_box
from twintrack.invasion.gap import WallPoints, wall_voxels
from twintrack.invasion.geometry import FLOOR
from twintrack.volume import Volume

__all__ = ["LEAST_COVERAGE", "NEAR_MM", "SearchedRegion"]

NEAR_MM = 20.0
"""Distance from the map up to which a vessel's wall counts: the usual margin of the region around the organ, beyond
which no tumour of the organ is looked for."""

NEAR_REGION_MM = 10.0
"""Distance from the searched region up to which a vessel's wall counts where the map has nothing near it."""

LEAST_COVERAGE = 0.5
"""Share of the wall that must have been searched for a vessel without contact to be called free. Below it, a contact
would more likely lie where nobody looked than where somebody did."""

FAR_SIDE = -0.25
"""Cosine between a wall's outward direction and the direction to the nearest tumour, below which the wall is on the far
side: tumour would have to grow around the vessel first. A wall that runs straight away from the tumour is not."""

Reals = NDArray[np.float64]
Indices = NDArray[np.int64]


class SearchedRegion:
    """The region that was searched for tumour, and the map that was found in it.

    Parameters
    ----------
    probability : Volume
        The tumour map, (z, y, x).
    searched : numpy.ndarray
        Not 0 in the region; of the map's shape.
    """

    def __init__(self, probability: Volume, searched: NDArray[np.generic]) -> None:
        self.searched = searched.astype(bool, copy=False)
        self._probability = probability.array
        self._spacing_mm = np.asarray(probability.geometry.spacing_mm[::-1], dtype=float)

    def share(self, mask: NDArray[np.bool_], box: Box) -> float:
        """Return the fraction of a vessel's voxels that lies in the region.

        Parameters
        ----------
        mask : numpy.ndarray of bool
            The vessel, cropped to `box`; (z, y, x), not empty.
        box : tuple of slice
            The mask's place in the map.
        """
        return float(np.count_nonzero(mask & self.searched[box]) / np.count_nonzero(mask))

    def holds(self, box: Box, contact_mm: float) -> bool:
        """Tell whether the region holds a vessel's box and all that `coverage`, which is 1 then, asks for around it."""
        by = self._steps(contact_mm)
        around = (slice(max(s.start - n, 0), s.stop + n) for s, n in zip(box, by, strict=True))
        return bool(self.searched[tuple(around)].all())

    def coverage(self, wall: WallPoints, box: Box, contact_mm: float) -> float:
        """Return the share in [0, 1] of the wall that tumour could reach around which tumour was looked for.

        That is the wall within `NEAR_MM` of the map, but for the side that looks away from it. Where the map has
        nothing near the vessel, it is the same with the region and `NEAR_REGION_MM`. Tumour was looked for at such a
        voxel of the wall if the region holds it and the places `contact_mm` away on its six sides.

        Parameters
        ----------
        wall : WallPoints
            What `twintrack.invasion.gap.wall_points` gives of the vessel's mask.
        box : tuple of slice
            The mask's place in the map.
        contact_mm : float
            Distance from the lumen within which tumour touches.
        """
        places = wall.places + np.array([side.start for side in box])
        near = self._faces(places, wall.outward, self._tumor, self._tumor_tree, NEAR_MM)
        if not near.any():
            near = self._faces(places, wall.outward, self.searched, self._searched_tree, NEAR_REGION_MM)
        return float(np.mean(self._looked_at(places[near], contact_mm))) if near.any() else 0.0

    def _faces(
        self, places: Indices, outward: Reals, target: NDArray[np.bool_], tree: cKDTree | None, most_mm: float
    ) -> NDArray[np.bool_]:
        """Tell which places on the wall lie in a target, or near it and not on the side that looks away from it."""
        if tree is None:
            return np.zeros(len(places), dtype=bool)
        away_mm, nearest = tree.query(places * self._spacing_mm, distance_upper_bound=most_mm)
        known = np.isfinite(away_mm)
        towards = tree.data[np.where(known, nearest, 0)] - places * self._spacing_mm
        cosine = np.einsum("nd,nd->n", towards, outward) / np.maximum(np.linalg.norm(towards, axis=1), 1e-9)
        faces: NDArray[np.bool_] = known & (cosine > FAR_SIDE)
        return faces | target[tuple(places.T)]

    def _looked_at(self, places: Indices, contact_mm: float) -> NDArray[np.bool_]:
        """Tell around which places tumour was looked for; beyond the volume's edge there is nothing to look at."""
        last = np.array(self.searched.shape) - 1
        looked = self.searched[tuple(places.T)].copy()
        for axis in range(3):
            step = np.zeros(3, dtype=np.int64)
            step[axis] = self._steps(contact_mm)[axis]
            for sign in (-1, 1):
                looked &= self.searched[tuple(np.clip(places + sign * step, 0, last).T)]
        return looked

    def _steps(self, contact_mm: float) -> list[int]:
        """Return how many voxels along each axis the contact distance takes."""
        return [int(np.ceil(contact_mm / edge_mm)) for edge_mm in self._spacing_mm]

    @cached_property
    def _tumor(self) -> NDArray[np.bool_]:
        tumor = np.zeros(self.searched.shape, dtype=bool)  # takes memory only where it is written to
        box = bounding_box(self.searched)
        if box is not None:
            tumor[box] = np.greater_equal(self._probability[box], FLOOR) & self.searched[box]
        return tumor

    @cached_property
    def _tumor_tree(self) -> cKDTree | None:
        return self._surface(self._tumor)

    @cached_property
    def _searched_tree(self) -> cKDTree | None:
        return self._surface(self.searched)

    def _surface(self, target: NDArray[np.bool_]) -> cKDTree | None:
        """Return the outermost voxels of a target to find the nearest of, in mm; None for an empty one."""
        box = bounding_box(target)
        if box is None:
            return None
        places = np.argwhere(wall_voxels(target[box])) + np.array([side.start for side in box])
        return cKDTree(places * self._spacing_mm)
