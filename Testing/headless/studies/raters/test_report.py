"""The table and the pictures of the comparison."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from twintrack.metrics.rater_pairs_ece import BINS
from twintrack.studies.raters.comparison import AFTER, BEFORE, METRICS, summarize_runs
from twintrack.studies.raters.report import markdown_report, write_report

CASES = ("one", "=two", "three")
NAMES = [metric.name for metric in METRICS]


def record(value: float, raters: bool) -> dict[str, Any]:
    bins = np.ones((3, BINS))
    values: dict[str, float | None] = dict.fromkeys(NAMES, value)
    values["own_dice"] = values["other_dice"] = values["mae_raters"] = value if raters else None
    dice = {"A": {"A": value, "B": 0.5}, "B": {"A": 0.4, "B": value}} if raters else {}
    return {
        "values": values,
        "bins": bins.tolist(),
        "bins_top": bins.tolist(),
        "d_ece": [[0.0] * 10, 1.0],
        "ambiguous": [value, 1.0],
        "rater_dice": dice,
    }


def runs() -> dict[str, Any]:
    return {
        "soft": {0: {when: [record(0.25, False)] * 3 for when in (BEFORE, AFTER)}},
        "rater-specific": {0: {when: [record(0.75, True)] * 3 for when in (BEFORE, AFTER)}},
    }


def summary() -> dict[str, Any]:
    return {
        "data": {"kind": "synthetic phantoms"},
        "cases": {"train": 5, "calibration": 4, "test": 3},
        "raters": ["A", "B"],
        "preset": "tiny",
        "seeds": [0],
        "networks": {"soft": 1, "rater-specific": 2},
        "strategies": summarize_runs(runs(), resamples=20, seed=0),
        "comparisons": [],
        "statements": {"soft": None, "rater-specific": None},
        "warnings": ["few cases"],
    }


def test_the_best_value_of_a_column_stands_out_in_the_right_direction() -> None:
    rows = [line for line in markdown_report(summary()).splitlines() if line.startswith(("| soft", "| rater-specific"))]
    soft, specific = (line.strip("| ").split(" | ") for line in rows[:2])
    titles = [metric.name for metric in METRICS]
    assert specific[1 + titles.index("tdsc")].startswith("**")  # higher is better
    assert soft[1 + titles.index("brier")].startswith("**")  # lower is better
    assert soft[1 + titles.index("own_dice")] == "–"


def test_a_warning_is_in_the_table() -> None:
    assert "- few cases" in markdown_report(summary())


@pytest.mark.render
def test_all_files_are_written_and_a_case_named_like_a_formula_is_harmless(tmp_path: Path) -> None:
    write_report(tmp_path, summary(), runs(), CASES)
    with (tmp_path / "comparison.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * 2 * 3
    assert not any(row["case"].startswith("=") for row in rows)
    assert {row["own_dice"] for row in rows} == {"", "0.75"}
    assert json.loads((tmp_path / "summary.json").read_text(encoding="utf-8"))["raters"] == ["A", "B"]
    for name in ("reliability.png", "raters.png"):
        assert (tmp_path / name).stat().st_size > 5000


@pytest.mark.render
def test_no_picture_of_raters_where_no_network_stands_for_one(tmp_path: Path) -> None:
    write_report(tmp_path, summary(), {"soft": runs()["soft"]}, CASES)
    assert not (tmp_path / "raters.png").exists()
