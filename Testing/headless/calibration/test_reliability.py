from __future__ import annotations

import numpy as np
import pytest

from twintrack.calibration import ScoreSketch, fit_calibrator, plot_reliability, reliability_curve


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
    assert curve.ece == pytest.approx((2 * 0.2385 + 0.05 + 2 * 0.005) / 5, rel=1e-5)


def test_calibration_brings_the_curve_to_the_diagonal(overconfident):
    raw = reliability_curve(overconfident)
    calibrated = reliability_curve(overconfident, fit_calibrator(overconfident))
    assert raw.ece == pytest.approx(0.2, abs=0.01)  # the mean of 0.4 s over the unit interval
    assert calibrated.ece < 0.01


def test_the_picture_is_written_under_its_final_name_only(overconfident, tmp_path):
    from matplotlib.image import imread

    path = tmp_path / "reliability.png"
    plot_reliability(path, {"score": reliability_curve(overconfident)}, calibrator=fit_calibrator(overconfident))
    assert [entry.name for entry in tmp_path.iterdir()] == ["reliability.png"]
    picture = imread(path)
    assert min(picture.shape[:2]) > 500
    assert picture[..., :3].std() > 0.05
