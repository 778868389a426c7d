"""Angles, lengths and reader distributions on tubes whose answer is known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from twintrack.invasion import VesselInvasion, measure_invasion
from twintrack.volume import Geometry, Volume

TubeMaker = Callable[..., Any]
FINE, MIDDLE, COARSE = (0.8, 0.8, 1.0), (0.8, 0.8, 2.5), (0.9, 0.9, 3.0)
ANGLES_DEG = (0, 60, 120, 180, 240, 300, 360)
STEP_DEG = 3.0


def measure(probability: Volume, vessel: Volume, **options: Any) -> VesselInvasion:
    return measure_invasion(probability, vessel, {"SMA": 1}, **options).vessels["SMA"]


def at_half(case: Any) -> tuple[float, float]:
    """Angle and length at level one half."""
    result = measure(case.probability, case.vessel, thresholds=[0.5])
    return result.angle_deg[0], result.contact_length_mm[0]


@pytest.mark.parametrize("radius_mm", [3.5, 10.0])
@pytest.mark.parametrize("angle_deg", ANGLES_DEG)
def test_axial_tube_on_a_fine_grid_is_exact_to_a_few_degrees(tube: TubeMaker, radius_mm: float, angle_deg: int) -> None:
    case = tube(radius_mm=radius_mm, angle_deg=angle_deg, spacing_mm=FINE, seed=angle_deg)
    angle, length_mm = at_half(case)
    assert angle == pytest.approx(angle_deg, abs=8)
    assert length_mm == pytest.approx(case.length_mm, abs=FINE[2] + 1)


@pytest.mark.slow
@pytest.mark.parametrize("spacing_mm", [FINE, MIDDLE, COARSE])
@pytest.mark.parametrize("shape", ["oblique", "curved", "soft"])
def test_errors_over_random_tubes_stay_small(tube: TubeMaker, spacing_mm: tuple[float, ...], shape: str) -> None:
    options = {"oblique": {}, "curved": {"bend_radius_mm": 28.0}, "soft": {"blur_mm": 0.7}}[shape]
    rng = np.random.default_rng(spacing_mm[2] == COARSE[2])
    errors_deg, errors_mm = [], []
    for number, angle_deg in enumerate((60, 120, 180, 240, 300, 360)):
        # Three slices across a vessel are too few for an angle; the limits below hold from four on.
        radius_mm = ((5.0, 6.0, 8.0) if spacing_mm == COARSE else (3.5, 5.0, 8.0))[number % 3]
        case = tube(
            radius_mm=radius_mm,
            angle_deg=angle_deg,
            spacing_mm=spacing_mm,
            axis=rng.normal(size=3),
            seed=number,
            **options,
        )
        angle, length_mm = at_half(case)
        assert angle > 0
        errors_deg.append(angle - angle_deg)
        errors_mm.append(length_mm - case.length_mm)
    assert np.mean(np.abs(errors_deg)) <= (6 if spacing_mm == FINE else 10)
    assert np.max(np.abs(errors_deg)) <= (12 if spacing_mm == FINE else 24)
    assert np.max(np.abs(errors_mm)) <= spacing_mm[2] + 1.5


@pytest.mark.parametrize("axis", [(0.0, 0.0, 1.0), (1.0, 0.4, 0.8)])
def test_no_tumor_near_or_a_clear_gap_means_no_contact(tube: TubeMaker, axis: tuple[float, ...]) -> None:
    case = tube(radius_mm=5.0, angle_deg=180, spacing_mm=(1.0, 1.0, 1.0), axis=axis, gap_mm=3.5)
    result = measure(case.probability, case.vessel)
    assert result.p_contact < 0.1
    assert set(result.angle_deg[1:]) == {0.0}
    assert result.category.value == "none"


def test_whether_one_layer_of_free_voxels_is_a_gap_is_a_matter_of_the_contact_distance(tube: TubeMaker) -> None:
    case = tube(radius_mm=5.0, angle_deg=180, spacing_mm=(1.0, 1.0, 1.0))
    layer = ndimage.binary_dilation(case.vessel.array, np.ones((3, 3, 3)))
    free = case.probability.with_array(np.where(layer, 0, case.probability.array).astype(np.float32))
    assert measure(free, case.vessel, contact_mm=0.5).p_contact < 0.05
    assert measure(free, case.vessel, contact_mm=2.5).p_contact > 0.95
    assert measure(case.probability, case.vessel).p_contact > 0.95


@pytest.mark.slow
def test_the_level_of_a_uniform_tumor_is_the_level_of_contact(tube: TubeMaker) -> None:
    for level in (0.2, 0.6, 0.8):
        case = tube(radius_mm=5.0, angle_deg=300, spacing_mm=FINE, level=level, seed=4)
        result = measure(case.probability, case.vessel)
        assert result.p_contact == pytest.approx(level, abs=0.01)
        assert result.p_encased == pytest.approx(level, abs=0.1)
        assert result.p_encased <= result.p_contact
        assert result.category.value == ("encasement" if level > 0.5 else "none")


def test_half_the_readers_around_and_half_beside_give_the_mean_angle(tube: TubeMaker) -> None:
    options = {"radius_mm": 6.0, "spacing_mm": FINE, "seed": 9}
    wide, narrow = tube(angle_deg=300, **options), tube(angle_deg=100, **options)
    masks = [(case.probability.array >= 0.5).astype(np.float32) for case in (wide, narrow)]
    mean = wide.probability.with_array((masks[0] + masks[1]) / 2)
    result = measure(mean, wide.vessel)
    curve = dict(zip([round(0.05 * k, 2) for k in range(1, 20)], result.angle_deg, strict=True))
    assert curve[0.25] == pytest.approx(300, abs=10)
    assert curve[0.75] == pytest.approx(100, abs=10)
    assert result.expected_angle_deg == pytest.approx(200, abs=15)
    assert result.p_contact > 0.95
    assert result.p_encased == pytest.approx(0.5, abs=0.06)


def test_angle_and_length_never_grow_with_the_threshold(tube: TubeMaker) -> None:
    case = tube(radius_mm=4.0, angle_deg=220, spacing_mm=MIDDLE, axis=(1.0, 0.5, 0.7), blur_mm=1.5)
    noise = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=case.probability.array.shape), 1.5)
    noisy = np.clip(case.probability.array + noise, 0, 1).astype(np.float32)
    result = measure(case.probability.with_array(noisy), case.vessel)
    assert len(set(result.angle_deg)) > 5
    assert np.all(np.diff(result.angle_deg) <= 0)
    assert np.all(np.diff(result.contact_length_mm) <= 0)
    touched = [level <= result.p_contact for level in (0.05 * k for k in range(1, 20))]
    assert [angle > 0 for angle in result.angle_deg] == touched
    assert [angle > 180 for angle in result.angle_deg] == [0.05 * k <= result.p_encased for k in range(1, 20)]


@pytest.mark.slow
@pytest.mark.parametrize("spacing_mm", [FINE, COARSE])
def test_flips_and_transposes_of_the_volume_change_nothing_of_note(tube: TubeMaker, spacing_mm: Any) -> None:
    case = tube(radius_mm=4.5, angle_deg=150, spacing_mm=spacing_mm, axis=(0.3, 1.0, 0.8), seed=3)
    expected_deg, expected_mm = at_half(case)
    for order, flips in (
        ((0, 1, 2), (-1, 1, 1)),
        ((0, 1, 2), (1, -1, -1)),
        ((2, 0, 1), (1, 1, 1)),
        ((1, 2, 0), (1, 1, -1)),
    ):
        turned = []
        for volume in (case.probability, case.vessel):
            array = np.ascontiguousarray(volume.array.transpose(order)[tuple(slice(None, None, f) for f in flips)])
            spacing = tuple(volume.geometry.spacing_mm[::-1][axis] for axis in order)[::-1]
            turned.append(Volume(array, Geometry(array.shape[::-1], spacing)))
        result = measure(*turned, thresholds=[0.5])
        assert result.angle_deg[0] == pytest.approx(expected_deg, abs=2 * STEP_DEG)
        assert result.contact_length_mm[0] == pytest.approx(expected_mm, abs=1.0)


@pytest.mark.slow
def test_orientation_of_the_grid_in_space_changes_nothing_but_the_position(tube: TubeMaker) -> None:
    case = tube(radius_mm=4.5, angle_deg=150, spacing_mm=FINE, axis=(0.3, 1.0, 0.8), seed=3)
    straight = measure(case.probability, case.vessel)
    code = (-1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0)
    geometry = Geometry(case.vessel.geometry.size, FINE, (3.0, 4.0, 5.0), code)
    turned = measure(Volume(case.probability.array, geometry), Volume(case.vessel.array, geometry))
    # Only up to 0.85: above, the map's partial volumes at the tumour's border decide, voxel by voxel.
    assert np.abs(np.subtract(turned.angle_deg, straight.angle_deg))[:17].max() <= 2 * STEP_DEG
    # Index axis j now points to S and axis k to P: the planes are named after the patient, not after the array.
    probability, vessel = (Volume(v.array, geometry).to_lps() for v in (case.probability, case.vessel))
    assert vessel.array.shape == (case.vessel.array.shape[1], case.vessel.array.shape[0], case.vessel.array.shape[2])
    assert turned == measure(probability, vessel)
    assert straight.worst_position_lps_mm is not None
    assert turned.worst_position_lps_mm is not None
    same = geometry.to_lps_mm(case.vessel.geometry.to_index(np.array(straight.worst_position_lps_mm)))
    assert np.linalg.norm(same - turned.worst_position_lps_mm) < 6


def test_the_worst_position_lies_on_the_axis_inside_the_contact(tube: TubeMaker) -> None:
    case = tube(radius_mm=5.0, angle_deg=200, spacing_mm=FINE, length_mm=8.0, seed=1)
    index = np.argwhere(case.vessel.array > 0).mean(axis=0)[::-1]
    center = case.vessel.geometry.to_lps_mm(index)
    position = measure(case.probability, case.vessel).worst_position_lps_mm
    assert position is not None
    assert np.linalg.norm(np.subtract(position, center)[:2]) < 0.5
    assert abs(position[2] - center[2]) < 2.0


@pytest.mark.slow
def test_resampling_the_case_changes_the_angle_by_less_than_the_error_allowed(tube: TubeMaker) -> None:
    options = {"radius_mm": 6.0, "angle_deg": 210, "axis": (0.5, 0.2, 1.0), "seed": 8}
    angles = [at_half(tube(spacing_mm=spacing_mm, **options))[0] for spacing_mm in (FINE, (1.0, 1.0, 1.0), MIDDLE)]
    assert np.ptp(angles) <= 10
