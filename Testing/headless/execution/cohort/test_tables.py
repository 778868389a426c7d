"""Tables and overview page of a cohort, made from case folders as workers leave them; networks are not needed."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from browser import browsed
from twintrack.execution.cohort import tables
from twintrack.execution.cohort.case_folder import RECORD, folder_name, write_record
from twintrack.execution.cohort.html_index import write_index
from twintrack.execution.cohort.plan import CohortPlan, _measured, make_plan
from twintrack.execution.cohort.process_case import Failure, _vessels, case_columns, case_row, failure_record
from twintrack.system.atomic import atomic_folder
from twintrack.system.json_file import json_for_script

pytestmark = pytest.mark.process

CASES = ["p1", "=2+3", "p3", 'a "b", </script><b>c', "p5"]
BROKEN = ("p3",)


def row(number: int) -> dict[str, Any]:
    return {
        "volume_expected_ml": 1 / (number + 3),
        "volume_at_threshold_ml": 1.5,
        "lesions": number,
        "largest_lesion_ml": None,
        "contact_pattern": "no contact",
        "sma_expected_angle_deg": 120.25,
        "sma_p_contact": 1e-17,
        "sma_category": "abutment",
        "sma_coverage": 0.5,
        "sma_gap_mm_at_0.5": 0.75,
        "sma_level_contact": 0.25,
        "sma_angle_deg_at_0.5": 33.0,
        "warnings": 'thick slices, "5 mm" | cut',
        "size": "26 30 14",
        **({"ct_sha256": f"{number}bcdef01" * 8} if number else {}),  # an earlier version did not state it
    }


@pytest.fixture
def plan(make_cohort, bundle_folder, settings, tmp_path) -> CohortPlan:
    """A cohort with results, of which one is a failure."""
    made = make_plan(make_cohort(CASES), bundle_folder, tmp_path / "out", settings)
    for number, case in enumerate(made.cases()):
        task = made.task(case)
        record = {"case": case.case, "key": task.key, "made": task.made, "status": "done"}
        record |= {"row": row(number), "worker": "w"}
        if case.case in BROKEN:
            record = failure_record(task, Failure("InputError", "no CT", "file-missing"), 0.25)
        record["seconds"] = {"read": 0.1 * number, "total": 1.0 + number}
        with atomic_folder(Path(task.folder), command="cohort", last=RECORD) as work:
            write_record(work, record)
    return made


def test_a_folder_has_a_name_that_every_file_system_takes():
    taken = [folder_name(name) for name in ("CON", "nul", "aux.1", "COM1", "lpt9.x", "../x", ".x", "x.", "ä" * 300)]
    assert len(set(taken)) == len(taken)
    for name in taken:
        assert re.fullmatch(r"[A-Za-z0-9_]+-[0-9a-f]{10}", name)
    assert [folder_name(name) for name in ("p1", "con-1", "comet", "p.1")] == ["p1", "con-1", "comet", "p.1"]


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_parquet_holds_the_rows_of_the_csv_tables_with_their_types(plan, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(tables, "ROWS_AT_A_TIME", 2)  # several blocks
    assert tables.write_tables(plan, plan.out) == (4, 1, 0, 0)
    times = {line["case"]: line for line in read(plan.out / "timings.csv")}
    found = parquet.read_table(plan.out / "cohort.parquet").to_pylist()
    expected = [line | times[line["case"]] for line in read(plan.out / "cohort.csv")]
    assert [line["case"] for line in found] == ["p1", "'=2+3", 'a "b", </script><b>c', "p5"]
    assert [list(line) for line in found] == [list(line) for line in expected]
    for ours, theirs in zip(found, expected, strict=True):
        for name, value in ours.items():
            assert value == (theirs[name] or None) if not isinstance(value, float) else value == float(theirs[name])
    assert [line["volume_expected_ml"] for line in found] == [
        row(number)["volume_expected_ml"] for number in (0, 1, 3, 4)
    ]
    assert [line["lesions"] for line in found] == [0, 1, 3, 4]
    assert found[0]["largest_lesion_ml"] is None
    assert found[1]["sma_p_contact"] == 1e-17
    assert found[3]["total_s"] == 5.0
    columns = list(read(plan.out / "cohort.csv")[0])
    assert columns[columns.index("ct_sha256") + 1] == "statements"
    assert {line["statements"] for line in found} == {"map"}  # rows of an earlier version do not say
    for name in ("coverage", "gap_mm_at_0.5", "level_contact", "angle_deg_at_0.5"):
        assert isinstance(found[1][f"sma_{name}"], float)


def test_a_task_as_text_does_not_tell_whose_ct_it_is(make_cohort, bundle_folder, settings, tmp_path):
    plan = make_plan(make_cohort(["DOE JANE", "x" * 70]), bundle_folder, tmp_path / "DOE out", settings)
    tasks = [plan.task(case) for case in plan.cases()]
    assert [task.settings["case"] for task in tasks] == ["DOE JANE", "x" * 63 + "…"]
    assert not any("DOE" in text for task in tasks for text in (repr(task), task.key))
    assert all("case" not in task.made["settings"] for task in tasks)


def test_without_pyarrow_the_csv_tables_are_all(plan, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert tables.write_tables(plan, plan.out) == (4, 1, 0, 0)
    assert not (plan.out / "cohort.parquet").exists()
    assert [line["case"] for line in read(plan.out / "cohort.csv")] == ["p1", "'=2+3", 'a "b", </script><b>c', "p5"]
    assert read(plan.out / "failures.csv") == [
        {"case": "p3", "kind": "InputError", "reason": "no CT", "code": "file-missing"}
    ]


def test_the_overview_page_shows_names_as_text_and_needs_no_server(plan):
    write_index(plan, plan.out, tables.Counts(4, 1))
    page = (plan.out / "index.html").read_text(encoding="utf-8")
    data, script = re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL)
    assert page.count("</script>") == page.count("<script") == 2
    shown = json.loads(data)
    assert "these are scores, not readers" in page  # the plan asks for no calibration
    assert "fraction of readers" not in page
    assert [line[0] for line in shown["rows"]] == CASES
    assert [line[2] for line in shown["rows"]] == ["done", "done", "failed", "done", "done"]
    assert shown["rows"][2][7] == "no CT"
    assert shown["rows"][1][7] == 'thick slices, "5 mm" | cut'
    sma = shown["vessels"].index("SMA")
    assert shown["rows"][0][9][sma] == [33.0, 0.25, None, 0.5, 0.75, "map"]  # angle and levels, no fractions
    assert {(line[3], line[6], line[11]) for line in shown["rows"]} == {(None, None, "score")}
    assert [line[10] for line in shown["rows"]] == ["", "1bcdef01", "", "3bcdef01", "4bcdef01"]
    assert "5 cases, <button" in page
    assert ">1 failed</button>" in page
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in page
    assert not re.findall(r"""(?:src|href)=["'](?:https?:)?//""", page)
    for line in shown["rows"]:
        assert (plan.out / line[1] / "case.json").is_file()


