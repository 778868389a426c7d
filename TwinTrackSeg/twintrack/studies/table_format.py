"""Tables in the layout of the paper's tables 1 and 2: methods down, metrics across, best and worst highlighted."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = [
    "CONSTANT_ROW",
    "DESCRIPTIONS",
    "HIGHER_IS_BETTER",
    "INTERVALS",
    "MARKED",
    "METHOD_NAMES",
    "SHOWN",
    "Means",
    "TableRow",
    "arrow",
    "constant_row",
    "interval",
    "is_worse",
    "latex_table",
    "mark_differences",
    "markdown_rows",
    "markdown_table",
]

METHOD_NAMES = ("evaluated", "compared with")
"""What the methods of an evaluation are called if nobody names them."""

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
"""Heading and decimals (beside intervals) of the paper's eight columns."""

HIGHER_IS_BETTER = frozenset({"tdsc", "dsc", "soft_dice", "dice_max", "dice_match", "surface_dice"})
"""All other metrics but the descriptions are errors or distances."""

DESCRIPTIONS = frozenset({"raters_ml", "predicted_ml", "base_rate"})
"""Columns of ``metrics.csv`` that describe a case and are neither good nor bad."""

CONSTANT_ROW = "constant (base rate)"
"""Row of a map that knows nothing: everywhere in the box the fraction that the raters mark there on average."""

Means = Mapping[str, Mapping[str, Any] | None]

MARKED = (
    "the paired difference has p < 0.05 by sign flips and by the studentised bootstrap, corrected by Holm's method for "
    "all cells that can have a mark. Fewer than 6 cases have none. No mark does not mean that the methods are equal"
)
"""What a mark says."""

INTERVALS = "95 % intervals: percentiles of the means of resampled cases, moved out where cases are few"

_BEST, _WORST = 1, -1
_LATEX = {
    "\\": r"\textbackslash{}",
    **{sign: rf"\{sign}" for sign in "&%_#$"},
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "†": r"\textsuperscript{\dag}",
    "‡": r"\textsuperscript{\ddag}",
    "–": "--",
}


@dataclass(frozen=True)
class TableRow:
    """A method.

    Attributes
    ----------
    name : str
        What stands in front.
    means : mapping
        `BootstrapMean` as a dictionary, by column of ``metrics.csv``; None where a metric is undefined.
    marks : mapping
        Sign behind the value, by column.
    ranked : bool
        Whether it takes part in the search for best and worst.
    """

    name: str
    means: Means
    marks: Mapping[str, str] = field(default_factory=dict)
    ranked: bool = True


def constant_row(means: Means) -> TableRow:
    """Return the row of the constant map, which has calibration errors only."""
    from twintrack.metrics.case_metrics import CONSTANT

    shown = {key: means.get(f"{key}{CONSTANT}") for key in SHOWN}
    return TableRow(CONSTANT_ROW, shown, ranked=False)


def mark_differences(differences: Mapping[str, Means], marks: tuple[str, str]) -> dict[str, dict[str, str]]:
    """Return by row and column the mark of a significant difference: `marks` where it is worse, and where better."""
    from twintrack.metrics.paired_test import LEVEL

    found: dict[str, dict[str, str]] = {name: {} for name in differences}
    for name, means in differences.items():
        for key, value in means.items():
            chance = None if value is None else value.get("p_adjusted")
            if value is not None and chance is not None and chance < LEVEL:
                found[name][key] = marks[0] if is_worse(key, value["mean"]) else marks[1]
    return found


def markdown_table(rows: Sequence[TableRow], *, intervals: bool, head: str = "Method") -> list[str]:
    """Return the lines of a Markdown table: the best value in bold, the worst in italics."""
    styles: dict[int, Callable[[str], str]] = {_BEST: "**{}**".format, _WORST: "*{}*".format}
    return markdown_rows(_heads(head), _cells(rows, intervals, styles))


def latex_table(rows: Sequence[TableRow], *, intervals: bool, head: str = "Method") -> list[str]:
    """Return the lines of a LaTeX table (package booktabs): the best value in bold, the worst in italics."""
    styles: dict[int, Callable[[str], str]] = {_BEST: r"\textbf{{{}}}".format, _WORST: r"\textit{{{}}}".format}
    heads = [_latex(cell) for cell in _heads(head)]
    body = [" & ".join(line) + r" \\" for line in [heads, *_cells(rows, intervals, styles, _latex)]]
    begin = [r"\begin{tabular}{l" + "r" * len(SHOWN) + "}", r"\toprule", body[0], r"\midrule"]
    return [*begin, *body[1:], r"\bottomrule", r"\end{tabular}"]


def markdown_rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a plain Markdown table; all columns but the first are set flush right."""
    lines = [heads, ["---"] + ["--:"] * (len(heads) - 1), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


def arrow(metric: str) -> str:
    """Return ↑ where more is better, ↓ where less is, nothing where neither is."""
    return "" if metric in DESCRIPTIONS else "↑" if metric in HIGHER_IS_BETTER else "↓"


def interval(value: Mapping[str, Any], number: str) -> str:
    """Return the interval of a mean, both ends in the format `number`."""
    if value["low"] is None:
        return "[–]"
    return f"[{format(value['low'], number)}, {format(value['high'], number)}]"


def is_worse(metric: str, difference: float) -> bool:
    """Whether a metric that is higher by `difference` is worse."""
    return (difference > 0) != (metric in HIGHER_IS_BETTER)


def _heads(head: str) -> list[str]:
    return [head, *(f"{name} {arrow(key)}" for key, (name, _) in SHOWN.items())]


def _cells(
    rows: Sequence[TableRow],
    intervals: bool,
    styles: Mapping[int, Callable[[str], str]],
    escape: Callable[[str], str] = str,
) -> list[list[str]]:
    lines = [[escape(row.name)] for row in rows]
    for key in SHOWN:
        shown = [_shown(row.means.get(key), key, intervals) for row in rows]
        places = _places(key, [text if row.ranked else "–" for text, row in zip(shown, rows, strict=True)])
        for line, row, text, place in zip(lines, rows, shown, places, strict=True):
            value, mark = row.means.get(key), escape(row.marks.get(key, ""))
            cell = styles[place](escape(text)) if place in styles else escape(text)
            ends = f" {escape(interval(value, f'.{SHOWN[key][1]}f'))}" if intervals and value is not None else ""
            line.append(cell + mark + ends)
    return lines


def _shown(value: Mapping[str, Any] | None, key: str, intervals: bool) -> str:
    """Return a mean as displayed: as in table 2 beside an interval, shorter as in table 1 without."""
    if value is None:
        return "–"
    mean, decimals = value["bootstrap_mean"], SHOWN[key][1]
    if not intervals and key == "crps":
        decimals = 0
    elif not intervals and key.startswith("vi_"):
        decimals = 1 if mean >= 10 else 2
    return f"{mean:.{decimals}f}"


def _places(key: str, shown: Sequence[str]) -> list[int]:
    """Return for each displayed value whether it is the best or the worst; several may share a place."""
    values = [float(text) for text in shown if text != "–"]
    if len(set(values)) < 2:
        return [0] * len(shown)
    best, worst = (max, min) if key in HIGHER_IS_BETTER else (min, max)
    places = {worst(values): _WORST, best(values): _BEST}
    return [0 if text == "–" else places.get(float(text), 0) for text in shown]


def _latex(cell: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in cell)
