"""What each member of an ensemble says of a vessel stands as a range beside what all say together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from twintrack.invasion import MemberRange, measure_invasion, score_levels, with_member_range
from twintrack.volume import Volume

TubeMaker = Callable[..., Any]
NAMES = {"SMA": 1, "PORTA": 2}


@pytest.fixture(scope="module")
def cases(tube: TubeMaker) -> tuple[Any, Any]:
    """The same tube with a narrow and with a wide sector of tumour."""
    narrow, wide = (tube(radius_mm=4.0, angle_deg=angle, spacing_mm=(1.0, 1.0, 1.0)) for angle in (90, 240))
    assert np.array_equal(narrow.vessel.array, wide.vessel.array)
    return narrow, wide


def ranges(members: list[tuple[Volume, Volume]], **options: Any) -> dict[str, MemberRange | None]:
    """Measure the members' mean with the first one's vessels, then the range over the members."""
    mean = members[0][0].with_array(np.mean([probability.array for probability, _ in members], axis=0))
    found = measure_invasion(mean, members[0][1], NAMES)
    return {n: v.member_range for n, v in with_member_range(found, members, NAMES, **options).vessels.items()}


@pytest.mark.slow
def test_the_range_holds_what_each_member_measures_alone(cases: tuple[Any, Any]) -> None:
    members = [(case.probability, case.vessel) for case in cases]
    alone = [measure_invasion(*member, NAMES).vessels["SMA"] for member in members]
    half = 9  # level 0.5 among the default thresholds
    found = ranges(members)["SMA"]
    assert found is not None
    assert found.angle_deg == (alone[0].angle_deg[half], alone[1].angle_deg[half])
    assert found.angle_deg == pytest.approx((90, 240), abs=20)
    assert found.level_encased == (alone[0].level_encased, alone[1].level_encased)
    assert found.members == 2


def test_members_with_other_vessels_differ_on_the_same_map(cases: tuple[Any, Any]) -> None:
    case = cases[0]
    smaller = case.vessel.with_array(ndimage.binary_erosion(case.vessel.array).astype(np.uint8))
    found = ranges([(case.probability, case.vessel), (case.probability, smaller)])["SMA"]
    assert found is not None
    assert found.angle_deg is not None
    assert found.angle_deg[0] < found.angle_deg[1] - 10


@pytest.mark.slow
def test_a_member_without_the_vessel_has_no_part_in_its_range(cases: tuple[Any, Any]) -> None:
    narrow, wide = cases
    nothing = narrow.vessel.with_array(np.zeros_like(narrow.vessel.array))
    two = [(narrow.probability, narrow.vessel), (wide.probability, wide.vessel)]
    three = ranges([*two, (wide.probability, nothing)])["SMA"]
    assert three == ranges(two)["SMA"]
    assert ranges([two[0], (wide.probability, nothing)])["SMA"] is None


@pytest.mark.slow
@pytest.mark.parametrize("lacking", [0, 2])
def test_a_member_that_predicts_one_of_two_veins_alone_has_no_part_in_both_together(
    cases: tuple[Any, Any], lacking: int
) -> None:
    veins = {"SMV": 1, "PORTA": 2}
    half = cases[0].vessel.array.copy()
    half[half.shape[0] // 2 :][half[half.shape[0] // 2 :] > 0] = 2
    both, one = cases[0].vessel.with_array(half), cases[0].vessel.with_array((half > 0).astype(np.uint8))
    members = [(case.probability, both) for case in (*cases, cases[0])]
    members[lacking] = (members[lacking][0], one)
    found = measure_invasion(cases[0].probability, both, veins)
    assert "PORTA_SMV" in found.vessels
    together = with_member_range(found, members, veins).vessels["PORTA_SMV"].member_range
    assert together is not None
    assert together.members == 2


def test_a_member_that_sees_no_tumor_counts_as_no_contact(cases: tuple[Any, Any]) -> None:
    wide = cases[1]
    free = wide.probability.with_array(np.zeros_like(wide.probability.array))
    found = ranges([(wide.probability, wide.vessel), (free, wide.vessel)])["SMA"]
    assert found is not None
    assert found.angle_deg is not None
    assert found.angle_deg[0] == 0
    assert found.level_contact is not None
    assert found.level_contact[0] == 0


def test_without_members_or_contact_there_is_no_range(cases: tuple[Any, Any]) -> None:
    case = cases[0]
    result = measure_invasion(case.probability, case.vessel, NAMES)
    assert result.to_json()["vessels"]["SMA"]["member_range"] is None
    for members in ([], [(case.probability, case.vessel)]):
        assert with_member_range(result, members, NAMES).vessels["SMA"].member_range is None
    free = case.probability.with_array(np.zeros_like(case.probability.array))
    assert ranges([(free, case.vessel)] * 2) == {"SMA": None, "PORTA": None}


def test_the_range_is_written_beside_the_numbers(cases: tuple[Any, Any]) -> None:
    members = [(case.probability, case.vessel) for case in cases]
    result = with_member_range(measure_invasion(*members[1], NAMES), members, NAMES)
    written = result.to_json()["vessels"]["SMA"]["member_range"]
    assert set(written) == {"angle_deg", "level_contact", "level_encased", "members"}
    assert written["members"] == 2
    assert all(isinstance(written[key], list) and len(written[key]) == 2 for key in ("angle_deg", "level_contact"))


@pytest.mark.slow
def test_vessels_measured_two_at_a_time_give_the_same_in_the_same_order(cases: tuple[Any, Any]) -> None:
    narrow, wide = cases
    other = np.roll(narrow.vessel.array, 9, axis=2)
    vessels = narrow.vessel.with_array(np.where(narrow.vessel.array > 0, 1, 2 * other).astype(np.uint8))
    searched = vessels.with_array(np.ones_like(vessels.array))
    told: list[list[tuple[float, str]]] = [[], []]
    results, levels = [], []
    for threads, said in zip((1, 2), told, strict=True):
        options: dict[str, Any] = {"searched": searched, "threads": threads}

        def report(fraction: float, message: str, said: list[tuple[float, str]] = said) -> None:
            said.append((fraction, message))

        found = measure_invasion(wide.probability, vessels, NAMES, progress=report, **options)
        members = [(case.probability, vessels) for case in cases]
        results.append(with_member_range(found, members, NAMES, **options).to_json())
        scored = score_levels(wide.probability, vessels, NAMES, contact_mm=1.5, **options)
        levels.append({name: level and (level.over, level.gap_mm) for name, level in scored.items()})
    assert results[0] == results[1]
    assert told[0] == told[1]
    assert levels[0] == levels[1]
    assert levels[0]["SMA"] is not None
