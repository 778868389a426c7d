"""What is measured of a prediction on a case, where the answer is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.metrics.rater_pairs_ece import multirater_ece
from twintrack.phantom import PhantomCase, Slab, draw_panel, make_phantom
from twintrack.studies.raters.scores import CaseTruth, RaterPrediction, case_scores, level_sets

pytestmark = pytest.mark.slow

PANEL = draw_panel(5, seed=4)


@pytest.fixture(scope="module")
def case() -> PhantomCase:
    return make_phantom(11, panel=PANEL, slab=Slab())


@pytest.fixture(scope="module")
def truth(case: PhantomCase) -> CaseTruth:
    return CaseTruth(dict(zip(case.raters, case.annotations, strict=True)), case.true_mhr, case.true_raters)


def own_masks(case: PhantomCase, names: tuple[str, ...] | None = None) -> RaterPrediction:
    """Each rater's own mask as the map of a network that stands for the rater."""
    masks = tuple(mask.array.astype(np.float32) for mask in case.annotations)
    return RaterPrediction(np.mean(masks, axis=0, dtype=np.float32), masks, case.raters if names is None else names)


def test_the_truth_itself_has_no_error_to_the_truth(case: PhantomCase, truth: CaseTruth) -> None:
    chances = tuple(one.array for one in case.true_raters.values())
    found = case_scores(RaterPrediction(case.true_mhr.array, chances, tuple(case.true_raters)), truth)
    assert found["values"]["mae"] == 0.0
    assert found["values"]["mae_raters"] == pytest.approx(0.0, abs=1e-9)
    assert found["ambiguous"][0] == 0.0
    assert found["ambiguous"][1] == np.sum((case.true_mhr.array > 0.1) & (case.true_mhr.array < 0.9))


def test_the_raters_own_masks_agree_with_the_raters(case: PhantomCase, truth: CaseTruth) -> None:
    found = case_scores(own_masks(case), truth)
    values = found["values"]
    assert (values["ged_v"], values["own_dice"], values["dice_match"]) == pytest.approx((0.0, 1.0, 1.0))
    assert values["other_dice"] < 1.0
    # The number of raters is certain and right.
    assert values["rps"] == 0.0
    assert float(multirater_ece(np.array(found["bins"]))) == pytest.approx(0.0, abs=1e-9)
    assert all(found["rater_dice"][name][name] == pytest.approx(1.0) for name in case.raters)


def test_samples_stand_for_nobody_and_the_raters_maps_beside_them_do(case: PhantomCase, truth: CaseTruth) -> None:
    masks = tuple(mask.array.astype(np.float32) for mask in case.annotations)
    score = np.mean(masks, axis=0, dtype=np.float32)
    samples = (masks[0], masks[0], masks[-1])
    found = case_scores(RaterPrediction(score, samples, personas=dict(zip(case.raters, masks, strict=True))), truth)
    alone = case_scores(RaterPrediction(score, samples), truth)
    assert found["values"]["ged_v"] == alone["values"]["ged_v"] > 0.0  # of the samples, whoever is known beside
    assert (alone["values"]["own_dice"], alone["rater_dice"]) == (None, {})
    assert found["values"]["own_dice"] == pytest.approx(1.0)
    assert found["values"]["other_dice"] < 1.0
    assert all(found["rater_dice"][name][name] == pytest.approx(1.0) for name in case.raters)
    swapped = dict(zip(case.raters, masks[::-1], strict=True))
    assert case_scores(RaterPrediction(score, samples, personas=swapped), truth)["values"]["own_dice"] < 1.0


def test_masks_given_to_the_wrong_raters_are_seen(case: PhantomCase, truth: CaseTruth) -> None:
    wrong = case_scores(own_masks(case, case.raters[::-1]), truth)["values"]
    assert wrong["own_dice"] < 1.0
    assert wrong["ged_v"] == pytest.approx(0.0, abs=1e-9)  # the set is the same


def test_levels_that_are_predicted_are_scored_in_place_of_independent_raters(
    case: PhantomCase, truth: CaseTruth
) -> None:
    marked = np.sum([mask.array for mask in case.annotations], axis=0)
    certain = np.stack([(marked == level).astype(np.float32) for level in range(6)])
    mean = (marked / 5).astype(np.float32)
    assert case_scores(RaterPrediction(mean, (mean,), levels=certain), truth)["values"]["rps"] == 0.0
    assert case_scores(RaterPrediction(mean, (mean,)), truth)["values"]["rps"] > 0.0


def test_a_calibrated_map_takes_the_place_of_the_score_and_the_members_outlines_stay(
    case: PhantomCase, truth: CaseTruth
) -> None:
    prediction = own_masks(case)
    calibrated = np.zeros_like(prediction.score)
    found: dict[str, Any] = case_scores(prediction, truth, calibrated)
    plain = case_scores(RaterPrediction(calibrated, (calibrated,)), truth)
    assert found["values"]["brier"] == plain["values"]["brier"]
    assert found["values"]["ged_v"] == pytest.approx(0.0)
    assert found["values"]["tdsc"] == plain["values"]["tdsc"]


def test_networks_of_one_rater_are_averaged_first() -> None:
    low, high, other = (np.full((2, 3, 4), value, np.float32) for value in (0.2, 0.6, 0.9))
    maps = RaterPrediction(low, (low, high, other), ("A", "A", "B")).of_raters()
    assert maps["A"].max() == pytest.approx(0.4)
    assert maps["B"].max() == pytest.approx(0.9)


def test_level_sets_are_nested_and_as_many_as_raters() -> None:
    score = (np.arange(11) / 10 + 0.01).astype(np.float32)
    sets = level_sets(score, 5)
    # A fraction of 0.4 is two of five raters.
    assert [bool(one[4]) for one in sets] == [True, True, False, False, False]
    assert [int(one.sum()) for one in sets] == [10, 8, 6, 4, 2]


def test_a_rater_for_some_members_only_is_refused() -> None:
    empty = np.zeros((1, 1, 1), np.float32)
    with raises_error(InputError, "members"):
        RaterPrediction(empty, (empty, empty), ("A",))
