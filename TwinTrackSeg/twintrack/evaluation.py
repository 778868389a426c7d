"""Score the maps of a manifest: the CURVAS-PDACVI protocol and further metrics, with intervals over cases."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from twintrack.atomic import atomic_folder
from twintrack.csv_cells import harmless
from twintrack.errors import InputError
from twintrack.evaluation_summary import CohortScores, summarise_cohort
from twintrack.evaluation_tables import latex_summary, markdown_summary
from twintrack.manifest import ManifestRow, located, read_annotations, read_manifest
from twintrack.progress import CancelToken, Progress, no_progress, part
from twintrack.settings import DEFAULT_VESSEL_NAMES
from twintrack.spreading import Spread, one_by_one
from twintrack.volume import Volume, read_volume

if TYPE_CHECKING:
    from twintrack.calibration import ScoreSketch
    from twintrack.metrics import CaseMetrics

__all__ = ["CohortScores", "ScoredRows", "evaluate_manifest", "score_cohort", "score_rows", "write_metrics"]

FILES = ("metrics.csv", "metrics_compare.csv", "summary.json", "summary.md", "summary.tex", "reliability.png")


def evaluate_manifest(
    manifest: str | Path,
    out: str | Path,
    *,
    bootstrap: int = 5000,
    seed: int = 0,
    compare: str | Path | None = None,
    spread: Spread = one_by_one,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Path:
    """Write the metrics of every case and their summary into a folder; return the folder.

    `FILES` names what is written: the metrics of every case, the summary as JSON, Markdown and LaTeX, and a reliability
    picture. One case is in memory at a time.

    Parameters
    ----------
    manifest : path
        Rows with ``probability`` and ``annotation_1 ... annotation_N``; optional ``vessels`` (values as in
        `DEFAULT_VESSEL_NAMES`), ``binary`` (for the DSC; by default the probability above 0.5) and ``score`` (drawn
        in the reliability picture beside the probability).
    out : path
        Result folder.
    bootstrap, seed : int
        Resamples of the cases for the 95 % intervals.
    compare : path, optional
        A manifest with the same cases and another method's probability: adds the paired difference to it.
    spread : Spread
        Shares the cases out; by default one after the other in this process.

    Raises
    ------
    InputError
        If a manifest or a file in it cannot be used; row and file are named.
    """
    if bootstrap < 1:
        raise InputError(f"the number of bootstrap resamples must be at least 1, got {bootstrap}")
    span = 0.48 if compare else 0.96
    ours = score_cohort(manifest, spread=spread, progress=part(progress, 0.0, span), cancel=cancel)
    other = None
    if compare is not None:
        names = {row.case for row in read_manifest(compare, needs=("probability",), annotated=True)}
        if names != set(ours.cases):
            odd = ", ".join(sorted(names ^ set(ours.cases))[:5])
            raise InputError(f"{compare}: has other cases than {manifest} ({odd}); a paired comparison needs the same")
        other = score_cohort(compare, spread=spread, progress=part(progress, span, 0.96), cancel=cancel)
    progress(0.96, "resampling cases")
    summary = summarise_cohort(ours, other, bootstrap, seed)
    with atomic_folder(out, owned=FILES, last="summary.json") as folder:
        write_metrics(folder / "metrics.csv", ours.cases, ours.rows)
        if other is not None:
            write_metrics(folder / "metrics_compare.csv", other.cases, other.rows)
        (folder / "summary.md").write_text(markdown_summary(summary), encoding="utf-8")
        (folder / "summary.tex").write_text(latex_summary(summary), encoding="utf-8")
        _draw(folder / "reliability.png", ours, other)
        (folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    progress(1.0, "evaluation written")
    return Path(out)


def score_cohort(
    manifest: str | Path,
    *,
    spread: Spread = one_by_one,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> CohortScores:
    """Compute the metrics of all cases of a manifest, as `spread` shares them out; by default one after the other."""
    rows = read_manifest(manifest, needs=("probability",), annotated=True)
    drawn = tuple(column for column in ("probability", "score") if all(column in row.files for row in rows))
    found: ScoredRows = spread(partial(score_rows, drawn=drawn), rows, progress, cancel or CancelToken())
    if len(found.untouched) == len(rows):
        raise InputError(f"{manifest}: no annotation of any case holds tumour, so there is nothing to compare with")
    return CohortScores(
        Path(manifest),
        tuple(row.case for row in rows),
        tuple(case.row(tuple(DEFAULT_VESSEL_NAMES)) for case in found.metrics),
        tuple(case.candidates for case in found.metrics),
        found.sketches,
        tuple(_warnings(len(rows), found.untouched, found.lonely)),
    )


@dataclass(frozen=True)
class ScoredRows:
    """What scoring some rows of a manifest gave; the sum is that of all of them.

    Attributes
    ----------
    metrics : list of CaseMetrics
        Of each case, in order.
    sketches : dict
        By drawn column.
    untouched, lonely : list of str
        Cases without a marked voxel, and with one rater.
    """

    metrics: list[CaseMetrics]
    sketches: dict[str, ScoreSketch]
    untouched: list[str]
    lonely: list[str]

    def __add__(self, other: ScoredRows) -> ScoredRows:
        return ScoredRows(
            self.metrics + other.metrics,
            {column: sketch + other.sketches[column] for column, sketch in self.sketches.items()},
            self.untouched + other.untouched,
            self.lonely + other.lonely,
        )


def score_rows(rows: Sequence[ManifestRow], drawn: Sequence[str]) -> ScoredRows:
    """Compute the metrics of some rows, one case in memory at a time, and sketch the columns `drawn`."""
    found = ScoredRows([], {}, [], [])
    for row in rows:
        volumes, masks = _read(row, drawn)
        found.metrics.append(_score(row, volumes, masks))
        _sketch(row, volumes, masks, drawn, found.sketches)
        if not any(mask.array.any() for mask in masks.values()):
            found.untouched.append(row.case)
        if len(masks) == 1:
            found.lonely.append(row.case)
    return found


def _read(row: ManifestRow, drawn: Sequence[str]) -> tuple[dict[str, Volume], dict[int, Volume]]:
    """Read the volumes and the raters' masks of a case."""
    volumes: dict[str, Volume] = {}
    for column in ("probability", "vessels", "binary", *(name for name in drawn if name == "score")):
        if column in row.files:
            with located(row, column):
                volumes[column] = read_volume(row.files[column])
                if not volumes[column].geometry.same_grid(volumes["probability"].geometry):
                    raise InputError(
                        f"{column} lies on another grid than the probability map; resample it to that grid"
                    )
    grid = volumes["probability"].geometry
    try:
        return volumes, read_annotations(row, grid)
    except InputError as error:
        raise error if str(error).startswith(row.where) else InputError(f"{row.where}: {error}") from error


