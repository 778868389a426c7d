"""The kinds of map from levels to fractions: rising, coherent, and near a truth that they can express."""

import numpy as np
import pytest

from analytic.statement_cases import TruePanel, draw_levels
from twintrack.calibration.statements.families import (
    ANGLES_DEG,
    FAMILIES,
    AngleLogistic,
    NumberFamily,
    VeinsAndArteries,
    VesselRows,
)
from twintrack.calibration.statements.monotone import FEWEST_IN_BLOCK, isotonic_knots
from twintrack.errors import InputError


def _rows(seed, vessels=400, panel=None):
    random, panel = np.random.default_rng(seed), panel or TruePanel(spread=0.0)
    levels = draw_levels(random, vessels)
    number = np.arange(vessels)
    return VesselRows(levels, panel.fractions(levels), number // 4, np.full(vessels, 0.25), number % 2 * 1.0)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_fractions_rise_with_the_level_and_fall_with_the_angle(family):
    fitted = family.fit(_rows(1))
    levels = np.linspace(0.001, 0.999, 200)
    for angle in (0, 90, 180, 300):
        # The same curve at ever higher levels: nobody can then see less.
        table = np.repeat(levels[:, None], len(ANGLES_DEG), axis=1)
        over = fitted.fractions(table, np.ones(200))[:, ANGLES_DEG.index(angle)]
        assert (np.diff(over) >= -1e-12).all()
    told = fitted.fractions(draw_levels(np.random.default_rng(2), 300), np.zeros(300))
    assert (np.diff(told, axis=1) <= 1e-12).all()
    assert ((told >= 0) & (told <= 1)).all()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_what_was_fitted_is_near_the_truth_and_comes_back_from_json(family):
    fitted, fresh = family.fit(_rows(1)), _rows(5)
    off = np.abs(fitted.fractions(fresh.levels, fresh.artery) - fresh.fractions)
    # One map for all angles cannot know that the fraction rises with the angle; the others come near.
    assert off.mean() < (0.08 if family.name == "single" else 0.05)
    again = family.from_json(fitted.to_json())
    assert np.array_equal(again.fractions(fresh.levels, fresh.artery), fitted.fractions(fresh.levels, fresh.artery))


def test_the_numbers_of_a_logistic_truth_are_found():
    panel = TruePanel(offset=-0.4, slope=1.2, turn=0.9, spread=0.0)
    fitted = AngleLogistic.fit(_rows(3, 2000, panel))
    assert isinstance(fitted, NumberFamily)
    assert fitted.numbers == pytest.approx((-0.4, 1.2, 0.5, 1.2), abs=0.05)


def test_veins_and_arteries_of_different_truths_are_told_apart():
    veins, arteries = TruePanel(offset=-0.4, spread=0.0), TruePanel(offset=1.1, spread=0.0)
    random = np.random.default_rng(4)
    levels = draw_levels(random, 2000)
    artery = np.arange(2000) % 2 * 1.0
    true = np.where(artery[:, None] > 0, arteries.fractions(levels), veins.fractions(levels))
    rows = VesselRows(levels, true, np.arange(2000) // 4, np.full(2000, 0.25), artery)
    fitted = VeinsAndArteries.fit(rows)
    assert isinstance(fitted, NumberFamily)
    assert fitted.numbers == pytest.approx((-0.4, 1.6, 0.6, 1.6, 1.5, 1.5), abs=0.1)
    together = AngleLogistic.fit(rows)
    assert np.abs(fitted.fractions(levels, artery) - true).mean() < 0.01
    assert np.abs(together.fractions(levels, artery) - true).mean() > 0.04
    # A vessel of unknown kind lies between both.
    between = fitted.fractions(levels, np.full(2000, 0.5))[:, 0]
    assert (between >= fitted.fractions(levels, np.zeros(2000))[:, 0]).all()
    assert (between <= fitted.fractions(levels, np.ones(2000))[:, 0]).all()


def test_no_block_of_an_isotonic_map_rests_on_fewer_than_five_cases():
    random = np.random.default_rng(0)
    for _ in range(20):
        case = np.repeat(np.arange(12), 3)
        at = random.uniform(size=36)
        value = np.clip(at + random.normal(0, 0.3, 36), 0, 1)
        knots = isotonic_knots(at, value, np.ones(36), case)
        assert 1 <= len(knots.at) <= 12 // FEWEST_IN_BLOCK + 1 or len(knots.at) * FEWEST_IN_BLOCK <= 36
        assert (np.diff(knots.value) >= 0).all()
        assert (np.diff(knots.at) > 0).all()
    four = isotonic_knots(np.linspace(0, 1, 4), np.array([0.0, 0, 1, 1]), np.ones(4), np.arange(4))
    assert four.value == (0.5,)


def test_weights_count_as_cases_do():
    rows = _rows(7, 80)
    twice = np.where(rows.case < 10, 2.0, 0.0)
    doubled = rows.some(rows.case < 10)
    doubled = VesselRows(
        np.concatenate([doubled.levels] * 2),
        np.concatenate([doubled.fractions] * 2),
        np.concatenate([doubled.case] * 2),
        np.concatenate([doubled.weight] * 2),
        np.concatenate([doubled.artery] * 2),
    )
    for family in FAMILIES:
        weighted = family.fit(rows.weighted(rows.weight * twice[:]))
        repeated = family.fit(doubled)
        assert np.allclose(
            weighted.fractions(rows.levels, rows.artery), repeated.fractions(rows.levels, rows.artery), atol=2e-3
        )


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize(
    "stored",
    [
        {},
        {"numbers": [0.0]},
        {"numbers": [0, -1, 0, -1]},
        {"maps": []},
        {"maps": [{"at": [1, 0], "value": [0, 1]}] * 4},
    ],
)
def test_a_stranger_map_is_refused(family, stored):
    with pytest.raises(InputError):
        family.from_json(stored)
