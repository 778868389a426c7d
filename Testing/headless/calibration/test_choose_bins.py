from __future__ import annotations

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.calibration import ScoreSketch, fit_calibrator, select_bins
from twintrack.calibration.case_groups import MHR
from twintrack.calibration.resampling import ResampledFit
from twintrack.errors import InputError


def case(seed: int, voxels: int, curve, raters: int = 2) -> ScoreSketch:
    random = np.random.default_rng(seed)
    score = random.random(voxels).astype(np.float32)
    return ScoreSketch.of_case(score, [random.random(voxels) < curve(score) for _ in range(raters)])


def cohort(cases: int, voxels: int, curve) -> ScoreSketch:
    return sum((case(seed, voxels, curve) for seed in range(cases)), ScoreSketch.empty())


def wave(score):
    """A rising staircase with ten steps: coarse bins cannot follow it."""
    return np.floor(score * 10) / 10 + 0.05


def test_few_bins_are_chosen_where_data_are_few_and_many_where_steps_are_fine():
    few = select_bins(cohort(4, 60, lambda s: s), candidates=(10, 200))
    many = select_bins(cohort(6, 20_000, wave), candidates=(10, 200))
    assert (few.chosen, many.chosen) == (10, 200)


def test_the_loss_is_the_held_out_brier_score_of_the_raters():
    random, score = np.random.default_rng(0), np.float32([0.1, 0.3, 0.5, 0.7, 0.9])
    masks = [[random.random(5) < score for _ in range(2)] for _ in range(4)]
    cases = [ScoreSketch.of_case(score, drawn) for drawn in masks]
    found = select_bins(sum(cases, ScoreSketch.empty()), candidates=(5,))
    losses = []
    for left_out in range(4):
        rest = sum((part for number, part in enumerate(cases) if number != left_out), ScoreSketch.empty())
        mapped = fit_calibrator(rest, bins=5)(score).astype(float)
        losses.append(np.mean([(mapped - mask) ** 2 for mask in masks[left_out]]))
    assert found.loss[0] == pytest.approx(np.mean(losses), abs=1e-6)
    assert (found.folds, found.chosen, found.excess, found.excess_error) == (4, 5, (0.0,), (0.0,))


def test_a_map_too_coarse_to_be_advised_is_chosen_only_if_all_are():
    background = np.geomspace(1e-4, 1e-2, 5000)
    tumor = np.linspace(0.1, 0.9, 500)
    score = np.concatenate([background, tumor]).astype(np.float32)
    mask = score > 0.5
    sketch = sum((ScoreSketch.of_case(score[n:], [mask[n:]]) for n in range(3)), ScoreSketch.empty())
    assert select_bins(sketch, candidates=(10, 20, 200)).chosen == 200
    assert select_bins(sketch, candidates=(10, 20)).chosen in (10, 20)


def test_the_choice_does_not_depend_on_the_order_of_merging():
    cases = [case(seed, 300, lambda s: s**2) for seed in range(5)]
    one, other = (select_bins(sum(order, ScoreSketch.empty())) for order in (cases, cases[::-1]))
    assert one.chosen == other.chosen
    np.testing.assert_allclose(one.loss, other.loss, rtol=1e-12)


def test_a_single_rater_is_judged_on_the_cases_this_rater_drew():
    random = np.random.default_rng(3)
    score = random.random(400).astype(np.float32)
    both = [random.random(400) < score for _ in range(2)]
    with_both = [ScoreSketch.of_case(score, [mask, ~mask]) for mask in both]
    alone = [ScoreSketch.of_case(score, [mask, None]) for mask in both]
    sketch = sum(with_both + alone, ScoreSketch.empty())
    assert select_bins(sketch, target="single-rater", rater="2", candidates=(10, 20)).folds == 2
    assert select_bins(sketch, target="hard-label", candidates=(10, 20)).folds == 4
    with raises_error(InputError, "too-few-cases"):
        select_bins(with_both[0] + alone[0], target="single-rater", rater="2")


def test_a_resampled_fit_of_every_case_once_is_the_fit_itself():
    sketch = cohort(5, 4000, lambda s: s**2)
    fit = ResampledFit(sketch, "mhr", None)
    whole = fit.sums(np.ones((1, fit.units)))[0]
    assert whole[MHR].sum() == pytest.approx(sketch.mhr_sums.sum(), rel=1e-12)
    x, y = fit.knots(whole, 40)
    probe = np.linspace(0.02, 0.98, 200)
    fitted = fit_calibrator(sketch, bins=40)(probe.astype(np.float32))
    np.testing.assert_allclose(np.interp(probe, x, y), fitted, atol=0.02)  # bins move by less than a coarse cell
