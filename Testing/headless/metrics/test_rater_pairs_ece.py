"""Multi-rater calibration error: every voxel and rater one sample, one binning, pooled over cases."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from twintrack.metrics.rater_pairs_ece import BINS, multirater_ece, pair_bins
from twintrack.metrics.toplabel_ece import corrected_ece
from twintrack.metrics.tumor_calibration import tumor_calibration


def case(seed: int) -> tuple[NDArray[np.float64], list[NDArray[np.bool_]]]:
    random = np.random.default_rng(seed)
    return random.uniform(size=(3, 7, 9)), [random.uniform(size=(3, 7, 9)) < 0.4 for _ in range(4)]


def by_hand(p: NDArray[np.float64], masks: list[NDArray[np.bool_]], *, top: bool) -> float:
    """Every pair of a voxel and a rater written out as a sample of its own."""
    samples = [
        (max(v, 1 - v) if top else v, (v > 0.5) == mark if top else mark)
        for mask in masks
        for v, mark in zip(p.ravel(), mask.ravel(), strict=True)
    ]
    conf, right = (np.array(values, float) for values in zip(*samples, strict=True))
    number = np.minimum((conf * BINS).astype(int), BINS - 1)
    gaps = [abs(right[number == b].mean() - conf[number == b].mean()) * (number == b).mean() for b in set(number)]
    return float(sum(gaps))


@pytest.mark.parametrize("top", [False, True])
def test_it_is_the_error_over_pairs_written_out(top: bool) -> None:
    p, masks = case(0)
    found = multirater_ece(pair_bins(p, masks, top_label=top).stacked())
    assert float(found) == pytest.approx(by_hand(p, masks, top=top), abs=1e-12)


def test_for_the_positive_class_of_one_case_it_is_the_gap_to_the_mean_response() -> None:
    p, masks = case(1)
    assert float(multirater_ece(pair_bins(p, masks).stacked())) == pytest.approx(tumor_calibration(p, masks).mhr_gap)


def test_the_mean_of_the_errors_against_each_rater_is_an_upper_bound() -> None:
    p, masks = case(2)
    found = float(multirater_ece(pair_bins(p, masks, top_label=True).stacked()))
    assert found <= np.mean(corrected_ece(p, masks)) + 1e-12


def test_a_map_that_is_the_fraction_of_raters_has_no_error() -> None:
    _, masks = case(3)
    for top in (False, True):
        sums = pair_bins(np.mean(masks, axis=0), masks, top_label=top).stacked()
        assert float(multirater_ece(sums)) == pytest.approx(0.0, abs=1e-12)


def test_cases_are_pooled_before_the_error_is_taken() -> None:
    # One case half too high, one half too low: each is wrong, together they are right.
    low, high = (pair_bins(np.full((2, 2), 0.5), [np.full((2, 2), value)]).stacked() for value in (0, 1))
    assert float(multirater_ece(low)) == float(multirater_ece(high)) == 0.5
    assert float(multirater_ece(low + high)) == 0.0
    assert np.isnan(multirater_ece(np.zeros((3, BINS))))
