"""Tubes with a tumour around a known part of the wall: the vessel cases whose answer is known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from twintrack.volume import Geometry, Volume

__all__ = ["TubeCase", "make_tube"]

SUBDIVISIONS = 3
"""Parts of a voxel's edge; the share of parts that are inside gives the partial volume."""

FORK_ANGLE_DEG = 60.0
"""Angle between a branch and the trunk it leaves."""

FORK_CLEARANCE_MM = 4.0
"""Distance of the tumour's contact from the trunk."""


@dataclass(frozen=True)
class TubeCase:
    """A vessel mask, a tumour map and what must be measured.

    Attributes
    ----------
    probability, vessel : Volume
        Map in [0, 1] and mask, on the same grid.
    angle_deg, length_mm, area_mm2 : float
        Contact at level one half of the map's largest value.
    tilt_deg : float
        Angle between the vessel, where the tumour is, and the slices' normal: 0 to 90.
    """

    probability: Volume
    vessel: Volume
    angle_deg: float
    length_mm: float
    area_mm2: float
    tilt_deg: float


def make_tube(
    *,
    radius_mm: float,
    angle_deg: float,
    spacing_mm: tuple[float, float, float],
    axis: tuple[float, float, float] = (0.0, 0.0, 1.0),
    length_mm: float = 16.0,
    bend_radius_mm: float | None = None,
    trunk_radius_mm: float | None = None,
    gap_mm: float = 0.0,
    thickness_mm: float = 12.0,
    blur_mm: float = 0.0,
    level: float = 1.0,
    size_mm: float = 44.0,
    seed: int = 0,
) -> TubeCase:
    """Draw a tube through the middle of a cube (at a random sub-voxel place) and a tumour sector of known angle.

    The tube runs along `axis` or, with a bend, on an arc that leaves the middle along `axis`; with a trunk it is a
    branch that leaves a wider tube before the tumour. The vessel is the mask of voxels at least half inside; the
    tumour's edges are soft because a voxel holds the share of it that is tumour.
    """
    rng = np.random.default_rng(seed)
    spacing = np.asarray(spacing_mm)
    size = np.ceil(size_mm / spacing).astype(int)
    middle = (size - 1) * spacing / 2 + (rng.random(3) - 0.5) * spacing
    along = np.asarray(axis, dtype=float) / np.linalg.norm(axis)
    across = np.cross(along, rng.normal(size=3))
    across /= np.linalg.norm(across)
    parts = (np.arange(SUBDIVISIONS) + 0.5) / SUBDIVISIONS - 0.5
    x, y, z = np.meshgrid(
        *(
            (np.add.outer(np.arange(n), parts).ravel() * d - m).astype(np.float32)
            for n, d, m in zip(size, spacing, middle, strict=True)
        ),
        indexing="ij",
        sparse=True,
    )

    def project(unit: NDArray[np.float64]) -> NDArray[np.float32]:
        return (x * np.float32(unit[0]) + y * np.float32(unit[1]) + z * np.float32(unit[2])).transpose(2, 1, 0)

    s, u, v = project(along), project(across), project(np.cross(along, across))
    trunk = None
    if trunk_radius_mm:
        slope = np.deg2rad(FORK_ANGLE_DEG)
        clear_mm = trunk_radius_mm + FORK_CLEARANCE_MM + radius_mm * np.cos(slope)
        back = s + np.float32(length_mm / 2 + clear_mm / np.sin(slope))
        trunk = np.hypot(back * np.sin(slope) - u * np.cos(slope), v)
        far_side = back < 0
    if bend_radius_mm:
        turned = np.arctan2(s, u + bend_radius_mm)
        u, s = np.hypot(u + bend_radius_mm, s) - bend_radius_mm, turned * bend_radius_mm
    r = np.hypot(u, v)
    sector = np.abs((np.arctan2(v, u) - rng.uniform(0, 2 * np.pi) + np.pi) % (2 * np.pi) - np.pi)
    tumor = (r >= radius_mm + gap_mm) & (r < radius_mm + gap_mm + thickness_mm)
    tumor &= (sector <= np.deg2rad(angle_deg) / 2) & (np.abs(s) <= length_mm / 2) & (angle_deg > 0)
    tube = r < radius_mm
    if trunk is not None:
        tube = (tube & ~far_side) | (trunk < trunk_radius_mm)
        tumor &= trunk > trunk_radius_mm + FORK_CLEARANCE_MM - 1.0

    def share(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        n = SUBDIVISIONS
        return mask.reshape(size[2], n, size[1], n, size[0], n).mean(axis=(1, 3, 5), dtype=np.float32)

    probability = share(tumor) * np.float32(level)
    inside = share(tube)
    if blur_mm:
        # Readers do not mark the lumen: the edge is soft towards other tissue, not across the vessel's wall.
        sigma = blur_mm / spacing[::-1]
        tissue = ndimage.gaussian_filter(1 - inside, sigma)
        probability = ndimage.gaussian_filter(probability, sigma) / np.maximum(tissue, 1e-3) * (1 - inside)
        probability = np.clip(probability, 0.0, 1.0)
    geometry = Geometry(tuple(int(n) for n in size), spacing_mm, origin_mm=(-12.5, 40.0, 7.25))
    vessel = (inside >= 0.5).astype(np.uint8)
    touched_mm = length_mm if angle_deg else 0.0
    return TubeCase(
        Volume(probability, geometry),
        Volume(vessel, geometry),
        angle_deg,
        touched_mm,
        area_mm2=np.deg2rad(angle_deg) * radius_mm * touched_mm,
        tilt_deg=float(np.degrees(np.arccos(min(abs(along[2]), 1.0)))),
    )
