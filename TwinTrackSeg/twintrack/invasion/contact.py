"""At which probability levels the tumour touches each point of a vessel's wall.

Tumour maps stop at vessels: they are 0 in the lumen, and interpolating across the wall would halve them just where it
matters. The tissue next to the wall is therefore read by *normalised* interpolation, among voxels outside the vessel
only. A tumour drawn over the vessel is met from the inside in the same way, among the vessel's voxels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from twintrack.invasion.geometry import Neighbourhood, directional_voxel_mm
from twintrack.invasion.sections import Sections
from twintrack.invasion.wall import VesselWall

__all__ = ["vessel_wall"]

DEPTHS = 3
"""Depths at which the layer of tissue is read, from the wall to the layer's far side."""

MIN_WEIGHT = 0.1
"""Least share of the wanted kind of voxels (tissue or lumen) among the interpolated ones for a reading to count."""

ALONG_SMOOTHING_VOXELS = 0.5
"""Gaussian width, in voxels along the vessel, that evens out the steps which the voxels cut into a tumour's border."""

ROWS = 64
"""Sections read at a time, which bounds the memory."""

Field = NDArray[np.float32]


def vessel_wall(near: Neighbourhood, branches: list[Sections], contact_mm: float) -> VesselWall:
    """Read the touch levels of all `branches`.

    Parameters
    ----------
    near : Neighbourhood
        Vessel and tumour.
    branches : list of Sections
        Cross-sections.
    contact_mm : float
        Thickness of the layer outside the wall in which tumour counts as touching. As a voxel's value stands for half
        a voxel to each side, a layer is read to half a voxel less than its thickness, and at least to half a voxel, the
        middle of the first voxels outside.
    """
    tissue, lumen = (1 - near.vessel) * near.known, near.vessel * near.known
    fields = ((tissue, near.probability * tissue), (lumen, near.probability * lumen))
    turned = near.geometry.direction_matrix.T
    return VesselWall.joined(
        [
            VesselWall(
                level=_levels(near, sections, contact_mm, fields),
                wall_mm=sections.wall_mm,
                area_mm2=_areas_mm2(sections),
                centre_lps_mm=near.to_lps_mm(sections.centre_mm),
                tangent_lps=sections.tangent @ turned,
                normal_lps=sections.direction[:, 0] @ turned,
                binormal_lps=sections.direction[:, sections.direction.shape[1] // 4] @ turned,
                step_mm=np.full(len(sections.centre_mm), sections.step_mm),
                branch=np.zeros(len(sections.centre_mm), dtype=np.int64),
            )
            for sections in branches
            if len(sections.centre_mm)
        ]
    )


def _levels(
    near: Neighbourhood, sections: Sections, contact_mm: float, fields: tuple[tuple[Field, Field], ...]
) -> NDArray[np.float64]:
    """Return the touch levels of one branch; shape (n, d)."""
    level = np.zeros(sections.wall_mm.shape)
    farthest_mm = np.nan_to_num(sections.wall_mm).max(axis=1) + contact_mm
    near_tumour = np.flatnonzero(near.touchable(sections.centre_mm, farthest_mm))
    for rows in np.array_split(near_tumour, len(near_tumour) // ROWS + 1):
        direction, wall_mm = sections.direction[rows], np.nan_to_num(sections.wall_mm[rows])
        voxel_mm = directional_voxel_mm(direction, near.spacing_mm)
        depth_mm = np.maximum(contact_mm - voxel_mm / 2, voxel_mm / 2)
        outside = [(fields[0], part * depth_mm) for part in np.linspace(0, 1, DEPTHS)]
        inside = [(fields[1], -part * voxel_mm / 2) for part in (0.0, 1.0)]
        for (kind, value), offset_mm in outside + inside:
            radius_mm = np.maximum(wall_mm + offset_mm, 0.0)
            points = sections.centre_mm[rows][:, None, :] + radius_mm[..., None] * direction
            weight = near.sample(kind, points)
            found = near.sample(value, points) / np.maximum(weight, MIN_WEIGHT)
            level[rows] = np.maximum(level[rows], np.where(weight >= MIN_WEIGHT, found, 0.0))
    level[np.isnan(sections.wall_mm)] = 0.0
    along_mm = float(np.median(directional_voxel_mm(sections.tangent, near.spacing_mm)))
    sigma = ALONG_SMOOTHING_VOXELS * along_mm / sections.step_mm
    smooth = ndimage.gaussian_filter1d(level, sigma, axis=0, mode="nearest") if sigma > 0 else level
    return np.clip(smooth, 0.0, 1.0)


def _areas_mm2(sections: Sections) -> NDArray[np.float64]:
    """Return the wall's area that each direction of each section stands for; less on the inner side of a bend."""
    wall_mm = np.nan_to_num(sections.wall_mm)
    around_mm = wall_mm * (2 * np.pi / wall_mm.shape[1])
    if len(wall_mm) < 2:
        return np.asarray(around_mm * sections.step_mm)
    # How fast a point at the wall moves along the vessel as the section does.
    turn = np.gradient(sections.direction, axis=0)
    forward = np.gradient(sections.centre_mm, axis=0)[:, None, :] + wall_mm[..., None] * turn
    along_mm = np.clip(np.einsum("ndk,nk->nd", forward, sections.tangent), 0.0, None)
    return np.asarray(around_mm * along_mm)
