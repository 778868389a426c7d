from __future__ import annotations

import numpy as np
import pytest

from twintrack.imaging.boxes import box_from, union
from twintrack.metrics.toplabel_ece import _edges, corrected_box, corrected_ece, protocol_box, protocol_ece
from twintrack.metrics.tumour_calibration import tumour_calibration


def ranges(box):
    return [(side.start, side.stop) for side in box]


def test_bin_edges_are_those_of_torch_to_the_last_bit():
    import torch

    assert _edges().tolist() == torch.linspace(0, 1, 51).tolist()


def test_the_protocol_s_box_reaches_20_voxels_below_and_19_above():
    annotated = (slice(30, 41), slice(25, 26), slice(50, 60))
    assert ranges(protocol_box(annotated, (100, 100, 100))) == [(10, 60), (5, 45), (30, 79)]
    assert ranges(corrected_box(annotated, (100, 100, 100))) == [(10, 61), (5, 46), (30, 80)]


def test_the_box_is_cut_at_the_border_where_the_reference_would_wrap_around():
    annotated = (slice(0, 3), slice(10, 12), slice(55, 60))
    assert ranges(protocol_box(annotated, (60, 60, 60))) == [(0, 22), (0, 31), (35, 60)]


def test_the_box_is_the_whole_volume_where_no_rater_marks_tumour():
    assert ranges(protocol_box(None, (4, 5, 6))) == ranges(corrected_box(None, (4, 5, 6))) == [(0, 4), (0, 5), (0, 6)]


def test_a_constant_map_errs_by_its_gap_to_the_fraction_of_correct_voxels():
    drawn = np.zeros((4, 5, 10), dtype=np.uint8)
    drawn[..., :3] = 1
    for p, error in ((0.2, abs(0.8 - 0.7)), (0.9, abs(0.9 - 0.3)), (0.5, abs(0.5 - 0.7))):
        field = np.full(drawn.shape, p, dtype=np.float32)
        assert protocol_ece(field, [drawn]) == pytest.approx([error], abs=1e-6)
        assert corrected_ece(field, [drawn]) == pytest.approx([error], abs=1e-6)


def test_every_rater_has_an_own_error_whatever_their_number():
    drawn = [np.zeros((2, 5, 10), dtype=np.uint8) for _ in range(7)]
    for rater, mask in enumerate(drawn):
        mask[..., :rater] = 1
    field = np.full(drawn[0].shape, 0.25)
    expected = [abs(0.75 - (10 - rater) / 10) for rater in range(7)]
    assert protocol_ece(field, drawn) == pytest.approx(expected, abs=1e-9)
    assert protocol_ece(field, drawn[:1]) == pytest.approx(expected[:1], abs=1e-9)


def test_certain_and_right_is_no_error_and_certain_and_wrong_a_full_one():
    drawn = np.zeros((3, 3, 3), dtype=np.uint8)
    drawn[1] = 1
    for error in (protocol_ece, corrected_ece):
        assert error(drawn.astype(np.float32), [drawn]) == pytest.approx([0], abs=1e-7)
        assert error(1 - drawn.astype(np.float32), [drawn]) == pytest.approx([1], abs=1e-7)


def test_a_map_that_equals_the_mean_response_errs_against_every_rater_but_not_against_their_mean():
    masks = [np.zeros((2, 2, 10), dtype=np.uint8) for _ in range(2)]
    masks[0][..., :6], masks[1][..., :2] = 1, 1
    found = tumour_calibration(np.mean(masks, axis=0), masks)
    assert found.ece_mhr == pytest.approx(0, abs=1e-12)
    # 4 of 10 columns have probability 0.5, one rater marks all of them, the other none.
    assert found.ece_positive == pytest.approx(0.4 * 0.5)
    assert found.mce_positive == pytest.approx(0.5)
    assert found.brier == pytest.approx(0.4 * 0.25)


def test_the_brier_score_is_the_mean_square_error_over_raters():
    random = np.random.default_rng(0)
    p, masks = random.random((4, 5, 6)), [random.random((4, 5, 6)) < 0.4 for _ in range(3)]
    assert tumour_calibration(p, masks).brier == pytest.approx(np.mean([(p - mask) ** 2 for mask in masks]))


def test_boxes_hold_every_voxel_above_the_level_in_double_precision():
    array = np.zeros((5, 6, 7), dtype=np.float32)
    array[1, 2, 3], array[3, 4, 4] = 0.1, 0.5
    assert float(array[1, 2, 3]) > 0.1
    box = box_from(array, 0.1)
    assert ranges(box) == [(1, 4), (2, 5), (3, 5)]
    assert box_from(array, 0.6) is None
    assert union([None, box_from(array, 0.5), box]) == box
    assert union([None]) is None
