"""The slow measure on a phantom: its vessels' true walls, and its tumour as it would be if no vessel displaced it.

A phantom's vessels are tubes in the model anatomy, which a smooth warp takes to the patient. Their walls are looked for
there, by bisection of the tubes' own depth; no mask and no voxel takes part. The expected response is known in the
lumens too, before the phantom cuts them out, so that it can be interpolated right up to the wall.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from analytic.rays import SECTION_STEP_MM, Contact, Points, Reals, TrueWall, contact, tissue_levels, touch_levels
from twintrack.phantom import case as phantom_case
from twintrack.phantom.anatomy import VESSEL_TUBES, Warp, organs
from twintrack.phantom.lesion import draw_lesion
from twintrack.phantom.raters import RaterModel, expected_response
from twintrack.phantom.shapes import Tube
from twintrack.volume import Volume

__all__ = ["PhantomTruth", "phantom_truth"]

DIRECTIONS = 180
"""Points of the wall in each section."""

LEAST_LEVEL = 0.05
"""Sections further from this level than the contact distance are not looked at."""

RADIUS_RANGE = (0.5, 1.8)
"""The wall is looked for between these multiples of the tube's radius in the model."""

HALVINGS = 12
INVERSE_STEPS = 40
LINE_SMOOTHING_MM = 1.0


@dataclass(frozen=True)
class PhantomTruth:
    """What is known of one phantom.

    Attributes
    ----------
    response : Volume
        Expected share of raters that mark each voxel, as if the lumens were tissue.
    warp : Warp
        From the patient to the model anatomy.
    """

    response: Volume
    warp: Warp

    def wall(self, name: str, reach_mm: float) -> TrueWall | None:
        """Return the wall of one vessel where tumour is within `reach_mm` of it; None if it is nowhere."""
        tube = VESSEL_TUBES[name]
        line, radius_mm = _line(tube, self.warp)
        spacing = self.response.geometry.spacing_mm[::-1]
        gap = Volume(ndimage.distance_transform_edt(self.response.array < LEAST_LEVEL, spacing), self.response.geometry)
        index = gap.geometry.to_index(line)[:, ::-1].T
        gap_mm = ndimage.map_coordinates(gap.array, index, order=1, mode="nearest")
        near = np.flatnonzero(gap_mm < radius_mm * RADIUS_RANGE[1] + reach_mm + max(spacing))
        if len(near) < 2:
            return None
        across, other = (part[near[0] : near[-1] + 1] for part in _frames(line))
        line, radius_mm = line[near[0] : near[-1] + 1], radius_mm[near[0] : near[-1] + 1]
        turn = np.arange(DIRECTIONS) * (2 * np.pi / DIRECTIONS)
        ray = np.cos(turn)[:, None] * across[:, None] + np.sin(turn)[:, None] * other[:, None]
        low, high = (np.tile(radius_mm[:, None] * factor, (1, DIRECTIONS)) for factor in RADIUS_RANGE)
        left = self._depth(tube, line[:, None] + high[..., None] * ray) < 0
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            inside = self._depth(tube, line[:, None] + middle[..., None] * ray) > 0
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        wall = TrueWall.around(line, across, other, (low + high) / 2)
        others = [VESSEL_TUBES[key] for key in VESSEL_TUBES if key != name]
        elsewhere = np.max([self._depth(vessel, wall.point_mm) for vessel in others], axis=0)
        at_middle = np.max([self._depth(vessel, line) for vessel in others], axis=0)
        return TrueWall(
            wall.center_mm,
            wall.point_mm,
            wall.outward,
            wall.area_mm2,
            real=left & (elsewhere < 0),
            counted=at_middle < self._depth(tube, line),
        )

    def contact(self, name: str, contact_mm: float, threshold: float = 0.5) -> Contact:
        """Return the contact of one vessel at one level of the expected response."""
        wall = self.wall(name, contact_mm)
        if wall is None:
            return Contact(0.0, 0.0, 0.0)
        return contact(wall, touch_levels(wall, tissue_levels(self.response), contact_mm), threshold)

    def _depth(self, tube: Tube, points_mm: Points) -> Reals:
        return tube.depth(self.warp(points_mm.astype(np.float32))).astype(np.float64)


def phantom_truth(seed: int, model: RaterModel | None = None, lesions: int = 1) -> PhantomTruth:
    """Return the truth of `twintrack.phantom.make_phantom` for the same seed, raters and number of lesions (1 or 2)."""
    rng = np.random.default_rng([seed, 0])
    geometry = phantom_case._draw_grid(rng)
    warp = Warp.draw(rng)
    position = warp(phantom_case._positions(geometry))
    lesion = draw_lesion(rng)
    depth = phantom_case._depths(rng, position, geometry.spacing_mm)
    organs(rng)
    body = depth["body"] > 10.0
    allowed = body & (phantom_case._vessel_map(depth) == 0)
    _, field = phantom_case._draw_tumors(seed, rng, lesion, lesions, position, allowed, geometry.spacing_mm)
    if field is None:
        raise ValueError("a healthy phantom has no contact whose truth could be asked for")
    return PhantomTruth(Volume(expected_response(field, body, model or RaterModel()), geometry), warp)


def _line(tube: Tube, warp: Warp) -> tuple[Points, Reals]:
    """Return the tube's line in the patient, evenly spaced, and the radius in the model there."""
    model_mm, radius_mm = tube.sampled()
    inverse = np.linalg.inv(warp.matrix)
    points = (model_mm - warp.offset_mm) @ inverse.T
    for _ in range(INVERSE_STEPS):
        points = points - (warp(points) - model_mm) @ inverse.T
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    even = np.arange(0.0, along[-1], SECTION_STEP_MM)
    line = np.stack([np.interp(even, along, column) for column in points.T], axis=1)
    line = ndimage.gaussian_filter1d(line, LINE_SMOOTHING_MM / SECTION_STEP_MM, axis=0, mode="nearest")
    return line, np.interp(even, along, radius_mm)


def _frames(line: Points) -> tuple[Points, Points]:
    """Return two unit vectors across the line at each of its points; they do not twist along it."""
    tangent = np.gradient(line, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    across = np.empty_like(tangent)
    last = np.eye(3)[np.argmin(np.abs(tangent[0]))]
    for row, direction in enumerate(tangent):
        last = last - (last @ direction) * direction
        last /= np.linalg.norm(last)
        across[row] = last
    return across, np.cross(tangent, across)
