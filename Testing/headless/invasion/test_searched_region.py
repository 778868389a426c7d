"""Where nobody looked for tumour, nothing is said of a vessel: the map's 0 there is not a finding."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.invasion import measure_invasion
from twintrack.results.report.structured_vessels import structured_vessels
from twintrack.volume import Geometry, Volume

TubeMaker = Callable[..., Any]
NAMES = {"SMA": 1, "PORTA": 2}


@pytest.fixture(scope="module")
def case(tube: TubeMaker) -> Any:
    return tube(radius_mm=4.0, angle_deg=120, spacing_mm=(1.0, 1.0, 1.0))


def region(case: Any, *, upto: float) -> Volume:
    """Return the lower part of the volume, `upto` of its slices."""
    array = np.zeros(case.vessel.array.shape, dtype=bool)
    array[: round(upto * len(array))] = True
    return Volume(array, case.vessel.geometry)


def test_a_vessel_outside_the_region_is_not_called_free(case: Any) -> None:
    nothing_found = case.probability.with_array(np.zeros_like(case.probability.array))
    elsewhere = region(case, upto=0)
    content = measure_invasion(nothing_found, case.vessel, NAMES, searched=elsewhere).to_json()
    vessel = content["vessels"]["SMA"]
    assert vessel["present"] is True
    assert vessel["category"] is vessel["p_contact"] is vessel["p_encased"] is vessel["expected_angle_deg"] is None
    assert set(vessel["angle_deg"]) == set(vessel["contact_length_mm"]) == {None}
    assert "outside the region" in vessel["reason"]
    assert content["resectability"]["pattern"] is None
    row = next(row for row in structured_vessels(content) if row.name.startswith("Superior mesenteric artery"))
    assert row.contact.startswith("not assessed: ")


def test_a_vessel_inside_the_region_reads_as_if_everything_had_been_searched(case: Any) -> None:
    everywhere = measure_invasion(case.probability, case.vessel, NAMES).vessels["SMA"]
    inside = measure_invasion(case.probability, case.vessel, NAMES, searched=region(case, upto=1)).vessels["SMA"]
    assert inside.angle_deg == everywhere.angle_deg
    assert (inside.searched, everywhere.searched) == (1.0, None)
    assert inside.notes == everywhere.notes


def test_a_vessel_searched_in_part_says_how_much_of_it(case: Any) -> None:
    lower = region(case, upto=0.25)
    mask = case.vessel.array == 1
    vessel = measure_invasion(case.probability, case.vessel, NAMES, searched=lower).vessels["SMA"]
    expected = np.count_nonzero(mask & lower.array) / np.count_nonzero(mask)
    assert vessel.searched == pytest.approx(expected)
    assert vessel.category is not None
    assert any(f"along {100 * expected:.0f} % of this vessel" in note for note in vessel.notes)


def test_the_region_may_be_stored_in_another_axis_order(case: Any) -> None:
    turned = Volume(
        np.ascontiguousarray(region(case, upto=0.25).array[::-1].astype(np.uint8)), _flipped(case.vessel.geometry)
    )
    vessels = Volume(np.ascontiguousarray(case.vessel.array[::-1]), turned.geometry)
    probability = Volume(np.ascontiguousarray(case.probability.array[::-1]), turned.geometry)
    straight = measure_invasion(case.probability, case.vessel, NAMES, searched=region(case, upto=0.25))
    flipped = measure_invasion(probability, vessels, NAMES, searched=turned)
    assert flipped.vessels["SMA"].searched == straight.vessels["SMA"].searched


def test_a_region_on_another_grid_is_refused(case: Any) -> None:
    other = Volume(np.ones((3, 3, 3), dtype=np.uint8), Geometry((3, 3, 3), (1.0, 1.0, 1.0)))
    with raises_error(InputError, "grid-differs"):
        measure_invasion(case.probability, case.vessel, NAMES, searched=other)


def _flipped(geometry: Geometry) -> Geometry:
    """Return the grid whose slices are counted from the top."""
    x, y, z = geometry.size
    top = geometry.to_lps_mm(np.array([[0, 0, z - 1]]))[0]
    direction = np.asarray(geometry.direction).reshape(3, 3) @ np.diag([1.0, 1.0, -1.0])
    return Geometry((x, y, z), geometry.spacing_mm, tuple(top.tolist()), tuple(direction.ravel().tolist()))
