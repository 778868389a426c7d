"""Cubic resampling by matrices gives scikit-image's numbers, in any slab size, without a float64 copy of the CT."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
import torch
from nnunetv2.preprocessing.resampling.default_resampling import resample_data_or_seg
from skimage.transform import resize

from twintrack.inference import cubic as spline
from twintrack.inference.arrays import Array, to_host
from twintrack.inference.cubic import resample_cubic, resample_slices

WHEREVER = pytest.mark.parametrize("placed", [np.asarray, torch.from_numpy], ids=["main memory", "as on a card"])
"""Arrays of main memory are numpy's; those on a graphics card are torch's, and here lie in main memory too."""


def as_float32(values: Array) -> Array:
    return values.astype(np.float32) if isinstance(values, np.ndarray) else values.float()


def differing_voxels(found: np.ndarray, expected: np.ndarray) -> int:
    """Count the voxels whose bits differ; those may differ by rounding alone."""
    np.testing.assert_allclose(found, expected, rtol=3e-7, atol=1e-6)
    return int(np.count_nonzero(found != expected))


SHAPES = [
    ((40, 61, 53), (37, 80, 44)),
    ((64, 120, 90), (30, 60, 50)),
    ((9, 70, 70), (30, 101, 99)),
    ((20, 20, 20), (20, 31, 20)),
    ((1, 12, 30), (1, 20, 7)),
]


@WHEREVER
@pytest.mark.parametrize(("shape", "target"), SHAPES)
@pytest.mark.parametrize("slab_voxels", [1, 5000, 2**30])
def test_a_volume_is_resampled_as_scikit_image_does(
    monkeypatch: pytest.MonkeyPatch,
    shape: tuple[int, ...],
    target: tuple[int, ...],
    slab_voxels: int,
    placed: Callable[[np.ndarray], Array],
) -> None:
    monkeypatch.setattr(spline, "SLAB_VOXELS", slab_voxels)
    volume = np.random.default_rng(0).normal(0, 100, shape).astype(np.float32)
    expected = resize(volume, target, order=3, mode="edge", clip=True, anti_aliasing=False, preserve_range=True)
    found = to_host(resample_cubic(placed(volume), target, as_float32))
    assert found.dtype == np.float32
    assert found.flags.c_contiguous
    # A voxel whose float64 value lies within 1e-15 of the middle between two floats may fall to either.
    assert differing_voxels(found, expected.astype(np.float32)) <= 1


@WHEREVER
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("slab_voxels", [1, 2**30])
def test_thick_slices_are_resampled_as_nnunet_does(
    monkeypatch: pytest.MonkeyPatch, axis: int, slab_voxels: int, placed: Callable[[np.ndarray], Array]
) -> None:
    monkeypatch.setattr(spline, "SLAB_VOXELS", slab_voxels)
    shape, target = [50, 41, 33], [61, 30, 47]
    shape[axis], target[axis] = 7, 23
    volume = np.random.default_rng(1).normal(0, 100, shape).astype(np.float32)
    expected = resample_data_or_seg(volume[None], target, order=3, do_separate_z=True, axis=axis, order_z=0)[0]
    found = to_host(resample_slices(placed(volume), target, axis, as_float32))
    assert differing_voxels(found, expected.astype(np.float32)) <= 1


def test_the_input_is_prepared_in_parts_and_left_alone() -> None:
    volume = np.arange(4000, dtype=np.int16).reshape(10, 20, 20)
    before = volume.copy()
    doubled = resample_cubic(volume, (10, 30, 20), lambda values: 2 * values.astype(np.float32))
    plain = resample_cubic(volume.astype(np.float32), (10, 30, 20), as_float32)
    np.testing.assert_allclose(doubled, 2 * plain, rtol=1e-6)
    assert np.array_equal(volume, before)


@pytest.mark.slow
def test_no_float64_copy_of_a_large_volume_is_made() -> None:
    volume = np.zeros((400, 256, 256), dtype=np.int16)
    volume[50:60, 100:150] = 300
    tracemalloc.start()
    resample_cubic(volume, (100, 128, 128), as_float32)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # Of these bytes half are the volume between the two passes, in float64, and the result.
    assert peak < volume.size * 8 / 2
