"""A lumen goes on under the tumour that hides it, and is not painted where there is none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from twintrack.inference.preprocess import Preprocessed
from twintrack.inference.vessel_map import (
    BESIDE_VOXELS,
    BORDER_VOXELS,
    CORE_VOXELS,
    FLOOR,
    ROUNDING,
    STRAY_SHARE,
    VesselChannels,
    drop_strays,
    hidden_lumens,
    vessel_map,
)

SHAPE = (24, 40, 40)
SOFTMAX = VesselChannels(tumor=(1,), values={2: 5}, hidden=frozenset({2}), overlapping=False)
GRID = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in SHAPE), indexing="ij"))
FROM_AXIS = np.hypot(GRID[1], GRID[2])
LUMEN = FROM_AXIS <= 5
"""A tube of 5 voxels radius along z."""
BALL = np.sqrt(GRID[0] ** 2 + (GRID[1] - 6) ** 2 + GRID[2] ** 2) <= 9
"""Tumour that reaches beyond the tube's axis."""


def labelled(
    probabilities: np.ndarray, channels: VesselChannels = SOFTMAX, grid: tuple[int, ...] = SHAPE
) -> np.ndarray:
    """Label (channel, z, y, x) on a grid of the same extent; as on a card, too."""
    case = Preprocessed(np.zeros((1, *SHAPE), np.float32), grid, (0, 1, 2), tuple((0, n) for n in grid))
    window = tuple((0, n) for n in grid)
    values = probabilities.astype(np.float32)
    found, on_card = (
        vessel_map(case, given, window, channels, np.ones(grid, bool)) for given in (values, torch.from_numpy(values))
    )
    assert np.array_equal(found, on_card)
    return found


def scene(vessel: float, tumor: float) -> np.ndarray:
    """Return background, tumour and vessel: certain but where both tube and ball are, with the given values there."""
    both = LUMEN & BALL
    p_tumor = np.where(both, tumor, np.where(BALL, 0.96, 0.01))
    p_vessel = np.where(both, vessel, np.where(LUMEN, 0.96, 0.01))
    return np.stack([1 - p_tumor - p_vessel, p_tumor, p_vessel])


def test_a_lumen_that_the_tumor_hides_is_whole() -> None:
    probabilities = scene(0.2, 0.75)
    dented = probabilities.argmax(axis=0) == 2
    assert np.count_nonzero(dented) < 0.8 * np.count_nonzero(LUMEN)
    assert np.array_equal(labelled(probabilities) == 5, LUMEN)


@pytest.mark.parametrize("factor", [2, 0.5], ids=["finer grid", "coarser grid"])
def test_a_lumen_is_whole_on_another_grid_than_the_networks(factor: float) -> None:
    grid = tuple(int(n * factor) for n in SHAPE)
    whole = labelled(scene(0.96, 0.01), grid=grid)
    found = labelled(scene(0.2, 0.75), grid=grid)
    dented = scene(0.2, 0.75)[2] > 0.5
    missing = np.count_nonzero(LUMEN & ~dented) / np.count_nonzero(LUMEN)
    assert np.count_nonzero(whole != found) < 0.4 * missing * np.count_nonzero(whole)


def test_a_vessel_that_is_less_likely_than_the_rest_is_not_added() -> None:
    probabilities = scene(0.08, 0.75)  # 0.17 for the background
    assert np.array_equal(labelled(probabilities) == 5, LUMEN & ~BALL)


def test_nothing_is_painted_below_the_floor() -> None:
    inside = FLOOR * 0.8
    assert np.array_equal(labelled(scene(inside, 0.99 - inside)) == 5, LUMEN & ~BALL)


def test_nothing_is_painted_in_a_tumor_away_from_the_lumen() -> None:
    probabilities = scene(0.2, 0.75)
    island = np.sqrt((GRID[0]) ** 2 + (GRID[1] - 11) ** 2 + GRID[2] ** 2) <= 3
    probabilities[:, island] = np.array([0.05, 0.75, 0.2])[:, None]
    assert np.array_equal(labelled(probabilities) == 5, LUMEN)