def _score(row: ManifestRow, volumes: dict[str, Volume], masks: dict[int, Volume]) -> CaseMetrics:
    from twintrack.metrics import evaluate_case

    with located(row, "probability"):
        return evaluate_case(volumes["probability"], masks, volumes.get("vessels"), volumes.get("binary"))


def _sketch(
    row: ManifestRow,
    volumes: dict[str, Volume],
    masks: dict[int, Volume],
    drawn: Sequence[str],
    sketches: dict[str, ScoreSketch],
) -> None:
    """Add the case to the sketches that the reliability picture is drawn from."""
    from twintrack.calibration import ScoreSketch

    annotations = [masks[rater].array if rater in masks else None for rater in range(1, max(masks) + 1)]
    for column in drawn:
        with located(row, column):
            sketch = ScoreSketch.of_case(volumes[column].array, annotations)
        sketches[column] = sketches[column] + sketch if column in sketches else sketch


def _warnings(cases: int, untouched: list[str], lonely: list[str]) -> Iterator[str]:
    if cases == 1:
        yield "one case only: no interval over cases can be given"
    if untouched:
        names = ", ".join(untouched)
        yield f"no rater marked tumour in {names}: ECE over the whole volume, CRPS 0 by the protocol's rule"
    if lonely:
        yield f"one rater only in {', '.join(lonely)}: the protocol's CRPS is 0 there, whatever was predicted"


def write_metrics(path: Path, cases: Sequence[str], rows: Sequence[Mapping[str, float | None]]) -> None:
    """Write ``metrics.csv``: numbers in full precision, nothing where one is undefined."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("case", *rows[0]))
        for case, row in zip(cases, rows, strict=True):
            writer.writerow((harmless(case), *("" if value is None else repr(value) for value in row.values())))


def _draw(path: Path, ours: CohortScores, other: CohortScores | None) -> None:
    """Draw the reliability of every sketched map against the MHR; one that is 0 everywhere has no curve."""
    from twintrack.calibration import plot_reliability, reliability_curve

    sketches = dict(ours.sketches)
    if other is not None:
        sketches["compared probability"] = other.sketches["probability"]
    plot_reliability(path, {name: reliability_curve(sketch) for name, sketch in sketches.items() if sketch.voxels})
