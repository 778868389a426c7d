from __future__ import annotations

import numpy as np
import pytest

from twintrack.metrics.staple import staple_probability


def by_simpleitk(masks):
    import SimpleITK as sitk

    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in masks]
    return sitk.GetArrayFromImage(sitk.STAPLE(images, 1.0))


def by_patterns(masks):
    marked = np.stack([mask.ravel() for mask in masks], axis=1)
    patterns, inverse, counts = np.unique(marked, axis=0, return_inverse=True, return_counts=True)
    return staple_probability(patterns, counts)[inverse.ravel()].reshape(masks[0].shape)


@pytest.mark.parametrize("raters", [2, 3, 5, 8])
@pytest.mark.parametrize("flips", [0.01, 0.1, 0.3])
def test_the_estimate_equals_that_of_simpleitk_over_all_voxels(raters, flips):
    random = np.random.default_rng(raters)
    truth = np.zeros((9, 14, 16), dtype=bool)
    truth[3:6, 4:10, 5:11] = True
    masks = [truth ^ (random.random(truth.shape) < flips * (1 + i) / raters) for i in range(raters)]
    np.testing.assert_allclose(by_patterns(masks), by_simpleitk(masks), atol=1e-6)


def test_the_estimate_depends_on_the_volume_around_the_tumor_as_simpleitk_s_does():
    random = np.random.default_rng(0)
    small = [random.random((6, 8, 8)) < 0.3 for _ in range(3)]
    large = [np.pad(mask, 12) for mask in small]
    assert not np.allclose(by_patterns(small), by_patterns(large)[12:-12, 12:-12, 12:-12], atol=1e-3)
    np.testing.assert_allclose(by_patterns(large), by_simpleitk(large), atol=1e-6)


@pytest.mark.parametrize("fill", [False, True])
def test_unanimous_raters_are_followed_everywhere(fill):
    masks = [np.full((2, 3, 4), fill)] * 3
    assert (by_patterns(masks) == fill).all()
