from __future__ import annotations

import numpy as np
import pytest

from twintrack.imaging.boxes import box_from, union
from twintrack.metrics.toplabel_ece import (
    _edges,
    corrected_box,
    corrected_ece,
    protocol_box,
    protocol_ece,
    protocol_flaw,
)
from twintrack.metrics.tumor_calibration import tumor_calibration


def ranges(box):
    return [(side.start, side.stop) for side in box]


def test_bin_edges_are_those_of_torch_to_the_last_bit():
    import torch

    assert _edges().tolist() == torch.linspace(0, 1, 51).tolist()


def test_the_protocol_s_box_reaches_20_voxels_below_and_19_above():
    annotated = (slice(30, 41), slice(25, 26), slice(50, 60))
    assert ranges(protocol_box(annotated, (100, 100, 100))) == [(10, 60), (5, 45), (30, 79)]
    assert ranges(corrected_box(annotated, (100, 100, 100))) == [(10, 61), (5, 46), (30, 80)]
    assert protocol_flaw(annotated, (100, 100, 100)) is None


@pytest.mark.parametrize("length", [12, 30, 60, 100])
def test_the_protocol_s_box_holds_the_voxels_that_a_slice_with_its_ends_cuts_out(length):
    voxels = np.arange(length)
    for first in range(length):
        for last in range(first, length):
            box = protocol_box((slice(first, last + 1),) * 3, (length,) * 3)
            expected = voxels[slice(first - 20, last + 20)]
            assert voxels[box[0]].tolist() == expected.tolist()


@pytest.mark.parametrize(
    ("first", "last", "cut", "told"),
    [(20, 24, (0, 44), None), (19, 24, (59, 59), "not defined"), (10, 34, (50, 54), "wrong box, 50:54")],
)
def test_tumor_at_the_border_is_told_where_the_protocol_s_box_is_empty_or_wrong(first, last, cut, told):
    annotated, shape = (slice(first, last + 1), slice(30, 31), slice(30, 31)), (60, 60, 60)
    assert ranges(protocol_box(annotated, shape))[0] == cut
    flaw = protocol_flaw(annotated, shape)
    assert (flaw is None) if told is None else (told in flaw)


def test_a_volume_so_small_that_the_wrapped_start_is_cut_at_its_border_has_the_right_box():
    annotated = (slice(3, 5),) * 3
    assert ranges(protocol_box(annotated, (10, 10, 10))) == [(0, 10)] * 3
    assert protocol_flaw(annotated, (10, 10, 10)) is None


def test_without_any_tumor_the_protocol_has_no_box_and_ours_is_the_whole_volume():
    assert protocol_box(None, (4, 5, 6)) is None
    assert "no rater marked tumour" in protocol_flaw(None, (4, 5, 6))
    assert ranges(corrected_box(None, (4, 5, 6))) == [(0, 4), (0, 5), (0, 6)]


def test_an_empty_box_has_no_error():
    empty = np.zeros((0, 4, 5), np.float32)
    assert np.isnan(protocol_ece(empty, [empty, empty])).all()


def by_torch(p: np.ndarray, mask: np.ndarray) -> float:
    """The error by the very operations that the protocol's library does, one after the other."""
    import torch

    one = p.dtype.type(1)
    classes = np.maximum(np.stack([one - p, p], axis=-1).reshape(-1, 2), p.dtype.type(1e-8))
    confidence, tumor = torch.from_numpy(classes / classes.sum(axis=1, keepdims=True)).max(dim=1)
    confidence, correct = confidence.float(), tumor.eq(torch.from_numpy(mask.ravel().astype(np.int64))).float()
    edges = torch.linspace(0, 1, 51)
    place = torch.bucketize(confidence, edges, right=True) - 1
    sources = (torch.ones_like(confidence), confidence, correct)
    counts, sums, hits = (torch.zeros(51).scatter_add_(0, place, source) for source in sources)
    gaps = torch.abs(torch.nan_to_num(hits / counts) - torch.nan_to_num(sums / counts))
    return float((gaps * counts / counts.sum()).sum())


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("background", [0.0, 0.02, 0.0005])
def test_errors_are_those_of_adding_single_precision_numbers_voxel_by_voxel(kind, background):
    random = np.random.default_rng(4)
    p = (random.random((60, 70, 60)) * background).astype(kind)
    p[20:30] = random.random((10, 70, 60))
    mask = random.random(p.shape) < p
    assert protocol_ece(p, [mask]) == pytest.approx([by_torch(p, mask)], abs=2e-8)