def test_a_soft_border_between_vessel_and_tumor_stays_where_the_likeliest_class_has_it() -> None:
    cuff = (FROM_AXIS <= 12) & (np.abs(GRID[0]) < 8)
    vessel = np.clip((6 - FROM_AXIS) / 2, 0.01, 0.98)  # crosses 0.5 at the wall, over one voxel
    tumor = np.where(cuff, 0.99 - vessel, 0.01)
    probabilities = np.stack([1 - vessel - tumor, tumor, vessel])
    wins = probabilities.argmax(axis=0) == 2
    assert np.array_equal(labelled(probabilities) == 5, wins)


def test_two_tumor_labels_hide_a_lumen_together() -> None:
    background, tumor, vessel = scene(0.2, 0.75)
    channels = VesselChannels(tumor=(1, 3), values={2: 5}, hidden=frozenset({2}), overlapping=False)
    assert np.array_equal(labelled(np.stack([background, 0.5 * tumor, vessel, 0.5 * tumor]), channels) == 5, LUMEN)


def test_of_two_vessels_the_larger_one_goes_on() -> None:
    background, tumor, vessel = scene(0.2, 0.75)
    other = np.where(LUMEN, 0.2 * vessel, 0.0)
    for order in ([2, 3], [3, 2]):
        channels = VesselChannels((1,), {order[0]: 5, order[1]: 4}, frozenset(order), overlapping=False)
        layers = {order[0]: 0.8 * vessel, order[1]: other, 0: background, 1: tumor}
        assert np.array_equal(labelled(np.stack([layers[n] for n in range(4)]), channels), np.where(LUMEN, 5, 0))


def test_regions_without_the_tumors_labels_go_on_under_it() -> None:
    _, tumor, vessel = scene(0.2, 0.75)
    channels = VesselChannels((0,), {1: 5}, frozenset({1}), overlapping=True)
    assert np.array_equal(labelled(np.stack([tumor, vessel]), channels) == 5, LUMEN)


def test_regions_that_hold_the_tumors_labels_need_a_half() -> None:
    _, tumor, vessel = scene(0.2, 0.75)
    channels = VesselChannels((0,), {1: 5}, frozenset(), overlapping=True)
    assert np.array_equal(labelled(np.stack([tumor, vessel]), channels) == 5, LUMEN & ~BALL)


def test_a_hidden_part_must_touch_the_lumen_of_its_own_vessel() -> None:
    lumens, hidden = np.zeros((2, 5, 9, 9), dtype=np.uint8)
    lumens[:, 4, :2], lumens[:, 4, 7:] = 1, 2
    hidden[1:4, 3:6, 2:7] = 2
    expected = lumens.copy()
    expected[1:4, 3:6, 2:7] = 2
    hidden_lumens(lumens, hidden, (1.0, 1.0, 1.0))
    assert np.array_equal(lumens, expected)
    alone = np.zeros_like(lumens)
    alone[:, 4, :2] = 1
    hidden[1:4, 3:6, 2:7] = 2
    hidden_lumens(alone, hidden, (1.0, 1.0, 1.0))
    assert set(np.unique(alone)) == {0, 1}


def test_stray_pieces_and_those_that_nobody_looked_at_are_no_vessel() -> None:
    lumens = np.zeros((30, 9, 9), dtype=np.uint8)
    lumens[:16, 3:6, 3:6] = 4
    lumens[:, 0, 0] = 3
    expected = lumens.copy()
    lumens[20:28, 3:6, 3:6] = 4  # large, outside the region
    lumens[10, 8, 8] = 4  # a speck inside it
    vessels = lumens.copy()
    looked = np.zeros(lumens.shape, dtype=bool)
    looked[8:18] = True
    drop_strays(vessels, lumens, looked)
    assert np.array_equal(vessels, expected)


def test_a_vessel_that_lies_wholly_outside_the_region_is_kept() -> None:
    lumens = np.zeros((9, 9, 9), dtype=np.uint8)
    lumens[:, 4, 4] = 1
    lumens[2:7, 7, 7] = 1
    vessels = lumens.copy()
    drop_strays(vessels, lumens, np.zeros(lumens.shape, dtype=bool))
    assert np.array_equal(vessels, lumens)


