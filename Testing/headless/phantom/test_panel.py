"""Raters of a panel keep their habits from case to case, and their true response is what they really do."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from expected_errors import raises_error
from twintrack.cli.app import run_command
from twintrack.errors import InputError
from twintrack.io.manifest import read_manifest
from twintrack.io.volumes import read_volume
from twintrack.phantom import RATER_MODELS, RaterHabits, RaterModel, RaterPanel, draw_panel, lesions_of, make_phantom
from twintrack.phantom.lesion import LesionField
from twintrack.phantom.raters import draw_false_mark, draw_rater, expected_false_marks, expected_response
from twintrack.phantom.shapes import smooth_noise

SPACING_MM = (2.0, 2.0, 2.0)
CASES = 12
CERTAIN = 0.02
"""A chance below this, or above one minus this, is too rare an event for a normal approximation."""


def ball(radius_mm: float) -> tuple[LesionField, NDArray[np.bool_]]:
    """A ball in the middle of its grid, with a fade of 2 mm, and where it may be marked: everywhere but one corner."""
    half = int(np.ceil(radius_mm * 1.6 / SPACING_MM[0]))
    axis = np.arange(-half, half + 1) * SPACING_MM[0]
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    depth = (radius_mm - np.sqrt(x**2 + y**2 + z**2)).astype(np.float32)
    allowed = np.ones(depth.shape, bool)
    allowed[:half, :half, :half] = False
    return LesionField(depth, np.full_like(depth, 2.0), (4 / 3 * np.pi * radius_mm**3 / 1000,)), allowed


def sizes(draw: Callable[[LesionField, NDArray[np.bool_]], Sequence[NDArray[np.bool_]]], seed: int) -> NDArray[np.int_]:
    """Marked voxels (case, rater) of what is drawn of balls of several sizes."""
    radii = np.random.default_rng(seed).uniform(8, 14, CASES)
    return np.array([[np.count_nonzero(mask) for mask in draw(*ball(radius))] for radius in radii])


def chance_of_ranks(found: NDArray[np.int_], permutations: int = 499) -> float:
    """P-value of the raters' ranks by size, were each case's ranks dealt at random."""
    ranks = np.apply_along_axis(rankdata, 1, found)
    rng = np.random.default_rng(0)
    dealt = [rng.permuted(ranks, axis=1).sum(axis=0).var() for _ in range(permutations)]
    return float((1 + np.sum(np.array(dealt) >= ranks.sum(axis=0).var() - 1e-9)) / (permutations + 1))


TIGHT = RaterHabits(bias=-0.8, spread=0.4, hand_length_mm=4.0, stop_early=0.3, overlook_factor=2.0, false_mark=0.5)
GENEROUS = RaterHabits(bias=0.6, spread=0.9, hand_length_mm=9.0, stop_early=0.0, overlook_factor=0.0, false_mark=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("habits", [TIGHT, GENEROUS])
@pytest.mark.parametrize("model", RATER_MODELS.values(), ids=RATER_MODELS)
def test_a_rater_marks_each_voxel_as_often_as_the_closed_form_says(habits, model):
    field, allowed = ball(8.0)
    expected = expected_response(field, allowed, model, habits).astype(float)
    rng = np.random.default_rng(12)
    times = 1200
    share = sum(draw_rater(rng, field, allowed, SPACING_MM, model, habits=habits) for _ in range(times)) / times
    open_ = (expected > CERTAIN) & (expected < 1 - CERTAIN)
    assert np.count_nonzero(open_) > 200
    errors = np.sqrt(expected * (1 - expected) / times)
    assert np.abs((share - expected)[open_] / errors[open_]).max() < 4.5  # of some hundred voxels
    assert np.abs(share - expected)[~open_].max() < CERTAIN
    assert not expected[~allowed].any()


def test_the_closed_form_has_bias_noise_and_misses_of_the_rater():
    depth = np.full((9, 3, 3), 1.1, np.float32)
    field, allowed = LesionField(depth, np.full_like(depth, 2.0), (5.0,)), np.ones(depth.shape, bool)
    model = RaterModel(overlook=0.1, stop_part=0.25)
    response = expected_response(field, allowed, model, TIGHT)[:, 1, 1]
    middle = norm.cdf((1.1 / 2.2 - 0.8) / 0.4) * (1 - 2 * 0.1)  # spread 1.1 times a fade of 2 mm
    assert response[3:6] == pytest.approx([middle] * 3, abs=1e-6)
    assert response[[0, -1]] == pytest.approx([middle * (1 - 0.3 / 2)] * 2, abs=1e-6)


@pytest.mark.parametrize("length_mm", [3.0, 12.0])
def test_neighbors_are_marked_alike_as_far_as_the_hand_is_steady(length_mm):
    shape = (48, 48, 48)
    field = LesionField(np.zeros(shape, np.float32), np.full(shape, 2.0, np.float32), (5.0,))
    habits = RaterHabits(0.0, 0.7, length_mm, stop_early=0.0, overlook_factor=0.0, false_mark=0.0)
    rng = np.random.default_rng(1)
    alike = []
    for _ in range(3):
        mask = draw_rater(rng, field, np.ones(shape, bool), SPACING_MM, RaterModel(), habits=habits)
        alike.append((mask[..., 2:] == mask[..., :-2]).mean())
    # Two normal values of correlation r = exp(-d^2 / (4 L^2)) have one sign with the chance 1 - arccos(r) / pi.
    assert np.mean(alike) == pytest.approx(1 - np.arccos(np.exp(-16 / (4 * length_mm**2))) / np.pi, abs=0.02)


def test_a_rater_of_a_panel_marks_a_healthy_gland_as_often_as_own_habits_say():
    gland = np.zeros((12, 12, 12), bool)
    gland[4:8, 4:8, 4:8] = True
    allowed, model, rng, times = np.ones(gland.shape, bool), RaterModel(), np.random.default_rng(3), 800
    marked = [draw_false_mark(rng, gland, allowed, SPACING_MM, model, TIGHT).any() for _ in range(times)]
    assert np.mean(marked) == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / times))
    anyone = expected_false_marks(gland, allowed, SPACING_MM, model)
    own = expected_false_marks(gland, allowed, SPACING_MM, model, TIGHT)
    assert own == pytest.approx(anyone * (0.5 / model.false_mark), rel=1e-5)


@pytest.mark.parametrize("model", RATER_MODELS.values(), ids=RATER_MODELS)
def test_ranks_by_size_tell_raters_of_a_panel_apart(model):
    for seed in range(3):
        panel, rng = draw_panel(5, seed=seed, model=model), np.random.default_rng(seed)
        masks = [*panel.habits.values()]
        found = sizes(lambda f, a: [draw_rater(rng, f, a, SPACING_MM, model, habits=h) for h in masks], seed)  # noqa: B023
        assert chance_of_ranks(found) <= 0.01


def test_ranks_by_size_do_not_tell_anonymous_raters_apart():
    rng, model = np.random.default_rng(4), RaterModel()
    chances = [
        chance_of_ranks(sizes(lambda f, a: [draw_rater(rng, f, a, SPACING_MM, model) for _ in range(5)], seed))
        for seed in range(6)
    ]
    assert np.median(chances) > 0.1  # of six values that are uniform between 0 and 1


def test_the_most_generous_rater_draws_more_than_the_tightest_in_case_after_case():
    panel, rng = draw_panel(5, seed=2), np.random.default_rng(5)
    by_bias = sorted(panel.habits.values(), key=lambda habits: habits.bias)
    ends = (by_bias[0], by_bias[-1])
    found = sizes(lambda f, a: [draw_rater(rng, f, a, SPACING_MM, panel.model, habits=h) for h in ends], 7)
    assert np.count_nonzero(found[:, 1] > found[:, 0]) >= CASES - 1  # one may be overlooked


def test_a_panel_is_what_its_seed_says():
    assert draw_panel(5, seed=3) == draw_panel(5, seed=3)
    assert draw_panel(5, seed=3) != draw_panel(5, seed=4)
    assert tuple(draw_panel(28).habits)[::9] == ("A", "J", "S", "AB")


@pytest.mark.parametrize("model", RATER_MODELS.values(), ids=RATER_MODELS)
def test_panels_average_to_their_population(model):
    drawn = [habits for seed in range(1500) for habits in draw_panel(3, seed=seed, model=model).habits.values()]
    error = 4 / np.sqrt(len(drawn))
    bias, spread, stop, overlook, false_mark = (
        np.array([getattr(habits, name) for habits in drawn])
        for name in ("bias", "spread", "stop_early", "overlook_factor", "false_mark")
    )
    assert bias.mean() == pytest.approx(0, abs=error)
    assert (bias**2 + spread**2).mean() == pytest.approx(1, abs=np.sqrt(2) * error)
    assert (spread**2).mean() == pytest.approx(0.3 * (1 - model.tendency_share), rel=error)
    assert overlook.mean() == pytest.approx(1, abs=error)
    assert stop.mean() == pytest.approx(model.stop_early, abs=error * model.stop_early)
    assert false_mark.mean() == pytest.approx(model.false_mark, abs=error * model.false_mark)


def test_each_rater_has_the_bias_of_another_part_of_the_population():
    for seed in range(20):
        habits = draw_panel(5, seed=seed).habits.values()
        parts = norm.cdf([each.bias / np.sqrt(0.85) for each in habits]) * 5  # tendency 0.5, and 0.7 of the hand's 0.5
        assert sorted(np.floor(parts)) == [0, 1, 2, 3, 4]


@pytest.fixture(scope="module")
def panel():
    """Who never sees a tumour, who always draws the same outline, and a generous one."""
    blind = replace(TIGHT, overlook_factor=1 / RaterModel().overlook)
    steady = RaterHabits(0.5, 1e-3, hand_length_mm=7.0, stop_early=0.0, overlook_factor=0.0, false_mark=0.0)
    return RaterPanel(RaterModel(), {"blind": blind, "steady": steady, "generous": GENEROUS})


@pytest.fixture(scope="module")
def case(panel):
    return make_phantom(3, panel=panel)


@pytest.mark.slow
def test_the_true_response_of_a_case_is_the_mean_over_its_raters(case, panel):
    assert case.raters == tuple(case.true_raters) == ("blind", "steady", "generous")
    assert case.panel == panel
    chances = np.array([volume.array for volume in case.true_raters.values()], dtype=float)
    assert np.abs(chances.mean(axis=0) - case.true_mhr.array).max() < 1e-6


@pytest.mark.slow
def test_the_masks_of_a_case_are_those_of_its_raters(case):
    blind, steady, _ = (mask.array > 0 for mask in case.annotations)
    assert not blind.any()
    assert not case.true_raters["blind"].array.any()
    chance = case.true_raters["steady"].array
    sure = (chance < 1e-3) | (chance > 1 - 1e-3)
    assert np.array_equal(steady[sure], chance[sure] > 0.5)
    assert steady.any()


@pytest.mark.slow
def test_who_reads_changes_neither_patient_nor_image(case):
    other = make_phantom(3, raters=1)
    assert np.array_equal(other.ct.array, case.ct.array)
    assert np.array_equal(other.anatomy.array, case.anatomy.array)
    assert (other.panel, other.true_raters, other.raters) == (None, {}, ("1",))


@pytest.mark.slow
def test_the_cases_of_a_fixed_panel_name_the_same_raters_and_their_truth(tmp_path):
    seed = next(s for s in range(1000) if lesions_of(s, 0.5) == 0 != lesions_of(s + 1, 0.5))
    given = ["phantom", "--cases", "2", "--raters", "2", "--seed", str(seed), "--healthy", "0.5"]
    given += ["--panel", "fixed", "--panel-seed", "4", "--out", str(tmp_path / "p")]
    assert run_command(given) == 0
    manifest = tmp_path / "p" / "manifest.csv"
    assert [tuple(row.annotations) for row in read_manifest(manifest, annotated=True)] == [("A", "B")] * 2
    with manifest.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {"true_mhr", "true_rater_A", "true_rater_B"} <= set(rows[0])
    habits = draw_panel(2, seed=4).habits
    for row in rows:
        truth = json.loads((manifest.parent / row["case"] / "truth.json").read_text(encoding="utf-8"))
        assert truth["panel"]["seed"] == 4
        assert {name: RaterHabits(**each) for name, each in truth["panel"]["raters"].items()} == habits
        columns = ("true_mhr", "true_rater_A", "true_rater_B")
        mean, a, b = (read_volume(manifest.parent / row[column]).array.astype(float) for column in columns)
        assert np.abs((a + b) / 2 - mean).max() < 1e-6
        if row["lesions"] == "0":
            assert a.max() > 0
            ratio = habits["B"].false_mark / habits["A"].false_mark
            assert np.abs(a * ratio - b).max() < 1e-6 * b.max()


def test_a_panel_s_seed_without_a_panel_is_refused(tmp_path, capsys):
    assert run_command(["phantom", "--cases", "1", "--panel-seed", "4", "--out", str(tmp_path / "p")]) == 2
    assert "--panel-seed" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("option", [{"raters": 3}, {"tendencies": (0.0,) * 5}, {"model": RaterModel()}])
def test_a_panel_with_what_it_determines_is_refused(option):
    with raises_error(InputError, "panel-options"):
        make_phantom(0, panel=draw_panel(2), **option)


@pytest.mark.parametrize("name", ["bias", "spread", "hand_length_mm", "stop_early", "overlook_factor", "false_mark"])
def test_impossible_habits_are_refused(name):
    with raises_error(InputError, "phantom-number", name):
        RaterHabits(**{**vars(TIGHT), name: float("nan")})


def test_impossible_panels_are_refused():
    for raters, seed in ((0, 0), (2, -1)):
        with raises_error(InputError, "phantom-number"):
            draw_panel(raters, seed=seed)
    with raises_error(InputError, "phantom-number", "spread"):
        draw_panel(2, model=RaterModel(tendency_share=1.0))
    with raises_error(InputError, "phantom-number"):
        RaterPanel(RaterModel(), {})
    with raises_error(InputError, "raters-alike"):
        RaterPanel(RaterModel(), {"A": TIGHT, "a": GENEROUS})
    with raises_error(InputError, "rater-name"):
        RaterPanel(RaterModel(), {"../A": TIGHT})


def reach_mm(rng, field, model, tendency):
    """How far outside the median outline a rater draws: tendency and hand noise by their shares of the variance."""
    own = rng.standard_normal() if tendency is None else tendency
    hand = smooth_noise(rng, field.depth_mm.shape, model.hand_length_mm, SPACING_MM)
    u = np.sqrt(model.tendency_share) * own + np.sqrt(1 - model.tendency_share) * hand
    return model.spread_mm(field) * u


def formula(rng, field, allowed, model, tendency):
    """One anonymous rater's mask of one tumour, written down once more."""
    mask = (field.depth_mm + reach_mm(rng, field, model, tendency) > 0) & allowed
    overlooked, stops, at_top = rng.uniform(size=3)
    lost = rng.uniform(0.0, model.stop_part)
    if overlooked < model.overlook_chance(field.diameters_mm[0]):
        return mask & False
    if stops < model.stop_early:
        slices = np.flatnonzero((field.depth_mm > 0).any(axis=(1, 2)))
        height = (np.arange(len(mask)) - slices[0]) / (slices[-1] - slices[0])
        mask &= ((height <= 1 - lost) if at_top < 0.5 else (height >= lost))[:, None, None]
    return mask


@pytest.mark.parametrize("model", RATER_MODELS.values(), ids=RATER_MODELS)
@pytest.mark.parametrize("tendency", [None, -0.7])
def test_anonymous_raters_draw_bit_for_bit_by_their_formula(model, tendency):
    field, allowed = ball(9.0)
    first, second = np.random.default_rng(2), np.random.default_rng(2)
    habits = None if tendency is None else model.habits(model.tendency_spread * tendency, model.hand_spread)
    for _ in range(40):
        drawn = draw_rater(first, field, allowed, SPACING_MM, model, habits=habits)
        assert np.array_equal(drawn, formula(second, field, allowed, model, tendency))
    # Where the outline runs through every voxel, the last bit decides.
    edge = replace(field, depth_mm=-reach_mm(np.random.default_rng(3), field, model, tendency).astype(np.float32))
    drawn = draw_rater(np.random.default_rng(3), edge, allowed, SPACING_MM, model, habits=habits)
    assert np.array_equal(drawn, formula(np.random.default_rng(3), edge, allowed, model, tendency))
    assert 0.2 < drawn[allowed].mean() < 0.8
