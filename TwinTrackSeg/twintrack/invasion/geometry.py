"""Where a vessel and the tumour near it lie: a crop in local millimetres, and curves in it.

Points are (x, y, z) in *local mm*: voxel index times spacing, measured along the array's axes from the crop's first
voxel. Turned volumes need nothing more, as all that is measured is lengths and angles; `Neighbourhood.to_lps_mm` gives
patient coordinates. Arrays are (z, y, x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from twintrack.imaging.plane_contact import Box, bounding_box
from twintrack.volume import Geometry

__all__ = [
    "FLOOR",
    "Neighborhood",
    "ceiling_of",
    "directional_voxel_mm",
    "on_rays",
    "resampled",
    "row_medians",
    "smoothed",
    "transported_frames",
    "unit_tangents",
]

FLOOR = 0.01
"""Probability below which a voxel cannot matter: not one rater in a hundred would mark it."""

CEILING_ROUNDING = 1e-12
"""Share by which the sum of eight products may come out too high, and far more."""

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Neighborhood:
    """A box around the part of a vessel that the tumour could touch.

    The box may reach beyond the volume: there the vessel is continued unchanged and the tissue is unknown.

    Attributes
    ----------
    vessel : numpy.ndarray of bool
        Voxels of the vessel; (z, y, x).
    probability : numpy.ndarray of float32
        Tumour probability, 0 beyond the volume.
    start : tuple of int
        Index (x, y, z) in the volume of the box's first voxel; may be negative.
    geometry : Geometry
        The whole volume's grid.
    """

    vessel: NDArray[np.bool_]
    probability: NDArray[np.float32]
    start: tuple[int, int, int]
    geometry: Geometry

    @classmethod
    def around(
        cls,
        probability: NDArray[np.generic],
        vessel: NDArray[np.bool_],
        geometry: Geometry,
        start: NDArray[np.int64],
    ) -> Neighborhood:
        """Put a mask of the box that begins at index `start` ((z, y, x), may leave the volume) beside its map.

        Nothing is copied that need not be.
        """
        low, high = np.maximum(start, 0), np.minimum(start + vessel.shape, probability.shape)
        part = probability[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        if part.shape == vessel.shape:
            near = part.astype(np.float32, copy=False)
        else:
            near = np.zeros(vessel.shape, dtype=np.float32)
            near[tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))] = part
        return cls(
            vessel=vessel,
            probability=near,
            start=(int(start[2]), int(start[1]), int(start[0])),
            geometry=geometry,
        )

    def cut(self, place: Box) -> Neighborhood:
        """Return a part of the box, whose arrays are parts of its own."""
        start = tuple(first + side.start for first, side in zip(self.start, reversed(place), strict=True))
        return Neighborhood(self.vessel[place], self.probability[place], (start[0], start[1], start[2]), self.geometry)

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """The box's voxels that lie in the volume; (z, y, x)."""
        known = np.zeros(self.vessel.shape, dtype=bool)
        inner = zip(self.start[::-1], self.geometry.size[::-1], strict=True)
        known[tuple(slice(max(-start, 0), max(size - start, 0)) for start, size in inner)] = True
        return known

    @cached_property
    def spacing_mm(self) -> NDArray[np.float64]:
        """Voxel edge lengths (x, y, z)."""
        return np.asarray(self.geometry.spacing_mm, dtype=float)

    def sample(self, field: NDArray[np.float32] | NDArray[np.bool_], points_mm: Points) -> NDArray[np.float64]:
        """Interpolate `field`, an array of the box's shape, linearly at points (..., 3); 0 outside the box."""
        return _interpolated(field, self._index(points_mm))

    def _index(self, points_mm: Points) -> NDArray[np.float64]:
        """Return where points (..., 3) lie in the box's voxels, (z, y, x) first."""
        index = np.empty((3, *points_mm.shape[:-1]))
        np.divide(points_mm, self.spacing_mm, out=index[::-1].transpose(*range(1, index.ndim), 0))
        return index

    def raise_to_sample(
        self, highest: NDArray[np.float64], field: NDArray[np.float32], ceiling: NDArray[np.float32], points_mm: Points
    ) -> None:
        """Raise `highest` (n,), in place, to what `sample` gives at points (n, 3) where that is more.

        Only points where it can be more are looked at: `ceiling` (see `ceiling_of`) says how high the field gets there.
        """
        index = self._index(points_mm)
        place = np.zeros(len(points_mm))
        for along, steps in zip(index, ceiling.shape, strict=True):
            step = np.floor(along)
            np.maximum(step, 0, out=step)
            np.minimum(step, steps - 1, out=step)
            place *= steps
            place += step
        most = ceiling.ravel().take(place.astype(np.intp)).astype(np.float64)
        most *= 1 + CEILING_ROUNDING  # sums of shares round
        (rows,) = np.nonzero(most > highest)
        if len(rows):
            highest[rows] = np.maximum(highest[rows], _interpolated(field, index[:, rows]))

    def touchable(self, points_mm: Points, reach_mm: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which local points (n, 3) lie within `reach_mm` (n,), and two voxels more, of the tumour's box."""
        if self._tumor_box_mm is None:
            return np.zeros(len(points_mm), dtype=bool)
        low, high = self._tumor_box_mm
        gap_mm = np.linalg.norm(np.maximum(np.maximum(low - points_mm, points_mm - high), 0.0), axis=1)
        result: NDArray[np.bool_] = gap_mm <= reach_mm + 2 * self.spacing_mm.max()
        return result

    @cached_property
    def _tumor_box_mm(self) -> tuple[Points, Points] | None:
        box = bounding_box(self.probability >= FLOOR)
        if box is None:
            return None
        low, high = (np.array([getattr(side, end) for side in box][::-1]) for end in ("start", "stop"))
        return low * self.spacing_mm, (high - 1) * self.spacing_mm

    def to_lps_mm(self, points_mm: Points) -> Points:
        """Map local points (..., 3) to LPS patient coordinates."""
        return self.geometry.to_lps_mm(points_mm / self.spacing_mm + np.asarray(self.start))

    def in_volume(self, points_mm: Points) -> NDArray[np.bool_]:
        """Tell which local points (..., 3) lie in a voxel of the volume."""
        result = np.ones(points_mm.shape[:-1], dtype=bool)
        for axis, edge_mm in enumerate(self.spacing_mm):
            index = points_mm[..., axis] / edge_mm
            index += self.start[axis]
            result &= (index >= -0.5) & (index <= self.geometry.size[axis] - 0.5)
        return result


def _interpolated(field: NDArray[np.float32] | NDArray[np.bool_], index: NDArray[np.float64]) -> NDArray[np.float64]:
    return ndimage.map_coordinates(field, index, output=np.float64, order=1, mode="constant", cval=0.0)


def ceiling_of(field: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return how high a field (z, y, x) gets, interpolated linearly, between each voxel and the next along all axes.

    Values are above 0. It is the highest of the eight voxels around.
    """
    highest = field
    for axis in range(3):
        before, after = np.moveaxis(highest, axis, 0)[:-1], np.moveaxis(highest, axis, 0)[1:]
        highest = np.moveaxis(np.maximum(before, after), 0, axis) if len(before) else highest
    return np.ascontiguousarray(highest)


def on_rays(start_mm: Points, ray: Points, at_mm: NDArray[np.float64]) -> Points:
    """Return the points ``start_mm + at_mm * ray`` as (..., 3), from starts and rays with their coordinates first.

    The points' coordinates lie apart in memory, as the interpolation takes them.
    """
    points = at_mm * ray
    points += start_mm
    return points.transpose(*range(1, points.ndim), 0)


def row_medians(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of what is not NaN in each row (n, d); NaN where a row has nothing else.

    NumPy's own goes through masked arrays, which takes several times as long.
    """
    ordered = np.sort(table, axis=1)
    known = np.count_nonzero(~np.isnan(table), axis=1)
    row = np.arange(len(table))
    low, high = ordered[row, np.maximum(known - 1, 0) // 2], ordered[row, np.minimum(known // 2, table.shape[1] - 1)]
    return np.asarray((low + high) / 2)


def directional_voxel_mm(directions: NDArray[np.float64], spacing_mm: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how long a voxel is along unit vectors (..., 3).

    It is the diameter of the ellipsoid that fits in the voxel, so the edge length along an axis, and between the edge
    lengths in every other direction.
    """
    return np.asarray(1.0 / np.linalg.norm(directions / spacing_mm, axis=-1))


def resampled(line: Points, step_mm: float) -> Points:
    """Return points every `step_mm` (or a little closer, so that both ends stay) along a polyline (n, 3), n >= 2."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    count = max(int(np.ceil(along[-1] / step_mm)), 1) + 1
    at = np.linspace(0.0, along[-1], count)
    return np.stack([np.interp(at, along, line[:, axis]) for axis in range(3)], axis=1)


def smoothed(line: Points, sigma_steps: float) -> Points:
    """Smooth an evenly sampled polyline (n, 3) with a Gaussian; its ends stay and straight lines stay straight."""
    if len(line) < 3 or sigma_steps <= 0:
        return line
    reach = min(int(np.ceil(4 * sigma_steps)), len(line) - 1)
    # Points mirrored through the end point continue the line, where repeating the end would shorten it.
    before, after = 2 * line[0] - line[reach:0:-1], 2 * line[-1] - line[-2 : -reach - 2 : -1]
    padded = np.concatenate([before, line, after])
    result = ndimage.gaussian_filter1d(padded, sigma_steps, axis=0, mode="nearest")
    return np.asarray(result[reach : reach + len(line)])


def transported_frames(line: Points) -> tuple[Points, Points, Points]:
    """Return unit tangents and two unit normals (n, 3 each) that do not twist along the polyline (n, 3), n >= 2."""
    tangents = unit_tangents(line)
    normals = np.empty_like(tangents)
    normal = np.eye(3)[np.argmin(np.abs(tangents[0]))]
    for row, tangent in enumerate(tangents):
        normal = normal - normal.dot(tangent) * tangent
        normal /= max(math.sqrt(normal.dot(normal)), 1e-12)
        normals[row] = normal
    return tangents, normals, np.cross(tangents, normals)


def unit_tangents(line: Points) -> Points:
    """Return the unit tangents (n, 3) of a polyline (n, 3), n >= 2."""
    tangents = np.gradient(line, axis=0)
    tangents /= np.maximum(np.linalg.norm(tangents, axis=1, keepdims=True), 1e-12)
    return np.asarray(tangents)
