"""Contact on every kind of vessel and tumour with a known truth, each on its own, as `bench_contact_kinds.py` does."""

from __future__ import annotations

import numpy as np
import pytest

from analytic import GRIDS, KINDS, AnalyticCase, make_case
from twintrack.invasion import DEFAULT_CONTACT_MM, VesselInvasion, measure_invasion

SEED, CASES = 29, 2
LIMITS_DEG = {"confluence": 20.0, "eroded": 25.0, "dilated": 25.0}
"""Mean absolute error over a few cases. A mask that is off by a voxel says less of a tumour that ends as a sliver."""

OTHERS_DEG = 8.0

WHOLE = ("ball r 4", "sector", "bend", "taper 4-2.5", "ellipse 8x6", "flat 14x4", "half space", "two sides")
"""Kinds whose masks are whole: nothing may be added to them."""


def measure(case: AnalyticCase, **options: float) -> VesselInvasion:
    return measure_invasion(case.probability, case.vessel, {"V": 1}, thresholds=[0.5], **options).vessels["V"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(KINDS))
def test_the_contact_of_every_kind_is_that_of_the_shape_and_nothing_is_added_to_whole_lumens(kind: str) -> None:
    errors = []
    for number in range(CASES):
        case = make_case(kind, number, GRIDS["1 mm"], seed=SEED)
        found, truth = measure(case), case.truth(DEFAULT_CONTACT_MM)
        assert found.angle_deg[0] is not None
        errors.append(found.angle_deg[0] - truth.angle_deg)
        if kind in WHOLE:
            assert not any("lay under" in note or "narrows" in note or "ends in" in note for note in found.notes)
        if kind not in LIMITS_DEG and truth.length_mm > 0:
            assert found.contact_length_mm[0] == pytest.approx(truth.length_mm, abs=max(2.0, 0.2 * truth.length_mm))
            assert found.contact_area_mm2[0] == pytest.approx(truth.area_mm2, rel=0.25)
    assert np.mean(np.abs(errors)) <= LIMITS_DEG.get(kind, OTHERS_DEG)


@pytest.mark.slow
@pytest.mark.parametrize("grid", ["1 mm", "2.5 mm"])
def test_tumor_up_to_a_vessels_wall_away_is_contact(grid: str) -> None:
    for kind in ("gap 0.75", "gap 1", "gap 1.25"):
        case = make_case(kind, 1, GRIDS[grid], seed=SEED)
        assert measure(case).angle_deg[0] == pytest.approx(case.truth(DEFAULT_CONTACT_MM).angle_deg, abs=15)


def test_tumor_further_away_is_none_and_its_distance_is_told() -> None:
    found = measure(make_case("gap 2.5", 1, GRIDS["1 mm"], seed=SEED))
    assert (found.angle_deg, found.category.value) == ((0.0,), "none")
    assert found.gap_mm[0] == pytest.approx(2.5, abs=0.6)


@pytest.mark.slow
def test_exactly_180_degrees_are_marked_and_clear_angles_are_not() -> None:
    assert measure(make_case("exactly 180", 0, GRIDS["1 mm"], seed=SEED)).near_180 is True
    for number, angle_deg in ((0, 45), (1, 90), (5, 270)):
        case = make_case("sector", number, GRIDS["1 mm"], seed=SEED)
        assert case.truth(DEFAULT_CONTACT_MM).angle_deg == pytest.approx(angle_deg, abs=2)
        assert measure(case).near_180 is False


@pytest.mark.slow
def test_half_a_voxel_less_and_more_enclose_the_angle_and_a_wide_swing_is_told() -> None:
    case = make_case("sector", 5, GRIDS["1 mm"], seed=SEED)
    found = measure(case)
    (less,), (more,) = found.angle_half_voxel_deg
    assert less <= found.angle_deg[0] <= more
    assert not any("half a voxel" in note for note in found.notes)
    # The contact distance ends where the tumour begins.
    gap = make_case("gap 1.25", 1, GRIDS["1 mm"], seed=SEED)
    unsure = measure(gap, contact_mm=1.25)
    (less,), (more,) = unsure.angle_half_voxel_deg
    assert less == 0.0
    assert more > 60.0
    assert any("half a voxel smaller gives 0 degrees" in note for note in unsure.notes)


def test_a_vessel_thinner_than_the_slices_is_told() -> None:
    thick = measure(make_case("ball r 2", 2, GRIDS["5 mm"], seed=SEED))
    fine = measure(make_case("ball r 2", 2, GRIDS["1 mm"], seed=SEED))
    assert any("hardly wider than a voxel" in note for note in thick.notes)
    assert not any("hardly wider" in note for note in fine.notes)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dented", "interrupted"])
def test_a_lumen_under_the_tumors_label_is_completed_and_that_is_told(kind: str) -> None:
    case = make_case(kind, 4, GRIDS["1 mm"], seed=SEED)
    missing_ml = np.count_nonzero(case.lumen & (case.vessel.array == 0)) * case.vessel.geometry.voxel_ml
    (note,) = [note for note in measure(case).notes if "lay under the tumour's label" in note]
    assert float(note.split(" mL")[0]) == pytest.approx(missing_ml, rel=0.25)


def test_a_dent_at_the_end_of_a_mask_cannot_be_completed_and_that_is_told() -> None:
    case = make_case("dented", 4, GRIDS["1 mm"], seed=SEED)
    line = case.shape.vessel.center_mm @ case.pose.T
    middle, direction = line[len(line) // 2], line[-1] - line[0]
    index = np.indices(case.vessel.array.shape)[::-1].reshape(3, -1).T
    behind = ((case.vessel.geometry.to_lps_mm(index) - middle) @ direction > 0).reshape(case.vessel.array.shape)
    half = case.vessel.with_array(np.where(behind, 0, case.vessel.array))
    found = measure_invasion(case.probability, half, {"V": 1}, thresholds=[0.5]).vessels["V"]
    assert any("the vessel's mask ends in the tumour" in note for note in found.notes)
