"""What is written, what is refused, and the pattern of all vessels together."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twintrack.errors import Cancelled, InputError, OutputError
from twintrack.invasion import Category, measure_invasion, write_invasion_csv
from twintrack.invasion.readers import ReaderView, category_of
from twintrack.invasion.resectability import contact_pattern
from twintrack.progress import CancelToken
from twintrack.volume import Geometry, Volume

TubeMaker = Callable[..., Any]
CURVES = {"angle_deg", "contact_length_mm", "protocol_deg"}
VESSEL_KEYS = CURVES | {"present", "expected_angle_deg", "p_contact", "p_encased", "category"}
GRID = Geometry((12, 12, 12), (1.0, 1.0, 1.0))


@pytest.fixture(scope="module")
def content(tube: TubeMaker) -> dict[str, Any]:
    case = tube(radius_mm=4.0, angle_deg=240, spacing_mm=(1.0, 1.0, 1.0))
    names = {"SMA": 1, "CELIAC": 4}
    result: dict[str, Any] = measure_invasion(case.probability, case.vessel, names).to_json()
    return result


def flat(value: float, shape: tuple[int, int, int] = GRID.shape) -> Volume:
    return Volume(np.full(shape, value, dtype=np.float32), GRID)


def labels(value: int = 1) -> Volume:
    array = np.zeros(GRID.shape, dtype=np.uint8)
    array[2:10, 5:8, 5:8] = value
    return Volume(array, GRID)


def test_the_json_has_the_agreed_keys_and_survives_a_round_trip(content: dict[str, Any]) -> None:
    assert json.loads(json.dumps(content, allow_nan=False)) == content
    assert content["schema"] == 1
    assert content["thresholds"] == [round(0.05 * k, 2) for k in range(1, 20)]
    for vessel in content["vessels"].values():
        assert vessel.keys() >= VESSEL_KEYS
        assert len(vessel["angle_deg"]) == len(vessel["contact_length_mm"]) == 19
        assert set(vessel["protocol_deg"]) == {"axial", "coronal", "sagittal"}
        assert all(len(values) == 19 for values in vessel["protocol_deg"].values())
    assert content["vessels"]["SMA"]["present"] is True
    assert content["vessels"]["CELIAC"]["present"] is False


def test_the_pattern_never_speaks_of_operability(content: dict[str, Any]) -> None:
    pattern = content["resectability"]
    assert pattern["label"] == "anatomic contact pattern"
    assert pattern["pattern"] == "arterial encasement or aortic contact"
    assert {"rule_set", "version", "statement"} <= pattern.keys()
    assert "anatomic contact only" in pattern["statement"]
    assert "resectable" not in json.dumps(pattern).lower()
    assert set(pattern["not_assessed"]) == {"CELIAC", "CHA", "AORTA", "PORTA", "SMV", "IVC"}


def test_the_table_holds_one_row_a_vessel(content: dict[str, Any], tmp_path: Path) -> None:
    write_invasion_csv(content, tmp_path / "invasion.csv")
    with (tmp_path / "invasion.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["vessel"] for row in rows] == ["SMA", "CELIAC"]
    assert [row["present"] for row in rows] == ["true", "false"]
    assert rows[0]["category"] == "encasement"
    at_half = content["vessels"]["SMA"]["angle_deg"][content["thresholds"].index(0.5)]
    assert float(rows[0]["angle_deg_at_0.5"]) == pytest.approx(at_half, abs=0.05)
    assert float(rows[1]["p_contact"]) == 0


def test_the_table_into_a_missing_folder_is_one_clear_error(content: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_invasion_csv(content, tmp_path / "missing" / "invasion.csv")


def test_a_table_without_the_half_threshold_leaves_its_columns_empty(tmp_path: Path) -> None:
    content = measure_invasion(flat(1), labels(), {"SMA": 1}, thresholds=[0.2, 0.8]).to_json()
    write_invasion_csv(content, tmp_path / "invasion.csv")
    row = (tmp_path / "invasion.csv").read_text(encoding="utf-8").splitlines()[1]
    assert row == "SMA,true,encasement,,360.0,1.000,1.000,"


@pytest.mark.parametrize("value", [-0.1, 1.2, float("nan"), float("inf")])
def test_a_map_that_is_no_probability_is_refused(value: float) -> None:
    probability = flat(0.5)
    probability.array[3, 3, 3] = value
    with pytest.raises(InputError, match="numbers from 0 to 1"):
        measure_invasion(probability, labels(), {"SMA": 1})


def test_a_vessel_map_on_another_grid_is_refused_with_both_geometries() -> None:
    moved = Volume(labels().array, Geometry(GRID.size, GRID.spacing_mm, (0.0, 0.0, 1.0)))
    with pytest.raises(InputError, match=r"not on the probability map's grid.*origin \(0, 0, 1\) mm"):
        measure_invasion(flat(0.5), moved, {"SMA": 1})


@pytest.mark.parametrize(
    ("names", "message"),
    [({}, "no vessel is named"), ({"SMA": 0}, "whole number from 1"), ({"SMA": 1, "SMV": 1}, "same label value")],
)
def test_names_that_name_nothing_are_refused(names: dict[str, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        measure_invasion(flat(0.5), labels(), names)


@pytest.mark.parametrize("thresholds", [[], [0.0, 0.5], [0.5, 1.0], [0.6, 0.5], [0.5, 0.5], [float("nan")]])
def test_thresholds_outside_zero_to_one_or_not_rising_are_refused(thresholds: list[float]) -> None:
    with pytest.raises(InputError, match="thresholds must rise"):
        measure_invasion(flat(0.5), labels(), {"SMA": 1}, thresholds=thresholds)


@pytest.mark.parametrize("contact_mm", [0.0, -1.0, float("nan")])
def test_a_contact_distance_that_is_no_length_is_refused(contact_mm: float) -> None:
    with pytest.raises(InputError, match="contact_mm"):
        measure_invasion(flat(0.5), labels(), {"SMA": 1}, contact_mm=contact_mm)


def test_fractional_labels_are_refused_and_whole_ones_stored_as_floats_are_not() -> None:
    stored = labels().with_array(labels().array.astype(np.float32))
    assert measure_invasion(flat(0.9), stored, {"SMA": 1}).vessels["SMA"].present
    with pytest.raises(InputError, match="whole-number labels"):
        measure_invasion(flat(0.9), labels().with_array(stored.array * 0.5), {"SMA": 1})


def test_labels_without_a_name_are_ignored() -> None:
    assert not measure_invasion(flat(0.9), labels(7), {"SMA": 1}).vessels["SMA"].present


def test_progress_rises_to_one_and_a_cancelled_token_stops_the_run() -> None:
    seen: list[float] = []
    token = CancelToken()
    names = {"SMA": 1, "SMV": 2}
    measure_invasion(flat(0.9), labels(), names, progress=lambda fraction, _: seen.append(fraction), cancel=token)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    token.cancel()
    with pytest.raises(Cancelled):
        measure_invasion(flat(0.9), labels(), names, cancel=token)


def view(p_contact: float, p_encased: float) -> ReaderView:
    angle = 200.0 if p_encased >= 0.5 else 90.0 if p_contact >= 0.5 else 0.0
    return ReaderView(0.0, p_contact, p_encased, category_of(angle))


def test_exactly_half_a_turn_is_still_abutment() -> None:
    assert category_of(0.0) is Category.NONE
    assert category_of(180.0) is Category.ABUTMENT
    assert category_of(180.1) is Category.ENCASEMENT


@pytest.mark.parametrize(
    ("views", "pattern"),
    [
        ({"SMA": view(0, 0), "PORTA": view(0.4, 0)}, "no contact"),
        ({"SMA": view(0, 0), "PORTA": view(0.6, 0)}, "venous abutment only"),
        ({"SMA": view(0, 0), "PORTA": view(0.9, 0.6)}, "arterial abutment, venous encasement or caval contact"),
        ({"SMA": view(0.7, 0), "PORTA": view(0, 0)}, "arterial abutment, venous encasement or caval contact"),
        ({"SMA": view(0.7, 0.5), "PORTA": view(0, 0)}, "arterial encasement or aortic contact"),
        ({"AORTA": view(0.5, 0.0)}, "arterial encasement or aortic contact"),
        ({"SPLENIC": view(1.0, 1.0)}, "no contact"),
    ],
)
def test_the_rule_table_orders_the_patterns(views: dict[str, ReaderView], pattern: str) -> None:
    assert contact_pattern(views).pattern == pattern


def test_pattern_probabilities_are_shares_of_nested_readers() -> None:
    shares = contact_pattern({"SMA": view(0.7, 0.2), "PORTA": view(0.9, 0.5), "SMV": None}).probability
    assert list(shares.values()) == pytest.approx([0.2, 0.5, 0.2, 0.1])
    assert sum(shares.values()) == pytest.approx(1.0)
