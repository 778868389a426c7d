"""Score the maps of a manifest: the CURVAS-PDACVI protocol and further metrics, with intervals over cases."""

from __future__ import annotations

import csv
import json
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TextIO

import numpy as np

from twintrack.errors import InputError
from twintrack.io.manifest import ManifestInputs, ManifestRows, scan_manifest
from twintrack.labels import VESSEL_VALUES
from twintrack.metrics import CandidatePool
from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part
from twintrack.raters import same_voxels_warning
from twintrack.studies.evaluate.cases import DrawnSketches, MetricsRow, score_rows
from twintrack.studies.evaluate.summary import CohortScores, summarize_cohort
from twintrack.studies.evaluate.tables import latex_summary, markdown_summary
from twintrack.studies.evaluate.vessel_statements import VesselEvaluation
from twintrack.studies.map_cases import MapCases, one_by_one
from twintrack.studies.table_format import METHOD_NAMES
from twintrack.system.atomic import atomic_folder, check_output_folder
from twintrack.system.csv_cells import harmless

__all__ = ["CohortScores", "evaluate_manifest", "score_cohort"]

COMMAND = "evaluate"
FILES = ("metrics.csv", "metrics_compare.csv", "summary.json", "summary.md", "summary.tex", "reliability.png")

MOST_NAMED = 20
"""Cases that a warning names."""

LONGEST_NAME = 60
"""Characters of a method's name."""


