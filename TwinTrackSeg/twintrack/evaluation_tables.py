"""The summary of an evaluation as tables, in the layout of the paper's tables 1 and 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["latex_summary", "markdown_summary"]

SHOWN = {
    "tdsc": ("TDSC", 3),
    "ece": ("ECE", 4),
    "crps": ("CRPS", 1),
    "vi_porta": ("PORTA", 3),
    "vi_smv": ("SMV", 3),
    "vi_aorta": ("AORTA", 3),
    "vi_celiac": ("CELIAC", 3),
    "vi_sma": ("SMA", 3),
}
"""Heading and decimals of the paper's eight columns."""

HIGHER_IS_BETTER = frozenset({"tdsc", "dsc", "soft_dice", "dice_max", "dice_match", "surface_dice"})
"""All other metrics are errors or distances."""

NOTE = (
    "TDSC, ECE, CRPS (mm³) and the vascular distances (degrees) as the CURVAS-PDACVI protocol computes them. "
    "Means over resamples of the cases with 95 % percentile intervals"
)

Means = Mapping[str, Mapping[str, Any] | None]


def markdown_summary(summary: Mapping[str, Any]) -> str:
    """Return ``summary.md`` for the content of ``summary.json``."""
    caption = f"{NOTE} ({summary['cases']} cases, {summary['bootstrap']} resamples, seed {summary['seed']})."
    lines = ["# Evaluation", "", caption, "", *_markdown(_heads(), _rows(summary, intervals=False))]
    lines += ["", *_markdown(_heads(), _rows(summary, intervals=True))]
    if "compare" in summary:
        lines += ["", "† significantly worse: the 95 % interval of the paired difference excludes 0."]
    lines += ["", "## All metrics", "", *_all_metrics(summary)]
    if summary["warnings"]:
        lines += ["", "## To know", "", *(f"- {warning}" for warning in summary["warnings"])]
    return "\n".join(lines) + "\n"


def latex_summary(summary: Mapping[str, Any]) -> str:
    """Return ``summary.tex``: the same two tables for a LaTeX document with booktabs."""
    parts = [f"% {NOTE}; {summary['cases']} cases, {summary['bootstrap']} resamples, seed {summary['seed']}."]
    for intervals in (False, True):
        rows = [_heads(), *_rows(summary, intervals=intervals)]
        body = [" & ".join(_latex(cell) for cell in row) + r" \\" for row in rows]
        parts += [r"\begin{tabular}{l" + "r" * len(SHOWN) + "}", r"\toprule", body[0], r"\midrule"]
        parts += [*body[1:], r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join(parts)


def _heads() -> list[str]:
    arrows = ("↑" if key in HIGHER_IS_BETTER else "↓" for key in SHOWN)
    return ["Method", *(f"{head} {arrow}" for (head, _), arrow in zip(SHOWN.values(), arrows, strict=True))]


def _rows(summary: Mapping[str, Any], *, intervals: bool) -> list[list[str]]:
    """Return a row for the method and, in a comparison, one for the other method and one for the difference."""
    difference = summary["compare"]["difference"] if "compare" in summary else {}
    rows = [_row("evaluated", summary["metrics"], _worse(difference, sign=1), intervals)]
    if difference:
        rows.append(_row("compared with", summary["compare"]["metrics"], _worse(difference, sign=-1), intervals))
        rows.append(_row("difference", difference, frozenset(), intervals))
    return rows


def _worse(difference: Means, *, sign: int) -> frozenset[str]:
    """Return the metrics in which the method is significantly worse; `sign` -1 for the other one of the pair."""
    marked = {name: value for name, value in difference.items() if value is not None and value["excludes_zero"]}
    return frozenset(name for name, value in marked.items() if (value["mean"] * sign > 0) != (name in HIGHER_IS_BETTER))


def _row(name: str, means: Means, marked: frozenset[str], intervals: bool) -> list[str]:
    cells = (
        _cell(means.get(key), decimals, intervals) + ("†" if key in marked else "")
        for key, (_, decimals) in SHOWN.items()
    )
    return [name, *cells]


def _cell(value: Mapping[str, Any] | None, decimals: int, interval: bool) -> str:
    if value is None:
        return "–"
    mean = f"{value['bootstrap_mean']:.{decimals}f}"
    if not interval:
        return mean
    return f"{mean} {_interval(value, f'.{decimals}f')}"


def _interval(value: Mapping[str, Any], number: str) -> str:
    if value["low"] is None:
        return "[–]"
    return f"[{format(value['low'], number)}, {format(value['high'], number)}]"


def _all_metrics(summary: Mapping[str, Any]) -> list[str]:
    """Return a table with a line for every column of ``metrics.csv``."""
    difference = summary["compare"]["difference"] if "compare" in summary else None
    heads = ["Metric", "Mean", "95 % interval", "Cases"] + (["Difference", "95 % interval"] if difference else [])
    rows = []
    for name, value in summary["metrics"].items():
        if value is None:
            continue
        row = [f"{name} {'↑' if name in HIGHER_IS_BETTER else '↓'}", *_pair(value), str(value["cases"])]
        if difference:
            row += ["–", "–"] if difference[name] is None else _pair(difference[name])
        rows.append(row)
    return _markdown(heads, rows)


def _pair(value: Mapping[str, Any]) -> list[str]:
    return [f"{value['bootstrap_mean']:.4g}", _interval(value, ".4g")]


def _markdown(heads: list[str], rows: list[list[str]]) -> list[str]:
    lines = [heads, ["---"] + ["--:"] * (len(heads) - 1), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def _latex(cell: str) -> str:
    signs = {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "†": r"\textsuperscript{\dag}", "–": "--"}
    for sign, command in signs.items():
        cell = cell.replace(sign, command)
    return cell
