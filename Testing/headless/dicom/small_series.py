"""Small asymmetric CTs on grids of every direction, for the tests of this folder and those below it."""

from __future__ import annotations

import itertools

import numpy as np

from twintrack.volume import Geometry, Volume

SIZE = (24, 20, 6)
SPACING_MM = (0.7, 0.9, 2.5)


def phantom(direction: np.ndarray | None = None) -> Volume:
    """Noise with a bright corner, an edge and a ramp: no flip or permutation maps it onto itself."""
    cosines = np.eye(3) if direction is None else direction
    geometry = Geometry(SIZE, SPACING_MM, (-31.25, 17.5, -801.125), tuple(cosines.ravel().tolist()))
    k, j, i = np.indices(geometry.shape)
    array = np.random.default_rng(7).integers(-1000, 0, geometry.shape) + 7 * i + 31 * j + 150 * k
    array[0, 0, 0] = 2900
    array[:2, 3:9, 12:20] = 350
    return Volume(array.astype(np.int16), geometry)


def all_axis_directions() -> list[np.ndarray]:
    """Return the 48 direction matrices that permute and flip the axes."""
    return [
        np.eye(3)[:, list(order)] * np.array(signs)
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1.0, -1.0), repeat=3)
    ]


def sign_directions() -> list[np.ndarray]:
    """Return the 8 direction matrices that only flip axes."""
    return [np.diag(signs) for signs in itertools.product((1.0, -1.0), repeat=3)]


def oblique_direction() -> np.ndarray:
    """Return a rotation about an axis that is none of the patient's."""
    axis = np.array([1.0, 2.0, -0.5]) / np.linalg.norm([1.0, 2.0, -0.5])
    cross = np.cross(np.eye(3), axis)
    angle = np.deg2rad(25.0)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