def evaluate_manifest(
    manifest: str | Path,
    out: str | Path,
    *,
    bootstrap: int = 5000,
    seed: int = 0,
    compare: str | Path | None = None,
    name: str = METHOD_NAMES[0],
    compare_name: str = METHOD_NAMES[1],
    vessel_names: Mapping[str, int | str] | None = None,
    map_cases: MapCases = one_by_one,
    overwrite: bool = False,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Path:
    """Write the metrics of every case and their summary into a folder; return the folder.

    `FILES` names what is written: the metrics of every case, the summary as JSON, Markdown and LaTeX, and a reliability
    picture. One case is in memory at a time, and its metrics are written as soon as they are there.

    Parameters
    ----------
    manifest : path
        Rows with ``probability`` and ``annotation_<NAME>`` for every rater; optional ``vessels`` (values as in
        `VESSEL_VALUES`), ``binary`` (for the DSC; by default the probability above 0.5) and ``score`` (drawn
        in the reliability picture beside the probability).
    out : path
        Result folder.
    bootstrap, seed : int
        Resamples of the cases for the 95 % intervals.
    compare : path, optional
        A manifest with the same cases and another method's probability: adds the paired difference to it.
    name, compare_name : str
        What the two methods are called in tables and picture.
    vessel_names : mapping, optional
        Value of each vessel in the column ``vessels``, or what the file calls it; by default the names that a file has
        inside, and the numbering of CURVAS where it has none.
    map_cases : MapCases
        Shares the cases out; by default one after the other in this process.
    overwrite : bool
        Whether other files at the places of `FILES` are replaced; never those that are read.

    Raises
    ------
    InputError
        If a manifest or a file in it cannot be used; row and file are named.
    """
    if bootstrap < 1:
        raise InputError(
            f"the number of bootstrap resamples must be at least 1, got {bootstrap}", code="resamples-range"
        )
    unknown = [name for name in vessel_names or () if name.upper() not in VESSEL_VALUES]
    if unknown:
        raise InputError(
            f"{unknown[0]!r} is not a vessel of the protocol; it has {', '.join(VESSEL_VALUES)}", code="vessel-unknown"
        )
    names = (_method_name(name), _method_name(compare_name))
    rows = _rows(manifest)
    others = None if compare is None else _rows(compare)
    if others is not None:
        _check_pairs(rows, others)
    span = 0.96 if others is None else 0.48
    inputs = ManifestInputs((rows,) if others is None else (rows, others))
    check_output_folder(out, FILES, command=COMMAND, inputs=inputs, overwrite=overwrite)
    with atomic_folder(out, command=COMMAND, last="summary.json", inputs=inputs, overwrite=overwrite) as folder:
        score = partial(score_cohort, map_cases=map_cases, cancel=cancel, vessel_names=vessel_names)
        ours = score(rows, folder / "metrics.csv", progress=part(progress, 0.0, span))
        other = None
        if others is not None:
            other = score(others, folder / "metrics_compare.csv", progress=part(progress, span, 0.96))
        progress(0.96, "resampling cases")
        summary = summarize_cohort(ours, other, bootstrap, seed, names)
        (folder / "summary.md").write_text(markdown_summary(summary), encoding="utf-8")
        (folder / "summary.tex").write_text(latex_summary(summary), encoding="utf-8")
        _draw(folder / "reliability.png", ours, other, names)
        (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    progress(1.0, "evaluation written")
    return Path(out)


def _method_name(name: str) -> str:
    """Return the name of a method, which stands in tables and picture."""
    text = name.strip()
    if not 1 <= len(text) <= LONGEST_NAME or not text.isprintable() or "|" in text or "$" in text:
        raise InputError(
            f"a method's name must have 1 to {LONGEST_NAME} printable characters without '|' and '$', "
            f"got {name[:LONGEST_NAME]!r}",
            code="method-name",
        )
    return text


def _rows(manifest: str | Path) -> ManifestRows:
    return scan_manifest(manifest, needs=("probability",), annotated=True, optional=("vessels", "binary"))


def _check_pairs(ours: ManifestRows, others: ManifestRows) -> None:
    """Refuse manifests of different cases."""
    cases, theirs = ({row.case for row in rows} for rows in (ours, others))
    if cases == theirs:
        return
    names = ", ".join(sorted(cases ^ theirs)[:5])
    if {case.lstrip("0") for case in cases} == {case.lstrip("0") for case in theirs}:
        raise InputError(
            f"has the cases of {ours.path} but for leading zeros, which spreadsheets drop ({names}); write them alike",
            code="zeros-lost",
            path=others.path,
        )
    raise InputError(
        f"has other cases than {ours.path} ({names}); a paired comparison needs the same",
        code="cases-differ",
        path=others.path,
    )


def score_cohort(
    rows: ManifestRows,
    metrics: Path,
    map_cases: MapCases = one_by_one,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    vessel_names: Mapping[str, int | str] | None = None,
) -> CohortScores:
    """Write the metrics of all cases to the file `metrics` as they come, and return what a summary needs of them."""
    drawn = tuple(column for column in ("probability", "score") if all(column in row.files for row in rows))
    with metrics.open("w", newline="", encoding="utf-8") as stream:
        table = _Table(stream)
        work = partial(score_rows, drawn=drawn, vessel_names=vessel_names)
        found: DrawnSketches = map_cases(work, rows, progress, cancel or CancelToken(), table.add)
    if len(table.untouched) == len(rows):
        raise InputError(
            "no annotation of any case holds tumour, so there is nothing to compare with",
            code="no-tumour-marked",
            path=rows.path,
        )
    return CohortScores(
        rows.path,
        tuple(table.cases),
        table.columns,
        np.frombuffer(table.values).reshape(len(table.cases), len(table.columns)),
        table.candidates,
        found.by_column,
        tuple(_warnings(table, rows.raters)),
        rows.assumed,
        tuple(table.vessels),
    )


@dataclass
class _Table:
    """Writes ``metrics.csv`` case by case, numbers in full precision, nothing where one is undefined.

    The rows are not kept, but their numbers: resampling the cases needs them all.
    """

    stream: TextIO
    cases: list[str] = field(default_factory=list)
    columns: tuple[str, ...] = ()
    values: array[float] = field(default_factory=lambda: array("d"))
    candidates: CandidatePool = field(default_factory=CandidatePool)
    untouched: list[str] = field(default_factory=list)
    single_rater: list[str] = field(default_factory=list)
    read_by: Counter[str] = field(default_factory=Counter)
    alike: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    vessels: list[VesselEvaluation] = field(default_factory=list)

    def add(self, scored: Sequence[MetricsRow]) -> None:
        """Take the next cases."""
        writer = csv.writer(self.stream)
        for one in scored:
            if not self.columns:
                self.columns = tuple(one.metrics)
                writer.writerow(("case", *self.columns))
            numbers = [one.metrics[column] for column in self.columns]
            writer.writerow((harmless(one.case), *("" if value is None else repr(value) for value in numbers)))
            self.values.extend(np.nan if value is None else value for value in numbers)
            self.cases.append(one.case)
            self.candidates.add(one.candidates)
            if one.untouched:
                self.untouched.append(one.case)
            if len(one.raters) == 1:
                self.single_rater.append(one.case)
            self.read_by.update(one.raters)
            self.notes += one.notes
            self.vessels.append(one.vessels)
            for pair in one.alike:
                self.alike.setdefault(pair, []).append(one.case)


def _warnings(table: _Table, raters: Sequence[str]) -> Iterator[str]:
    """Say what a reader of the numbers has to know; `raters` are those who have a column."""
    cases = len(table.cases)
    missing = [(rater, cases - table.read_by[rater]) for rater in raters if table.read_by[rater] < cases]
    for rater, number in missing[:MOST_NAMED]:
        yield f"rater {rater} is missing in {number} of {cases} cases"
    if len(missing) > MOST_NAMED:
        yield f"{len(missing) - MOST_NAMED} more raters are missing in some cases"
    for number, ((one, other), names) in enumerate(table.alike.items()):
        if number == MOST_NAMED:
            yield f"{len(table.alike) - MOST_NAMED} more pairs of raters marked the very same voxels in some cases"
            break
        yield same_voxels_warning(one, other, _some(names))
    yield from table.notes[:MOST_NAMED]
    if len(table.notes) > MOST_NAMED:
        yield f"{len(table.notes) - MOST_NAMED} more notes on single cases"
    untouched, single_rater = table.untouched, table.single_rater
    if cases == 1:
        yield "one case only: no interval over cases can be given"
    if untouched:
        yield f"no rater marked tumour in {_some(untouched)}: no ECE, CRPS 0 by the protocol's rule"
    if single_rater:
        yield f"one rater only in {_some(single_rater)}: the protocol's CRPS is 0 there, whatever was predicted"


def _some(cases: list[str]) -> str:
    """Name some cases, and say how many more there are."""
    more = len(cases) - MOST_NAMED
    return ", ".join(cases[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _draw(path: Path, ours: CohortScores, other: CohortScores | None, names: tuple[str, str]) -> None:
    """Draw the reliability of every sketched map against the MHR; one that is 0 everywhere has no curve."""
    from twintrack.calibration import plot_reliability, reliability_curve

    sketches = {"map": ours.sketches["probability"]}
    if "score" in ours.sketches:
        sketches["score"] = ours.sketches["score"]
    if other is not None:
        sketches["compared"] = other.sketches["probability"]
    curves = {role: reliability_curve(sketch) for role, sketch in sketches.items() if sketch.voxels}
    titles = {"compared": names[1]} | ({} if names[0] == METHOD_NAMES[0] else {"map": names[0]})
    plot_reliability(path, curves, titles=titles)
