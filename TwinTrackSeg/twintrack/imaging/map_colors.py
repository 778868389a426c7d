"""The colours of the map, the same in pictures, reports and 3D Slicer: nowhere grey as the CT.

They follow a path through CIELAB in equal steps, so that equal differences of the map look alike; lightness rises all
the way, also for people who do not tell red from green.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["NUMBER_OF_COLORS", "lab_to_srgb", "map_colors"]

NUMBER_OF_COLORS = 256

PATH_LAB = ((26.0, 46.0, -72.0), (45.0, 70.0, -22.0), (60.0, 58.0, 30.0), (80.0, 14.0, 70.0))
"""Corners of the path (L*, a*, b*): blue, magenta, coral, amber; all inside the sRGB gamut."""

WHITE_D65 = np.array([0.95047, 1.0, 1.08883])
XYZ_TO_LINEAR_SRGB = np.array([[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]])
"""IEC 61966-2-1."""


def map_colors(number: int = NUMBER_OF_COLORS) -> NDArray[np.float64]:
    """Return `number` RGB colours (number, 3) in [0, 1], equally spaced along the path."""
    corners = np.array(PATH_LAB)
    length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(corners, axis=0), axis=1))])
    where = np.linspace(0.0, length[-1], number)
    lab = np.stack([np.interp(where, length, corners[:, channel]) for channel in range(3)], axis=-1)
    return np.asarray(np.clip(lab_to_srgb(lab), 0.0, 1.0))


def lab_to_srgb(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return CIELAB colours (n, 3) of the white D65 as gamma-encoded sRGB, not clipped."""
    middle = (lab[:, 0] + 16.0) / 116.0
    f = np.stack([middle + lab[:, 1] / 500.0, middle, middle - lab[:, 2] / 200.0], axis=-1)
    knee = 6.0 / 29.0
    xyz = np.where(f > knee, f**3, 3.0 * knee**2 * (f - 4.0 / 29.0)) * WHITE_D65
    linear = xyz @ XYZ_TO_LINEAR_SRGB.T
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0.0) ** (1 / 2.4) - 0.055)
