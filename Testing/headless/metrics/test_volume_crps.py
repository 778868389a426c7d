from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twintrack.metrics.volume_crps import gaussian_crps, protocol_crps

VOLUMES = [9000.0, 14000.25, 15000.5, 16000.0, 22000.0]
MEAN, STD = float(np.mean(VOLUMES)), float(np.std(VOLUMES))


def by_midpoints(predicted, cells=2_000_000):
    from scipy.special import ndtr, ndtri

    edges = np.linspace(MEAN - 3 * STD, MEAN + 3 * STD, cells + 1)
    y = (edges[1:] + edges[:-1]) / 2
    points = np.linspace(ndtri(0.01), ndtri(0.99), 100)
    values = np.interp((y - MEAN) / STD, points, ndtr(points), left=0, right=1)
    return float(((values - (y >= predicted)) ** 2).mean() * (edges[-1] - edges[0]))


@pytest.mark.parametrize("z", [-3.5, -2.9, -2.3, -0.4, 0, 1.17, 2.4, 2.99, 4])
def test_the_protocol_s_integral_is_exact(z):
    assert protocol_crps(VOLUMES, MEAN + z * STD) == pytest.approx(by_midpoints(MEAN + z * STD), rel=3e-6)


def test_every_volume_far_from_the_raters_costs_the_same():
    costs = [protocol_crps(VOLUMES, volume) for volume in (0.0, MEAN - 3.01 * STD, MEAN + 4 * STD, 1e9)]
    assert costs == pytest.approx([2.4424 * STD] * 4, rel=1e-4)
    assert gaussian_crps(VOLUMES, 1e9) == pytest.approx(1e9, rel=1e-3)


@given(st.floats(0.001, 1000), st.floats(0, 40_000))
def test_scores_scale_with_the_voxel_size(scale, predicted):
    scaled = [volume * scale for volume in VOLUMES]
    for score in (protocol_crps, gaussian_crps):
        assert score(scaled, predicted * scale) == pytest.approx(scale * score(VOLUMES, predicted), rel=1e-9)


def test_equal_volumes_cost_nothing_in_the_protocol_and_their_distance_in_the_corrected_score():
    assert protocol_crps([5.0] * 4, 123.0) == 0
    assert protocol_crps([0.1 * 3] * 7, 123.0) == 0
    assert gaussian_crps([5.0] * 4, 123.0) == 118
    assert protocol_crps([5.0], 0.0) == 0


@pytest.mark.slow
def test_the_corrected_score_is_that_of_the_whole_normal_distribution():
    from scipy.special import ndtr

    y = np.linspace(MEAN - 12 * STD, MEAN + 12 * STD, 4_000_001)
    for z in (-1.3, 0.0, 2.2):
        cost = np.trapezoid((ndtr((y - MEAN) / STD) - (y >= MEAN + z * STD)) ** 2, y)
        assert gaussian_crps(VOLUMES, MEAN + z * STD) == pytest.approx(cost, rel=1e-5)
    assert gaussian_crps(VOLUMES, MEAN) == pytest.approx(STD * (math.sqrt(2) - 1) / math.sqrt(math.pi))
