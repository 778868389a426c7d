"""Masks grown and shrunk by one voxel, and depths in them, are SciPy's, at the array's border too."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from twintrack.imaging.neighbors import depth_mm, eroded, grown_all_around, grown_along


@pytest.mark.parametrize("seed", range(20))
def test_grown_and_eroded_masks_are_those_of_scipy(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.random(random.integers(1, 9, 3)) < random.choice([0.1, 0.5, 0.95])
    before = mask.copy()
    np.testing.assert_array_equal(eroded(mask), ndimage.binary_erosion(mask))
    np.testing.assert_array_equal(grown_along(mask), ndimage.binary_dilation(mask))
    np.testing.assert_array_equal(grown_all_around(mask), ndimage.binary_dilation(mask, np.ones((3, 3, 3))))
    flat = ndimage.generate_binary_structure(3, 1)
    flat[0] = flat[2] = False
    np.testing.assert_array_equal(grown_along(mask, (1, 2)), ndimage.binary_dilation(mask, flat))
    np.testing.assert_array_equal(mask, before)


@pytest.mark.parametrize("seed", range(8))
def test_the_depth_of_a_masks_voxels_is_scipys_to_the_last_digit(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.random(random.integers(2, 12, 3)) < 0.9
    mask[0, 0, 0] = False
    spacing_mm = random.uniform(0.4, 5.0, 3)
    whole_mm, nearest = ndimage.distance_transform_edt(mask, spacing_mm, return_indices=True)
    found_mm, places = depth_mm(mask, spacing_mm)
    np.testing.assert_array_equal(found_mm, whole_mm[mask])
    np.testing.assert_array_equal(np.stack(places), nearest[:, mask])
