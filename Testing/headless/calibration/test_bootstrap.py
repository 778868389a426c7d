from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from twintrack.calibration import (
    Calibrator,
    ScoreSketch,
    bootstrap_band,
    calibrator_from_json,
    calibrator_to_json,
    fit_calibrator,
)
from twintrack.calibration.band import FIT_ALLOWANCE, SCORE_GRID
from twintrack.errors import Cancelled, InputError
from twintrack.progress.callbacks import CancelToken


def case(seed: int, spread: float, voxels: int = 2000) -> ScoreSketch:
    """A case whose raters mark a share of the score that differs from case to case by `spread`."""
    random = np.random.default_rng(seed)
    score = random.random(voxels).astype(np.float32)
    share = 0.5 + spread * random.standard_normal()
    return ScoreSketch.of_case(score, [random.random(voxels) < share * score for _ in range(3)])


def cohort(cases: int, spread: float) -> ScoreSketch:
    return sum((case(seed, spread) for seed in range(cases)), ScoreSketch.empty())


@pytest.fixture(scope="module")
def varied() -> ScoreSketch:
    return cohort(12, 0.1)


@pytest.fixture(scope="module")
def calibrator(varied) -> Calibrator:
    return replace(fit_calibrator(varied, bins=20), band=bootstrap_band(varied, bins=20, resamples=200))


def test_the_band_holds_the_map_and_rises_with_it(calibrator):
    band = calibrator.band
    low, high = np.array(band.low), np.array(band.high)
    assert np.all(np.diff(low) >= -1e-12)
    assert np.all(np.diff(high) >= -1e-12)
    mapped = np.interp(band.score, calibrator.knots_x, calibrator.knots_y)
    inside = (low - 1e-9 <= mapped) & (mapped <= high + 1e-9)
    assert inside.mean() > 0.95
    assert (band.score, band.units, band.resamples) == (SCORE_GRID, 12, 200)


@pytest.mark.slow
def test_the_band_is_as_wide_as_the_cases_differ(varied):
    """The mean of n cases' shares has standard deviation spread / sqrt(n), whatever the number of voxels."""
    band = bootstrap_band(varied, bins=20, resamples=400)
    at = SCORE_GRID.index(0.5)
    width = band.high[at] - band.low[at]
    shares = [float(case(seed, 0.1).mhr_sums.sum() / case(seed, 0.1).score_sums.sum()) for seed in range(12)]
    student_t = 2.201  # of 11 degrees of freedom, two-sided 95 %
    expected = 2 * student_t * FIT_ALLOWANCE * 0.5 * np.std(shares, ddof=1) / np.sqrt(12)  # at score 0.5
    assert width == pytest.approx(expected, rel=0.3)
    alike = bootstrap_band(cohort(12, 0.0), bins=20, resamples=200)
    assert alike.high[at] - alike.low[at] < 0.6 * width


def test_the_same_seed_gives_the_same_band_in_any_order_of_merging():
    cases = [case(seed, 0.1, 200) for seed in range(6)]
    one, other = (bootstrap_band(sum(order, ScoreSketch.empty()), resamples=30) for order in (cases, cases[::-1]))
    np.testing.assert_allclose(one.low, other.low, atol=1e-12)
    np.testing.assert_allclose(one.high, other.high, atol=1e-12)
    other = bootstrap_band(sum(cases, ScoreSketch.empty()), resamples=30, seed=1)
    assert one.low != other.low


@pytest.mark.parametrize("options", [{"target": "single-rater", "rater": 2}, {"target": "hard-label"}])
def test_every_target_has_a_band(varied, options):
    band = bootstrap_band(varied, bins=20, resamples=30, **options)
    fitted = fit_calibrator(varied, bins=20, **options)
    at = SCORE_GRID.index(0.5)
    assert band.low[at] <= float(fitted(np.float32([0.5]))[0]) <= band.high[at]


def test_a_rater_of_few_cases_is_drawn_in_every_resample():
    random = np.random.default_rng(0)
    score = random.random(300).astype(np.float32)
    drawn = [random.random(300) < score for _ in range(2)]
    cases = [ScoreSketch.of_case(score[n:], [drawn[0][n:], None]) for n in range(5)]
    sketch = sum(cases, ScoreSketch.of_case(score, drawn))
    band = bootstrap_band(sketch, target="single-rater", rater="2", resamples=50, bins=10)
    assert max(band.high) > 0.5


def test_too_few_cases_give_no_band_and_a_run_can_be_cancelled(varied):
    assert bootstrap_band(cohort(4, 0.1)) is None
    cancel = CancelToken()
    cancel.cancel()
    with pytest.raises(Cancelled):
        bootstrap_band(varied, cancel=cancel)


def test_the_interval_of_a_sum_is_that_of_the_resampled_maps(calibrator):
    score = np.random.default_rng(5).random((10, 20, 20)).astype(np.float32)
    low, high = calibrator.sum_interval(score)
    sums = [np.interp(score, SCORE_GRID, np.array(curve) / 1e6).sum() for curve in calibrator.band.curves]
    middle = float(calibrator(score).sum(dtype=float))
    offset = middle - np.interp(score, SCORE_GRID, np.interp(SCORE_GRID, calibrator.knots_x, calibrator.knots_y)).sum()
    assert low < middle < high
    assert (low, high) == pytest.approx(np.quantile(sums, [0.025, 0.975]) + offset, rel=1e-3)


