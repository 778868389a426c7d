"""At which probability levels the tumour touches each point of a vessel's wall.

From each point of the wall the map is read outwards, along the wall's own normal, up to the contact distance. Nobody
marks tumour in a lumen, so the map is first continued into it: see `twintrack.invasion.tumor_map`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from twintrack.invasion.geometry import FLOOR, Neighborhood, ceiling_of, directional_voxel_mm, on_rays, row_medians
from twintrack.invasion.sections import Sections
from twintrack.invasion.tumor_map import DRAWN_OVER, continued_into
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


def vessel_wall(
    near: Neighborhood, branches: list[Sections], contact_mm: float, *, level_only: bool = False
) -> VesselWall:
    """Read the touch levels of all `branches`.

    Parameters
    ----------
    near : Neighbourhood
        Vessel and tumour.
    branches : list of Sections
        Cross-sections.
    contact_mm : float
        Distance from the wall within which tumour counts as touching.
    level_only : bool
        Whether the levels of half a voxel more and less, and the areas, are left out: the first two are the level
        itself then, and the areas 0.
    """
    touchable = [_touchable(near, sections, contact_mm) for sections in branches if len(sections.center_mm)]
    reader = _Reader(near) if any(rows.any() for rows in touchable) else None
    turned = near.geometry.direction_matrix.T
    walls = []
    for near_tumor, sections in zip(touchable, (one for one in branches if len(one.center_mm)), strict=True):
        outward, area_mm2 = _outline(sections, near_tumor, level_only)
        if reader is None:
            less = level = more = np.zeros(sections.wall_mm.shape)
        else:
            less, level, more = reader.levels(sections, outward, np.flatnonzero(near_tumor), contact_mm, level_only)
        walls.append(
            VesselWall(
                level=level,
                level_less=less,
                level_more=more,
                wall_mm=sections.wall_mm,
                area_mm2=area_mm2,
                center_lps_mm=near.to_lps_mm(sections.center_mm),
                tangent_lps=sections.tangent @ turned,
                normal_lps=sections.direction[:, 0] @ turned,
                binormal_lps=sections.direction[:, sections.direction.shape[1] // 4] @ turned,
                step_mm=np.full(len(sections.center_mm), sections.step_mm),
                branch=np.zeros(len(sections.center_mm), dtype=np.int64),
            )
        )
    return VesselWall.joined(walls)


class _Reader:
    """Reads the levels of a branch off the maps of one neighbourhood."""

    def __init__(self, near: Neighborhood) -> None:
        lumen = near.vessel
        self._near = near
        self._map = continued_into(lumen, near.probability, near.known, near.spacing_mm, FLOOR)
        self._ceiling = ceiling_of(self._map)
        # A map that knows of tumour in the lumen shows where it ends.
        drawn_over = bool(np.any(lumen & (near.probability >= DRAWN_OVER)))
        self._inside_voxels = INSIDE_DRAWN_OVER if drawn_over else INSIDE_VOXELS

    def levels(
        self, sections: Sections, outward: Reals, rows: NDArray[np.intp], contact_mm: float, level_only: bool
    ) -> tuple[Reals, Reals, Reals]:
        """Return the touch levels up to the contact distance, and up to half a voxel less and more; (n, d) each."""
        near, closed = self._near, ~np.isnan(sections.wall_mm)
        direction = np.moveaxis(sections.direction, -1, 0)
        found = np.zeros((2 if level_only else 3, *closed.shape))
        for some in np.array_split(rows, len(rows) // ROWS + 1):
            start_mm = np.moveaxis(sections.center_mm[some], -1, 0)[..., None]
            wall = on_rays(start_mm, direction[:, some], np.nan_to_num(sections.wall_mm[some]))
            found[:, some] = self._read(
                np.moveaxis(wall, -1, 0), outward[:, some], closed[some], contact_mm, len(found)
            )
        along_mm = float(np.median(directional_voxel_mm(sections.tangent, near.spacing_mm)))
        sigma = ALONG_SMOOTHING_VOXELS * along_mm / sections.step_mm
        found = found[1:] if level_only else found
        smooth = ndimage.gaussian_filter1d(found, sigma, axis=1, mode="nearest") if sigma > 0 else found
        less, level, more = np.broadcast_to(np.clip(smooth, 0.0, 1.0), (3, *closed.shape))
        return less, level, more

    def _read(self, wall: Reals, outward: Reals, closed: NDArray[np.bool_], contact_mm: float, tables: int) -> Reals:
        """Return the largest value on each ray (3, n, d) from a `closed` wall, 0 on others; shape (tables, n, d).

        One table for each of the three reaches, shortest first, of which the first `tables` are asked for.
        """
        near = self._near
        voxel_mm = directional_voxel_mm(np.moveaxis(outward, 0, -1), near.spacing_mm)
        half_mm = voxel_mm / 2
        start_mm = -self._inside_voxels * np.minimum(voxel_mm, near.spacing_mm.min())
        inner_mm = np.maximum(contact_mm - half_mm, 0.0)
        points, rays = wall[:, closed], outward[:, closed]
        highest = np.zeros(points.shape[1])
        result = np.zeros((tables, *closed.shape))
        stretches = ((start_mm, inner_mm), (inner_mm, contact_mm), (contact_mm, contact_mm + half_mm))
        for number, (first_mm, last_mm) in enumerate(stretches[:tables]):
            length_mm = np.asarray(last_mm - first_mm)
            count = max(int(np.ceil(float(length_mm.max(initial=0.0)) / STEP_MM)) + 1, 2)
            begin_mm, length_mm = np.broadcast_to(first_mm, closed.shape)[closed], length_mm[closed]
            # A stretch begins where the one before has ended.
            for part in np.linspace(0.0, 1.0, count)[min(number, 1) :]:
                there = on_rays(points, rays, begin_mm + part * length_mm)
                near.raise_to_sample(highest, self._map, self._ceiling, there)
            result[number, closed] = highest
        return result


def _touchable(near: Neighborhood, sections: Sections, contact_mm: float) -> NDArray[np.bool_]:
    """Tell which sections the tumour could touch; shape (n,)."""
    farthest_mm = np.nan_to_num(sections.wall_mm).max(axis=1) + contact_mm + near.spacing_mm.max() / 2
    return near.touchable(sections.center_mm, farthest_mm)


def _outline(sections: Sections, wanted: NDArray[np.bool_], normals_only: bool) -> tuple[Reals, Reals]:
    """Return the wall's outward normals within the sections (3, n, d) and the area each direction stands for (n, d).

    Both are 0 beyond the stretch that holds all `wanted` sections, and areas with `normals_only`.

    The area is that of the wall's own lengths, around and along: more than radius times angle where the wall runs
    obliquely, less on the inner side of a bend.
    """
    outward, area = np.zeros((3, *sections.wall_mm.shape)), np.zeros(sections.wall_mm.shape)
    if not wanted.any():
        return outward, area
    first, last = np.flatnonzero(wanted)[[0, -1]]
    rows = slice(max(first - 1, 0), last + 2)
    outward[:, rows], area[rows] = _outline_of(
        normals_only,
        Sections(
            sections.center_mm[rows],
            sections.tangent[rows],
            sections.direction[rows],
            sections.wall_mm[rows],
            sections.step_mm,
            sections.elsewhere[rows],
        ),
    )
    return outward, area


def _outline_of(normals_only: bool, sections: Sections) -> tuple[Reals, Reals | float]:
    """Return the normals and areas of all sections."""
    count = sections.wall_mm.shape[1]
    open_at = np.isnan(sections.wall_mm)
    wall_mm = np.where(open_at, row_medians(sections.wall_mm)[:, None], sections.wall_mm)
    wall_mm = np.nan_to_num(wall_mm)
    turn = 2 * np.pi / count
    direction = np.moveaxis(sections.direction, -1, 0)
    ahead = np.roll(direction, -(count // 4), axis=2)
    even_mm = _smooth_outline(wall_mm, NORMAL_SMOOTHING_MM)
    outward = (even_mm * turn) * direction - _slope_mm(even_mm) * ahead
    outward /= np.maximum(_lengths(outward), 1e-12)
    if normals_only:
        return outward, 0.0
    wall_mm = _smooth_outline(wall_mm, OUTLINE_SMOOTHING_MM)
    outline = _slope_mm(wall_mm) * direction + (wall_mm * turn) * ahead
    if len(wall_mm) < 2:
        return outward, np.where(open_at | sections.elsewhere, 0.0, _lengths(outline) * sections.step_mm)
    point = on_rays(np.moveaxis(sections.center_mm, -1, 0)[..., None], direction, wall_mm)
    step = np.gradient(np.moveaxis(point, -1, 0), axis=1)
    # A section behind its neighbour, on the inner side of a sharp bend, stands for nothing.
    forward = np.einsum("knd,nk->nd", step, sections.tangent) > 0
    area = _lengths(np.cross(outline, step, axis=0)) * forward
    return outward, np.where(open_at | sections.elsewhere, 0.0, area)


def _lengths(vectors: Reals) -> Reals:
    """Return the lengths of vectors (3, ...)."""
    return np.asarray(np.linalg.norm(vectors, axis=0))


def _slope_mm(wall_mm: Reals) -> Reals:
    """Return how much further the wall is from direction to direction (n, d)."""
    return np.asarray((np.roll(wall_mm, -1, axis=1) - np.roll(wall_mm, 1, axis=1)) / 2)


def _smooth_outline(wall_mm: Reals, sigma_mm: float) -> Reals:
    """Smooth each outline (n, d) around, by about `sigma_mm` where it is furthest."""
    turn = 2 * np.pi / wall_mm.shape[1]
    sigma = sigma_mm / np.maximum(wall_mm.max(axis=1) * turn, 1e-9)
    # One filter for sections of about the same size: their widths differ little along a vessel.
    return np.asarray(ndimage.gaussian_filter1d(wall_mm, float(np.median(sigma)), axis=1, mode="wrap"))