@pytest.mark.slow
def test_a_browser_shows_the_worst_case_first_and_what_holds_for_all_once(plan, tmp_path):
    """As in the report: by those who see more than 180 degrees, then by contact; of what is not known the worst."""
    write_index(plan, plan.out, tables.Counts(4, 1))
    page = (plan.out / "index.html").read_text(encoding="utf-8")
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)[1]
    content = json.loads(data)
    sma = content["vessels"].index("SMA")
    said = {"p1": (1.0, 0.1), "=2+3": (0.3, 0.3), CASES[3]: (0.7, None), "p5": (0.9, 0.3)}
    for row in content["rows"]:
        if row[0] in said:
            row[9][sma][1:3] = said[row[0]]
            row[7] = f"said of all | {row[0]}"
    page = page.replace(data, json_for_script(content))
    (plan.out / "index.html").write_text(page, encoding="utf-8")
    shown = browsed(plan.out / "index.html", tmp_path / "browser")
    body = shown[shown.index('<tbody id="body">') : shown.index("</tbody>")]
    names = re.findall(r'class="name">(?:<a [^>]*>|<span>)(.*?)</', body)
    assert [html.unescape(name) for name in names] == [CASES[3], "p5", "=2+3", "p1", "p3"]
    assert "not known how many over 180°" in body
    assert "said of all" not in body
    assert shown.count("Of all cases: said of all") == 1


def test_a_row_takes_what_was_searched_and_how_far_the_tumor_is():
    half = {"thresholds": [0.25, 0.5], "resectability": {"pattern": None}}
    aorta = {"coverage": 0.01, "near_180": None, "gap_mm": [None, None], "reason": "not assessed: x"}
    found = _vessels({**half, "vessels": {"SMA": {"coverage": 0.9, "gap_mm": [0.0, 7.5]}, "AORTA": aorta, "IVC": {}}})
    assert (found["sma_coverage"], found["sma_gap_mm_at_0.5"]) == (0.9, 7.5)
    assert (found["aorta_coverage"], found["aorta_gap_mm_at_0.5"], found["aorta_category"]) == (0.01, None, None)
    assert found["ivc_gap_mm_at_0.5"] is None  # schema 1 has none


