"""Portal vein and superior mesenteric vein read as one vessel where their labels meet."""

from __future__ import annotations

import numpy as np
import pytest

from twintrack.invasion import measure_invasion
from twintrack.invasion.resectability import contact_pattern, known_vessel, vessel_title
from twintrack.invasion.wall import VesselWall
from twintrack.volume import Geometry, Volume

GRID = Geometry((40, 40, 80), (1.0, 1.0, 1.0))
Z, Y, X = np.indices(GRID.shape)
AWAY = np.hypot(X - 20, Y - 20)
VEINS = {"PORTA": 1, "SMV": 2}


def veins(apart: int = 0) -> Volume:
    """A vein along z that is called SMV up to slice 39 and PORTA from slice `40 + apart` on."""
    labels = np.where(AWAY < 5, np.where(Z < 40, 2, 1), 0)
    labels[40 : 40 + apart] = 0
    return Volume(labels.astype(np.uint8), GRID)


def sector(z: slice, *, from_deg: float, to_deg: float) -> np.ndarray:
    turn = np.degrees(np.arctan2(Y - 20, X - 20)) % 360
    tumor = np.zeros(GRID.shape, dtype=np.float32)
    inside = (AWAY >= 5) & (AWAY < 11) & (turn >= from_deg) & (turn < to_deg)
    tumor[z] = inside[z]
    return tumor


def test_contact_over_the_border_is_as_long_as_on_both_together() -> None:
    probability = Volume(sector(slice(28, 52), from_deg=0, to_deg=140), GRID)
    found = measure_invasion(probability, veins(), VEINS).vessels
    assert list(found) == ["PORTA", "SMV", "PORTA_SMV"]
    length = {name: vessel.contact_length_mm[9] for name, vessel in found.items()}
    assert length["PORTA_SMV"] == pytest.approx(24, abs=3)
    assert length["PORTA_SMV"] > 1.5 * max(length["PORTA"], length["SMV"])
    assert found["PORTA_SMV"].angle_deg[9] == pytest.approx(140, abs=15)


def test_the_title_says_what_it_is() -> None:
    content = measure_invasion(Volume(np.zeros(GRID.shape, np.float32), GRID), veins(), VEINS).to_json()
    assert content["vessels"]["PORTA_SMV"]["title"] == vessel_title("PORTA_SMV")
    assert "together" in vessel_title("PORTA_SMV")
    assert known_vessel("pv-smv") == "PORTA_SMV"


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (veins(apart=2), VEINS),
        (veins(), {"PORTA": 1}),
        (veins(), {"PORTA": 1, "SMV": 7}),
        (veins(), {"SMV": 2, "A": 1}),
    ],
)
def test_veins_that_are_not_both_there_or_do_not_meet_stay_alone(labels: Volume, names: dict[str, int]) -> None:
    found = measure_invasion(Volume(np.zeros(GRID.shape, np.float32), GRID), labels, names).vessels
    assert list(found) == list(names)


def test_a_label_of_the_undivided_axis_is_measured_once() -> None:
    one = Volume((veins().array > 0).astype(np.uint8), GRID)
    probability = Volume(sector(slice(28, 52), from_deg=0, to_deg=140), GRID)
    alone = measure_invasion(probability, one, {"PORTA_SMV": 1})
    assert list(alone.vessels) == ["PORTA_SMV"]
    joined = measure_invasion(probability, veins(), VEINS).vessels["PORTA_SMV"]
    assert alone.vessels["PORTA_SMV"].angle_deg == joined.angle_deg
    assert alone.resectability.pattern == "venous abutment only"
    assert not {"PORTA", "SMV"} & set(alone.resectability.not_assessed)


def wall(*levels: float) -> VesselWall:
    """One section of a tube with a quarter of its directions touched at each of four levels."""
    row = np.repeat(np.array([*levels, *[0.0] * (4 - len(levels))]), 90)[None]
    point, one = np.zeros((1, 3)), np.ones((1, 360))
    return VesselWall(row, row, row, one, one, point, point, point, point, np.ones(1), np.zeros(1, dtype=np.int64))


FREE, ABUTMENT, ENCASED = wall(), wall(0.9), wall(0.9, 0.9, 0.9)


def test_a_pattern_is_never_milder_than_the_veins_together() -> None:
    single = {"PORTA": ABUTMENT, "SMV": ABUTMENT}
    assert contact_pattern(single).pattern == "venous abutment only"
    together = contact_pattern({**single, "PORTA_SMV": ENCASED})
    assert together.pattern == "arterial abutment, venous encasement or caval contact"
    assert contact_pattern({"PORTA": ENCASED, "SMV": FREE, "PORTA_SMV": ABUTMENT}).pattern == together.pattern
    assert contact_pattern({**single, "PORTA_SMV": ABUTMENT}).probability == contact_pattern(single).probability


def test_together_they_are_assessed_if_each_of_them_is() -> None:
    rest = dict.fromkeys(("SMA", "AORTA", "CELIAC"), FREE)
    assert contact_pattern({**rest, "PORTA_SMV": FREE}).complete
    assert contact_pattern({**rest, "PORTA": FREE, "SMV": FREE, "PORTA_SMV": FREE}).complete
    found = contact_pattern({**rest, "PORTA": FREE, "SMV": None, "PORTA_SMV": ENCASED})
    assert (found.complete, found.pattern) == (False, "arterial abutment, venous encasement or caval contact")
    assert "SMV" in found.not_assessed
    partly = contact_pattern({**rest, "PORTA_SMV": ABUTMENT}, partly={"PORTA_SMV"})
    assert (partly.complete, partly.pattern) == (False, "venous abutment only")
