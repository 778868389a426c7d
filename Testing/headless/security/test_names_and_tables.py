"""Names from other people's files: they are text in tables and reports, and nothing else."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twintrack.invasion import write_invasion_csv
from twintrack.results.report.html import write_report
from twintrack.system.csv_cells import harmless

EVIL = [
    '=HYPERLINK("http://example.org","click")',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    " =1",
    "＝1",
]


@pytest.mark.parametrize("name", EVIL)
def test_a_name_that_looks_like_a_formula_is_text(name):
    assert harmless(name) == f"'{' '.join(name.splitlines())}".replace("\t", " ")


@given(st.text())
def test_other_names_stay_as_they_are_and_none_starts_a_formula(name):
    assert harmless(name).lstrip()[:1] not in set("=+-@")
    assert len(harmless(name).splitlines()) <= 1
    if name.isalnum():
        assert harmless(name) == name


@pytest.mark.parametrize("name", EVIL)
def test_a_vessels_name_is_defused_in_the_table(tmp_path: Path, name):
    content = {"thresholds": [0.5], "vessels": {name: {"present": False, "reason": name, **_curves()}}}
    write_invasion_csv(content, tmp_path / "invasion.csv")
    with (tmp_path / "invasion.csv").open(newline="", encoding="utf-8") as stream:
        (row,) = csv.DictReader(stream)
    assert {row["vessel"][0], row["reason"][0]} == {"'"}


def _curves() -> dict[str, list[None]]:
    return {key: [None] for key in ("angle_deg", "contact_length_mm", "arc_deg", "contact_area_mm2")}


@pytest.mark.parametrize(
    "name", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}", "&lt;b>"]
)
def test_the_report_shows_every_name_as_text(tmp_path: Path, name):
    result = {
        "version": name,
        "bundle": {"name": name, "version": name, "license": name, "description": name, "sha256": name},
        "calibrator": {"target": name},
        "device": name,
        "input": {"size": [name], "spacing_mm": [name]},
        "warnings": [name],
        "threshold": 0.5,
        "lesions": [],
        "seconds": {name: 1.0},
    }
    vessels = {"vessels": {name: {"present": True, "reason": name}}, "thresholds": [0.5], "resectability": {"a": name}}
    write_report(tmp_path / "report.html", result, json.loads(json.dumps(vessels)), None)
    html = (tmp_path / "report.html").read_text(encoding="utf-8").rpartition("<!-- twintrack:")[0]
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    assert "49" not in html.replace(name, "") or "{{" not in name
    assert html.count("<script") == html.count("</script>") <= 1
