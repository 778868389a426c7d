"""The summary of an evaluation as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twintrack.metrics.case_metrics import CONSTANT
from twintrack.studies.evaluate.vessel_statements import vessel_tables
from twintrack.studies.table_format import (
    CONSTANT_ROW,
    DESCRIPTIONS,
    INTERVALS,
    MARKED,
    SHOWN,
    TableRow,
    arrow,
    constant_row,
    interval,
    latex_table,
    mark_differences,
    markdown_rows,
    markdown_table,
)

__all__ = ["NOTE", "latex_summary", "markdown_summary"]

NOTE = (
    "TDSC, ECE, CRPS (mm³) and the vascular distances (degrees) as the CURVAS-PDACVI protocol computes them. "
    f"Means over resamples of the cases; {INTERVALS}"
)

COMPARED = f"† significantly worse: {MARKED}. Best displayed value in bold, worst in italics."

CALIBRATION = (
    "ECE is the protocol's error of the more likely class, ece_corrected the same without its faults (box, single "
    "precision). The others look at the probability of tumour: mhr_gap is the mean distance to the fraction of raters, "
    "rater_gap to each rater's marks, in 50 bins. A constant map says the same in every voxel of the box: the fraction "
    "that the raters mark there on average (base_rate). It finds no tumour and yet its gaps are small: a gap alone "
    "says nothing of what a map is worth, only brier also counts what it knows of the place."
)


OURS, THEIRS = "ours", "theirs"
"""Which of a pair a mark belongs to."""


def markdown_summary(summary: Mapping[str, Any]) -> str:
    """Return ``summary.md`` for the content of ``summary.json``."""
    caption = f"{NOTE} ({summary['cases']} cases, {summary['bootstrap']} resamples, seed {summary['seed']})."
    rows = _rows(summary)
    lines = ["# Evaluation", "", caption, ""]
    if summary["warnings"]:
        lines += ["To know:", "", *(f"- {warning}" for warning in summary["warnings"]), ""]
    lines += markdown_table(rows, intervals=False)
    lines += ["", *markdown_table(rows, intervals=True)]
    if "compare" in summary:
        lines += ["", COMPARED]
    lines += ["", "## Calibration", "", CALIBRATION, "", *_calibration(summary)]
    lines += vessel_tables(summary.get("vessels"))
    if "compare" in summary and (summary["compare"].get("vessels") or {}).get("statements") is not None:
        lines += ["", f"### {summary['compare']['name']}"]
        lines += vessel_tables({"agreement": None, "statements": summary["compare"]["vessels"]["statements"]})
    lines += ["", "## By tumour size", "", *_strata(summary["strata"])]
    lines += ["", "## All metrics", "", *_all_metrics(summary), "", *_detection(summary)]
    return "\n".join(lines) + "\n"


def latex_summary(summary: Mapping[str, Any]) -> str:
    """Return ``summary.tex``: the same two tables for a LaTeX document with booktabs."""
    parts = [f"% {NOTE}; {summary['cases']} cases, {summary['bootstrap']} resamples, seed {summary['seed']}."]
    for intervals in (False, True):
        parts += [*latex_table(_rows(summary), intervals=intervals), ""]
    return "\n".join(parts)


def _rows(summary: Mapping[str, Any]) -> list[TableRow]:
    """Return a row for the method and, in a comparison, one for the other method and one for the difference."""
    difference = summary["compare"]["difference"] if "compare" in summary else {}
    marks = mark_differences({"": difference}, (OURS, THEIRS))[""]
    rows = [TableRow(summary["name"], summary["metrics"], _of(marks, OURS))]
    if difference:
        rows.append(TableRow(summary["compare"]["name"], summary["compare"]["metrics"], _of(marks, THEIRS)))
        rows.append(TableRow("difference", difference, ranked=False))
    return [*rows, constant_row(summary["metrics"])]


def _of(marks: Mapping[str, str], whose: str) -> dict[str, str]:
    return {name: "†" for name, worse in marks.items() if worse == whose}


def _calibration(summary: Mapping[str, Any]) -> list[str]:
    """Return a table of the calibration errors with those of the constant map beside them."""
    methods = [(summary["name"], summary["metrics"])]
    if "compare" in summary:
        methods.append((summary["compare"]["name"], summary["compare"]["metrics"]))
    rows = []
    for name in (key.removesuffix(CONSTANT) for key in summary["metrics"] if key.endswith(CONSTANT)):
        values = [means[name] for _, means in methods] + [summary["metrics"][f"{name}{CONSTANT}"]]
        title = SHOWN[name][0] if name in SHOWN else name
        rows.append([f"{title} {arrow(name)}", *("–" if value is None else " ".join(_pair(value)) for value in values)])
    return markdown_rows(["Metric", *(name for name, _ in methods), CONSTANT_ROW], rows)


def _strata(strata: Mapping[str, Any]) -> list[str]:
    rows = [TableRow(f"{part['name']} ({part['cases']})", part["metrics"], ranked=False) for part in strata["parts"]]
    head = "Equivalent diameter (cases)"
    return [strata["note"], "", *markdown_table(rows, intervals=False, head=head)]


def _all_metrics(summary: Mapping[str, Any]) -> list[str]:
    """Return a table with a line for every column of ``metrics.csv``."""
    difference = summary["compare"]["difference"] if "compare" in summary else None
    heads = ["Metric", "Mean", "95 % interval", "Cases"] + (["Difference", "95 % interval"] if difference else [])
    rows = []
    for name, value in summary["metrics"].items():
        if value is None or name.endswith(CONSTANT):
            continue
        row = [f"{name} {arrow(name)}".strip(), *_pair(value), str(value["cases"])]
        if difference:
            known = difference[name] is not None and name not in DESCRIPTIONS
            row += _pair(difference[name]) if known else ["–", "–"]
        rows.append(row)
    return markdown_rows(heads, rows)


def _detection(summary: Mapping[str, Any]) -> list[str]:
    """Say how well lesion candidates of all cases together are calibrated."""
    found = summary["detection"]
    if found["d_ece"] is None:
        return ["No lesion candidate in any case, so there is no detection calibration error."]
    mean, ends = _pair(found["d_ece"])
    text = f"Detection calibration error (D-ECE) of all {found['candidates']} lesion candidates together: {mean} {ends}"
    if "compare" in summary and summary["compare"]["detection"]["d_ece"] is not None:
        other = summary["compare"]["detection"]
        name = summary["compare"]["name"]
        text += f"; {name}: {_pair(other['d_ece'])[0]} of {other['candidates']} candidates"
    return [f"{text}. The column `d_ece` has it case by case, where few candidates make it noisy."]


def _pair(value: Mapping[str, Any]) -> list[str]:
    return [f"{value['bootstrap_mean']:.4g}", interval(value, ".4g")]
