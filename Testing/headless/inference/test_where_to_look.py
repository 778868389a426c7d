"""The networks look at the region's mask, not at its box, and later members where the first saw anything at all."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from twintrack.bundle.model_bundle import Bundle
from twintrack.inference.ensemble import score_ensemble
from twintrack.inference.network_store import NetworkStore
from twintrack.inference.nnunet_model import load_member, open_stage
from twintrack.inference.preprocess import Preprocessed, preprocess
from twintrack.inference.roi import Roi, roi_box, roi_full
from twintrack.inference.sliding_window import Canvas, sliding_logits
from twintrack.inference.tiling import TileMeter, tiles_near
from twintrack.progress.callbacks import CancelToken, no_progress
from twintrack.volume import Volume

pytestmark = pytest.mark.network

MakeCt = Callable[..., Volume]


@pytest.fixture
def store() -> NetworkStore:
    """Torch, so that numbers can be compared to the last digits."""
    return NetworkStore("cpu", "torch")


def first_members_tumor(ct: Volume, bundle: Bundle) -> tuple[np.ndarray, Canvas]:
    stage = open_stage(bundle, "fine")
    canvas = Canvas.of(preprocess(ct.array, ct.geometry.spacing_mm[::-1], stage).data, stage)
    meter = TileMeter(1, "Testing", no_progress, CancelToken())
    logits, _ = sliding_logits(load_member(stage, "0"), canvas, canvas.tiles, stage, meter)
    return softmax(logits, axis=0)[1], canvas


def test_later_members_skip_tiles_far_from_anything_seen(make_ct: MakeCt, bundle: Bundle, store: NetworkStore) -> None:
    ct = make_ct((150, 32, 16))
    tumor, canvas = first_members_tumor(ct, bundle)
    peaks = [float(tumor[tile].max()) for tile in canvas.tiles]
    bound = float(np.sort(peaks)[-1]) - 1e-4  # one tile, or the two that share the voxel, see this much
    near = tiles_near(canvas.tiles, [peak >= bound for peak in peaks])
    assert 0 < len(near) < len(canvas.tiles)
    everywhere = score_ensemble(ct, roi_full(ct.geometry), bundle, store=store, skip_below=0.0, keep_each=True)
    found = score_ensemble(ct, roi_full(ct.geometry), bundle, store=store, skip_below=bound, keep_each=True)
    assert found.skipped == 2 * (len(canvas.tiles) - len(near))
    assert found.tiles == everywhere.tiles - found.skipped
    assert everywhere.skipped == 0
    covered = np.zeros(tumor.shape, dtype=bool)
    for tile in near:
        covered[tile] = True
    # On this CT a network voxel is a CT voxel. Where nobody else looked, the first member's word stands, below the
    # bound; where a seen tile lies, all tiles of all members are there and nothing changes.
    np.testing.assert_allclose(found.score[~covered], tumor[~covered], atol=1e-6)
    assert found.score[~covered].max() < bound
    for member in found.each:
        assert np.array_equal(member.score[~covered], found.each[0].score[~covered])
    for tile, peak in zip(canvas.tiles, peaks, strict=True):
        if peak >= bound:
            np.testing.assert_allclose(found.score[tile], everywhere.score[tile], atol=1e-6)
            for member, alone in zip(found.each, everywhere.each, strict=True):
                np.testing.assert_allclose(member.score[tile], alone.score[tile], atol=1e-3)


def test_when_the_first_member_sees_nothing_the_others_do_not_look(
    make_ct: MakeCt, bundle: Bundle, store: NetworkStore
) -> None:
    ct = make_ct((60, 40, 20))
    told: list[float] = []
    found = score_ensemble(
        ct,
        roi_full(ct.geometry),
        bundle,
        store=store,
        skip_below=1.1,
        keep_each=True,
        progress=lambda fraction, _: told.append(fraction),
    )
    tumor, canvas = first_members_tumor(ct, bundle)
    assert found.tiles == len(canvas.tiles)
    assert found.each == ()
    np.testing.assert_allclose(found.score, tumor, atol=1e-6)
    assert told == sorted(told)
    assert told[-1] == 1.0


def test_a_slanting_region_needs_fewer_tiles_than_its_box(make_ct: MakeCt, bundle: Bundle, store: NetworkStore) -> None:
    ct = make_ct((160, 100, 40), (1.5, 1.5, 3.0))
    mask = np.zeros((40, 100, 160), dtype=bool)
    for n in range(28):
        mask[5 + n, 3 * n : 3 * n + 15, 5 * n : 5 * n + 15] = True
    box = roi_box(ct.geometry, (0, 150, 0, 96, 5, 33))
    roi = Roi(box.start, box.stop, mask[box.slices], "auto")
    by_mask = score_ensemble(ct, roi, bundle, store=store, skip_below=0.0)
    by_box = score_ensemble(ct, box, bundle, store=store, skip_below=0.0)
    assert by_mask.tiles < 0.6 * by_box.tiles
    assert np.all(by_mask.score[roi.mask] > 0)
    assert np.all(by_mask.score[~roi.mask] == 0)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Preprocessed, list[tuple[int, int]], np.ndarray]:
    """A CT part with an axis order, a cropped rim and a network grid; a window; a mask in it."""
    axes = draw(st.permutations(range(3)))
    shape = [draw(st.integers(4, 14)) for _ in range(3)]
    nonzero = []
    for axis in axes:
        start = draw(st.integers(0, 2))
        nonzero.append((start, draw(st.integers(start + 1, shape[axis]))))
    data = np.zeros((1, *(draw(st.integers(1, 20)) for _ in range(3))), dtype=np.float32)
    window = []
    for n in shape:
        start = draw(st.integers(0, n - 1))
        window.append((start, draw(st.integers(start + 1, n))))
    mask = np.random.default_rng(draw(st.integers(0, 99))).random([b - a for a, b in window]) < 0.1
    a, b, c = nonzero
    return Preprocessed(data, (shape[0], shape[1], shape[2]), (axes[0], axes[1], axes[2]), (a, b, c)), window, mask


@given(cases())
@settings(max_examples=100, deadline=None)
def test_every_network_voxel_with_a_share_in_the_mask_is_marked(
    drawn: tuple[Preprocessed, list[tuple[int, int]], np.ndarray],
) -> None:
    case, window, mask = drawn
    marked = case.from_grid(mask, window)
    assert marked.shape == case.data.shape[1:]
    # Change all other network voxels: nothing inside the mask may change.
    outside = np.where(marked, 0.0, 1.0)[None]
    assert not case.to_grid(outside, window)[0][mask].any()


def test_a_mask_that_the_ct_does_not_reach_marks_nothing() -> None:
    case = Preprocessed(np.zeros((1, 4, 4, 4), np.float32), (8, 8, 8), (0, 1, 2), ((4, 8), (0, 4), (0, 4)))
    assert not case.from_grid(np.ones((3, 8, 6), dtype=bool), [(0, 3), (0, 8), (2, 8)]).any()
