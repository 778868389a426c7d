"""Scores of statements: worked by hand on few vessels, and right for readers who follow what is shown."""

from __future__ import annotations

import numpy as np
import pytest

from twintrack.calibration.statements import ANGLES_DEG
from twintrack.metrics.statement_scores import (
    VesselReading,
    base_rates,
    bin_table,
    calibration_error,
    pit_values,
    statement_scores,
)

ANGLE = np.asarray(ANGLES_DEG)


def step(contact: float, encased: float) -> tuple[float, ...]:
    """Return fractions that fall once, at 180 degrees."""
    return tuple(np.where(ANGLE < 180, contact, encased).tolist())


def test_means_biases_and_names_are_those_of_the_vessels() -> None:
    found = statement_scores(
        [
            VesselReading("a", "SMV", step(0.9, 0.8), (200.0, 300.0, 250.0, 190.0, 10.0)),
            VesselReading("a", "SMA", step(0.01, 0.01), (0.0, 0.0, 0.0, 0.0, 90.0)),
            VesselReading("b", "SMV", step(0.6, 0.2), (0.0, 50.0, 60.0, 0.0, 70.0)),
        ]
    )
    assert (found["vessels"], found["cases"]) == (3, 2)
    contact, encased = found["contact"], found["encased"]
    assert (contact["shown_vessels"], contact["not_shown_vessels"]) == (2, 1)
    assert contact["shown"] == pytest.approx(0.75)
    assert contact["raters"] == pytest.approx(0.8)
    assert contact["bias"] == pytest.approx(-0.05)
    assert contact["missed"] == pytest.approx(0.2)
    assert contact["brier"] == pytest.approx(((0.9 - 1) ** 2 + (0.01 - 0.2) ** 2 + 0.0) / 3)
    assert encased["brier"] == pytest.approx((0.0 + 0.01**2 + 0.2**2) / 3)
    shares = [value["share"] for value in found["named"].values()]
    assert shares == [1.0, 1.0, 0.0]


def test_bins_are_fixed_and_their_error_is_weighted_by_vessels() -> None:
    shown, seen = np.array([0.02, 0.1, 0.2, 0.9]), np.array([0.0, 0.2, 0.2, 0.5])
    rows = bin_table(shown, seen)
    assert [(row["from"], row["vessels"]) for row in rows] == [(0.0, 1), (0.05, 2), (0.8, 1)]
    assert calibration_error(shown, seen) == pytest.approx((0.02 + 2 * 0.05 + 0.4) / 4)


def test_the_base_rate_of_a_name_leaves_its_own_case_out() -> None:
    readings = [
        VesselReading("a", "SMV", step(1.0, 1.0), (300.0, 300.0)),
        VesselReading("b", "SMV", step(1.0, 1.0), (0.0, 300.0)),
        VesselReading("b", "SMA", step(0.0, 0.0), (0.0, 0.0)),
    ]
    rates = base_rates(readings)
    assert rates[0, 0] == 0.5
    assert rates[1, 0] == 1.0
    assert rates[2, 0] == 1.0  # no other case has an SMA: the mean over all its vessels


def test_readers_who_follow_what_is_shown_lie_within_10_to_90_percent_and_others_do_not() -> None:
    random = np.random.default_rng(0)
    readings, narrow = [], []
    for number in range(300):
        middle, width = random.uniform(-60, 420), random.uniform(10, 60)
        over = 1 / (1 + np.exp((ANGLE - middle) / width))
        own = random.uniform(size=6)
        angles = np.clip(middle + width * np.log(own / (1 - own)), 0, 360)
        readings.append(VesselReading(str(number), "SMV", tuple(over.tolist()), tuple(angles.tolist())))
        sharp = 1 / (1 + np.exp((ANGLE - middle) / (width / 4)))
        narrow.append(VesselReading(str(number), "SMV", tuple(sharp.tolist()), tuple(angles.tolist())))
    values = pit_values(readings)
    assert np.histogram(values, 10, (0, 1))[0] == pytest.approx(len(values) / 10, rel=0.25)
    assert statement_scores(readings)["within_10_90"] == pytest.approx(0.8, abs=0.04)
    assert statement_scores(narrow)["within_10_90"] < 0.6
    assert statement_scores(readings)["crps_one_rater"] < statement_scores(narrow)["crps_one_rater"]


def test_without_vessels_there_are_no_scores() -> None:
    assert statement_scores([]) == {"vessels": 0, "cases": 0}
