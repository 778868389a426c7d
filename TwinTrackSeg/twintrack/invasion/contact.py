"""At which probability levels the tumour touches each point of a vessel's wall.

From each point of the wall the map is read outwards, along the wall's own normal, up to the contact distance. Nobody
marks tumour in a lumen, so the map is first continued into it: see `twintrack.invasion.tumour_map`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from twintrack.invasion.geometry import FLOOR, Neighbourhood, directional_voxel_mm
from twintrack.invasion.sections import Sections
from twintrack.invasion.tumour_map import DRAWN_OVER, continued_into
from twintrack.invasion.wall import VesselWall

__all__ = ["DEFAULT_CONTACT_MM", "vessel_wall"]

DEFAULT_CONTACT_MM = 1.9
"""Distance from the lumen's wall within which tumour counts as touching.

Masks label the lumen; a vessel's wall is 1 to 1.5 mm thick. Chosen on analytic tubes of 1 mm voxels, between a gap of
1.25 mm, which is contact, and one of 2.5 mm, which is none."""

INSIDE_VOXELS, INSIDE_DRAWN_OVER = 0.3, 0.08
"""Reading begins this far inside the wall, against slivers of tumour that are thinner than the voxels show; less where
the map knows of tumour in the lumen and so shows where it ends."""

STEP_MM = 0.45
"""Largest distance of the places at which the map is read along a ray."""

ALONG_SMOOTHING_VOXELS = 0.5
"""Gaussian width, in voxels along the vessel, that evens out the steps which the voxels cut into a tumour's border."""

OUTLINE_SMOOTHING_MM, NORMAL_SMOOTHING_MM = 0.3, 2.0
"""Gaussian width, where the outline is furthest from the middle, with which it is smoothed before its length and its
normals are taken."""

ROWS = 64
"""Sections read at a time, which bounds the memory."""

Reals = NDArray[np.float64]


