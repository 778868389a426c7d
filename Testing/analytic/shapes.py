"""Vessels swept along a line and tumours, each as a depth in mm: positive inside, never changing faster than the place.

Everything lies in a frame of its own: the vessel passes through the origin along z, where the tumour is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from analytic.rays import DIRECTIONS, SECTION_STEP_MM, Points, Reals, TrueWall

__all__ = ["Depth", "Joined", "Swept", "ball", "either", "half_space", "planar", "sector", "straight"]

Depth = Callable[[Points], Reals]

FINER = 25
"""Parts of a step in which a curve is summed up."""

HALF_LENGTH_MM = 40.0
"""Vessel on both sides of the tumour."""


@dataclass(frozen=True)
class Swept:
    """An ellipse swept along a line that lies in a plane; it ends flat.

    Attributes
    ----------
    center_mm, tangent, across, other : numpy.ndarray
        Line, its direction, and the directions of the ellipse's two axes; shape (n, 3), `SECTION_STEP_MM` apart.
    half_axes_mm : numpy.ndarray
        Along `across` and `other`; shape (n, 2).
    start_mm : float
        Place of the first point along the line, counted from the origin.
    """

    center_mm: Points
    tangent: Points
    across: Points
    other: Points
    half_axes_mm: Reals
    start_mm: float

    def local(self, points: Points) -> tuple[NDArray[np.int64], Reals, Reals, Reals]:
        """Return the nearest section, the place along the line and the place within the section (x, y)."""
        if np.allclose(self.tangent, self.tangent[0]):
            along = (points - self.center_mm[0]) @ self.tangent[0]
            nearest = np.clip(np.rint(along / SECTION_STEP_MM), 0, len(self.center_mm) - 1).astype(np.int64)
        else:
            nearest = cKDTree(self.center_mm).query(points)[1]
        offset = points - self.center_mm[nearest]
        t, x, y = (np.einsum("mk,mk->m", offset, e[nearest]) for e in (self.tangent, self.across, self.other))
        return nearest, self.start_mm + nearest * SECTION_STEP_MM + t, x, y

    def depth(self, points: Points) -> Reals:
        """Return a lower bound of the distance to the wall, exact for circles."""
        nearest, along, x, y = self.local(points)
        a, b = self.half_axes_mm[nearest].T
        radial = (1 - np.hypot(x / a, y / b)) * np.minimum(a, b)
        end_mm = self.start_mm + (len(self.center_mm) - 1) * SECTION_STEP_MM
        return np.minimum(radial, np.minimum(along - self.start_mm, end_mm - along))

    def planes(self, distance_mm: float) -> tuple[Points, Points]:
        """Return points and directions of the line this far before and behind the origin."""
        place = (np.array([-distance_mm, distance_mm]) - self.start_mm) / SECTION_STEP_MM
        nearest = np.rint(place).astype(np.int64)
        tangent = self.tangent[nearest]
        return self.center_mm[nearest] + (place - nearest)[:, None] * SECTION_STEP_MM * tangent, tangent

    def wall(self, rows: NDArray[np.bool_]) -> TrueWall:
        """Return the wall of some neighbouring sections."""
        turn = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
        a, b = self.half_axes_mm[rows, :1], self.half_axes_mm[rows, 1:]
        radius = a * b / np.hypot(b * np.cos(turn), a * np.sin(turn))
        return TrueWall.around(self.center_mm[rows], self.across[rows], self.other[rows], radius)

    def near(self, tumor: Depth, reach_mm: float) -> NDArray[np.bool_]:
        """Tell which sections the tumour can touch, and those between them; two at least, for the wall's lengths."""
        possible = np.flatnonzero(tumor(self.center_mm) > -(self.half_axes_mm.max(axis=1) + reach_mm))
        rows = np.zeros(len(self.center_mm), dtype=bool)
        if len(possible):
            rows[max(possible[0] - 2, 0) : possible[-1] + 3] = True
        return rows

    def wall_near(self, tumor: Depth, reach_mm: float) -> TrueWall | None:
        """Return the wall that the tumour can touch; None if it is nowhere near."""
        rows = self.near(tumor, reach_mm)
        return self.wall(rows) if rows.any() else None

    @property
    def parts(self) -> tuple[Swept, ...]:
        return (self,)


