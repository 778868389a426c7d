"""The outcome of the experiment as files: metrics of every case, tables beside the paper's, maps and reliability."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twintrack.studies.evaluate.summary import difference_means, metric_means
from twintrack.studies.table1.tables import REFERENCE, latex_report, markdown_report
from twintrack.system.csv_cells import harmless

if TYPE_CHECKING:
    from twintrack.calibration import Calibrator, ReliabilityCurve

__all__ = ["FILES", "REFERENCE", "UNCALIBRATED", "TestScores", "summarize", "write_report"]

FILES = ("metrics.csv", "table1.md", "table1.tex", "reliability.png", "calibrators", "summary.json")
"""All that an experiment writes beside the folder with its cases."""

UNCALIBRATED = "none"
"""The row without calibration; the others are named by their target."""

DRAWN = {UNCALIBRATED: "score", REFERENCE: "map"}
"""Rows in the reliability picture, as in the paper's figure 2, and what kind of curve they are."""

LEVELS = 10_001
"""Scores at which two maps are compared."""


@dataclass(frozen=True)
class TestScores:
    """What was measured on a test case.

    Attributes
    ----------
    name : str
        Of the case.
    rows : mapping
        Metrics by column, by the name of the row.
    reliability : mapping
        Voxels (``counts``) and sums of the probability (``score``) and of the MHR (``mhr``) in uniform bins of the
        probability, by the name of the row.
    """

    __test__ = False  # no test class, whatever pytest reads from the name

    name: str
    rows: Mapping[str, Mapping[str, float | None]]
    reliability: Mapping[str, Mapping[str, Sequence[float]]]


def write_report(
    folder: Path, cases: Sequence[TestScores], calibrators: Mapping[str, Calibrator], about: Mapping[str, Any]
) -> None:
    """Write all `FILES` into a folder."""
    from twintrack.calibration import write_calibrator

    summary = {**about, **summarize(cases, resamples=about["bootstrap"], seed=about["seed"])}
    summary["maps"] = _map_differences(calibrators)
    summary["warnings"] = _warnings(about, calibrators, cases)
    _write_metrics(folder / "metrics.csv", cases)
    (folder / "calibrators").mkdir()
    for name, calibrator in calibrators.items():
        write_calibrator(calibrator, folder / "calibrators" / f"{name}.json")
    (folder / "table1.md").write_text(markdown_report(summary), encoding="utf-8")
    (folder / "table1.tex").write_text(latex_report(summary), encoding="utf-8")
    _draw(folder / "reliability.png", cases)
    (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def summarize(cases: Sequence[TestScores], *, resamples: int, seed: int) -> dict[str, Any]:
    """Return for every row the means over the cases and those of the paired difference to `REFERENCE`, as JSON values.

    All rows and differences see the same resamples of the cases.
    """
    columns = tuple(cases[0].rows[REFERENCE])
    values = {name: _values(cases, name) for name in cases[0].rows}
    rows = {name: {"metrics": metric_means(columns, found, resamples, seed)} for name, found in values.items()}
    gaps = {name: found - values[REFERENCE] for name, found in values.items() if name != REFERENCE}
    for name, difference in difference_means(columns, gaps, resamples, seed).items():
        rows[name]["difference"] = difference
    return {"reference": REFERENCE, "rows": rows}


def _values(cases: Sequence[TestScores], name: str) -> NDArray[np.float64]:
    """Return the metrics of a row as float64 (case, metric); NaN where one is undefined."""
    return np.array(
        [[np.nan if value is None else value for value in case.rows[name].values()] for case in cases], dtype=float
    )


def _map_differences(calibrators: Mapping[str, Calibrator]) -> dict[str, Any]:
    """Say how far every map lies from the `REFERENCE` map, and where most."""
    scores = np.linspace(0, 1, LEVELS, dtype=np.float32)[1:]
    reference = calibrators[REFERENCE](scores)
    found = {}
    for name, calibrator in calibrators.items():
        gap = np.abs(calibrator(scores) - reference)
        if name != REFERENCE:
            found[name] = {"largest_difference": float(gap.max()), "at_score": float(scores[gap.argmax()])}
    return found


def _warnings(
    about: Mapping[str, Any], calibrators: Mapping[str, Calibrator], cases: Sequence[TestScores]
) -> list[str]:
    warnings = list(calibrators[REFERENCE].warnings)
    if about["bundle"]["demo"] and about["data"]["kind"] == "manifest":
        warnings.append("the demo bundle knows synthetic phantoms only; on patients its numbers mean nothing")
    empty = [case.name for case in cases if case.rows[UNCALIBRATED]["predicted_ml"] == 0]
    if empty:
        warnings.append(f"the score of {', '.join(empty)} is 0 everywhere, most likely because no organ was found")
    untouched = [case.name for case in cases if case.rows[UNCALIBRATED]["raters_ml"] == 0]
    if untouched:
        warnings.append(f"no rater marked tumour in {', '.join(untouched)}")
    return warnings


def _write_metrics(path: Path, cases: Sequence[TestScores]) -> None:
    """Write a line for every row of every case: full precision, nothing where a metric is undefined."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("calibration", "case", *cases[0].rows[REFERENCE]))
        for name in cases[0].rows:
            for case in cases:
                values = case.rows[name].values()
                writer.writerow(
                    (name, harmless(case.name), *("" if value is None else repr(value) for value in values))
                )


def _draw(path: Path, cases: Sequence[TestScores]) -> None:
    from twintrack.calibration import plot_reliability

    curves = {kind: _curve([case.reliability[name] for case in cases]) for name, kind in DRAWN.items()}
    plot_reliability(path, curves, titles={"map": "calibrated to the MHR"})


def _curve(parts: Sequence[Mapping[str, Sequence[float]]]) -> ReliabilityCurve:
    """Return the curve of all cases together from the sums of each."""
    from twintrack.calibration import ReliabilityCurve

    counts, score, mhr = (np.sum([part[name] for part in parts], axis=0) for name in ("counts", "score", "mhr"))
    divisor = np.where(counts > 0, counts, np.nan)
    return ReliabilityCurve(
        edges=np.linspace(0.0, 1.0, len(counts) + 1),
        counts=counts.astype(np.int64),
        score=score / divisor,
        mhr=mhr / divisor,
        mass=counts.astype(float),
    )
