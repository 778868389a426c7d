"""Painting the CT: attenuation of every tissue, partial volume, and noise with the grain of a real scan."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from twintrack.phantom.anatomy import Organ
from twintrack.phantom.lesion import LesionField
from twintrack.phantom.shapes import ellipsoid_depth, smooth_noise, soft

__all__ = ["add_scanner_noise", "paint_ct"]

EDGE_MM = 1.6
"""Width of a tissue edge, about the point spread of a body kernel."""

AIR_HU = -1000.0

WALL_MM = 22.0
"""Least distance of an organ from the skin."""


def paint_ct(
    rng: np.random.Generator,
    position_mm: NDArray[np.float32],
    depth_mm: Mapping[str, NDArray[np.float32]],
    placed: list[Organ],
    lesions: LesionField | None,
    spacing_xyz_mm: tuple[float, float, float],
) -> NDArray[np.float32]:
    """Return the noise-free CT in HU (z, y, x) of a patient in the portal venous to late arterial phase.

    Parameters
    ----------
    position_mm : numpy.ndarray
        Warped position of each voxel, (z, y, x, 3).
    depth_mm : mapping
        Signed depth of each tube-shaped structure and of ``pancreas``, (z, y, x) in mm, positive inside.
    placed : list of Organ
        Ellipsoid organs, painted in this order.
    lesions : LesionField, optional
        The tumours; none in a healthy patient, who looks the same elsewhere.
    """
    shape = position_mm.shape[:3]
    arterial = rng.uniform(0.0, 1.0)
    hu = _body(rng, depth_mm["body"])

    def lay(depth: NDArray[np.float32], value: float | NDArray[np.float32], edge_mm: float = EDGE_MM) -> None:
        cover = soft(depth, edge_mm)
        hu[...] += cover * (value - hu)

    for organ in placed:
        # Organs stay behind the abdominal wall.
        within = np.minimum(ellipsoid_depth(position_mm, organ.center_mm, organ.radii_mm), depth_mm["body"] - WALL_MM)
        lay(within, organ.hu)
    lay(depth_mm["stomach"], rng.uniform(5, 35))
    lay(depth_mm["duodenum"], rng.uniform(60, 80))
    lay(depth_mm["duodenum"] - 3.5, rng.uniform(0, 25))
    lay(depth_mm["spine"], 210.0 + 25.0 * smooth_noise(rng, shape, 3.0, spacing_xyz_mm))
    lay(depth_mm["canal"], 30.0)
    gland = rng.uniform(95, 125) - 10.0 * (1 - arterial)
    lay(depth_mm["pancreas"], gland + 6.0 * smooth_noise(rng, shape, 3.0, spacing_xyz_mm))
    tumor = np.float32(rng.uniform(42, 68)) + 4.0 * smooth_noise(rng, shape, 4.0, spacing_xyz_mm)
    if lesions is not None:
        blend = 1.0 / (1.0 + np.exp(-np.clip(lesions.depth_mm / (0.5 * lesions.fade_mm), -20.0, 20.0)))
        hu += np.where(depth_mm["body"] > 8.0, blend, 0.0) * (tumor - hu)
    vein, artery = 150.0 + 30.0 * rng.uniform(-1, 1), 190.0 + 130.0 * arterial
    for name in ("ivc", "splenic_vein", "SMV", "PORTA"):
        lay(depth_mm[name], vein - (35.0 if name == "ivc" else 0.0))
    for name in ("AORTA", "CELIAC", "SMA"):
        lay(depth_mm[name], artery)
    return hu


def add_scanner_noise(
    rng: np.random.Generator, hu: NDArray[np.float32], spacing_xyz_mm: tuple[float, float, float]
) -> NDArray[np.int16]:
    """Add noise with a band-pass texture (filtered back projection suppresses low frequencies) and round to HU."""
    fine = smooth_noise(rng, hu.shape, 0.9, spacing_xyz_mm)
    coarse = smooth_noise(rng, hu.shape, 2.4, spacing_xyz_mm)
    grain = fine - 0.45 * coarse
    noisy = hu + np.float32(rng.uniform(9, 16) / float(grain.std())) * grain
    return np.clip(np.rint(noisy), -1024, 3071).astype(np.int16)


def _body(rng: np.random.Generator, depth: NDArray[np.float32]) -> NDArray[np.float32]:
    """Paint air, skin fat, muscle wall and visceral fat, given the depth below the skin (z, y, x) in mm."""
    hu = np.full(depth.shape, AIR_HU, dtype=np.float32)
    fat, wall = rng.uniform(8, 16), rng.uniform(7, 11)
    for start, value in ((0.0, -105.0), (fat, 55.0), (fat + wall, -100.0)):
        hu += soft(depth - np.float32(start), EDGE_MM) * (np.float32(value) - hu)
    return hu