def test_what_was_painted_around_a_stray_goes_with_it() -> None:
    lumens = np.zeros((40, 9, 9), dtype=np.uint8)
    lumens[:, 2:4, 2:4] = 1
    lumens[20, 7, 7] = 1
    vessels = lumens.copy()
    vessels[15:25, 6:9, 6:9] = 1
    drop_strays(vessels, lumens, np.ones(lumens.shape, dtype=bool))
    assert np.array_equal(vessels[:, :5], lumens[:, :5])
    assert not vessels[:, 5:].any()


def plainly_hidden(lumens: np.ndarray, hidden: np.ndarray, voxel_size: tuple[float, float, float]) -> np.ndarray:
    """Return the lumens with what is hidden of them, by distances from all of a volume, one vessel after the other."""
    lumens, hidden = lumens.copy(), np.where(lumens > 0, 0, hidden)
    for value in np.unique(hidden[hidden > 0]):
        lumen, possible = lumens == value, hidden == value
        connected = ndimage.binary_propagation(lumen, mask=lumen | possible) & possible
        if not connected.any():
            continue
        deep = connected & (ndimage.distance_transform_edt(~lumen, sampling=voxel_size) > BORDER_VOXELS + ROUNDING)
        cores, count = ndimage.label(deep, np.ones((3, 3, 3)))
        large = np.bincount(cores.ravel(), minlength=count + 1) * np.prod(voxel_size) > CORE_VOXELS + ROUNDING
        large[0] = False
        if large.any():
            beside = ndimage.distance_transform_edt(~large[cores], sampling=voxel_size) <= BESIDE_VOXELS
            lumens[connected & beside] = value
    return lumens


def plainly_kept(vessels: np.ndarray, lumens: np.ndarray, looked: np.ndarray) -> np.ndarray:
    """Return the vessels without stray pieces, one vessel after the other."""
    vessels = vessels.copy()
    for value in np.unique(vessels[vessels > 0]):
        inside = vessels == value
        pieces, count = ndimage.label(inside, np.ones((3, 3, 3)))
        voxels = np.bincount(pieces[inside & (lumens == value)], minlength=count + 1)
        reached = np.bincount(pieces[inside & looked], minlength=count + 1) > 0
        kept = reached if reached.any() else voxels > 0
        kept &= voxels >= STRAY_SHARE * voxels[kept].max()
        vessels[inside & ~kept[pieces]] = 0
    return vessels


@pytest.mark.parametrize("voxel_size", [(1.0, 1.0, 1.0), (0.5, 0.28, 0.38), (1.0, 0.4, 0.4)])
@pytest.mark.parametrize("grain", [1.0, 2.0, 4.0])
def test_hidden_lumens_and_strays_are_those_that_the_whole_volume_shows(
    voxel_size: tuple[float, float, float], grain: float
) -> None:
    shape, added, dropped = (22, 30, 34), 0, 0
    for seed in range(3):
        rng = np.random.default_rng(seed)
        fields = np.stack([ndimage.gaussian_filter(rng.normal(size=shape), grain) for _ in range(4)])
        fields /= fields.std(axis=(1, 2, 3), keepdims=True)
        lumens = np.where(fields[:2].max(axis=0) > 1.2, fields[:2].argmax(axis=0) + 1, 0).astype(np.uint8)
        near = np.where(fields[:2].max(axis=0) > 0.3, fields[:2].argmax(axis=0) + 1, 0)
        hidden = np.where(fields[2] > 0, near, 0).astype(np.uint8)
        expected = plainly_hidden(lumens, hidden, voxel_size)
        found = lumens.copy()
        hidden_lumens(found, hidden.copy(), voxel_size)
        assert np.array_equal(found, expected)
        looked = fields[3] > 1.0
        kept = expected.copy()
        drop_strays(kept, lumens, looked)
        assert np.array_equal(kept, plainly_kept(expected, lumens, looked))
        added, dropped = added + np.count_nonzero(expected != lumens), dropped + np.count_nonzero(expected != kept)
    assert dropped > 0
    assert added > 0 or grain < 2
