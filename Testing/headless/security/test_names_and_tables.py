"""Names from other people's files: they are text in tables and reports, and nothing else."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twintrack.invasion import write_invasion_csv
from twintrack.io.volumes import write_volume
from twintrack.results.report.html import write_report
from twintrack.studies.evaluate.run import evaluate_manifest
from twintrack.system.csv_cells import harmless
from twintrack.volume import Geometry, Volume

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


@pytest.mark.render
def test_metrics_do_not_name_the_files_of_a_case(tmp_path: Path):
    folder = tmp_path / "DOE JANE"
    folder.mkdir()
    rows = []
    for number in range(2):
        drawn = np.zeros((8, 12, 12), np.uint8)
        drawn[2:6, 3:9, 3 + number : 9] = 1
        for name, array in (("map", drawn * np.float32(0.9)), ("mask", drawn)):
            write_volume(Volume(array, Geometry((12, 12, 8), (1.0, 1.0, 2.0))), folder / f"DOE {name}{number}.nii.gz")
        rows.append(f"c{number},DOE JANE/DOE map{number}.nii.gz,DOE JANE/DOE mask{number}.nii.gz")
    (folder / "result.json").write_text(json.dumps({"input": {"case": "DOE", "name": "DOE"}}), encoding="utf-8")
    (tmp_path / "manifest.csv").write_text("\n".join(["case,probability,annotation_1", *rows]), encoding="utf-8")
    evaluate_manifest(tmp_path / "manifest.csv", tmp_path / "out", bootstrap=10)
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) > 2
    assert not [path.name for path in written if b"DOE" in path.read_bytes()]
