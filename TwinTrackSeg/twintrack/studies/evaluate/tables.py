"""The summary of an evaluation as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twintrack.studies.table_format import (
    DESCRIPTIONS,
    Means,
    TableRow,
    arrow,
    interval,
    is_worse,
    latex_table,
    markdown_rows,
    markdown_table,
)

__all__ = ["NOTE", "latex_summary", "markdown_summary"]

NOTE = (
    "TDSC, ECE, CRPS (mm³) and the vascular distances (degrees) as the CURVAS-PDACVI protocol computes them. "
    "Means over resamples of the cases with 95 % percentile intervals"
)

COMPARED = (
    "† significantly worse: the 95 % interval of the paired difference excludes 0. Best displayed value in bold, worst "
    "in italics."
)


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
    rows = [TableRow("evaluated", summary["metrics"], _worse(difference, sign=1))]
    if difference:
        rows.append(TableRow("compared with", summary["compare"]["metrics"], _worse(difference, sign=-1)))
        rows.append(TableRow("difference", difference, ranked=False))
    return rows


def _worse(difference: Means, *, sign: int) -> dict[str, str]:
    """Mark the metrics in which the method is significantly worse; `sign` -1 for the other one of the pair."""
    marked = {name: value for name, value in difference.items() if value is not None and value["excludes_zero"]}
    return {name: "†" for name, value in marked.items() if is_worse(name, value["mean"] * sign)}


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
        if value is None:
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
        text += f"; compared method: {_pair(other['d_ece'])[0]} of {other['candidates']} candidates"
    return [f"{text}. The column `d_ece` has it case by case, where few candidates make it noisy."]


def _pair(value: Mapping[str, Any]) -> list[str]:
    return [f"{value['bootstrap_mean']:.4g}", interval(value, ".4g")]
