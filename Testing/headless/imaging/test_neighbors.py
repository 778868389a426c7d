"""Masks grown and shrunk by one voxel are SciPy's, at the array's border too."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from twintrack.imaging.neighbors import eroded, grown_all_around, grown_along


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
