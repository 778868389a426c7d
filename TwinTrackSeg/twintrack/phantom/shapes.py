"""Signed distances (mm, positive inside) of the simple shapes that a phantom is made of, and smooth noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["FAR_MM", "Tube", "ellipsoid_depth", "smooth_noise", "soft"]

FAR_MM = 12.0
"""Depth of every point that lies further than this outside a tube (its exact distance is never needed)."""

SAMPLE_STEP_MM = 0.5
"""Spacing of the points that stand for a tube's centre line."""


@dataclass(frozen=True)
class Tube:
    """A bent tube with a radius that changes along it.

    Attributes
    ----------
    points_mm : numpy.ndarray
        Control points (n, 3) of the centre line in LPS mm, (x, y, z) order.
    radii_mm : numpy.ndarray
        Radius at each control point, (n,).
    """

    points_mm: NDArray[np.float64]
    radii_mm: NDArray[np.float64]

    def sampled(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return points (m, 3) in mm along a smooth curve through the control points, and the radii there."""
        from scipy.interpolate import PchipInterpolator

        chord = np.linalg.norm(np.diff(self.points_mm, axis=0), axis=1)
        along = np.concatenate([[0.0], np.cumsum(chord)])
        fine = np.linspace(0.0, along[-1], max(2, int(np.ceil(along[-1] / SAMPLE_STEP_MM))))
        return PchipInterpolator(along, self.points_mm)(fine), PchipInterpolator(along, self.radii_mm)(fine)

    def depth(self, position_mm: NDArray[np.float32]) -> NDArray[np.float32]:
        """Signed distance to the wall for positions (..., 3) in mm: positive inside, at least ``-FAR_MM``."""
        from scipy.spatial import KDTree

        points, radii = self.sampled()
        reach = float(radii.max()) + FAR_MM
        near = np.all((position_mm > points.min(axis=0) - reach) & (position_mm < points.max(axis=0) + reach), axis=-1)
        depth = np.full(position_mm.shape[:-1], -FAR_MM, dtype=np.float32)
        nearest = KDTree(points).query(position_mm[near], distance_upper_bound=reach)
        distance, index = np.asarray(nearest[0]), np.asarray(nearest[1])
        found = np.isfinite(distance)
        inside = np.full(distance.shape, -FAR_MM)
        inside[found] = np.maximum(radii[index[found]] - distance[found], -FAR_MM)
        depth[near] = inside
        return depth


def ellipsoid_depth(
    position_mm: NDArray[np.float32], center_mm: tuple[float, float, float], radii_mm: tuple[float, float, float]
) -> NDArray[np.float32]:
    """Approximate signed distance (mm, positive inside) to an ellipsoid for positions (..., 3) in mm.

    The relative radius times the mean radius: exact for a sphere and on the surface, which is all that is needed.
    """
    scaled = (position_mm - np.asarray(center_mm, dtype=np.float32)) / np.asarray(radii_mm, dtype=np.float32)
    mean_mm = float(np.prod(radii_mm) ** (1 / 3))
    depth: NDArray[np.float32] = mean_mm * (1.0 - np.sqrt(np.einsum("...i,...i->...", scaled, scaled)))
    return depth


def smooth_noise(
    rng: np.random.Generator,
    shape: tuple[int, int, int],
    length_mm: float,
    spacing_xyz_mm: tuple[float, float, float],
) -> NDArray[np.float32]:
    """Stationary Gaussian noise (z, y, x) with zero mean, unit variance and correlation length `length_mm`."""
    from scipy.ndimage import gaussian_filter

    sigma = [length_mm / step for step in reversed(spacing_xyz_mm)]
    impulse = np.zeros(shape, dtype=np.float32)
    impulse[tuple(n // 2 for n in shape)] = 1.0
    gain = float(np.sqrt(np.sum(np.square(gaussian_filter(impulse, sigma, mode="wrap"), dtype=np.float64))))
    white = rng.standard_normal(shape, dtype=np.float32)
    noise: NDArray[np.float32] = gaussian_filter(white, sigma, mode="wrap") / np.float32(gain)
    return noise


def soft(depth_mm: NDArray[np.float32], edge_mm: float) -> NDArray[np.float32]:
    """Occupancy in [0, 1] that rises linearly over `edge_mm` across the surface (partial volume)."""
    return np.clip(depth_mm / np.float32(edge_mm) + np.float32(0.5), 0.0, 1.0)
