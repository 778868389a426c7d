from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import contact_by_threshold
from twintrack.imaging.plane_contact import VesselEdges, plane_contact_deg
from twintrack.metrics.vascular import (
    Gaussian,
    gaussian_distance_deg,
    protocol_distance_deg,
    symmetric_contact_deg,
    vessel_contacts,
)

degrees = st.floats(0, 360)
spreads = st.floats(0, 100)


@pytest.mark.parametrize(
    ("raters", "predicted", "distance"),
    [
        ((90, 0), (210, 0), 0),
        ((90, 0), (120, 0), 360),
        ((120, 0), (90, 0), 120),
        ((120, 0), (240, 0), 120),
        ((90, 0), (100, 10), 360),
        ((0, 0), (90, 0), 0),
        ((500, 10), (0, 0), 0),
        ((500, 10), (600, 10), 0),
    ],
)
def test_the_protocol_s_fall_backs_are_kept(raters, predicted, distance):
    assert protocol_distance_deg(Gaussian(*raters), Gaussian(*predicted)) == pytest.approx(distance, abs=1e-9)


@given(degrees, spreads, degrees, spreads)
def test_the_exact_distance_is_a_distance(m1, s1, m2, s2):
    one, other = Gaussian(m1, s1), Gaussian(m2, s2)
    distance = gaussian_distance_deg(one, other)
    assert distance == pytest.approx(gaussian_distance_deg(other, one))
    assert distance >= abs(m1 - m2) * (1 - 1e-12)
    assert gaussian_distance_deg(one, one) == 0


@pytest.mark.parametrize("pair", [((90, 20), (130, 5)), ((90, 20), (90, 35)), ((10, 0), (50, 30)), ((90, 0), (210, 0))])
def test_the_exact_distance_is_the_integral_over_quantiles(pair):
    from scipy.special import ndtri

    level = (np.arange(2_000_000) + 0.5) / 2_000_000
    quantiles = [mean + spread * ndtri(level) for mean, spread in pair]
    expected = np.abs(quantiles[0] - quantiles[1]).mean()
    assert gaussian_distance_deg(Gaussian(*pair[0]), Gaussian(*pair[1])) == pytest.approx(expected, rel=1e-5)


def test_both_distances_agree_for_wide_distributions_inside_the_circle():
    one, other = Gaussian(150, 20), Gaussian(200, 25)
    assert protocol_distance_deg(one, other) == pytest.approx(gaussian_distance_deg(one, other), rel=1e-3)


def scene(gap: int) -> tuple[np.ndarray, np.ndarray]:
    """A square vessel of 10 x 10 pixels (36 on its edge), and a tumour beside its right side."""
    vessel, tumor = np.zeros((2, 1, 30, 30), dtype=bool)
    vessel[0, 10:20, 10:20] = True
    tumor[0, 10:20, 20 + gap : 26] = True
    return vessel, tumor


def symmetric_deg(tumor: np.ndarray, vessel: np.ndarray) -> np.ndarray:
    return symmetric_contact_deg(tumor, VesselEdges.of(vessel), [0.5])


def test_a_gap_of_one_pixel_counts_alike_on_all_sides():
    vessel, tumor = scene(gap=1)
    turned = [(np.rot90(vessel, k, (1, 2)), np.rot90(tumor, k, (1, 2))) for k in range(4)]
    counts = [symmetric_deg(t, v)[0, 0] for v, t in turned]
    assert counts == pytest.approx([10 / 36 * 360] * 4)
    protocol = [plane_contact_deg(t, v)[0] for v, t in turned]
    assert max(protocol) > 280
    assert min(protocol) == 0


def test_contact_ends_at_a_gap_of_two_pixels_and_starts_without_a_gap():
    assert symmetric_deg(*scene(2)[::-1])[0, 0] == 0
    # Without a gap, the dilated tumour also reaches past the two corners: 10 pixels beside it and one more at each end.
    assert symmetric_deg(*scene(0)[::-1])[0, 0] >= 100


@given(st.integers(0, 2**31))
def test_mirroring_changes_nothing_and_nothing_exceeds_the_full_circle(seed):
    random = np.random.default_rng(seed)
    vessel, tumor = random.random((2, 6, 7, 8)) < random.uniform(0.05, 0.6)
    found = symmetric_deg(tumor, vessel)
    assert found.max() <= 360
    for axis in range(3):
        np.testing.assert_array_equal(symmetric_deg(np.flip(tumor, axis), np.flip(vessel, axis)), found)


@pytest.mark.slow
def test_symmetric_degrees_of_all_thresholds_are_those_of_one_after_the_other():
    random = np.random.default_rng(12)
    levels = [0.1, 0.24, 0.38, 0.52, 0.66, 0.8]
    for _ in range(300):
        shape = random.integers(1, 12, 3)
        vessel = random.random(shape) < random.uniform(0.02, 0.98)
        p = random.random(shape) * (random.random(shape) < random.uniform(0.02, 1.0))
        p[random.random(shape) < 0.2] = random.choice(levels)
        p = p.astype(random.choice([np.float32, np.float64]))
        expected = contact_by_threshold.symmetric_deg(p, vessel, levels)
        assert symmetric_contact_deg(p, VesselEdges.of(vessel), levels).tolist() == expected.tolist()


def test_a_vessel_inside_the_tumor_is_encased():
    vessel = np.zeros((9, 9, 9), dtype=bool)
    vessel[3:6, 3:6, 3:6] = True
    assert symmetric_deg(np.ones_like(vessel), vessel).tolist() == [[360]] * 3
    assert symmetric_deg(np.zeros_like(vessel), vessel).tolist() == [[0]] * 3


def test_an_absent_vessel_has_no_contact_and_other_labels_do_not_matter():
    shape = (8, 12, 12)
    p, vessels = np.full(shape, 0.9, np.float32), np.zeros(shape, np.int32)
    vessels[:, 4:8, 4:8] = 2
    masks = [np.ones(shape, np.uint8)] * 3
    alone = vessel_contacts(p, masks, vessels, {"A": 1, "B": 2})
    assert alone["A"].raters.shape == (3, 3)
    assert not alone["A"].thresholds.any()
    assert alone["B"].thresholds.tolist() == [[360] * 6] * 3
    vessels[:, 8:10, 4:8] = 25
    crowded = vessel_contacts(p, masks, vessels, {"A": 1, "B": 2})
    np.testing.assert_array_equal(crowded["B"].raters, alone["B"].raters)
    assert crowded["B"].protocol_distance_deg == alone["B"].protocol_distance_deg == 0