def test_a_row_says_whether_its_fractions_of_readers_are_calibrated():
    half = {"thresholds": [0.5], "resectability": {"pattern": None}}
    stated = {"SMA": {"statements": "calibrated", "angle_median_deg": 71.0}, "SMV": {"statements": "map"}}
    found = _vessels({**half, "statements": "calibrated", "vessels": stated})
    assert (found["statements"], found["sma_statements"], found["smv_statements"]) == (
        "calibrated",
        "calibrated",
        "map",
    )
    assert found["sma_angle_median_deg"] == 71.0
    assert _vessels({**half, "vessels": {"SMA": {}}})["sma_statements"] == "map"  # an earlier version
    assert {"statements", "any_tumour", "sma_statements", "volume_readers_median_ml"} <= set(case_columns(["SMA"]))


OF_READERS = re.compile(r"_p\d+_|_readers_|expected|p_contact|p_encased|category|median|pattern|any_tumour")


def written(folder: Path, calibrator: dict[str, Any] | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write a result and return its row, in two parts: what speaks of readers, and the rest."""
    sma = {"present": True, "angle_deg": [120.0, 60.0], "gap_mm": [0.0, 0.5], "level_contact": 0.75, "reason": None}
    sma |= {"p_contact": 0.75, "p_encased": 0.25, "level_encased": 0.25, "category": "abutment", "angle_p10_deg": 0.0}
    sma |= {"expected_angle_deg": 80.0, "angle_p90_deg": 161.0, "angle_median_deg": 60.0, "coverage": 1.0}
    on = "score" if calibrator is None else "map"
    invasion = {"thresholds": [0.25, 0.5], "measured_on": on, "statements": "map", "vessels": {"SMA": sma}}
    invasion["resectability"] = {"pattern": "arterial abutment"}
    result = {"calibrator": calibrator, "lesions": [], "warnings": [], "device": "cpu", "version": "1", "seconds": {}}
    result |= {"volume_ml": {"expected": 8.0, "at_threshold": 7.0, "p10": 4.0, "p90": 13.0}}
    result |= {"statements": {"source": "map", "any_tumour": None, "volume_ml": {"p10": None}}}
    result |= {"bundle": {"sha256": "b"}, "input": {"spacing_mm": [1, 1, 1], "size": [2, 2, 2], "sha256": "c"}}
    for name, content in (("result.json", result), ("invasion.json", invasion), ("probability.nii.gz", "")):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    row, _ = case_row(folder)
    assert set(row) <= set(case_columns(["SMA"]))
    of_readers = {name: value for name, value in row.items() if OF_READERS.search(name)}
    return of_readers, {name: value for name, value in row.items() if name not in of_readers}


def test_a_score_stands_in_no_column_about_readers(tmp_path):
    of_readers, rest = written(tmp_path, None)
    assert {name: value for name, value in of_readers.items() if value is not None} == {}
    assert (rest["statements"], rest["sma_statements"], rest["sma_reason"]) == ("score", "score", "score, not readers")
    assert (rest["volume_score_sum_ml"], rest["volume_at_threshold_ml"]) == (8.0, 7.0)
    levels = rest["sma_level_contact"], rest["sma_level_encased"]
    assert (*levels, rest["sma_angle_deg_at_0.5"], rest["sma_gap_mm_at_0.5"]) == (0.75, 0.25, 60.0, 0.5)


def test_a_calibrated_map_stands_in_the_columns_about_readers(tmp_path):
    of_readers, rest = written(tmp_path, {"target": "mhr"})
    known = ("sma_p_contact", "sma_category", "sma_expected_angle_deg", "volume_expected_ml", "contact_pattern")
    assert [of_readers[name] for name in known] == [0.75, "abutment", 80.0, 8.0, "arterial abutment"]
    assert (rest["statements"], rest.get("volume_score_sum_ml"), rest["sma_level_contact"]) == ("map", None, 0.75)


@pytest.mark.parametrize(
    ("vessels", "columns"),
    [(["PORTA", "SMV", "SMA"], ("PORTA", "SMV", "SMA", "PORTA_SMV")), (["PORTA", "SMA"], ("PORTA", "SMA"))],
)
def test_both_veins_together_have_columns_where_both_are_measured(vessels, columns):
    assert _measured(vessels, "auto") == columns
    names = case_columns(columns)
    assert len(set(names)) == len(names)
    assert ("porta_smv_p_contact" in names) == ("SMV" in vessels)
    # Where the columns of released versions stand does not change for those who read by number.
    first = names.index("folder") + 1
    assert names[:first] == case_columns(vessels)[:first]
    assert not [name for name in names[:first] if name.startswith("porta_smv") or name.endswith("coverage")]


def test_a_bundle_of_classes_has_columns_for_the_vessels_that_get_names():
    classes = ("VEINS", "ARTERIES")
    named = {"PORTA", "SMV", "AORTA", "CELIAC", "SMA", "CHA", "SPLENIC_VEIN", "PORTA_SMV"}
    columns = _measured(classes, "auto")
    assert named | set(classes) <= set(columns)  # where no vessel gets a name the classes are measured
    assert len(set(columns)) == len(columns)
    assert _measured(classes, "off") == classes
