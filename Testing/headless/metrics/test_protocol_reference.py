"""Every value that the CURVAS-PDACVI evaluation gives on its reference cases."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from twintrack.metrics import evaluate_case
from twintrack.metrics.agreement import THRESHOLDS, AgreementTable
from twintrack.metrics.dice import threshold_dice_terms
from twintrack.metrics.staple import staple_probability
from twintrack.metrics.toplabel_ece import corrected_ece, protocol_box, protocol_ece
from twintrack.metrics.vascular import Gaussian, protocol_distance_deg
from twintrack.metrics.volume_crps import protocol_crps

PLANES = ("cor", "sag", "ax")
REFERENCE_NAMES = {"CELIAC": "CELIAC TRUNK"}
SEEDS = range(1, 13)

SUM_ORDER = 2e-8
"""What the order of 51 single precision numbers in a sum can change; it depends on the processor."""


@pytest.fixture(scope="module", params=SEEDS)
def compared(request, public, generator, on_grid):
    """A reference case, its expected numbers and ours."""
    expected, case = public["seeds"][str(request.param)], generator.make_case(request.param)
    assert generator.case_hashes(case) == expected["sha256"]
    spacing = case["spacing"][::-1]
    annotations = {i: on_grid(mask, spacing) for i, mask in enumerate(case["annotations"], start=1)}
    found = evaluate_case(on_grid(case["probability"], spacing), annotations, on_grid(case["vessels"], spacing))
    return case, expected, found


def test_the_thresholds_are_the_reference_s(public):
    assert list(THRESHOLDS) == public["meta"]["thresholds"]


def test_dice_scores_are_bit_equal(compared):
    _, expected, found = compared
    assert found.tdsc == expected["dice"]["TDSC"]
    assert found.dsc == expected["dice"]["DSC"]


def test_dice_terms_of_every_threshold_are_bit_equal(compared):
    case, expected, _ = compared
    p = case["probability"]
    table = AgreementTable.count(p, case["annotations"], p > 0.5, voxels=p.size)
    assert list(threshold_dice_terms(table)) == expected["unofficial_checks"]["tdsc_per_threshold"]


@pytest.mark.slow
def test_the_staple_mask_is_that_of_simpleitk_voxel_by_voxel(compared):
    case, expected, _ = compared
    marked = np.stack([mask.ravel() != 0 for mask in case["annotations"]], axis=1)
    patterns, inverse, counts = np.unique(marked, axis=0, return_inverse=True, return_counts=True)
    inside = staple_probability(patterns, counts) > 0.5
    mask = inside[inverse.ravel()].reshape(case["probability"].shape).astype(np.uint8)
    header = f"{mask.dtype.str}|{mask.shape}|".encode()
    digests = {hashlib.sha256(content).hexdigest() for content in (mask.tobytes(), header + mask.tobytes())}
    assert expected["staple"]["sha256_mask_uint8"] in digests


def test_calibration_errors_agree_for_every_rater_and_in_the_mean(compared):
    _, expected, found = compared
    assert list(found.ece_raters) == ["1", "2", "3", "4", "5"]
    np.testing.assert_allclose(list(found.ece_raters.values()), expected["ece"]["per_rater"], rtol=0, atol=SUM_ORDER)
    assert found.ece == pytest.approx(expected["ece"]["mean"], abs=SUM_ORDER)


def test_the_calibration_box_is_the_reference_s(compared):
    case, expected, _ = compared
    where = np.argwhere(np.sum(case["annotations"], axis=0) > 0)
    annotated = tuple(slice(low, high + 1) for low, high in zip(where.min(axis=0), where.max(axis=0), strict=True))
    box = protocol_box(annotated, case["probability"].shape)
    assert [[side.start, side.stop] for side in box] == expected["ece_bbox"]


def test_volume_scores_agree_within_the_quadrature_error_and_are_the_exact_integral(compared):
    _, expected, found = compared
    assert found.crps == pytest.approx(expected["crps"]["mm3"], rel=5e-3)
    assert found.crps == pytest.approx(expected["unofficial_checks"]["crps_exact_mm3"], rel=1e-6)
    volumes = expected["crps"]["internals_voxels"]
    in_voxels = protocol_crps(volumes["volumes"], volumes["predicted_volume"])
    assert in_voxels == pytest.approx(expected["crps"]["voxels"], rel=5e-3)


def test_vessel_degrees_are_bit_equal_and_distances_agree(compared):
    _, expected, found = compared
    assert list(found.vessels) == ["PORTA", "SMV", "AORTA", "CELIAC", "SMA"]
    for name, contact in found.vessels.items():
        key = REFERENCE_NAMES.get(name, name)
        for axis, plane in enumerate(PLANES):
            assert contact.raters[axis].tolist() == expected["vi"]["degrees_raters"][key][plane]
            assert contact.thresholds[axis].tolist() == expected["vi"]["degrees_thresholds"][key][plane]
            distance = protocol_distance_deg(Gaussian.of(contact.raters[axis]), Gaussian.of(contact.thresholds[axis]))
            assert distance == pytest.approx(expected["vi"]["wasserstein_per_plane"][key][plane], abs=1e-9)
        assert found.vascular_deg[name] == pytest.approx(expected["vi"]["aggregated"][key], abs=1e-9)


def test_distances_of_64_pairs_of_gaussians_agree(micro):
    pairs = micro["vi_gaussian_pairs"]
    assert len(pairs) == 64
    for pair in pairs:
        raters = Gaussian(pair["gt_mean"], pair["gt_std_before_smooth"])
        predicted = Gaussian(pair["pred_mean"], pair["pred_std_before_smooth"])
        assert protocol_distance_deg(raters, predicted) == pytest.approx(pair["value"], abs=1e-9), pair


def test_volume_scores_of_44_probes_agree(micro):
    probes = micro["crps_pairs"]
    assert len(probes) == 44
    for probe in probes:
        found = protocol_crps(probe["volumes"], probe["predicted_volume"])
        assert found == pytest.approx(probe["crps"], rel=5e-3)
        assert found == pytest.approx(probe["unofficial_exact"], rel=1e-9)


def test_calibration_errors_of_small_probes_agree(micro):
    probes = micro["ece_small"]
    assert len(probes) == 12
    for probe in probes:
        p = np.array(probe["prob"], dtype=np.float32).reshape(probe["shape"])
        drawn = np.array([int(digit) for digit in probe["gt"]]).reshape(probe["shape"])
        (found,) = protocol_ece(p, [drawn])
        assert found == pytest.approx(probe["ece"], abs=SUM_ORDER)


def test_large_boxes_give_the_drift_of_single_precision_sums_and_ours_does_not_drift(micro, generator):
    for probe in micro["ece_large"]:
        shape = (probe["n"],) * 3
        p = np.random.default_rng(1).random(shape).astype(np.float32) * np.float32(probe["scale"])
        drawn = (np.random.default_rng(2).random(shape) < p).astype(np.uint8)
        assert generator.sha256_array(p) == probe["sha256_p"]
        (found,) = protocol_ece(p, [drawn])
        assert found == pytest.approx(probe["ece"], abs=SUM_ORDER)
        (corrected,) = corrected_ece(p, [drawn])
        assert corrected == pytest.approx(probe["unofficial_float64"], abs=1e-6)