def vessel_wall(near: Neighbourhood, branches: list[Sections], contact_mm: float) -> VesselWall:
    """Read the touch levels of all `branches`.

    Parameters
    ----------
    near : Neighbourhood
        Vessel and tumour.
    branches : list of Sections
        Cross-sections.
    contact_mm : float
        Distance from the wall within which tumour counts as touching.
    """
    reader = _Reader(near)
    turned = near.geometry.direction_matrix.T
    walls = []
    for sections in branches:
        if not len(sections.centre_mm):
            continue
        near_tumour = _touchable(near, sections, contact_mm)
        outward, area_mm2 = _outline(sections, near_tumour)
        less, level, more = reader.levels(sections, outward, np.flatnonzero(near_tumour), contact_mm)
        walls.append(
            VesselWall(
                level=level,
                level_less=less,
                level_more=more,
                wall_mm=sections.wall_mm,
                area_mm2=area_mm2,
                centre_lps_mm=near.to_lps_mm(sections.centre_mm),
                tangent_lps=sections.tangent @ turned,
                normal_lps=sections.direction[:, 0] @ turned,
                binormal_lps=sections.direction[:, sections.direction.shape[1] // 4] @ turned,
                step_mm=np.full(len(sections.centre_mm), sections.step_mm),
                branch=np.zeros(len(sections.centre_mm), dtype=np.int64),
            )
        )
    return VesselWall.joined(walls)


class _Reader:
    """Reads the levels of a branch off the maps of one neighbourhood."""

    def __init__(self, near: Neighbourhood) -> None:
        lumen = near.vessel >= 0.5
        self._near = near
        self._map = continued_into(lumen, near.probability, near.known > 0, near.spacing_mm, FLOOR)
        # A map that knows of tumour in the lumen shows where it ends.
        drawn_over = bool(np.any(lumen & (near.probability >= DRAWN_OVER)))
        self._inside_voxels = INSIDE_DRAWN_OVER if drawn_over else INSIDE_VOXELS

    def levels(
        self, sections: Sections, outward: Reals, rows: NDArray[np.intp], contact_mm: float
    ) -> tuple[Reals, Reals, Reals]:
        """Return the touch levels up to the contact distance, and up to half a voxel less and more; (n, d) each."""
        near, wall_mm = self._near, np.nan_to_num(sections.wall_mm)
        found = np.zeros((3, *wall_mm.shape))
        for some in np.array_split(rows, len(rows) // ROWS + 1):
            wall = sections.centre_mm[some][:, None] + wall_mm[some][..., None] * sections.direction[some]
            found[:, some] = self._read(wall, outward[some], contact_mm)
        found[:, np.isnan(sections.wall_mm)] = 0.0
        along_mm = float(np.median(directional_voxel_mm(sections.tangent, near.spacing_mm)))
        sigma = ALONG_SMOOTHING_VOXELS * along_mm / sections.step_mm
        smooth = ndimage.gaussian_filter1d(found, sigma, axis=1, mode="nearest") if sigma > 0 else found
        less, level, more = np.clip(smooth, 0.0, 1.0)
        return less, level, more

    def _read(self, wall: Reals, outward: Reals, contact_mm: float) -> Reals:
        """Return the largest value on each ray; shape (3, n, d)."""
        near = self._near
        voxel_mm = directional_voxel_mm(outward, near.spacing_mm)
        half_mm = voxel_mm / 2
        start_mm = -self._inside_voxels * np.minimum(voxel_mm, near.spacing_mm.min())

        def largest(first_mm: Reals, last_mm: Reals) -> Reals:
            count = int(np.ceil(float((last_mm - first_mm).max(initial=0.0)) / STEP_MM)) + 1
            result = np.zeros(voxel_mm.shape)
            for part in np.linspace(0.0, 1.0, max(count, 2)):
                points = wall + (first_mm + part * (last_mm - first_mm))[..., None] * outward
                np.maximum(result, near.sample(self._map, points), out=result)
            return result

        inner_mm = np.maximum(contact_mm - half_mm, 0.0)
        at = np.full(voxel_mm.shape, contact_mm)
        less = largest(start_mm, inner_mm)
        level = np.maximum(less, largest(inner_mm, at))
        more = np.maximum(level, largest(at, at + half_mm))
        return np.stack([less, level, more])


def _touchable(near: Neighbourhood, sections: Sections, contact_mm: float) -> NDArray[np.bool_]:
    """Tell which sections the tumour could touch; shape (n,)."""
    farthest_mm = np.nan_to_num(sections.wall_mm).max(axis=1) + contact_mm + near.spacing_mm.max() / 2
    return near.touchable(sections.centre_mm, farthest_mm)


def _outline(sections: Sections, wanted: NDArray[np.bool_]) -> tuple[Reals, Reals]:
    """Return the wall's outward normals within the sections (n, d, 3) and the area each direction stands for (n, d).

    Both are 0 beyond the stretch that holds all `wanted` sections.

    The area is that of the wall's own lengths, around and along: more than radius times angle where the wall runs
    obliquely, less on the inner side of a bend.
    """
    outward, area = np.zeros(sections.direction.shape), np.zeros(sections.wall_mm.shape)
    if not wanted.any():
        return outward, area
    first, last = np.flatnonzero(wanted)[[0, -1]]
    rows = slice(max(first - 1, 0), last + 2)
    outward[rows], area[rows] = _outline_of(
        Sections(
            sections.centre_mm[rows],
            sections.tangent[rows],
            sections.direction[rows],
            sections.wall_mm[rows],
            sections.step_mm,
            sections.elsewhere[rows],
        )
    )
    return outward, area


def _outline_of(sections: Sections) -> tuple[Reals, Reals]:
    """Return the normals and areas of all sections."""
    count = sections.wall_mm.shape[1]
    open_at = np.isnan(sections.wall_mm)
    wall_mm = np.where(open_at, np.nanmedian(sections.wall_mm, axis=1, keepdims=True), sections.wall_mm)
    wall_mm = np.nan_to_num(wall_mm)
    turn = 2 * np.pi / count
    ahead = np.roll(sections.direction, -(count // 4), axis=1)
    even_mm = _smooth_outline(wall_mm, NORMAL_SMOOTHING_MM)
    outward = (even_mm * turn)[..., None] * sections.direction - _slope_mm(even_mm)[..., None] * ahead
    outward /= np.maximum(np.linalg.norm(outward, axis=-1, keepdims=True), 1e-12)
    wall_mm = _smooth_outline(wall_mm, OUTLINE_SMOOTHING_MM)
    outline = _slope_mm(wall_mm)[..., None] * sections.direction + (wall_mm * turn)[..., None] * ahead
    around_mm = np.linalg.norm(outline, axis=-1)
    if len(wall_mm) < 2:
        return outward, np.where(open_at | sections.elsewhere, 0.0, around_mm * sections.step_mm)
    point = sections.centre_mm[:, None] + wall_mm[..., None] * sections.direction
    step = np.gradient(point, axis=0)
    # A section behind its neighbour, on the inner side of a sharp bend, stands for nothing.
    forward = np.einsum("ndk,nk->nd", step, sections.tangent) > 0
    area = np.linalg.norm(np.cross(outline, step), axis=-1) * forward
    return outward, np.where(open_at | sections.elsewhere, 0.0, area)


def _slope_mm(wall_mm: Reals) -> Reals:
    """Return how much further the wall is from direction to direction (n, d)."""
    return np.asarray((np.roll(wall_mm, -1, axis=1) - np.roll(wall_mm, 1, axis=1)) / 2)


def _smooth_outline(wall_mm: Reals, sigma_mm: float) -> Reals:
    """Smooth each outline (n, d) around, by about `sigma_mm` where it is furthest."""
    turn = 2 * np.pi / wall_mm.shape[1]
    sigma = sigma_mm / np.maximum(wall_mm.max(axis=1) * turn, 1e-9)
    # One filter for sections of about the same size: their widths differ little along a vessel.
    return np.asarray(ndimage.gaussian_filter1d(wall_mm, float(np.median(sigma)), axis=1, mode="wrap"))