def test_zeros_count_in_a_sum_only_if_the_map_was_fitted_on_them(calibrator):
    score = np.random.default_rng(5).random(500).astype(np.float32)
    padded = np.concatenate([score, np.zeros(10_000, np.float32)])
    assert calibrator.sum_interval(padded) == pytest.approx(calibrator.sum_interval(score), rel=1e-12)
    everywhere = replace(calibrator, domain="all voxels")
    assert everywhere.maps_zero
    assert everywhere.sum_interval(padded)[1] > calibrator.sum_interval(padded)[1]
    assert replace(calibrator, band=None).sum_interval(score) is None
    assert calibrator.sum_interval(np.zeros(5, np.float32)) == (0.0, 0.0)


@pytest.mark.parametrize("domain", ["score > 0", "all voxels"])
def test_a_map_that_is_there_and_a_region_give_the_interval_of_the_scores_in_it(calibrator, domain):
    random = np.random.default_rng(6)
    chosen = replace(calibrator, domain=domain)
    score = (random.random((60, 50, 40)) * (random.random((60, 50, 40)) < 0.6)).astype(np.float32)
    inside = random.random(score.shape) < 0.7
    expected = chosen.sum_interval(score[inside])
    assert chosen.sum_interval(score, chosen(score), inside) == pytest.approx(expected, rel=1e-12)
    assert chosen.sum_interval(score, inside=inside) == pytest.approx(expected, rel=1e-12)


def linear_case(random: np.random.Generator) -> ScoreSketch:
    """A case of 300 voxels in which the raters mark the share c of the score, c = 0.5 on average over all patients."""
    score = random.random(300).astype(np.float32)
    share = 0.5 + 0.15 * random.standard_normal()
    return ScoreSketch.of_case(score, [random.random(300) < share * score for _ in range(3)])


@pytest.mark.slow
@pytest.mark.parametrize("cases", [5, 10])
def test_the_band_of_few_cases_covers_the_map_of_all_patients(cases):
    random, grid = np.random.default_rng(2), np.array(SCORE_GRID)
    judged, covered = (grid > 0.1) & (grid < 0.9), []
    for _ in range(40):
        sketch = sum((linear_case(random) for _ in range(cases)), ScoreSketch.empty())
        band = bootstrap_band(sketch, bins=10, resamples=100)
        covered.append(((np.array(band.low) <= grid / 2) & (grid / 2 <= np.array(band.high)))[judged].mean())
    assert np.mean(covered) > 0.85  # 95 % is meant, bare percentiles give 75 to 85; 40 cohorts leave 4 % of doubt


def test_a_band_of_bare_percentiles_in_an_older_file_is_widened_when_it_is_read(calibrator):
    data = calibrator_to_json(calibrator)
    factor, middle = calibrator.band.widening, np.interp(SCORE_GRID, calibrator.knots_x, calibrator.knots_y)
    assert factor == pytest.approx(FIT_ALLOWANCE * np.sqrt(12 / 11) * 2.201 / 1.96, rel=1e-3)
    for edge in ("low", "high"):
        data["band"][edge] = (middle + (np.array(data["band"][edge]) - middle) / factor).clip(0, 1).tolist()
    del data["band"]["widening"]
    read = calibrator_from_json(data)
    assert read.band.widening == pytest.approx(factor)
    for edge in ("low", "high"):
        np.testing.assert_allclose(getattr(read.band, edge), getattr(calibrator.band, edge), atol=0.02)
    assert calibrator_from_json(calibrator_to_json(read)) == read


def test_the_band_comes_back_from_json_exactly(calibrator):
    assert calibrator_from_json(json.loads(json.dumps(calibrator_to_json(calibrator)))) == calibrator


def wrong(**fields):
    return lambda band: band.update(fields)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (wrong(level=1.5), "band.level"),
        (wrong(widening=0.5), "band.widening"),
        (wrong(score=[0.0, 0.5]), "band.score"),
        (wrong(low=[0.1]), "band.low"),
        (wrong(high=[0.0] * len(SCORE_GRID)), "band.low"),
        (wrong(resamples=0), "band.resamples"),
        (wrong(curve_steps=10), "band.curve_steps"),
        (wrong(curves=[[1]]), "band.curves"),
        (wrong(curves=[]), "band.curves"),
        (wrong(curves=[[2_000_000] * len(SCORE_GRID)]), "band.curves"),
        (wrong(curves=[[0.5] * len(SCORE_GRID)]), "band.curves"),
        (lambda band: band.pop("seed"), "band.seed"),
    ],
)
def test_a_wrong_band_is_refused_with_its_field(calibrator, change, field):
    data = json.loads(json.dumps(calibrator_to_json(calibrator)))
    change(data["band"])
    with pytest.raises(InputError, match=f'"{field}"'):
        calibrator_from_json(data)
