"""What is written, what is refused, and the pattern of all vessels together."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from expected_errors import raises_error
from twintrack.errors import Cancelled, InputError, OutputError
from twintrack.invasion import (
    DEFAULT_CONTACT_MM,
    Category,
    VesselWall,
    measure_invasion,
    rule_names,
    write_invasion_csv,
)
from twintrack.invasion.rater_categories import category_of, rater_view
from twintrack.invasion.resectability import contact_pattern
from twintrack.progress.callbacks import CancelToken
from twintrack.volume import Geometry, Volume

TubeMaker = Callable[..., Any]
CURVES = {"angle_deg", "contact_length_mm", "protocol_deg"}
VESSEL_KEYS = CURVES | {"present", "expected_angle_deg", "p_contact", "p_encased", "category", "coverage", "near_180"}
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
    assert (content["schema"], content["statements"]) == (2, "map")
    assert content["thresholds"] == [round(0.05 * k, 2) for k in range(1, 20)]
    for vessel in content["vessels"].values():
        assert vessel.keys() >= VESSEL_KEYS
        assert len(vessel["angle_deg"]) == len(vessel["contact_length_mm"]) == len(vessel["gap_mm"]) == 19
        assert (vessel["level_contact"], vessel["level_encased"]) == (vessel["p_contact"], vessel["p_encased"])
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
    assert (rows[1]["category"], rows[1]["p_contact"], rows[1]["angle_deg_at_0.5"]) == ("", "", "")
    assert rows[1]["reason"] == "the vessel map does not hold this vessel"


def test_the_table_of_a_score_says_nothing_of_raters(content: dict[str, Any], tmp_path: Path) -> None:
    write_invasion_csv(content | {"measured_on": "score"}, tmp_path / "invasion.csv")
    with (tmp_path / "invasion.csv").open(encoding="utf-8", newline="") as file:
        row = next(csv.DictReader(file))
    assert {row[name] for name in ("category", "expected_angle_deg", "p_contact", "p_encased")} == {""}
    assert (row["statements"], row["angle_p10_deg"], row["angle_p90_deg"]) == ("score", "", "")
    assert float(row["level_contact"]) > 0
    assert float(row["angle_deg_at_0.5"]) > 0


def test_the_table_into_a_missing_folder_is_one_clear_error(content: dict[str, Any], tmp_path: Path) -> None:
    with raises_error(OutputError, "not-writable"):
        write_invasion_csv(content, tmp_path / "missing" / "invasion.csv")


def test_a_table_without_the_half_threshold_leaves_its_columns_empty(tmp_path: Path) -> None:
    content = measure_invasion(flat(1), labels(), {"SMA": 1}, thresholds=[0.2, 0.8]).to_json()
    write_invasion_csv(content, tmp_path / "invasion.csv")
    row = (tmp_path / "invasion.csv").read_text(encoding="utf-8").splitlines()[1]
    assert row.startswith("SMA,true,encasement,,360.0,1.000,1.000,,")


@pytest.mark.parametrize("value", [-0.1, 1.2, float("nan"), float("inf")])
def test_a_map_that_is_no_probability_is_refused(value: float) -> None:
    probability = flat(0.5)
    probability.array[3, 3, 3] = value
    with raises_error(InputError, "probability-range"):
        measure_invasion(probability, labels(), {"SMA": 1})


def test_a_vessel_map_from_another_place_is_refused_with_both_geometries() -> None:
    moved = Volume(labels().array, Geometry(GRID.size, GRID.spacing_mm, (0.0, 0.0, 101.0)))
    with raises_error(InputError, "grid-differs", "101"):
        measure_invasion(flat(0.5), moved, {"SMA": 1})


def test_a_vessel_map_on_another_grid_in_the_same_place_is_resampled_with_a_warning() -> None:
    array = np.kron(labels().array, np.ones((2, 2, 2), dtype=np.uint8))
    finer = Volume(array, Geometry((24, 24, 24), (0.5, 0.5, 0.5), (-0.25, -0.25, -0.25)))
    plain, resampled = (measure_invasion(flat(0.5), vessels, {"SMA": 1}) for vessels in (labels(), finer))
    assert resampled.vessels == plain.vessels
    assert plain.warnings == ()
    assert "resampled" in resampled.warnings[0]
    part = Volume(labels().array, Geometry(GRID.size, GRID.spacing_mm, (0.0, 0.0, -4.0)))
    assert "25 % of the vessel map lies outside" in measure_invasion(flat(0.5), part, {"SMA": 1}).warnings[0]


@pytest.mark.parametrize(
    ("names", "error"),
    [
        ({}, ("vessel-names-missing",)),
        ({"SMA": 0}, ("vessel-label",)),
        ({"SMA": 1, "SMV": 1}, ("vessels-share-label",)),
    ],
)
def test_names_that_name_nothing_are_refused(names: dict[str, int], error: tuple[str, ...]) -> None:
    with raises_error(InputError, *error):
        measure_invasion(flat(0.5), labels(), names)


@pytest.mark.parametrize("thresholds", [[], [0.0, 0.5], [0.5, 1.0], [0.6, 0.5], [0.5, 0.5], [float("nan")]])
def test_thresholds_outside_zero_to_one_or_not_rising_are_refused(thresholds: list[float]) -> None:
    with raises_error(InputError, "thresholds-order"):
        measure_invasion(flat(0.5), labels(), {"SMA": 1}, thresholds=thresholds)


@pytest.mark.parametrize("contact_mm", [0.0, -1.0, 0.4, 5.1, float("inf"), float("nan")])
def test_a_contact_distance_that_is_no_length_is_refused(contact_mm: float) -> None:
    with raises_error(InputError, "contact-distance", "contact_mm"):
        measure_invasion(flat(0.5), labels(), {"SMA": 1}, contact_mm=contact_mm)


def test_without_a_word_the_contact_distance_is_the_programs_own() -> None:
    assert measure_invasion(flat(0.5), labels(), {"SMA": 1}).to_json()["contact_mm"] == DEFAULT_CONTACT_MM
    assert measure_invasion(flat(0.5), labels(), {"SMA": 1}, contact_mm=2.5).to_json()["contact_mm"] == 2.5


def test_fractional_labels_are_refused_and_whole_ones_stored_as_floats_are_not() -> None:
    stored = labels().with_array(labels().array.astype(np.float32))
    assert measure_invasion(flat(0.9), stored, {"SMA": 1}).vessels["SMA"].present
    with raises_error(InputError, "not-labels"):
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


def wall(*levels: float) -> VesselWall:
    """One section of a tube with a quarter of its directions touched at each of four levels."""
    row = np.repeat(np.array([*levels, *[0.0] * (4 - len(levels))]), 90)[None]
    point = np.zeros((1, 3))
    one = np.ones((1, 360))
    return VesselWall(row, row, row, one, one, point, point, point, point, np.ones(1), np.zeros(1, dtype=np.int64))


def view(p_contact: float, p_encased: float) -> VesselWall:
    return wall(p_contact, p_encased, p_encased)


NO_CONTACT: dict[str, VesselWall | None] = dict.fromkeys(("SMA", "AORTA", "CELIAC", "PORTA", "SMV"), view(0, 0))
"""All vessels that the rules need."""


def test_exactly_half_a_turn_is_still_abutment() -> None:
    assert category_of(0.0) is Category.NONE
    assert category_of(180.0) is Category.ABUTMENT
    assert category_of(180.1) is Category.ENCASEMENT


@pytest.mark.parametrize(
    ("views", "pattern"),
    [
        (NO_CONTACT | {"PORTA": view(0.4, 0)}, "no contact"),
        ({"SMA": view(0, 0), "PORTA": view(0.4, 0)}, None),  # nobody looked at the others
        ({"SMA": view(0, 0), "PORTA": view(0.6, 0)}, "venous abutment only"),
        ({"SMA": view(0, 0), "PORTA": view(0.9, 0.6)}, "arterial abutment, venous encasement or caval contact"),
        ({"SMA": view(0.7, 0), "PORTA": view(0, 0)}, "arterial abutment, venous encasement or caval contact"),
        ({"SMA": view(0.7, 0.5), "PORTA": view(0, 0)}, "arterial encasement or aortic contact"),
        ({"AORTA": view(0.5, 0.0)}, "arterial encasement or aortic contact"),
        ({"SPLENIC_VEIN": view(1.0, 1.0)}, None),
        ({"celiac trunk": view(0.6, 0.2)}, "arterial abutment, venous encasement or caval contact"),
        ({}, None),
        ({"SMA": None, "PORTA": None}, None),
    ],
)
def test_the_rule_table_orders_the_patterns(views: dict[str, VesselWall | None], pattern: str | None) -> None:
    assert contact_pattern(views).pattern == pattern


def test_pattern_probabilities_are_shares_of_nested_readers() -> None:
    seen: dict[str, VesselWall | None] = NO_CONTACT | {"SMA": view(0.7, 0.2), "PORTA": view(0.9, 0.5)}
    shares = contact_pattern(seen).probability
    assert list(shares.values()) == pytest.approx([0.2, 0.5, 0.2, 0.1])
    assert sum(filter(None, shares.values())) == pytest.approx(1.0)
    # How many see no contact with a vessel that nobody looked at is not known; what is seen stays.
    assert list(contact_pattern(seen | {"SMV": None}).probability.values()) == [
        0.2,
        pytest.approx(0.5),
        pytest.approx(0.2),
        None,
    ]


def test_without_any_assessed_vessel_the_pattern_is_unknown_and_says_why() -> None:
    pattern = measure_invasion(flat(0.9), labels(7), {"SMA": 1, "PORTA": 2}).to_json()["resectability"]
    assert pattern["pattern"] is None
    assert set(pattern["probability"].values()) == {None}
    assert pattern["reason"].startswith("not assessed")
    assert not pattern["complete"]


def test_an_incomplete_pattern_names_what_it_does_not_cover() -> None:
    pattern = contact_pattern({"SMA": view(0, 0), "AORTA": view(0, 0), "CELIAC": view(0, 0), "PV": view(0, 0)})
    assert (pattern.pattern, pattern.complete) == (None, False)
    assert pattern.reason is not None
    assert "SMV" in pattern.reason
    assert "SMA" not in pattern.reason
    whole = contact_pattern(dict.fromkeys(("SMA", "AORTA", "CELIAC", "PORTA", "SMV"), view(0, 0)))
    assert (whole.complete, whole.reason) == (True, None)
    assert whole.not_assessed == ("CHA", "IVC")


@pytest.mark.parametrize(
    ("rules", "quarters", "levels"),
    [
        ("nccn", {"SMA": (0.9, 0.6)}, [0.0, 0.9, 0.9, 1.0]),
        ("alliance", {"SMA": (0.9, 0.6)}, [0.6, 0.9, 0.9, 1.0]),
        ("dpcg", {"SMA": (0.9, 0.6)}, [0.6, 0.9, 0.9, 1.0]),
        ("ahpba", {"SMA": (0.9, 0.6)}, [0.0, 0.9, 1.0]),
        ("ahpba", {"CELIAC": (0.3,)}, [0.3, 0.3, 1.0]),
        ("dpcg", {"PORTA": (0.9, 0.7, 0.5, 0.2)}, [0.2, 0.7, 0.9, 1.0]),
        ("nccn", {"PORTA": (0.9, 0.7, 0.5, 0.2)}, [0.0, 0.5, 0.9, 1.0]),
        ("alliance", {"PORTA": (0.9, 0.7, 0.5, 0.2)}, [0.0, 0.7, 0.9, 1.0]),
        ("alliance", {"CHA": (0.8, 0.8, 0.8, 0.8)}, [0.0, 0.8, 0.8, 1.0]),
    ],
)
def test_each_rule_set_has_its_own_angles(
    rules: str, quarters: dict[str, tuple[float, ...]], levels: list[float]
) -> None:
    found = contact_pattern(NO_CONTACT | {name: wall(*part) for name, part in quarters.items()}, rules)
    assert np.cumsum([share or 0.0 for share in found.probability.values()]) == pytest.approx(levels)
    assert found.version
    assert "own paraphrase" in found.source.lower()


def test_an_unknown_rule_set_is_one_clear_error() -> None:
    assert set(rule_names()) == {"nccn", "ahpba", "alliance", "dpcg"}
    with raises_error(InputError, "rules-unknown"):
        measure_invasion(flat(0.5), labels(), {"SMA": 1}, rules="iap")


def test_the_readers_percentiles_are_the_angles_at_a_tenth_and_nine_tenths() -> None:
    found = rater_view(wall(0.95, 0.8, 0.5, 0.05))
    assert (found.angle_p10_deg, found.angle_p90_deg) == (90.0, 270.0)
    assert found.expected_angle_deg == pytest.approx(90 * (0.95 + 0.8 + 0.5 + 0.05), abs=1)
    assert found.category_probability == pytest.approx({"none": 0.05, "abutment": 0.45, "encasement": 0.5})


def test_the_enclosing_arc_spans_what_the_union_leaves_out() -> None:
    apart = wall(0.9, 0.0, 0.6)
    curve = apart.curve(np.array([0.5, 0.8, 0.95]))
    assert curve.angle_deg == pytest.approx([180, 90, 0])
    assert curve.arc_deg == pytest.approx([270, 90, 0])
    across_zero = wall(0.9, 0.0, 0.0, 0.9).curve(np.array([0.5]))
    assert (across_zero.angle_deg[0], across_zero.arc_deg[0]) == (180, 180)
