"""The wall is where a ray first leaves the vessel, however long the ray is and wherever one begins to look."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from twintrack.invasion.geometry import Neighborhood, transported_frames
from twintrack.invasion.sections import STRETCH, wall_distance_mm
from twintrack.volume import Geometry


@pytest.mark.parametrize("seed", range(6))
def test_rays_followed_by_stretches_end_where_whole_rays_do(seed: int) -> None:
    random = np.random.default_rng(seed)
    vessel = ndimage.gaussian_filter(random.normal(size=(30, 40, 50)), 2) > -0.02
    near = Neighborhood.around(
        np.zeros(vessel.shape), vessel, Geometry(vessel.shape[::-1], (0.7, 0.6, 0.9)), np.zeros(3, dtype=np.int64)
    )
    centers = random.uniform(0, 25, (40, 3))
    rays = random.normal(size=(40, 25, 3))
    rays /= np.linalg.norm(rays, axis=2, keepdims=True)
    reach_mm = 0.6 * 3.4 * STRETCH[1]
    found_mm = wall_distance_mm(near, centers, rays, reach_mm)
    at_mm = np.arange(0.0, reach_mm + 0.6, 0.6)
    inside = near.sample(near.vessel, centers[:, None, None] + at_mm[:, None] * rays[:, :, None]) >= 0.5
    for number, starts_inside in enumerate(inside[:, 0, 0]):
        for ray in range(rays.shape[1]):
            wall_mm = found_mm[number, ray]
            outside = np.flatnonzero(~inside[number, ray])
            if not starts_inside:
                assert wall_mm == 0
            elif len(outside):
                assert at_mm[outside[0] - 1] <= wall_mm <= at_mm[outside[0]]
            else:
                assert wall_mm == reach_mm
    assert np.unique(np.digitize(found_mm[inside[:, 0, 0]], 0.6 * STRETCH[1] * np.arange(1, 4))).size == 4


def test_frames_are_those_of_numpy_s_norm_to_the_last_bit():
    line = np.cumsum(np.random.default_rng(3).normal(0.1, 0.2, (80, 3)), axis=0)
    tangents, normals, binormals = transported_frames(line)
    normal = np.eye(3)[np.argmin(np.abs(tangents[0]))]
    for tangent, found, across in zip(tangents, normals, binormals, strict=True):
        normal = normal - (normal @ tangent) * tangent
        normal /= max(float(np.linalg.norm(normal)), 1e-12)
        assert found.tolist() == normal.tolist()
        assert across.tolist() == np.cross(tangent, normal).tolist()
