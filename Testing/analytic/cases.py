"""A shape in a random pose on a grid: the vessel's mask, the tumour's map and what must be measured."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from analytic.kinds import KINDS, Shape
from analytic.rays import Contact, Points, TrueWall, contact, touch_levels
from twintrack.volume import Geometry, Volume

__all__ = ["GRIDS", "AnalyticCase", "make_case", "make_case_of"]

GRIDS: dict[str, tuple[float, float, float]] = {
    "1 mm": (1.0, 1.0, 1.0),
    "2.5 mm": (0.8, 0.8, 2.5),
    "5 mm": (0.8, 0.8, 5.0),
}
"""Spacings (x, y, z) in mm by name."""

PART_MM = 0.3
"""A voxel's share of tumour or lumen is counted in parts about this large."""

MARGIN_MM = 10.0
"""Tissue around the vessel."""

TRUTH_STEP_MM = 0.1
"""Distance of the places along a ray at which an analytic tumour is looked for."""

CHUNK = 4096
"""Voxels divided at a time, which bounds the memory."""


@dataclass(frozen=True)
class AnalyticCase:
    """A drawn shape.

    Attributes
    ----------
    probability, vessel : Volume
        The tumour's share of each voxel outside the lumen, in [0, 1], and the mask (1), on the same grid.
    lumen : numpy.ndarray of bool
        Voxels that are at least half inside the true vessel; (z, y, x).
    pose : numpy.ndarray
        Rotation from the shape's frame to LPS, whose origin is the shape's; shape (3, 3).
    """

    kind: str
    shape: Shape
    probability: Volume
    vessel: Volume
    lumen: NDArray[np.bool_]
    pose: NDArray[np.float64]

    def truth(self, contact_mm: float) -> Contact:
        """Return what must be measured at level 0.5 if tumour within this distance of the wall is contact."""
        wall = self.shape.vessel.wall_near(self.shape.tumor, contact_mm)
        if wall is None:
            return Contact(0.0, 0.0, 0.0)
        branching = len(self.shape.vessel.parts) > 1

        def level_at(points: Points) -> NDArray[np.float64]:
            found = self.shape.tumor(points) >= 0
            return (found & (self.shape.vessel.depth(points) <= TRUTH_STEP_MM / 10) if branching else found) * 1.0

        return contact(wall, touch_levels(wall, level_at, contact_mm, TRUTH_STEP_MM))

    def wall_lps(self, reach_mm: float) -> TrueWall | None:
        """Return the true wall near the tumour in LPS mm."""
        wall = self.shape.vessel.wall_near(self.shape.tumor, reach_mm)
        if wall is None:
            return None
        moved = (wall.center_mm @ self.pose.T, wall.point_mm @ self.pose.T, wall.outward @ self.pose.T)
        return TrueWall(*moved, wall.area_mm2, wall.real, wall.counted)


def make_case(
    kind: str, number: int, spacing_mm: tuple[float, float, float], *, seed: int = 0, hard: bool = False
) -> AnalyticCase:
    """Draw one case; the same kind, number and seed give the same shape in the same pose on every grid.

    Nobody marks tumour in a voxel of the lumen; beside it, the map does not know of the lumen, as in phantoms, outlines
    and predictions. With `hard` the map is a reader's mask: 1 where at least half a voxel is tumour, else 0.
    """
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), number])
    return make_case_of(KINDS[kind](rng, number), spacing_mm, rng, kind=kind, hard=hard)


def make_case_of(
    shape: Shape,
    spacing_mm: tuple[float, float, float],
    rng: np.random.Generator,
    *,
    kind: str = "",
    hard: bool = False,
) -> AnalyticCase:
    """Draw a shape in a random pose, as `make_case` does."""
    pose = Rotation.random(random_state=rng.integers(2**31)).as_matrix()
    geometry = _grid(shape, pose, np.asarray(spacing_mm), rng.random(3))
    lumen = _share(shape.vessel.depth, geometry, pose) >= 0.5
    tumor = _share(shape.tumor, geometry, pose)
    inside = lumen
    if shape.overwrites:
        inside = lumen & (tumor < 0.5)
    else:
        tumor[lumen] = 0.0
    if shape.grown_voxels:
        change = ndimage.binary_dilation if shape.grown_voxels > 0 else ndimage.binary_erosion
        inside = change(inside, _neighbors(spacing_mm), iterations=abs(shape.grown_voxels))
    if hard:
        tumor = (tumor >= 0.5).astype(np.float32)
    return AnalyticCase(kind, shape, Volume(tumor, geometry), Volume(inside.astype(np.uint8), geometry), lumen, pose)


def _neighbors(spacing_mm: tuple[float, float, float]) -> NDArray[np.bool_]:
    """Return the voxels a reader's mask is off by: in thick slices only those within the slice."""
    cross = ndimage.generate_binary_structure(3, 1)
    if spacing_mm[2] > 1.5 * spacing_mm[0]:
        cross[[0, 2]] = False
    return cross


def _grid(
    shape: Shape, pose: NDArray[np.float64], spacing: NDArray[np.float64], shift: NDArray[np.float64]
) -> Geometry:
    """Return a grid around the whole vessel, moved by a part of a voxel."""
    line = np.concatenate([part.center_mm for part in shape.vessel.parts]) @ pose.T
    radius = max(part.half_axes_mm.max() for part in shape.vessel.parts)
    low, high = line.min(axis=0) - radius - MARGIN_MM, line.max(axis=0) + radius + MARGIN_MM
    i, j, k = (int(n) for n in np.ceil((high - low) / spacing) + 1)
    x, y, z = (float(value) for value in low - shift * spacing)
    return Geometry((i, j, k), (float(spacing[0]), float(spacing[1]), float(spacing[2])), (x, y, z))


def _share(depth: Callable[[Points], NDArray[np.float64]], geometry: Geometry, pose: Points) -> NDArray[np.float32]:
    """Return how much of each voxel is inside; only voxels that the surface can cross are divided."""
    spacing = np.asarray(geometry.spacing_mm)
    index = np.indices(geometry.shape).reshape(3, -1)[::-1].T
    middle = geometry.to_lps_mm(index)
    at_middle = depth(middle @ pose)
    result = (at_middle >= 0).astype(np.float32)
    crossed = np.flatnonzero(np.abs(at_middle) <= 0.55 * np.linalg.norm(spacing))
    parts = np.ceil(spacing / PART_MM).astype(int)
    offsets = np.indices(parts).reshape(3, -1).T
    offsets = ((offsets + 0.5) / parts - 0.5) * spacing
    for first in range(0, len(crossed), CHUNK):
        some = crossed[first : first + CHUNK]
        points = (middle[some][:, None] + offsets).reshape(-1, 3)
        result[some] = (depth(points @ pose) >= 0).reshape(len(some), -1).mean(axis=1)
    return result.reshape(geometry.shape)
