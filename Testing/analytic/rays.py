"""The slow measure: rays from a wall that is known, not found, outwards into the tumour.

The contact angle is the largest, over the sections perpendicular to the true centre line, of the angle, seen from the
section's centre, of those parts of the wall that have tumour within the contact distance along the outward normal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from twintrack.volume import Volume

__all__ = ["DIRECTIONS", "SECTION_STEP_MM", "Contact", "TrueWall", "contact", "tissue_levels", "touch_levels"]

DIRECTIONS = 360
"""Points of the wall in each section."""

SECTION_STEP_MM = 0.25
"""Distance of neighbouring sections."""

MAP_STEP_MM = 0.25
"""Distance of the places at which a ray reads a map."""

ROWS = 32
"""Sections read at a time, which bounds the memory."""

Points = NDArray[np.float64]
Reals = NDArray[np.float64]


@dataclass(frozen=True)
class Contact:
    """Contact angle of the worst section, length along the centre line with any contact, area of touched wall."""

    angle_deg: float
    length_mm: float
    area_mm2: float


@dataclass(frozen=True)
class TrueWall:
    """Sections perpendicular to a known centre line, evenly spaced, and the points of the wall in them.

    Attributes
    ----------
    center_mm : numpy.ndarray
        Middle of each section; shape (n, 3).
    point_mm, outward : numpy.ndarray
        Points of the wall at equal angles around the middle, and the outward normal there, within the section; shape
        (n, d, 3).
    area_mm2 : numpy.ndarray
        Area of wall that each point stands for, by the wall's own lengths in both directions; shape (n, d).
    real : numpy.ndarray of bool
        False where the lumen goes on into another vessel instead; shape (n, d).
    counted : numpy.ndarray of bool
        False for sections of a branch whose middle still lies in the trunk: they have no angle and no length, only
        what wall they have; shape (n,).
    """

    center_mm: Points
    point_mm: Points
    outward: Points
    area_mm2: Reals
    real: NDArray[np.bool_]
    counted: NDArray[np.bool_]

    @classmethod
    def around(cls, center_mm: Points, across: Points, other: Points, radius_mm: Reals) -> TrueWall:
        """Build it from section planes (two unit vectors, (n, 3) each) and the wall's distance in (n, d) directions."""
        turn = np.arange(radius_mm.shape[1]) * (2 * np.pi / radius_mm.shape[1])
        x, y = np.cos(turn) * radius_mm, np.sin(turn) * radius_mm
        # The outward normal is the outline's own direction, turned by a quarter.
        dx, dy = ((np.roll(part, -1, axis=1) - np.roll(part, 1, axis=1)) / 2 for part in (x, y))
        around_mm = np.hypot(dx, dy)
        point = center_mm[:, None] + x[..., None] * across[:, None] + y[..., None] * other[:, None]
        outward = (dy[..., None] * across[:, None] - dx[..., None] * other[:, None]) / around_mm[..., None]
        outline = dx[..., None] * across[:, None] + dy[..., None] * other[:, None]
        area = np.linalg.norm(np.cross(outline, np.gradient(point, axis=0)), axis=-1)
        whole = np.ones(radius_mm.shape, dtype=bool)
        return cls(center_mm, point, outward, area, whole, whole[:, 0])

    @classmethod
    def joined(cls, walls: list[TrueWall]) -> TrueWall:
        """Return several walls as one."""
        return cls(*(np.concatenate([getattr(w, name) for w in walls]) for name in cls.__dataclass_fields__))

    def rows(self, chosen: NDArray[np.bool_]) -> TrueWall:
        """Return some of the sections."""
        return TrueWall(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def touch_levels(
    wall: TrueWall, level_at: Callable[[Points], Reals], contact_mm: float, step_mm: float = MAP_STEP_MM
) -> Reals:
    """Return the largest level along each ray, from the wall to the contact distance, both included; shape (n, d)."""
    depths_mm = np.linspace(0.0, contact_mm, int(np.ceil(contact_mm / step_mm)) + 1)
    level = np.zeros(wall.real.shape)
    for first in range(0, len(level), ROWS):
        rows = slice(first, first + ROWS)
        for depth_mm in depths_mm:
            points = wall.point_mm[rows] + depth_mm * wall.outward[rows]
            level[rows] = np.maximum(level[rows], level_at(points.reshape(-1, 3)).reshape(points.shape[:2]))
    return np.where(wall.real, level, 0.0)


def contact(wall: TrueWall, level: Reals, threshold: float = 0.5) -> Contact:
    """Read angle, length and area at one threshold off the levels of `touch_levels`."""
    if len(level) == 0:
        return Contact(0.0, 0.0, 0.0)
    touched = wall.real & (level >= threshold)
    count = touched.sum(axis=1) * wall.counted
    return Contact(
        angle_deg=float(count.max()) * 360.0 / touched.shape[1],
        length_mm=float((count > 0).sum()) * SECTION_STEP_MM,
        area_mm2=float(wall.area_mm2[touched].sum()),
    )


def tissue_levels(probability: Volume, lumen: NDArray[np.bool_] | None = None) -> Callable[[Points], Reals]:
    """Return a reader of the map at LPS points in mm that does not see the lumen, where nobody marks tumour.

    Every voxel of the lumen takes the value of the nearest one outside it; then the map is interpolated linearly.
    """
    seen = probability.array.astype(np.float32)
    if lumen is not None and lumen.any():
        spacing = probability.geometry.spacing_mm[::-1]
        nearest = ndimage.distance_transform_edt(lumen, spacing, return_distances=False, return_indices=True)
        seen = seen[tuple(nearest)]

    def level_at(points_mm: Points) -> Reals:
        index = probability.geometry.to_index(points_mm)[:, ::-1].T
        return ndimage.map_coordinates(seen, index, output=np.float64, order=1, mode="constant", cval=0.0)

    return level_at
