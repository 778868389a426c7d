"""Dice scores and outline sets on masks whose overlaps are counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.metrics.agreement import MOST_RATERS, THRESHOLDS, AgreementTable, sample_agreement
from twintrack.metrics.dice import consensus_dice, mhr_products, soft_dice, threshold_dice, threshold_dice_terms

SHAPE = (3, 4, 10)


def block(start: int, stop: int) -> np.ndarray:
    """Return a mask of 12 voxels for each unit of length."""
    mask = np.zeros(SHAPE, dtype=np.uint8)
    mask[:, :, start:stop] = 1
    return mask


def table(p, masks, binary=None) -> AgreementTable:
    p = np.asarray(p, dtype=np.float32)
    return AgreementTable.count(p, masks, p > 0.5 if binary is None else binary, voxels=p.size)


def test_the_table_counts_every_voxel_once_also_those_outside_the_crop():
    p = 0.7 * block(0, 6)
    masks = [block(0, 5), block(2, 7)]
    inside = table(p, masks)
    assert inside.counts.sum() == p.size
    assert inside.rater_voxels.tolist() == [60, 60]
    cropped = AgreementTable.count(
        p[:, :, :7].astype(np.float32), [m[:, :, :7] for m in masks], p[:, :, :7] > 0.5, voxels=p.size
    )
    assert cropped.counts.sum() == p.size
    assert threshold_dice(cropped) == threshold_dice(inside)


def test_a_map_that_equals_the_mean_response_scores_one():
    masks = [block(0, stop) for stop in (2, 3, 4, 5, 6)]
    p = np.mean(masks, axis=0)
    case = AgreementTable.count(p, masks, p > 0.5, voxels=p.size)
    assert threshold_dice(case) == pytest.approx(1, abs=1e-7)
    products = mhr_products(p, masks)
    assert soft_dice(float((p**2).sum()), products, case) == pytest.approx(1, abs=1e-12)


def test_dice_terms_are_those_of_the_counted_overlaps():
    # 0.5 passes the first three thresholds; both raters agree on 2 of their 4 columns, so the MHR is 1, 0.5 or 0.
    masks = [block(0, 4), block(2, 6)]
    terms = threshold_dice_terms(table(0.5 * block(0, 4), masks))
    np.testing.assert_allclose(terms[:3], 2 * 4 / (4 + 6), atol=1e-7)
    assert terms[3:] == (0.0, 0.0, 0.0)


def test_dice_is_one_at_thresholds_that_nobody_passes():
    terms = threshold_dice_terms(table(np.zeros(SHAPE), [block(0, 2), block(5, 7), block(8, 9), block(0, 0)]))
    # The MHR is at most 0.25, above the first two thresholds only.
    assert terms == (0.0, 0.0, 1.0, 1.0, 1.0, 1.0)


def test_the_consensus_score_has_no_rule_for_empty_masks():
    case = table(np.zeros(SHAPE), [block(0, 0)])
    assert consensus_dice(case, case.raters[:, 0]) == 0
    case = table(block(0, 4), [block(2, 6)])
    assert consensus_dice(case, case.raters[:, 0]) == pytest.approx(0.5, abs=1e-7)


def test_a_given_binary_prediction_replaces_the_threshold():
    case = table(block(0, 4), [block(2, 6)], binary=block(2, 6) != 0)
    assert consensus_dice(case, case.raters[:, 0]) == pytest.approx(1, abs=1e-7)


def test_equal_sets_have_no_energy_distance_and_match_perfectly():
    masks = [block(0, stop) for stop in (6, 5, 4, 3, 2, 1)]
    p = np.zeros(SHAPE)
    for mask, threshold in zip(masks, THRESHOLDS, strict=True):
        p = np.where(mask, threshold + 0.01, p)
    found = sample_agreement(table(p, masks))
    assert found.ged == pytest.approx(0, abs=1e-12)
    assert (found.dice_max, found.dice_match) == (1, 1)


def test_the_energy_distance_of_one_outline_and_one_reader_is_twice_one_minus_their_overlap():
    found = sample_agreement(table(0.9 * block(0, 4), [block(2, 6)]))
    assert found.ged == pytest.approx(2 * (1 - 2 / 6))
    assert found.dice_max == pytest.approx(0.5)
    assert found.dice_match == pytest.approx(0.5)


def test_matching_gives_every_rater_an_own_outline():
    # Three levels have the outline 0 to 6, three 0 to 2; two raters drew 0 to 6, five 0 to 2: one of the five has to
    # take a level whose outline is 0 to 6, or a second copy of one of 0 to 2.
    p = np.where(block(0, 2), 0.9, 0.45 * block(0, 6))
    found = sample_agreement(table(p, [block(0, 6)] * 2 + [block(0, 2)] * 4))
    assert found.dice_max == 1
    assert found.dice_match == pytest.approx((5 + 2 * 2 / 8) / 6)


def test_empty_sets_agree():
    found = sample_agreement(table(np.zeros(SHAPE), [block(0, 0)] * 3))
    assert (found.ged, found.dice_max, found.dice_match) == (0, 1, 1)


def test_a_rater_too_many_is_refused():
    with raises_error(InputError, "too-many-raters", "50"):
        table(np.zeros(SHAPE), [block(0, 1)] * (MOST_RATERS + 1))
    most = table(np.zeros(SHAPE), [block(0, 1)] * MOST_RATERS)
    assert most.rater_voxels.tolist() == [12] * MOST_RATERS
