"""Volumes and diameters of balls are those of balls, on any grid."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from twintrack.imaging.lesions import edge_notes, find_lesions, read_volumes
from twintrack.imaging.views import find_focus
from twintrack.volume import Geometry, Volume


def balls(*spheres: tuple[tuple[float, float, float], float, float]) -> Volume:
    """A map on an oblique grid of 1 x 1 x 2 mm voxels: (centre in LPS mm, radius in mm, probability) each."""
    turned = Rotation.from_euler("xyz", [10, -20, 15], degrees=True).as_matrix()
    geometry = Geometry((70, 60, 30), (1.0, 1.0, 2.0), (-20.0, 5.0, 40.0), tuple(turned.ravel()))
    k, j, i = np.indices(geometry.shape)
    points = geometry.to_lps_mm(np.stack([i, j, k], axis=-1))
    array = np.zeros(geometry.shape, np.float32)
    for center, radius, value in spheres:
        array[np.linalg.norm(points - geometry.to_lps_mm(np.array(center)), axis=-1) <= radius] = value
    return Volume(array, geometry)


def test_a_ball_has_its_volume_diameter_and_place():
    volume = balls(((20, 30, 15), 12.0, 0.7))
    (lesion,) = find_lesions(volume, 0.5)
    assert lesion.volume_ml == pytest.approx(4 / 3 * np.pi * 1.2**3, rel=0.03)
    assert lesion.longest_diameter_mm == pytest.approx(24.0, abs=1.5)
    assert lesion.centroid_lps_mm == pytest.approx(volume.geometry.to_lps_mm(np.array([20, 30, 15])), abs=0.1)
    assert lesion.max_probability == pytest.approx(0.7)


def test_lesions_are_counted_apart_and_sorted_and_specks_left_out():
    volume = balls(((15, 15, 8), 5.0, 0.6), ((50, 40, 20), 9.0, 0.9), ((60, 10, 3), 1.0, 0.9))
    assert [round(lesion.max_probability, 2) for lesion in find_lesions(volume, 0.5)] == [0.9, 0.6]
    assert len(find_lesions(volume, 0.8)) == 1
    assert find_lesions(volume, 0.95) == ()


def test_volumes_of_nested_levels_are_the_readers_percentiles():
    volume = balls(((35, 30, 15), 14.0, 0.2), ((35, 30, 15), 8.0, 0.95))
    read = read_volumes(volume, 0.5)
    outer, inner = (4 / 3 * np.pi * (radius / 10) ** 3 for radius in (14.0, 8.0))
    assert read.p90 == pytest.approx(outer, rel=0.03)
    assert read.p10 == read.at_threshold == pytest.approx(inner, rel=0.05)
    assert read.expected == pytest.approx(0.2 * (outer - inner) + 0.95 * inner, rel=0.05)


def test_a_percentile_above_what_the_map_can_reach_is_not_known_and_not_zero():
    volume = balls(((35, 30, 15), 14.0, 0.2), ((35, 30, 15), 8.0, 0.85))
    assert read_volumes(volume, 0.5).p10 == 0
    capped = read_volumes(volume, 0.5, reached=0.88)
    assert capped.p10 is None
    assert capped.p90 == read_volumes(volume, 0.5).p90 > 0
    assert read_volumes(volume, 0.5, reached=0.9).p10 == 0
    assert read_volumes(volume, 0.5, reached=0.08).to_json()["p90"] is None


def test_a_threshold_that_equals_the_value_takes_it_in():
    volume = balls(((35, 30, 15), 8.0, 0.6))  # stored in float32, where 0.6 is a little more than 0.6
    assert read_volumes(volume, 0.6).at_threshold > 0


def test_an_empty_map_has_no_lesion():
    volume = balls()
    assert find_lesions(volume, 0.5) == ()
    assert read_volumes(volume, 0.5).to_json() == {"expected": 0, "at_threshold": 0, "p10": 0, "p90": 0}


def test_a_flat_lesion_has_a_diameter():
    array = np.zeros((3, 60, 60), np.float32)
    array[1, 10:40, 20] = 1
    volume = Volume(array, Geometry((60, 60, 3), (1.0, 1.0, 5.0)))
    (lesion,) = find_lesions(volume, 0.5)
    assert lesion.longest_diameter_mm == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("planes", "words"),
    [
        ((4, 12), None),
        ((0, 8), "the lowest slice"),
        ((20, 30), "the highest slice"),
        ((0, 30), "lowest and the highest"),
    ],
)
def test_a_tumor_at_the_first_or_last_slice_may_go_on_beyond(planes, words):
    array = np.zeros((30, 10, 10), np.float32)
    array[planes[0] : planes[1], 4:6, 4:6] = 0.6
    volume = Volume(array, Geometry((10, 10, 30), (1.0, 1.0, 2.0)))
    notes = edge_notes(volume, 0.5)
    assert len(notes) == (words is not None)
    assert words is None or words in notes[0]
    assert edge_notes(volume, 0.7) == ()


@pytest.mark.parametrize("seed", range(8))
def test_lesions_and_focus_are_those_of_a_search_through_the_whole_volume(seed):
    rng = np.random.default_rng(seed)
    geometry = Geometry((26, 22, 18), (2.0, 2.5, 3.0), (-5.0, 3.0, 1.0))
    noise = ndimage.gaussian_filter(rng.normal(size=geometry.shape), 1.5)
    array = np.clip(noise / noise.max(), 0, 1).astype(np.float32)
    array[:3], array[:, :2], array[..., 20:] = 0, 0, 0
    volume, threshold = Volume(array, geometry), float(rng.uniform(0.2, 0.9))
    parts, count = ndimage.label(array >= np.float32(threshold), structure=np.ones((3, 3, 3)))
    voxels = np.bincount(parts.ravel(), minlength=count + 1)[1:]
    kept = sorted(
        (
            (size * geometry.voxel_ml, geometry.to_lps_mm(np.argwhere(parts == n)[:, ::-1]).mean(axis=0))
            for n, size in enumerate(voxels, start=1)
            if size * geometry.voxel_ml >= 0.1
        ),
        key=lambda part: -part[0],
    )
    found = find_lesions(volume, threshold, volume)
    assert [lesion.volume_ml for lesion in found] == [volume_ml for volume_ml, _ in kept]
    for lesion, (_, center) in zip(found, kept, strict=True):
        assert lesion.centroid_lps_mm == tuple(center)
        assert lesion.score_level == lesion.max_probability
    focus = find_focus(volume, threshold)
    weights, number = ndimage.label(array >= np.float32(threshold))
    mass = ndimage.sum_labels(array.astype(float), weights, np.arange(1, number + 1))
    largest = np.where(weights == np.argmax(mass) + 1, array.astype(float), 0.0)
    peaks = [int(np.argmax(largest.sum(axis=tuple(a for a in range(3) if a != axis)))) for axis in (2, 1, 0)]
    assert focus.found
    assert list(focus.slices) == peaks


def test_a_map_below_the_threshold_has_no_lesion():
    assert find_lesions(balls(((20, 30, 15), 12.0, 0.3)), 0.5) == ()
