"""Stage 2: the pooled score is the mean of the members' probabilities, in its place, and 0 outside the region."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from scipy.special import expit, softmax
from skimage.transform import resize

from expected_errors import raises_error
from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import Cancelled, RoiError
from twintrack.inference.ensemble import EnsembleResult, score_ensemble
from twintrack.inference.network_store import NetworkStore
from twintrack.inference.nnunet_model import load_member, open_stage
from twintrack.inference.preprocess import preprocess
from twintrack.inference.roi import Roi, grown_box, roi_box, roi_full
from twintrack.inference.sliding_window import Canvas, sliding_logits
from twintrack.inference.tiling import TileMeter
from twintrack.progress.callbacks import CancelToken, no_progress
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.network

MakeCt = Callable[..., Volume]


def score(ct: Volume, roi: Roi, bundle: Bundle, **options: Any) -> EnsembleResult:
    """Score with torch and with all members everywhere."""
    return score_ensemble(ct, roi, bundle, store=NetworkStore("cpu", "torch"), skip_below=0.0, **options)


def mean_probabilities(ct: Volume, bundle: Bundle, sigmoid: bool = False) -> np.ndarray:
    """Pool the members by hand, in network space."""
    stage = open_stage(bundle, "fine")
    canvas = Canvas.of(preprocess(ct.array, ct.geometry.spacing_mm[::-1], stage).data, stage)
    total = 0.0
    for fold in bundle.folds["fine"]:
        meter = TileMeter(1, "Testing", no_progress, CancelToken())
        logits, covered = sliding_logits(load_member(stage, fold), canvas, canvas.tiles, stage, meter)
        assert covered.all()
        probabilities = expit(logits.astype(float)) if sigmoid else softmax(logits.astype(float), axis=0)
        total = total + probabilities / len(bundle.folds["fine"])
    return np.asarray(total)


def resized(channels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return np.stack([resize(c, shape, order=1, mode="edge", anti_aliasing=False) for c in channels])


def small_pieces(labels: np.ndarray) -> np.ndarray:
    """Mark the pieces of each label that are smaller than 3 % of its largest one."""
    small = np.zeros(labels.shape, dtype=bool)
    for value in np.unique(labels[labels > 0]):
        pieces, _ = ndimage.label(labels == value, np.ones((3, 3, 3)))
        voxels = np.bincount(pieces.ravel())
        voxels[0] = 0
        small |= (pieces > 0) & (voxels < 0.03 * voxels.max())[pieces]
    return small


SIZES = [((40, 36, 20), (1.5, 1.5, 3.0)), ((61, 50, 33), (0.9, 1.1, 1.7)), ((20, 13, 6), (1.2, 1.2, 2.0))]


@pytest.mark.parametrize(("size", "spacing_mm"), SIZES, ids=["same grid", "finer CT", "smaller than a patch"])
def test_the_score_is_the_mean_of_softmax_resampled_linearly(
    make_ct: MakeCt, bundle: Bundle, size: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> None:
    ct = make_ct(size, spacing_mm)
    result = score(ct, roi_full(ct.geometry), bundle)
    pooled = resized(mean_probabilities(ct, bundle), ct.array.shape)
    assert result.score.dtype == np.float32
    assert np.ptp(result.score) > 0.05
    np.testing.assert_allclose(result.score, pooled[1], atol=2e-6)
    assert result.members == 3
    assert result.device == "cpu"


def test_vessels_are_the_classes_that_win_on_the_cts_grid(make_ct: MakeCt, bundle: Bundle) -> None:
    ct = make_ct((61, 50, 33), (0.9, 1.1, 1.7), seed=5)
    result = score(ct, roi_full(ct.geometry), bundle)
    pooled = resized(mean_probabilities(ct, bundle), ct.array.shape)
    winner = pooled.argmax(axis=0)
    expected = np.select([winner == 3, winner == 4], [1, 5], 0)  # PORTA and SMA
    assert result.vessel_values == {"PORTA": 1, "SMA": 5}
    assert result.vessels is not None
    assert {1, 5} <= set(np.unique(result.vessels).tolist())
    clear = np.diff(np.sort(pooled, axis=0)[-2:], axis=0)[0] > 1e-5
    other = clear & (result.vessels != expected)
    added = other & (expected == 0)
    assert np.all(winner[added] == 1)  # under the tumour
    assert np.all(small_pieces(expected)[other & ~added])


def test_each_members_own_score_is_kept(make_ct: MakeCt, bundle: Bundle) -> None:
    ct = make_ct((34, 33, 17))
    assert score(ct, roi_full(ct.geometry), bundle).each == ()
    result = score(ct, roi_full(ct.geometry), bundle, keep_each=True)
    assert len(result.each) == 3
    scores = np.stack([member.score for member in result.each]).astype(np.float32)
    np.testing.assert_allclose(scores.mean(axis=0), result.score, atol=1e-3)
    assert np.ptp(scores, axis=0).max() > 0.01
    vessels = [member.vessels for member in result.each]
    assert all(labels is not None and labels.shape == ct.array.shape for labels in vessels)
    assert not np.array_equal(vessels[0], vessels[1])
    without = score(ct, roi_full(ct.geometry), bundle, keep_each=True, each_vessels=False)
    assert [member.vessels for member in without.each] == [None] * 3
    assert np.array_equal(without.vessels, result.vessels)


def test_several_tumor_labels_are_summed(make_ct: MakeCt, make_bundle: Any, tmp_path: Path) -> None:
    ct = make_ct((34, 33, 17))
    with Bundle.open(
        make_bundle(tumor_weights={"tumor": 1.0, "pancreas": 1.0}, vessel_labels={}, out=tmp_path / "b")
    ) as bundle:
        result = score(ct, roi_full(ct.geometry), bundle)
        pooled = mean_probabilities(ct, bundle)
    np.testing.assert_allclose(result.score, pooled[1] + pooled[2], atol=2e-6)
    assert result.vessels is None
    assert result.vessels_volume(ct.geometry) is None


def test_regions_are_scored_by_their_own_sigmoid_channel(
    make_ct: MakeCt, make_bundle: Any, region_results: Path, tmp_path: Path
) -> None:
    ct = make_ct((40, 36, 20), seed=6)
    values = {"fine": region_results, "folds": ("0", "1"), "vessel_labels": {"PORTA": "gland"}}
    with Bundle.open(make_bundle(**values, out=tmp_path / "b")) as bundle:
        result = score(ct, roi_full(ct.geometry), bundle)
        pooled = mean_probabilities(ct, bundle, sigmoid=True)
    np.testing.assert_allclose(result.score, pooled[1], atol=2e-6)
    assert result.vessels is not None
    clear = np.abs(pooled[0] - 0.5) > 1e-5
    other = clear & (result.vessels != (pooled[0] > 0.5))
    assert np.all(small_pieces(pooled[0] > 0.5)[other])  # strays; the gland's region holds the tumour's label


def test_the_score_is_zero_outside_the_mask_and_unchanged_inside(make_ct: MakeCt, bundle: Bundle) -> None:
    ct = make_ct((60, 50, 30))
    box = roi_box(ct.geometry, (5, 45, 8, 44, 3, 25))
    mask = np.random.default_rng(0).random(box.shape) < 0.3
    part = score(ct, Roi(box.start, box.stop, mask, "auto"), bundle)
    whole = score(ct, box, bundle)
    assert np.all(part.score[~mask] == 0)
    assert np.array_equal(part.score[mask], whole.score[mask])
    full = part.score_volume(ct.geometry).array
    assert full.shape == ct.array.shape
    assert np.count_nonzero(full) == np.count_nonzero(part.score)
    assert np.array_equal(full[box.slices], part.score)


def test_a_small_region_is_seen_with_the_tissue_around_it(make_ct: MakeCt, bundle: Bundle) -> None:
    ct = make_ct((80, 70, 40), (1.0, 1.5, 2.0))
    small = roi_box(ct.geometry, (30, 42, 0, 9, 35, 40))
    # One patch is 32 x 32 x 16 network voxels of 1.5 x 1.5 x 3 mm.
    start, stop = grown_box(small.start, small.stop, (48, 32, 24), ct.geometry.size)
    grown = roi_box(ct.geometry, (start[0], stop[0], start[1], stop[1], start[2], stop[2]))
    alone = score(ct, small, bundle)
    around = score(ct, grown, bundle)
    inside = tuple(
        slice(a - b, c - b) for a, c, b in zip(small.start[::-1], small.stop[::-1], start[::-1], strict=True)
    )
    assert np.array_equal(alone.score, around.score[inside])
    assert alone.tiles == around.tiles == 3  # one tile a member


@pytest.mark.parametrize("spacing_mm", [(0.5, 0.5, 8.0), (4.0, 0.7, 0.7)])
def test_anisotropic_and_thin_volumes_come_out_on_their_own_grid(
    make_ct: MakeCt, bundle: Bundle, spacing_mm: tuple[float, float, float]
) -> None:
    ct = make_ct((31, 45, 3), spacing_mm)
    result = score(ct, roi_full(ct.geometry), bundle)
    assert result.score.shape == (3, 45, 31)
    assert 0 <= result.score.min() < result.score.max() <= 1


def test_members_that_agree_give_their_own_probability(make_ct: MakeCt, make_bundle: Any, tmp_path: Path) -> None:
    ct = make_ct((34, 33, 17))
    with Bundle.open(make_bundle(folds=("1",), out=tmp_path / "b")) as bundle:
        one = score(ct, roi_full(ct.geometry), bundle, keep_each=True)
    assert one.members == 1
    assert one.each == ()
    np.testing.assert_allclose(one.score, mean_probabilities(ct, bundle)[1], atol=2e-6)


def test_mirroring_is_what_the_bundle_says(make_ct: MakeCt, make_bundle: Any, bundle: Bundle, tmp_path: Path) -> None:
    ct = make_ct((32, 32, 16))
    flipped = Volume(np.ascontiguousarray(ct.array[::-1]), ct.geometry)
    roi = roi_full(ct.geometry)
    with Bundle.open(make_bundle(mirroring=True, out=tmp_path / "b")) as mirrored:
        ahead, back = (score(v, roi, mirrored).score for v in (ct, flipped))
    np.testing.assert_allclose(ahead, back[::-1], atol=1e-5)  # axis 0 is among the checkpoint's mirroring axes
    plain_ahead, plain_back = (score(v, roi, bundle).score for v in (ct, flipped))
    assert np.abs(plain_ahead - plain_back[::-1]).max() > 1e-2


def test_a_box_counted_on_a_turned_input_scores_those_voxels_of_the_input(make_ct: MakeCt, bundle: Bundle) -> None:
    import SimpleITK as sitk

    given = Volume.from_sitk(sitk.DICOMOrient(make_ct((40, 36, 30), (1.0, 1.5, 2.0)).to_sitk(), "SRA"))
    lps = given.to_lps()
    roi = roi_box(lps.geometry, (2, 14, 5, 20, 7, 30), given_on=given.geometry)
    result = score(lps, roi, bundle)
    restored = result.score_volume(lps.geometry).restored_to(given.geometry).array
    expected = np.zeros(given.array.shape, dtype=bool)
    expected[7:30, 5:20, 2:14] = True
    assert np.array_equal(restored > 0, expected)


def test_a_region_of_another_volume_is_refused(make_ct: MakeCt, bundle: Bundle) -> None:
    with raises_error(RoiError, "region-outside", "CT"):
        score(make_ct((20, 20, 20)), roi_full(Geometry((20, 20, 21), (1.0, 1.0, 1.0))), bundle)


def test_progress_never_goes_back_and_ends_at_one(make_ct: MakeCt, bundle: Bundle) -> None:
    ct = make_ct((60, 50, 30))
    fractions: list[float] = []
    result = score(ct, roi_full(ct.geometry), bundle, progress=lambda fraction, _: fractions.append(fraction))
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0
    assert len(fractions) >= result.tiles


def test_cancelling_stops_before_the_next_tile(make_ct: MakeCt, bundle: Bundle) -> None:
    cancel = CancelToken()
    tiles = 0

    def stop_at_the_fifth_tile(_: float, message: str) -> None:
        nonlocal tiles
        tiles += "tile" in message
        if tiles == 5:
            cancel.cancel()

    ct = make_ct((60, 50, 30))
    with pytest.raises(Cancelled):
        score(ct, roi_full(ct.geometry), bundle, progress=stop_at_the_fifth_tile, cancel=cancel)
    assert tiles == 5
