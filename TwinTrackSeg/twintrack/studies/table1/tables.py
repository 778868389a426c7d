"""The experiment's tables: the paper's table 1 and table 2 from the cases at hand, and the paper's own beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from twintrack.studies.table1.vessel_statements import vessel_lines
from twintrack.studies.table_format import (
    HIGHER_IS_BETTER,
    INTERVALS,
    MARKED,
    SHOWN,
    TableRow,
    arrow,
    constant_row,
    latex_table,
    mark_differences,
    markdown_rows,
    markdown_table,
)

__all__ = ["ROW_NAMES", "latex_report", "markdown_report", "paper_rows", "result_rows"]

ROW_NAMES = {
    "none": "None (uncalibrated)",
    "single-rater": "Single-rater",
    "hard-label": "Hard-label",
    "mhr": "MHR (TwinTrack)",
}
"""The paper's name of every row, in its order."""

REFERENCE = "mhr"
"""The row that the others are compared with."""

WORSE, BETTER = "†", "‡"

LEGEND = (
    f"Means over resamples of the test cases; in brackets {INTERVALS}. {WORSE} significantly worse, {BETTER} "
    f"significantly better than the row MHR: {MARKED}. Best displayed value in bold, worst in italics. CRPS in mm³, "
    "vascular distances in degrees."
)
PAPER_LEGEND = f"{WORSE} significantly worse than the row MHR, as the paper marks it (it marks nothing else)."
HEAD = "Calibration target"


def result_rows(summary: Mapping[str, Any]) -> list[TableRow]:
    """Return the rows of the experiment in the paper's order, with marks."""
    differences = {name: row.get("difference", {}) for name, row in summary["rows"].items()}
    marks = mark_differences(differences, (WORSE, BETTER))
    return [TableRow(ROW_NAMES[name], row["metrics"], marks[name]) for name, row in summary["rows"].items()]


def paper_rows() -> tuple[list[TableRow], int]:
    """Return the paper's own rows and its number of test cases."""
    text = (resources.files("twintrack") / "data" / "paper_table1.json").read_text(encoding="utf-8")
    paper = json.loads(text)
    rows = []
    for name, shown in ROW_NAMES.items():
        means = paper["rows"][name]
        rows.append(TableRow(shown, means, {key: WORSE for key, value in means.items() if value.get("mark")}))
    return rows, int(paper["cases"])


def markdown_report(summary: Mapping[str, Any]) -> str:
    """Return ``table1.md`` for the content of ``summary.json``."""
    rows, (paper, cases) = result_rows(summary), paper_rows()
    baseline = constant_row(summary["rows"][REFERENCE]["metrics"])
    lines = ["# Table 1", "", f"{_caption(summary)} {LEGEND}"]
    for intervals in (False, True):
        lines += ["", *markdown_table([*rows, baseline], intervals=intervals, head=HEAD)]
    statements = vessel_lines(summary.get("vessels"))
    lines += ["", *statements] if statements else []
    lines += ["", "## How far the maps differ", "", *_maps(summary["maps"])]
    lines += ["", "## The paper's table", "", f"CURVAS-PDACVI test set, {cases} cases. {PAPER_LEGEND}"]
    for intervals in (False, True):
        lines += ["", *markdown_table(paper, intervals=intervals, head=HEAD)]
    lines += ["", "## Order of the rows, best first", "", *_orders(rows, paper)]
    if summary["warnings"]:
        lines += ["", "## To know", "", *(f"- {warning}" for warning in summary["warnings"])]
    return "\n".join(lines) + "\n"


def latex_report(summary: Mapping[str, Any]) -> str:
    """Return ``table1.tex``: both tables for a LaTeX document with booktabs."""
    parts = [f"% {_caption(summary)}"]
    for intervals in (False, True):
        baseline = constant_row(summary["rows"][REFERENCE]["metrics"])
        parts += [*latex_table([*result_rows(summary), baseline], intervals=intervals, head=HEAD), ""]
    return "\n".join(parts)


def _caption(summary: Mapping[str, Any]) -> str:
    data, bundle = summary["data"], summary["bundle"]
    source = "synthetic phantoms" if data["kind"] == "phantoms" else f"cases of {data['name']}"
    return (
        f"{summary['test_cases']} test and {summary['calibration_cases']} calibration {source}, bundle "
        f"{bundle['name']} {bundle['version']}, {summary['bins']} bins, single rater {summary['single_rater']}, "
        f"{summary['bootstrap']} resamples, seed {summary['seed']}."
    )


def _maps(maps: Mapping[str, Mapping[str, float]]) -> list[str]:
    """Say how far the other maps lie from the MHR map."""
    lines = [
        "By equations 2 to 4 of the paper, the mean of the raters' maps is the MHR map where no map needs pooling."
    ]
    for name, found in maps.items():
        gap, score = found["largest_difference"], found["at_score"]
        lines.append(f"- {ROW_NAMES[name]}: at most {gap:.3g} from the MHR map, at score {score:.3g}")
    return [lines[0], "", *lines[1:]]


def _orders(rows: Sequence[TableRow], paper: Sequence[TableRow]) -> list[str]:
    """Return a table with the order of the rows in every column, here and in the paper."""
    lines = []
    for key, (head, _) in SHOWN.items():
        here, there = _order(rows, key), _order(paper, key)
        lines.append([f"{head} {arrow(key)}", here, there, "same" if here == there else "differs"])
    return markdown_rows(["Metric", "here", "paper", ""], lines)


def _order(rows: Sequence[TableRow], key: str) -> str:
    """Return the rows from best to worst by what table 2 displays; equal ones joined by =."""
    values: dict[float, list[str]] = {}
    for row in rows:
        value = row.means.get(key)
        if value is not None:
            shown = round(value["bootstrap_mean"], SHOWN[key][1])
            values.setdefault(shown, []).append(row.name.split(" ")[0])
    ranked = sorted(values.items(), reverse=key in HIGHER_IS_BETTER)
    return ", ".join(" = ".join(names) for _, names in ranked) or "–"
