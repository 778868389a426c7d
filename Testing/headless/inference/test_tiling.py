"""Tiles cover what they must, with nnU-Net's overlap, and no more than they must."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twintrack.inference.tiling import TileMeter, plan_tiles, tiles_near
from twintrack.progress.callbacks import CancelToken

PATCH = (16, 32, 32)


@pytest.mark.parametrize("shape", [(16, 32, 32), (17, 40, 100), (50, 33, 64)])
def test_without_a_mask_the_tiles_are_nnunets(shape: tuple[int, int, int]) -> None:
    import torch
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    class Plans:
        patch_size = PATCH

    predictor = nnUNetPredictor(device=torch.device("cpu"), allow_tqdm=False)
    predictor.configuration_manager = Plans()
    theirs = [place[1:] for place in predictor._internal_get_sliding_window_slicers(shape)]
    assert plan_tiles(shape, PATCH) == theirs


@st.composite
def masks(draw: st.DrawFn) -> np.ndarray:
    """Blobs in volumes of up to a few patches."""
    shape = tuple(draw(st.integers(low, 4 * low)) for low in (4, 6, 5))
    mask = np.zeros(shape, dtype=bool)
    for _ in range(draw(st.integers(1, 4))):
        start = [draw(st.integers(0, n - 1)) for n in shape]
        mask[tuple(slice(a, a + draw(st.integers(1, n))) for a, n in zip(start, shape, strict=True))] = True
    return mask


@pytest.mark.slow
@given(masks())
@settings(max_examples=150, deadline=None)
def test_tiles_cover_the_mask_and_are_never_more_than_those_of_its_box(mask: np.ndarray) -> None:
    shape, patch = (mask.shape[0], mask.shape[1], mask.shape[2]), (4, 6, 5)
    tiles = plan_tiles(shape, patch, mask)
    covered = np.zeros(shape, dtype=bool)
    for tile in tiles:
        assert covered[tile].shape == patch
        assert mask[tile].any()
        covered[tile] = True
    assert covered[mask].all()
    places = np.nonzero(mask)
    box = tuple(slice(int(p.min()), int(p.max()) + 1) for p in places)
    filled = np.zeros_like(mask)
    filled[box] = True
    assert len(tiles) <= len(plan_tiles(shape, patch, filled))


def test_a_slanting_organ_needs_fewer_tiles_than_its_box() -> None:
    mask = np.zeros((40, 120, 120), dtype=bool)
    for n in range(100):
        mask[10 + n // 5, n : n + 20, n : n + 20] = True
    box = np.zeros_like(mask)
    box[10:30, :120, :120] = True
    slanting, straight = len(plan_tiles(mask.shape, PATCH, mask)), len(plan_tiles(mask.shape, PATCH, box))
    assert slanting <= straight / 2


def test_an_empty_mask_needs_no_tile() -> None:
    assert plan_tiles((20, 40, 40), PATCH, np.zeros((20, 40, 40), dtype=bool)) == []


def test_near_tiles_are_those_that_share_voxels_with_a_hot_one() -> None:
    tiles = plan_tiles((16, 32, 128), PATCH)  # steps of 16 along the last axis
    hot = [tile[2].start == 48 for tile in tiles]
    assert [tile[2].start for tile in tiles_near(tiles, hot)] == [32, 48, 64]
    assert tiles_near(tiles, [False] * len(tiles)) == []


def test_skipped_tiles_leave_the_plan_and_progress_never_falls() -> None:
    told: list[float] = []
    meter = TileMeter(6, "Testing", lambda fraction, _: told.append(fraction), CancelToken())
    meter.after(2)
    meter.skip(2)
    meter.after()
    meter.done = 1  # a member begins again
    meter.after()
    meter.after(2)
    assert told == sorted(told)
    assert told[-1] == 1.0
