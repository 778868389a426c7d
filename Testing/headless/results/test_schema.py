"""What of a result folder of this version and of earlier ones is read, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from twintrack.errors import InputError
from twintrack.invasion.result import SCHEMA, write_invasion_csv
from twintrack.results.report.structured_vessels import structured_vessels
from twintrack.results.report.vessel_rows import vessel_rows
from twintrack.results.schema import INVASION_SCHEMAS, read_invasion_json

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


@pytest.mark.parametrize("schema", [0, 3, "2", None, [1]])
def test_a_version_that_is_not_known_is_refused(tmp_path: Path, schema: object) -> None:
    with pytest.raises(InputError, match="'schema' is missing or malformed"):
        read_invasion_json(written(tmp_path, schema=schema))


def test_gaps_that_are_no_list_are_refused(tmp_path: Path) -> None:
    vessel = SCHEMA_1["vessels"]["SMA"] | {"gap_mm": 1.2}
    with pytest.raises(InputError, match="'gap_mm' is missing or malformed"):
        read_invasion_json(written(tmp_path, vessels={"SMA": vessel}))