@pytest.mark.slow
def test_counts_stop_at_2_to_the_24_as_single_precision_numbers_do():
    p = np.full((1, 4097, 4099), 0.25, np.float32)
    mask = np.zeros(p.shape, np.uint8)
    mask[:, :1000] = 1
    (found,) = protocol_ece(p, [mask])
    assert p.size > 2**24
    assert found == pytest.approx(by_torch(p, mask), abs=2e-8)
    assert corrected_ece(p, [mask]) == pytest.approx([abs(0.75 - 3097 / 4097)], abs=1e-9)


def test_a_constant_map_errs_by_its_gap_to_the_fraction_of_correct_voxels():
    drawn = np.zeros((4, 5, 10), dtype=np.uint8)
    drawn[..., :3] = 1
    for p, error in ((0.2, abs(0.8 - 0.7)), (0.9, abs(0.9 - 0.3)), (0.5, abs(0.5 - 0.7))):
        field = np.full(drawn.shape, p, dtype=np.float32)
        assert protocol_ece(field, [drawn]) == pytest.approx([error], abs=1e-5)
        assert corrected_ece(field, [drawn]) == pytest.approx([error], abs=1e-6)


def test_every_rater_has_an_own_error_whatever_their_number():
    drawn = [np.zeros((2, 5, 10), dtype=np.uint8) for _ in range(7)]
    for rater, mask in enumerate(drawn):
        mask[..., :rater] = 1
    field = np.full(drawn[0].shape, 0.25)
    expected = [abs(0.75 - (10 - rater) / 10) for rater in range(7)]
    assert protocol_ece(field, drawn) == pytest.approx(expected, abs=1e-7)
    assert protocol_ece(field, drawn[:1]) == pytest.approx(expected[:1], abs=1e-7)
    assert corrected_ece(field, drawn) == pytest.approx(expected, abs=1e-12)


def test_certain_and_right_is_no_error_and_certain_and_wrong_a_full_one():
    drawn = np.zeros((3, 3, 3), dtype=np.uint8)
    drawn[1] = 1
    for error in (protocol_ece, corrected_ece):
        assert error(drawn.astype(np.float32), [drawn]) == pytest.approx([0], abs=1e-7)
        assert error(1 - drawn.astype(np.float32), [drawn]) == pytest.approx([1], abs=1e-7)


def test_a_map_that_equals_the_mean_response_errs_against_every_rater_but_not_against_their_mean():
    masks = [np.zeros((2, 2, 10), dtype=np.uint8) for _ in range(2)]
    masks[0][..., :6], masks[1][..., :2] = 1, 1
    found = tumor_calibration(np.mean(masks, axis=0), masks)
    assert found.mhr_gap == pytest.approx(0, abs=1e-12)
    # 4 of 10 columns have probability 0.5, one rater marks all of them, the other none.
    assert found.rater_gap == pytest.approx(0.4 * 0.5)
    assert found.rater_gap_max == pytest.approx(0.5)
    assert found.brier == pytest.approx(0.4 * 0.25)


def test_the_brier_score_is_the_mean_square_error_over_raters():
    random = np.random.default_rng(0)
    p, masks = random.random((4, 5, 6)), [random.random((4, 5, 6)) < 0.4 for _ in range(3)]
    assert tumor_calibration(p, masks).brier == pytest.approx(np.mean([(p - mask) ** 2 for mask in masks]))


def test_boxes_hold_every_voxel_above_the_level_in_double_precision():
    array = np.zeros((5, 6, 7), dtype=np.float32)
    array[1, 2, 3], array[3, 4, 4] = 0.1, 0.5
    assert float(array[1, 2, 3]) > 0.1
    box = box_from(array, 0.1)
    assert ranges(box) == [(1, 4), (2, 5), (3, 5)]
    assert box_from(array, 0.6) is None
    assert union([None, box_from(array, 0.5), box]) == box
    assert union([None]) is None
