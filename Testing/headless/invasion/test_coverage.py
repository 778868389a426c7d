"""Whether a vessel was looked at is judged where tumour could be, not over its whole length."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from twintrack.invasion import measure_invasion
from twintrack.invasion.coverage import LEAST_COVERAGE
from twintrack.results.report.structured_vessels import structured_vessels
from twintrack.volume import Geometry, Volume

GRID = Geometry((60, 60, 100), (1.0, 1.0, 1.0))
Z, Y, X = np.indices(GRID.shape)


def tube(x: int, y: int, radius: float = 5.0) -> np.ndarray:
    """A vessel along z through the whole volume."""
    return np.hypot(X - x, Y - y) < radius


def ball(z: int, y: int, x: int, radius: float) -> np.ndarray:
    return np.sqrt((X - x) ** 2 + (Y - y) ** 2 + (Z - z) ** 2) < radius


def region(z: slice, y: slice, x: slice) -> Volume:
    array = np.zeros(GRID.shape, dtype=bool)
    array[z, y, x] = True
    return Volume(array, GRID)


def measured(vessel: np.ndarray, tumor: np.ndarray, searched: Volume, name: str = "AORTA") -> dict[str, Any]:
    probability = np.where(searched.array, tumor, 0).astype(np.float32)
    labels = Volume(vessel.astype(np.uint8), GRID)
    found = measure_invasion(Volume(probability, GRID), labels, {name: 1}, searched=searched)
    content: dict[str, Any] = found.to_json()
    return content


NOBODY = np.zeros(GRID.shape)
MIDDLE = region(slice(30, 70), slice(0, 60), slice(0, 60))


def test_a_long_vessel_of_which_all_near_the_tumor_was_searched_is_assessed() -> None:
    content = measured(tube(30, 30), 1.0 * ball(50, 30, 46, 6), MIDDLE)
    vessel = content["vessels"]["AORTA"]
    assert vessel["searched"] == pytest.approx(0.4)
    assert vessel["coverage"] > 0.75
    assert vessel["category"] == "none"
    assert vessel["gap_mm"][9] == pytest.approx(5, abs=1)


def test_one_voxel_in_the_region_is_no_finding() -> None:
    beside = region(slice(30, 70), slice(0, 60), slice(35, 60))
    vessel = np.zeros(GRID.shape, dtype=bool)
    vessel |= tube(30, 30)
    vessel[50, 30, 35] = True
    content = measured(vessel, 1.0 * ball(50, 30, 55, 3), beside)
    found = content["vessels"]["AORTA"]
    assert 0 < found["searched"] < 0.001
    assert found["coverage"] < 0.1
    assert found["category"] is found["p_contact"] is found["level_contact"] is found["expected_angle_deg"] is None
    assert set(found["angle_deg"]) == set(found["gap_mm"]) == {None}
    assert found["reason"].startswith("not assessed: ")
    pattern = content["resectability"]
    assert (pattern["pattern"], pattern["complete"]) == (None, False)
    row = next(row for row in structured_vessels(content) if row.name == "Aorta")
    assert row.contact.count("not assessed") == 1


def test_without_tumor_near_it_is_judged_by_the_searched_region() -> None:
    for tumor in (NOBODY, 1.0 * ball(50, 55, 55, 3)):
        found = measured(tube(15, 15), tumor, MIDDLE)["vessels"]["AORTA"]
        assert LEAST_COVERAGE <= found["coverage"] < 1
        assert found["category"] == "none"
        corner = region(slice(0, 8), slice(0, 60), slice(0, 60))
        assert measured(tube(15, 15), NOBODY, corner)["vessels"]["AORTA"]["category"] is None


def test_only_the_side_that_faces_the_tumor_counts() -> None:
    front = region(slice(10, 90), slice(0, 60), slice(29, 60))
    found = measured(tube(30, 30), 1.0 * ball(50, 30, 48, 6), front)["vessels"]["AORTA"]
    assert found["searched"] == pytest.approx(0.55, abs=0.05)
    assert found["coverage"] > 0.75
    assert found["category"] == "none"


def test_contact_that_was_found_is_never_withheld() -> None:
    slab = region(slice(47, 53), slice(0, 60), slice(0, 60))
    around = (np.hypot(X - 30, Y - 30) >= 5) & (np.hypot(X - 30, Y - 30) < 12)
    content = measured(tube(30, 30), 1.0 * around, slab, "SMA")
    found = content["vessels"]["SMA"]
    assert found["coverage"] < LEAST_COVERAGE
    assert found["category"] == "encasement"
    assert found["p_encased"] == found["level_encased"] > 0.9
    assert found["expected_angle_deg"] is None
    assert found["reason"].endswith("what was found is the least")
    pattern = content["resectability"]
    assert pattern["pattern"] == "arterial encasement or aortic contact"
    assert not pattern["complete"]
    assert "SMA" in pattern["not_assessed"]


def test_where_nobody_says_what_was_searched_nothing_is_said_of_it() -> None:
    labels = Volume(tube(30, 30).astype(np.uint8), GRID)
    found = measure_invasion(Volume(NOBODY.astype(np.float32), GRID), labels, {"AORTA": 1}).vessels["AORTA"]
    assert (found.coverage, found.category is not None) == (None, True)
