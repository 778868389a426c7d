"""Regions: distances in mm, boxes that survive flips, and clear refusals."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from expected_errors import raises_error
from twintrack.errors import InputError, RoiError
from twintrack.inference import roi as roi_module
from twintrack.inference.roi import Roi, dilated_roi, grown_box, map_box, roi_box, roi_full
from twintrack.volume import Geometry, Volume

ORIENTATIONS = [
    "".join(pair[flip] for pair, flip in zip(axes, flips, strict=True))
    for axes in itertools.permutations(["LR", "PA", "SI"])
    for flips in itertools.product((0, 1), repeat=3)
]


def oriented(volume: Volume, code: str) -> Volume:
    import SimpleITK as sitk

    return Volume.from_sitk(sitk.DICOMOrient(volume.to_sitk(), code))


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.7, 0.9, 2.5), (3.0, 1.0, 0.5)])
@pytest.mark.parametrize("margin_mm", [0.0, 2.0, 7.3])
def test_one_voxel_grows_to_the_ball_of_the_margin(spacing_mm: tuple[float, float, float], margin_mm: float) -> None:
    geometry = Geometry((41, 43, 39), spacing_mm)
    organ = np.ones((1, 1, 1), dtype=bool)
    roi = dilated_roi(organ, (19, 21, 20), geometry, margin_mm, 1.0)
    k, j, i = np.meshgrid(*(np.arange(n) for n in geometry.shape), indexing="ij")
    dx, dy, dz = spacing_mm
    distance = np.sqrt(((i - 20) * dx) ** 2 + ((j - 21) * dy) ** 2 + ((k - 19) * dz) ** 2)
    full = roi.paste(roi.mask, geometry)
    assert np.array_equal(full, distance <= margin_mm + 1e-9)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.7, 0.7, 2.5), (3.0, 1.0, 0.5)])
def test_the_region_is_that_of_distances_measured_in_the_volume(spacing_mm: tuple[float, float, float]) -> None:
    organ = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=(14, 15, 16)), 1.5) > 0.15
    organ[4:6] = False  # slices without organ between others
    geometry = Geometry((41, 43, 39), spacing_mm)
    roi = dilated_roi(organ, (3, 20, 12), geometry, 6.0, 1.0)
    whole = np.zeros(geometry.shape, dtype=bool)
    whole[3:17, 20:35, 12:28] = organ
    near = ndimage.distance_transform_edt(~whole, sampling=spacing_mm[::-1]) <= 6.0 + 1e-9
    assert np.array_equal(roi.paste(roi.mask, geometry), near)


@pytest.mark.parametrize("spacing_mm", [(1.0, 1.0, 1.0), (0.7, 0.9, 2.5), (3.0, 1.0, 0.5)])
@pytest.mark.parametrize("margin_mm", [0.0, 2.0, 7.3])
def test_on_a_card_the_region_is_the_same(
    monkeypatch: pytest.MonkeyPatch, spacing_mm: tuple[float, float, float], margin_mm: float
) -> None:
    organ = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(14, 15, 16)), 1.5) > 0.15
    geometry = Geometry((41, 43, 39), spacing_mm)
    expected = dilated_roi(organ, (2, 20, 12), geometry, margin_mm, 1.0)
    monkeypatch.setattr(roi_module, "to_device", lambda array, _device: torch.from_numpy(array))
    found = dilated_roi(organ, (2, 20, 12), geometry, margin_mm, 1.0, "cuda")
    assert (found.start, found.stop) == (expected.start, expected.stop)
    assert np.array_equal(found.mask, expected.mask)
    assert not found.mask.flags.writeable


def test_a_card_with_too_little_memory_leaves_the_region_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    organ = np.ones((2, 3, 4), dtype=bool)
    geometry = Geometry((41, 43, 39), (1.0, 1.0, 1.0))
    expected = dilated_roi(organ, (9, 9, 9), geometry, 3.0, 1.0)
    monkeypatch.setattr(roi_module, "to_device", full)
    assert np.array_equal(dilated_roi(organ, (9, 9, 9), geometry, 3.0, 1.0, "cuda").mask, expected.mask)


def test_the_box_is_tight_around_the_mask() -> None:
    roi = dilated_roi(np.ones((2, 3, 4), dtype=bool), (10, 10, 10), Geometry((40, 40, 40), (1.0, 2.0, 3.0)), 6.0, 1.0)
    assert roi.start == (4, 7, 8)
    assert roi.stop == (20, 16, 14)
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        assert roi.mask.any(axis=others).all()


def test_dilation_stops_at_the_volumes_edge_and_ignores_empty_rows_of_the_given_part() -> None:
    organ = np.zeros((6, 6, 6), dtype=bool)
    organ[0, 2, 5] = True
    roi = dilated_roi(organ, (0, 0, 4), Geometry((10, 10, 10), (1.0, 1.0, 1.0)), 3.0, 1.0)
    assert roi.start == (6, 0, 0)
    assert roi.stop == (10, 6, 4)


def test_a_far_part_of_the_organ_is_dilated_as_well() -> None:
    organ = np.zeros((1, 1, 30), dtype=bool)
    organ[0, 0, [0, 29]] = True
    roi = dilated_roi(organ, (5, 5, 5), Geometry((60, 11, 11), (1.0, 1.0, 1.0)), 4.0, 1.0)
    line = roi.paste(roi.mask, Geometry((60, 11, 11), (1.0, 1.0, 1.0)))[5, 5]
    assert np.flatnonzero(line).tolist() == [*range(1, 10), *range(30, 39)]


@pytest.mark.parametrize("code", ORIENTATIONS)
def test_a_box_means_the_same_voxels_on_every_flip_and_axis_order(code: str) -> None:
    size = (5, 6, 7)
    ids = np.arange(np.prod(size)).reshape(size[::-1])
    lps = Volume(ids, Geometry(size, (0.7, 1.1, 2.5), (-10.0, 33.3, 7.0)))
    given_volume = oriented(lps, code)
    n = given_volume.geometry.size
    box = (1, n[0] - 1, 0, 3, 2, n[2])
    roi = roi_box(lps.geometry, box, given_on=given_volume.geometry)
    chosen = given_volume.array[box[4] : box[5], box[2] : box[3], box[0] : box[1]]
    assert set(chosen.ravel().tolist()) == set(lps.array[roi.slices].ravel().tolist())
    i0, j0, k0 = roi.start
    i1, j1, k1 = roi.stop
    assert map_box((i0, i1, j0, j1, k0, k1), lps.geometry, given_volume.geometry) == box


def test_an_oblique_grid_can_be_turned_but_a_shifted_one_cannot() -> None:
    c, s = np.cos(0.3), np.sin(0.3)
    geometry = Geometry((8, 9, 10), (0.8, 0.8, 3.0), (1.0, 2.0, 3.0), (c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0))
    turned = oriented(Volume(np.zeros(geometry.shape, np.uint8), geometry), "RAS").geometry
    assert map_box((1, 4, 2, 5, 0, 3), geometry, turned) == (4, 7, 4, 7, 0, 3)
    shifted = Geometry(geometry.size, geometry.spacing_mm, (1.3, 2.0, 3.0), geometry.direction)
    with raises_error(InputError, "grid-differs"):
        map_box((1, 4, 2, 5, 0, 3), geometry, shifted)


@pytest.mark.parametrize(
    ("box", "error"),
    [
        ((0, 5, 0, 5, 0), ("region-numbers",)),
        ((0, 0, 0, 5, 0, 5), ("region-outside",)),
        ((0, 5, 4, 3, 0, 5), ("region-outside",)),
        ((0, 5, 0, 5, -1, 5), ("region-outside",)),
        ((0, 11, 0, 5, 0, 5), ("region-outside", "11", "10")),
    ],
)
def test_a_box_that_does_not_fit_is_refused_with_its_axis(box: tuple[int, ...], error: tuple[str, ...]) -> None:
    with raises_error(RoiError, *error):
        roi_box(Geometry((10, 10, 10), (1.0, 1.0, 1.0)), box)


def test_the_full_region_holds_every_voxel_without_memory_for_a_mask() -> None:
    roi = roi_full(Geometry((512, 512, 700), (0.7, 0.7, 1.0)))
    assert roi.shape == (700, 512, 512)
    assert roi.mask.all(axis=None) if roi.mask.strides != (0, 0, 0) else bool(roi.mask[-1, -1, -1])
    assert roi.mask.base is not None


def test_a_region_cannot_be_empty_or_disagree_with_its_mask() -> None:
    with raises_error(RoiError, "region-empty"):
        Roi((3, 0, 0), (3, 2, 2), np.ones((2, 2, 0), dtype=bool), "box")
    with raises_error(InputError, "grid-differs"):
        Roi((0, 0, 0), (3, 2, 1), np.ones((3, 2, 1), dtype=bool), "box")


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_grown_box_holds_the_box_stays_inside_and_is_no_larger_than_needed(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 50))
    start = data.draw(st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))
    smallest = data.draw(st.integers(0, 80))
    (first,), (end,) = grown_box([start], [stop], [smallest], [size])
    assert 0 <= first <= start < stop <= end <= size
    assert end - first == max(stop - start, min(smallest, size))


def test_a_box_far_from_the_edges_grows_evenly() -> None:
    assert grown_box((40, 40, 0), (50, 51, 3), (20, 20, 7), (100, 100, 100)) == ((35, 36, 0), (55, 56, 7))
