"""What of a result folder of this version and of earlier ones is read, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.invasion.result import SCHEMA, write_invasion_csv
from twintrack.results.report.structured_vessels import structured_vessels
from twintrack.results.report.vessel_rows import vessel_rows
from twintrack.results.schema import INVASION_SCHEMAS, check_samples, read_invasion_json, read_result_json

SCHEMA_1 = {
    "schema": 1,
    "thresholds": [0.25, 0.5],
    "contact_mm": None,
    "vessels": {
        "SMA": {
            "present": True,
            "angle_deg": [90.0, 0.0],
            "contact_length_mm": [5.0, 0.0],
            "arc_deg": [90.0, 0.0],
            "contact_area_mm2": [20.0, 0.0],
            "p_contact": 0.4,
            "category": "none",
            "searched": 0.2,
        }
    },
}


def written(tmp_path: Path, **changes: Any) -> Path:
    (tmp_path / "invasion.json").write_text(json.dumps(SCHEMA_1 | changes), encoding="utf-8")
    return tmp_path / "invasion.json"


def test_a_file_of_an_earlier_version_is_read_and_shown_without_what_it_lacks(tmp_path: Path) -> None:
    content = read_invasion_json(written(tmp_path))
    assert content == SCHEMA_1
    (row,) = vessel_rows(content, 0.5)
    assert (row.category, row.angle, row.distance, row.searched) == (
        "no contact",
        "0°",
        "not available",
        "not available",
    )
    sma = next(row for row in structured_vessels(content) if row.name.startswith("Superior mesenteric artery"))
    assert sma.contact == "absent (40 % of readers expected to see contact)"
    write_invasion_csv(content, tmp_path / "invasion.csv")
    head, line = (tmp_path / "invasion.csv").read_text(encoding="utf-8").splitlines()
    told = dict(zip(head.split(","), line.split(","), strict=True))
    assert (told["p_contact"], told["gap_mm_at_0.5"], told["coverage"], told["near_180"]) == ("0.400", "", "", "")


def test_this_version_reads_what_it_writes(tmp_path: Path) -> None:
    assert max(INVASION_SCHEMAS) == SCHEMA
    assert read_invasion_json(written(tmp_path, schema=SCHEMA))["schema"] == SCHEMA


@pytest.mark.parametrize("schema", [0, 3, "2", None, [1], True, 1.0])
def test_a_version_that_is_not_known_is_refused(tmp_path: Path, schema: object) -> None:
    with raises_error(InputError, "schema-unknown", "'schema'", "TwinTrack"):
        read_invasion_json(written(tmp_path, schema=schema))
    (tmp_path / "result.json").write_text(json.dumps(RESULT | {"schema": 2 if schema == 3 else schema}))
    with raises_error(InputError, "schema-unknown", "'schema'", "TwinTrack"):
        read_result_json(tmp_path / "result.json")


def test_gaps_that_are_no_list_are_refused(tmp_path: Path) -> None:
    vessel = SCHEMA_1["vessels"]["SMA"] | {"gap_mm": 1.2}
    with raises_error(InputError, "result-malformed", "'gap_mm'"):
        read_invasion_json(written(tmp_path, vessels={"SMA": vessel}))


SMA = {
    "present": True,
    "statements": "calibrated",
    "p_contact": 0.4,
    "p_contact_interval": [0.3, 0.5],
    "p_encased_interval": None,
    "expected_angle_deg_interval": [10.0, 20.0],
    "angle_median_deg": 90.0,
    "fraction_over": [0.4, 0.2, None],
    "score_level_contact": 0.7,
    "member_range": {"angle_deg": [0.0, 90.0], "level_contact": [0.3, 0.6], "level_encased": None, "members": 3},
}
STATED = {
    "schema": 2,
    "statements": "calibrated",
    "statements_note": "calibrated on 60 cases with 5 readers each",
    "calibration": {"cases": 60, "raters": 5, "family": "logistic", "interval_level": 0.95},
    "fraction_angles_deg": [0, 90, 180],
    "vessels": {"SMA": SMA},
    "resectability": {"statements": "calibrated", "pattern": None, "probability": {"none": 0.5, "other": None}},
}


def test_calibrated_statements_are_read(tmp_path: Path) -> None:
    assert read_invasion_json(written(tmp_path, **STATED))["vessels"]["SMA"] == SMA
    nothing = dict.fromkeys(set(STATED) - {"schema", "vessels"})
    assert read_invasion_json(written(tmp_path, **STATED | nothing | {"vessels": {"SMA": {}}}))["statements"] is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("statements", "guessed"),
        ("statements", True),
        ("statements_note", 5),
        ("statements_note", "two\nlines"),
        ("calibration", []),
        ("calibration", {"cases": -1}),
        ("calibration", {"interval_level": 95}),
        ("fraction_angles_deg", [0, 400]),
        ("fraction_angles_deg", [0, 90]),  # fewer than there are fractions
        ("resectability", {"statements": "no"}),
        ("resectability", {"probability": {"none": 1.5}}),
    ],
)
def test_a_statement_of_another_form_is_refused(tmp_path: Path, field: str, value: object) -> None:
    with raises_error(InputError, "result-malformed"):
        read_invasion_json(written(tmp_path, **STATED | {field: value}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("statements", "both"),
        ("p_contact", 1.2),
        ("p_contact", True),
        ("level_encased", -0.5),
        ("score_level_contact", "0.5"),
        ("angle_median_deg", 361.0),
        ("angle_p90_deg", [1.0]),
        ("fraction_over", [0.4, 0.2]),
        ("fraction_over", [0.4, 0.2, 2.0]),
        ("p_contact_interval", [0.5]),
        ("p_contact_interval", [0.6, 0.5]),
        ("expected_angle_deg_interval", [0.0, 400.0]),
        ("member_range", [1, 2]),
        ("member_range", {"level_contact": 0.5}),
        ("category_probability", {"none": 3}),
    ],
)
def test_a_vessels_statement_that_cannot_be_is_refused(tmp_path: Path, field: str, value: object) -> None:
    with raises_error(InputError, "result-malformed", field if field != "member_range" else ""):
        read_invasion_json(written(tmp_path, **STATED | {"vessels": {"SMA": SMA | {field: value}}}))


RESULT = {
    "schema": 1,
    "bundle": {"name": "b", "version": "1", "sha256": "0" * 64},
    "labels": {"tumor": 1},
    "device": "cpu",
    "threshold": 0.5,
    "calibrator": None,
}


def test_what_a_result_says_of_readers_is_checked(tmp_path: Path) -> None:
    def read(**changes: Any) -> dict[str, Any]:
        (tmp_path / "result.json").write_text(json.dumps(RESULT | changes), encoding="utf-8")
        return read_result_json(tmp_path / "result.json")

    volumes = {"p10": None, "median": 2.0, "p90": 3.0}
    stated = {"source": "calibrated", "note": "n", "any_tumour": 0.9, "volume_ml": volumes}
    assert read(statements=stated, lesions=[{"p_found": 0.5}, {}])["statements"] == stated
    for wrong in (5, {"source": "x"}, {"any_tumour": 2}, {"note": 1}, {"volume_ml": {"p10": -3}}, {"volume_ml": [1]}):
        with raises_error(InputError, "result-malformed"):
            read(statements=wrong)
    with raises_error(InputError, "result-malformed", "'p_found'"):
        read(lesions=[{"p_found": -1}])


def test_samples_have_a_volume_each(tmp_path: Path) -> None:
    stated = {"file": "samples.nii.gz", "count": 2, "volumes_ml": [3.0, 4.0]}
    check_samples({"samples": stated}, tmp_path)
    check_samples({}, tmp_path)
    with raises_error(InputError, "result-malformed", "'samples'"):
        check_samples({"samples": stated | {"count": 3}}, tmp_path)
