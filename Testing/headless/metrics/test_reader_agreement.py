"""Agreement of readers against published worked examples and kept libraries."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.metrics.reader_agreement import (
    ContactReading,
    intraclass_correlation,
    krippendorff_alpha,
    reader_agreement,
    weighted_kappa,
)

SHROUT_FLEISS = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)
"""Table 2 of Shrout and Fleiss (1979): six subjects, four judges."""

GAP = np.nan
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, GAP, GAP, GAP],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, GAP, 3],
        [GAP, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, GAP],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, GAP],
    ]
).T
"""Example C of Krippendorff (2011): twelve units, four observers, missing values."""


def test_the_intraclass_correlation_of_shrout_and_fleiss():
    assert intraclass_correlation(SHROUT_FLEISS) == pytest.approx(0.29, abs=0.005)  # their ICC(2,1)


def test_the_intraclass_correlation_sees_a_constant_shift_which_a_correlation_does_not():
    angles = np.random.default_rng(0).uniform(0, 300, 40)
    assert intraclass_correlation(np.stack([angles, angles], axis=1)) == pytest.approx(1)
    shifted = np.stack([angles, angles + 60], axis=1)
    variance = angles.var(ddof=1)
    assert intraclass_correlation(shifted) == pytest.approx(variance / (variance + 60**2 / 2), rel=1e-9)


def test_unrelated_readings_have_an_intraclass_correlation_near_zero():
    assert abs(intraclass_correlation(np.random.default_rng(1).normal(size=(2000, 3)))) < 0.05


def test_alpha_of_krippendorff_s_worked_example():
    assert krippendorff_alpha(KRIPPENDORFF - 1, categories=5) == pytest.approx(0.815, abs=0.0005)


@pytest.mark.parametrize("seed", range(4))
def test_alpha_is_that_of_the_library(seed):
    library = pytest.importorskip("krippendorff")
    random = np.random.default_rng(seed)
    base = random.integers(0, 3, 30)
    ranks = np.stack([np.where(random.random(30) < 0.7, base, random.integers(0, 3, 30)) for _ in range(4)], axis=1)
    ranks = np.where(random.random(ranks.shape) < 0.15, np.nan, ranks.astype(float))
    expected = library.alpha(reliability_data=ranks.T, level_of_measurement="ordinal", value_domain=[0, 1, 2])
    assert krippendorff_alpha(ranks, categories=3) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_kappa_is_that_of_scikit_learn_to_the_last_bit(seed):
    rng = np.random.default_rng(seed)
    categories, items = int(rng.integers(2, 6)), int(rng.integers(10, 60))
    one, other = (rng.integers(0, categories, items).tolist() for _ in range(2))
    expected = cohen_kappa_score(one, other, labels=list(range(categories)), weights="quadratic")
    assert weighted_kappa(one, other, categories=categories) == expected


def test_kappa_with_quadratic_weights_by_hand():
    """One less the weighted disagreement over what the margins give by chance."""
    one, other = [0, 0, 1, 1, 2, 2, 2, 0], [0, 1, 1, 2, 2, 2, 0, 0]
    observed = np.mean([(a - b) ** 2 for a, b in zip(one, other, strict=True)])
    chance = np.mean([(a - b) ** 2 for a in one for b in other])
    assert weighted_kappa(one, other, categories=3) == pytest.approx(1 - observed / chance)


def study(angles: dict[str, list[float | None]]) -> list[ContactReading]:
    """Readings of one vessel a case by the readers of `angles`."""

    def category(angle: float | None) -> str | None:
        return None if angle is None else "none" if angle == 0 else "abutment" if angle <= 180 else "encasement"

    return [
        ContactReading(f"c{number}", "SMA", rater, angle, category(angle))
        for rater, column in angles.items()
        for number, angle in enumerate(column)
    ]


def test_readers_are_compared_pair_by_pair_on_what_both_have_read():
    a, b, c = [0.0, 90.0, 200.0, 300.0, 40.0], [0.0, 90.0, 200.0, 300.0, 40.0], [0.0, 200.0, None, 100.0, 0.0]
    found = reader_agreement(study({"Ann": a, "Ben": b, "Cy": c}))
    assert [pair.raters for pair in found.pairs] == [("Ann", "Ben"), ("Ann", "Cy"), ("Ben", "Cy")]
    same, other, _ = found.pairs
    assert (same.icc, same.kappa, same.alpha, same.mean_gap_deg) == pytest.approx((1, 1, 1, 0))
    assert (same.angles, other.angles, other.categories) == (5, 4, 4)
    assert other.mean_gap_deg == pytest.approx((0 + 110 + 200 + 40) / 4)
    assert other.icc < 0.8
    assert (found.together.raters, found.together.angles, found.together.categories) == (("Ann", "Ben", "Cy"), 4, 5)
    assert found.together.kappa is None
    assert other.alpha < found.together.alpha < 1
    assert found.to_json()["pairs"][0]["raters"] == ["Ann", "Ben"]


def test_what_says_nothing_about_agreement_is_missing():
    assert reader_agreement(study({"Ann": [1.0, 2.0, 3.0]})) is None
    few = reader_agreement(study({"Ann": [0.0, 90.0], "Ben": [0.0, 90.0]})).together
    assert (few.icc, few.kappa, few.alpha, few.mean_gap_deg, few.angles) == (None, None, None, None, 2)
    alike = reader_agreement(study({"Ann": [0.0] * 5, "Ben": [0.0] * 5})).together
    assert (alike.icc, alike.kappa, alike.alpha, alike.mean_gap_deg) == (None, None, None, 0)


@pytest.mark.parametrize(
    ("reading", "error"),
    [
        (ContactReading("c0", "SMA", "Ann", 10.0, "none"), ("reading-twice",)),
        (ContactReading("c9", "SMA", "Ann", 10.0, "wrapped"), ("reading-category",)),
        (ContactReading("c9", "SMA", "Ann", 400.0, "none"), ("reading-angle", "360")),
    ],
)
def test_readings_that_cannot_be_are_refused_by_name(reading, error):
    with raises_error(InputError, *error):
        reader_agreement([*study({"Ann": [0.0], "Ben": [0.0]}), reading])
