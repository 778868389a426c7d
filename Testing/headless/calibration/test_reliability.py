from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.calibration import CalibratorBand, ScoreSketch, fit_calibrator, plot_reliability, reliability_curve
from twintrack.errors import InputError


@pytest.fixture(scope="module")
def overconfident() -> ScoreSketch:
    random = np.random.default_rng(0)
    score = random.random(60_000).astype(np.float32)
    return ScoreSketch.of_case(score, [random.random(score.size) < 0.6 * score for _ in range(4)])


def test_the_curve_has_the_means_and_counts_of_each_bin():
    score = np.float32([0.01, 0.013, 0.55, 0.99, 1.0])
    sketch = ScoreSketch.of_case(score, [np.array([0, 0, 1, 1, 1]), np.array([0, 1, 0, 1, 1])])
    curve = reliability_curve(sketch)
    assert len(curve.counts) == 50
    assert curve.counts[[0, 27, 49]].tolist() == [2, 1, 2]
    assert curve.counts.sum() == 5
    np.testing.assert_allclose(curve.mhr[[0, 27, 49]], [0.25, 0.5, 1.0])
    np.testing.assert_allclose(curve.score[[0, 27, 49]], [0.0115, 0.55, 0.995], rtol=1e-6)
    assert np.isnan(curve.mhr[10])
    assert curve.gap == pytest.approx((2 * 0.2385 + 0.05 + 2 * 0.005) / 5, rel=1e-5)


def test_calibration_brings_the_curve_to_the_diagonal(overconfident):
    raw = reliability_curve(overconfident)
    calibrated = reliability_curve(overconfident, fit_calibrator(overconfident))
    assert raw.gap == pytest.approx(0.2, abs=0.01)  # the mean of 0.4 s over the unit interval
    assert calibrated.gap < 0.01


@pytest.mark.process
def test_a_map_has_its_band_and_other_endings_are_refused(overconfident, tmp_path):
    calibrator = fit_calibrator(overconfident)
    edges = {"low": tuple(0.5 * s for s in (0.0, 0.5, 1.0)), "high": (0.2, 0.6, 0.9)}
    band = CalibratorBand((0.0, 0.5, 1.0), **edges, level=0.95, resamples=1, seed=0, units=5, curves=((0, 1, 2),))
    for name, drawn in (("plain.png", calibrator), ("band.png", replace(calibrator, band=band))):
        plot_reliability(tmp_path / name, {"score": reliability_curve(overconfident)}, calibrator=drawn)
    assert (tmp_path / "plain.png").read_bytes() != (tmp_path / "band.png").read_bytes()
    with raises_error(InputError, "picture-ending", "picture.docx"):
        plot_reliability(tmp_path / "picture.docx", {})


def test_cases_that_weigh_the_same_are_averaged_by_case():
    large = (np.full(900, 0.55, np.float32), [np.zeros(900)])
    small = (np.full(100, 0.55, np.float32), [np.ones(100)])
    for weighting, mean in (("voxel", 0.1), ("case", 0.5)):
        curve = reliability_curve(
            ScoreSketch.of_case(*large, weighting=weighting) + ScoreSketch.of_case(*small, weighting=weighting)
        )
        assert curve.counts[27] == 1000
        assert curve.mhr[27] == pytest.approx(mean)
        assert curve.score[27] == pytest.approx(0.55, rel=1e-6)


@pytest.mark.render
def test_the_picture_is_written_under_its_final_name_only(overconfident, tmp_path):
    from matplotlib.image import imread

    path = tmp_path / "reliability.png"
    plot_reliability(path, {"score": reliability_curve(overconfident)}, calibrator=fit_calibrator(overconfident))
    assert [entry.name for entry in tmp_path.iterdir()] == ["reliability.png"]
    picture = imread(path)
    assert min(picture.shape[:2]) > 500
    assert picture[..., :3].std() > 0.05