@dataclass(frozen=True)
class Joined:
    """A trunk (the first part) with branches. A branch's sections count from where its line leaves the trunk."""

    parts: tuple[Swept, ...]

    def depth(self, points: Points) -> Reals:
        return np.max([part.depth(points) for part in self.parts], axis=0)

    def wall_near(self, tumor: Depth, reach_mm: float) -> TrueWall | None:
        walls = []
        for number, part in enumerate(self.parts):
            wall = part.wall_near(tumor, reach_mm)
            if wall is None:
                continue
            others = [other for place, other in enumerate(self.parts) if place != number]
            within = np.max([other.depth(wall.point_mm.reshape(-1, 3)) for other in others], axis=0)
            real = within.reshape(wall.real.shape) < 0
            counted = self.parts[0].depth(wall.center_mm) < 0 if number else wall.counted
            walls.append(TrueWall(wall.center_mm, wall.point_mm, wall.outward, wall.area_mm2, real, counted))
        return TrueWall.joined(walls) if walls else None


def planar(
    stretches: Sequence[tuple[float, float]],
    site_mm: float,
    half_axes_mm: tuple[float, float] | Callable[[Reals], Reals],
) -> Swept:
    """Sweep an ellipse along a line of stretches (length in mm, curvature in 1/mm); the origin is at `site_mm`.

    A positive curvature turns towards +x. The half axes may be a function of the place along the line.
    """
    count = round(sum(length for length, _ in stretches) / SECTION_STEP_MM)
    fine = np.arange(count * FINER + 1) * (SECTION_STEP_MM / FINER)
    ends = np.cumsum([0.0, *(length for length, _ in stretches)])
    turned = np.cumsum([0.0, *(length * curvature for length, curvature in stretches)])
    heading = np.interp(fine, ends, turned)
    site = round(site_mm / SECTION_STEP_MM) * FINER
    heading -= heading[site]
    middle = (heading[1:] + heading[:-1]) / 2
    steps = np.stack([np.sin(middle), np.zeros(len(middle)), np.cos(middle)], axis=1) * (SECTION_STEP_MM / FINER)
    line = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])
    line, heading = (line - line[site])[::FINER], heading[::FINER]
    zero = np.zeros(len(heading))
    start_mm = -site * SECTION_STEP_MM / FINER
    along = start_mm + np.arange(len(heading)) * SECTION_STEP_MM
    return Swept(
        center_mm=line,
        tangent=np.stack([np.sin(heading), zero, np.cos(heading)], axis=1),
        across=np.stack([np.cos(heading), zero, -np.sin(heading)], axis=1),
        other=np.stack([zero, zero + 1, zero], axis=1),
        half_axes_mm=half_axes_mm(along) if callable(half_axes_mm) else np.tile(half_axes_mm, (len(along), 1)),
        start_mm=start_mm,
    )


def straight(half_axes_mm: tuple[float, float] | Callable[[Reals], Reals]) -> Swept:
    """Sweep an ellipse along the z axis."""
    return planar([(2 * HALF_LENGTH_MM, 0.0)], HALF_LENGTH_MM, half_axes_mm)


def ball(center_mm: Sequence[float], radius_mm: float) -> Depth:
    return lambda points: radius_mm - np.linalg.norm(points - np.asarray(center_mm), axis=1)


def half_space(azimuth_rad: float, distance_mm: float, length_mm: float) -> Depth:
    """Everything beyond a plane beside the z axis, over a length of it."""
    normal = np.array([np.cos(azimuth_rad), np.sin(azimuth_rad), 0.0])
    return lambda points: np.minimum(points @ normal - distance_mm, length_mm / 2 - np.abs(points[:, 2]))


def sector(
    vessel: Swept, *, azimuth_rad: float, angle_deg: float, length_mm: float, gap_mm: float = 0.0, thick_mm: float = 8.0
) -> Depth:
    """Tissue around part of a vessel: an angle, seen from the line, a length along it, a gap from the wall."""
    half = np.deg2rad(angle_deg) / 2
    (first, last), (first_tangent, last_tangent) = vessel.planes(length_mm / 2)

    def depth(points: Points) -> Reals:
        nearest, _, x, y = vessel.local(points)
        a, b = vessel.half_axes_mm[nearest].T
        outer_a, outer_b = a + gap_mm + thick_mm, b + gap_mm + thick_mm
        result = (1 - np.hypot(x / outer_a, y / outer_b)) * np.minimum(outer_a, outer_b)
        result = np.minimum(result, np.minimum((points - first) @ first_tangent, (last - points) @ last_tangent))
        if gap_mm:
            result = np.minimum(result, np.hypot(x, y) - np.maximum(a, b) - gap_mm)
        if angle_deg < 360:
            forward = x * np.cos(azimuth_rad) + y * np.sin(azimuth_rad)
            sideways = np.abs(y * np.cos(azimuth_rad) - x * np.sin(azimuth_rad))
            result = np.minimum(result, forward * np.sin(half) - sideways * np.cos(half))
        return result

    return depth


def either(one: Depth, other: Depth) -> Depth:
    """What lies in one of the two."""
    return lambda points: np.maximum(one(points), other(points))
