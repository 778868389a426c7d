"""Of a score that no calibrator made a map of, nothing is said of readers anywhere: it is a score, and says so."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from twintrack.dicom.write.derived import MapMeaning
from twintrack.dicom.write.report_content import report_groups, statement_source
from twintrack.results.report import wording
from twintrack.results.report.html import write_report
from twintrack.results.report.structured_vessels import structured_vessels
from twintrack.results.report.vessel_rows import by_severity, vessel_rows

VESSEL: dict[str, Any] = {
    "title": "portal vein",
    "present": True,
    "statements": "map",
    "angle_deg": [120.0, 65.0, 0.0],
    "contact_length_mm": [12.0, 8.0, 0.0],
    "gap_mm": [0.0, 0.0, 2.0],
    "category": "abutment",
    "p_contact": 0.67,
    "p_encased": 0.05,
    "expected_angle_deg": 73.0,
    "angle_median_deg": 65.0,
    "angle_p10_deg": 0.0,
    "angle_p90_deg": 161.0,
    "level_contact": 0.67,
    "level_encased": 0.05,
    "coverage": 1.0,
}
FREE = VESSEL | {"title": "aorta", "angle_deg": [0.0, 0.0, 0.0], "level_contact": 0.0, "level_encased": 0.0}
UNSEEN = {"title": "celiac trunk", "present": False, "reason": "the vessel map does not hold this vessel"}
INVASION: dict[str, Any] = {
    "schema": 2,
    "statements": "map",
    "statements_note": "read from the map, not calibrated",
    "measured_on": "score",
    "thresholds": [0.2, 0.5, 0.8],
    "vessels": {"AORTA": FREE, "PORTA": VESSEL, "CELIAC": UNSEEN},
    "resectability": {"pattern": "venous abutment", "probability": {"venous abutment": 0.6, "no contact": 0.4}},
}
RESULT: dict[str, Any] = {
    "calibrator": None,
    "threshold": 0.5,
    "bundle": {"name": "public", "version": "1", "sha256": "0" * 64},
    "volume_ml": {"expected": 8.6, "at_threshold": 7.9, "p10": 4.0, "p90": 13.3},
    "lesions": [{"volume_ml": 7.9, "p_found": 0.98, "max_probability": 0.99}],
    "warnings": [],
    "seconds": {},
}
CLAIMS = re.compile(r"readers (?:are )?expected|% of readers|median reader|of 10|readers who|readers see|% see", re.I)


def as_map(content: dict[str, Any]) -> dict[str, Any]:
    return content | {"measured_on": "map"}


def test_a_vessels_row_says_score_and_what_this_outline_measures() -> None:
    rows = {row.name: row for row in vessel_rows(INVASION, 0.5)}
    assert rows["PORTA"].readers_line == "score, not readers: contact up to a score of 0.67, more than 180° up to 0.05"
    assert rows["AORTA"].readers_line == "score, not readers: no contact"
    assert rows["CELIAC"].readers_line == "not found on this CT"
    assert rows["PORTA"].angle == "65°"
    for text in (
        rows["PORTA"].contact,
        rows["PORTA"].median_angle,
        rows["PORTA"].further,
        rows["PORTA"].expected_angle,
    ):
        assert text == wording.MISSING
    assert by_severity(list(rows.values()))[0].name == "PORTA"
    assert "of readers see contact" in {r.name: r for r in vessel_rows(as_map(INVASION), 0.5)}["PORTA"].readers_line


def test_what_is_known_of_a_calibrated_result_stays() -> None:
    assert wording.without_readers(as_map(INVASION)) == as_map(INVASION)
    older = {key: value for key, value in INVASION.items() if key != "measured_on"}
    assert wording.without_readers(older) is older


def test_volumes_lesions_pattern_and_template_name_no_readers() -> None:
    assert wording.readers_volume(RESULT).p10_p90 == wording.MISSING
    assert wording.readers_volume(RESULT).source == wording.NO_CALIBRATOR
    assert wording.statement_source(INVASION) == wording.NO_CALIBRATOR
    assert wording.contact_pattern(INVASION) == []
    heads, rows = wording.lesion_table(RESULT["lesions"], None, score=True)
    assert not CLAIMS.search(" ".join([*heads, *rows[0]]))
    for row in structured_vessels(INVASION):
        assert not CLAIMS.search(" ".join([row.contact, row.degree]))


def test_the_page_claims_nothing_of_readers(tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", RESULT, INVASION, None)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    text = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page, flags=re.S)
    assert "score, not readers" in text
    assert "NOT CALIBRATED" in text
    assert CLAIMS.findall(text) == []
    write_report(tmp_path / "map.html", RESULT | {"calibrator": {"target": "mhr"}}, as_map(INVASION), None)
    assert CLAIMS.search((tmp_path / "map.html").read_text(encoding="utf-8"))


def test_the_structured_report_claims_nothing_of_readers() -> None:
    groups = report_groups(RESULT, INVASION, MapMeaning.SCORE, None)
    said = json.dumps(
        [[q.name.meaning for q in g.quantities] + [str(q.derivation) for q in g.quantities] for g in groups]
    )
    assert not re.search(r"readers|Mean'|Median'|expected", said, re.I)
    for group in groups:
        told = {evaluation.name.meaning: evaluation.value.meaning for evaluation in group.evaluations}
        assert told["Source of what is said of readers"] == "Score of the networks, not readers"
        assert not any("median reader" in name for name in told)
    assert {group.name for group in groups} >= {"tumor", "PORTA contact", "lesion 1"}
    assert "contact pattern" not in {group.name for group in groups}
    assert statement_source(RESULT, INVASION).startswith("Score of the networks, not readers")
    assert any(g.name == "contact pattern" for g in report_groups(RESULT, as_map(INVASION), MapMeaning.MHR, 5))


@pytest.mark.parametrize("value", [None, {"calibrator": {}}, {"measured_on": "map"}, {}])
def test_what_is_no_score_is_none(value: object) -> None:
    assert not wording.is_score(value)
