"""The comparison as files: a line for each case, tables, a summary for programs, and pictures."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from twintrack.metrics.rater_pairs_ece import BINS
from twintrack.studies.raters.comparison import AFTER, BEFORE, METRICS, Runs
from twintrack.studies.table_format import markdown_rows
from twintrack.system.csv_cells import harmless

__all__ = ["FILES", "markdown_report", "write_report"]

FILES = ("comparison.csv", "table.md", "summary.json", "reliability.png", "raters.png")
"""All that the experiment writes beside the folder with its runs; ``raters.png`` where networks stand for raters."""

TITLES = {BEFORE: "Before calibration", AFTER: "After the isotonic calibrator"}

_BINNED = ("mr_ece", "mr_ece_top", "d_ece", "mae_ambiguous")
"""Metrics that are pooled over cases: their columns of a case hold what the pool is made from."""

_DPI = 110


def write_report(folder: Path, summary: Mapping[str, Any], runs: Runs, cases: Sequence[str]) -> None:
    """Write all `FILES` into a folder.

    Parameters
    ----------
    folder : Path
        Exists.
    summary : mapping
        Content of ``summary.json``.
    runs : Runs
        Scores of the test cases.
    cases : sequence of str
        Their names.
    """
    _write_cases(folder / "comparison.csv", runs, cases)
    (folder / "table.md").write_text(markdown_report(summary), encoding="utf-8")
    _draw_reliability(folder / "reliability.png", runs)
    _draw_raters(folder / "raters.png", runs)
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def markdown_report(summary: Mapping[str, Any]) -> str:
    """Return ``table.md`` for the content of ``summary.json``."""
    lines = ["# Ways to train on several raters", "", _caption(summary)]
    for when, title in TITLES.items():
        lines += ["", f"## {title}", "", *_table(summary["strategies"], when)]
    lines += ["", "## Ratios", "", _RATIOS, "", *_ratios(summary["comparisons"])]
    lines += _statements(summary["statements"])
    if summary["warnings"]:
        lines += ["", "## To know", "", *(f"- {warning}" for warning in summary["warnings"])]
    return "\n".join(lines) + "\n"


_RATIOS = (
    "A metric of the first strategy divided by the second's, with a 95 % interval over paired test cases and training "
    "seeds (few seeds: it is rather too narrow), and the ratio of each training seed. Errors: below 1 is better."
)


def _caption(summary: Mapping[str, Any]) -> str:
    counts = summary["cases"]
    source = summary["data"]["kind"]
    networks = ", ".join(f"{name} {count}" for name, count in summary["networks"].items())
    return (
        f"{counts['train']} training, {counts['calibration']} calibration and {counts['test']} test {source}, raters "
        f"{', '.join(summary['raters'])}; preset {summary['preset']}, training seeds "
        f"{', '.join(map(str, summary['seeds']))}; networks of each strategy: {networks}. Means over cases and seeds; "
        "errors pooled over cases where one case says little."
    )


def _table(strategies: Mapping[str, Any], when: str) -> list[str]:
    shown = [m for m in METRICS if any(found[when][m.name] is not None for found in strategies.values())]
    heads = ["Strategy", *(f"{m.title} {'↑' if m.higher else '↓'}" for m in shown)]
    rows = []
    for name, found in strategies.items():
        row = [name]
        for metric in shown:
            value = found[when][metric.name]
            row.append("–" if value is None else f"{value['mean']:.{metric.digits}f}")
        rows.append(row)
    for column, metric in enumerate(shown, start=1):
        numbers = [float(row[column]) for row in rows if row[column] != "–"]
        if len(set(numbers)) > 1:
            best = max(numbers) if metric.higher else min(numbers)
            for row in rows:
                if row[column] != "–" and float(row[column]) == best:
                    row[column] = f"**{row[column]}**"
    return markdown_rows(heads, rows)


def _ratios(comparisons: Sequence[Mapping[str, Any]]) -> list[str]:
    titles = {metric.name: metric.title for metric in METRICS}
    rows = [
        [
            f"{one['strategy']} / {one['against']}",
            f"{titles[one['metric']]}, {one['when']}",
            f"{one['ratio']:.2f}",
            f"[{one['low']:.2f}, {one['high']:.2f}]",
            ", ".join(f"{value:.2f}" for value in one["seeds"]),
        ]
        for one in comparisons
    ]
    return markdown_rows(["Strategies", "Metric", "Ratio", "95 %", "Seeds"], rows)


def _statements(found: Mapping[str, Mapping[str, Any] | None]) -> list[str]:
    """Return the table of what is said of vessels, on the reference vessels, by strategy; nothing without vessels."""
    known = {name: one for name, one in found.items() if one is not None}
    if not known:
        return []
    first = next(iter(known.values()))["methods"]["map"]
    rows = []
    for name, one in known.items():
        for method, title in _METHODS.items():
            if method in one["methods"] and (method != "base_rate" or name == next(iter(known))):
                rows.append([title.format(name), *_statement_cells(one["methods"][method])])
    heads = [
        "Fractions of raters",
        "contact: calibration error",
        "Brier",
        "over 180°: calibration error",
        "Brier",
        "CRPS",
    ]
    notes = {one["note"] for one in known.values() if one["note"] is not None}
    about = (
        f"Fractions of raters whose tumour touches a vessel, and goes more than 180 degrees around it, against the "
        f"raters' own masks: {first['vessels']} reference vessels of {first['cases']} test cases. Calibration errors: "
        "over the vessels with more than 2 % shown; CRPS: over all angles, in turns. First training seed."
    )
    lines = ["", "## What is said of vessels", "", about, "", *markdown_rows(heads, rows)]
    return lines + [line for note in sorted(notes) for line in ("", f"No statements were calibrated: {note}.")]


def _statement_cells(of: Mapping[str, Any]) -> list[str]:
    numbers = [of[kind][what] for kind in ("contact", "encased") for what in ("calibration_error", "brier")]
    return [*("–" if value is None else f"{value:.3f}" for value in numbers), f"{of['crps']:.4f}"]


_METHODS = {
    "calibrated": "{}: calibrated statements",
    "map": "{}: read from its map",
    "outlines": "{}: fraction of its readers' outlines",
    "calibrated_outlines": "{}: that fraction, calibrated",
    "base_rate": "fraction for the vessel's name",
}


def _write_cases(path: Path, runs: Runs, cases: Sequence[str]) -> None:
    """Write a line for each strategy, seed, calibration and case; full precision, nothing where one is undefined.

    Of metrics that are pooled, the columns hold the case's own: the pool is no mean of them.
    """
    own = [metric.name for metric in METRICS if metric.name not in _BINNED]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("strategy", "seed", "calibration", "case", *own, "ambiguous_error", "ambiguous_voxels"))
        for strategy, seeds in runs.items():
            for seed, run in seeds.items():
                for when, records in run.items():
                    for case, record in zip(cases, records, strict=True):
                        values = [record["values"][name] for name in own] + record["ambiguous"]
                        cells = ("" if value is None else repr(value) for value in values)
                        writer.writerow((strategy, seed, when, harmless(case), *cells))


def _draw_reliability(path: Path, runs: Runs) -> None:
    """Draw the fraction of raters against what the map says, before and after, a line for each strategy."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 5.2), dpi=_DPI)
    FigureCanvasAgg(figure)
    for place, (when, title) in enumerate(TITLES.items(), start=1):
        axes = figure.add_subplot(1, 2, place)
        axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, linestyle="--")
        for name, seeds in runs.items():
            bins = np.sum([np.array(record["bins"]) for run in seeds.values() for record in run[when]], axis=0)
            counts, confidence, right = bins.reshape(3, BINS // 5, 5).sum(axis=2)
            known = counts > 0
            axes.plot(confidence[known] / counts[known], right[known] / counts[known], marker="o", ms=3.5, label=name)
        axes.set(xlabel="map: fraction of raters", ylabel="raters who mark the voxel", title=title)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.legend(loc="lower right", fontsize=8, frameon=False)
    figure.subplots_adjust(left=0.06, right=0.98, bottom=0.1, top=0.92, wspace=0.2)
    figure.savefig(path)


def _draw_raters(path: Path, runs: Runs) -> None:
    """Draw the mean Dice score of each rater's network with each rater, for the strategies that have such networks."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    tables = {name: found for name, seeds in runs.items() if (found := _rater_table(seeds)) is not None}
    if not tables:
        return
    figure = Figure(figsize=(1.2 + 3.9 * len(tables), 4.2), dpi=_DPI)
    FigureCanvasAgg(figure)
    for place, (name, (raters, dice)) in enumerate(tables.items(), start=1):
        axes = figure.add_subplot(1, len(tables), place)
        axes.imshow(dice, vmin=0.4, vmax=1.0, cmap="viridis")
        for (row, column), value in np.ndenumerate(dice):
            axes.text(
                column, row, f"{value:.2f}", ha="center", va="center", color="w" if value < 0.8 else "k", fontsize=9
            )
        axes.set_xticks(range(len(raters)), raters)
        axes.set_yticks(range(len(raters)), raters)
        axes.set(xlabel="mask of rater", ylabel="network of rater", title=f"{name}: Dice")
    figure.subplots_adjust(left=0.6 / (1.2 + 3.9 * len(tables)), right=0.98, bottom=0.12, top=0.9, wspace=0.25)
    figure.savefig(path)


def _rater_table(seeds: Mapping[int, Mapping[str, Sequence[Mapping[str, Any]]]]) -> tuple[list[str], Any] | None:
    """Return the raters and the mean Dice score (network's rater, rater); None where networks stand for nobody."""
    found = [record["rater_dice"] for run in seeds.values() for record in run[BEFORE] if record["rater_dice"]]
    if not found:
        return None
    raters = list(found[0])
    mean = [
        [np.mean([one[row][column] for one in found if column in one.get(row, {})] or [np.nan]) for column in raters]
        for row in raters
    ]
    return raters, np.array(mean)
