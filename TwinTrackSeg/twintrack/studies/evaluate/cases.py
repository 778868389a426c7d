"""What scoring some rows of a manifest gives: the metrics of each case, and sketches that are added up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError, locating
from twintrack.imaging.boxes import box_from, union
from twintrack.imaging.plane_contact import Box
from twintrack.io.manifest import ManifestRow, located, read_annotations
from twintrack.io.masks import read_mask
from twintrack.io.volumes import read_volume
from twintrack.labels import VESSEL_VALUES
from twintrack.pipeline import read_vessels
from twintrack.raters import same_voxels
from twintrack.studies.evaluate.vessel_statements import VesselEvaluation, evaluate_vessels
from twintrack.volume import Volume, fractions

if TYPE_CHECKING:
    from twintrack.calibration import ScoreSketch
    from twintrack.metrics import CaseMetrics, LesionCandidate

__all__ = ["DrawnSketches", "MetricsRow", "score_rows"]


@dataclass(frozen=True)
class MetricsRow:
    """The metrics of one case.

    Attributes
    ----------
    case : str
        Its name.
    metrics : dict
        By column; None where one is undefined.
    candidates : tuple
        Its lesion candidates.
    untouched : bool
        Whether no rater marked a voxel.
    raters : tuple of str
        Who read it.
    alike : tuple of pairs
        Raters who marked the very same voxels.
    notes : tuple of str
        What was done to masks and vessel maps, and which metrics are undefined, in sentences.
    """

    case: str
    metrics: dict[str, float | None]
    candidates: tuple[LesionCandidate, ...]
    untouched: bool
    raters: tuple[str, ...]
    alike: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()
    vessels: VesselEvaluation = field(default_factory=VesselEvaluation)


@dataclass(frozen=True)
class _ReadRow:
    """What is read of a case, on the grid of its probability map."""

    volumes: dict[str, Volume]
    masks: dict[str, Volume]
    vessel_names: Mapping[str, int]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class DrawnSketches:
    """Sketches of the columns that are drawn; the sum is that of all their cases."""

    by_column: dict[str, ScoreSketch]

    def __add__(self, other: DrawnSketches) -> DrawnSketches:
        return DrawnSketches({name: sketch + other.by_column[name] for name, sketch in self.by_column.items()})


def score_rows(
    rows: Sequence[ManifestRow], drawn: Sequence[str], vessel_names: Mapping[str, int | str] | None = None
) -> tuple[list[MetricsRow], DrawnSketches]:
    """Compute the metrics of some rows, one case in memory at a time, and sketch the columns `drawn`."""
    scored: list[MetricsRow] = []
    sketches: dict[str, ScoreSketch] = {}
    for row in rows:
        case = _read(row, drawn, vessel_names)
        masks = case.masks
        found = _score(row, case)
        _sketch(row, case.volumes, masks, drawn, sketches)
        untouched = not any(mask.array.any() for mask in masks.values())
        metrics = found.row(tuple(VESSEL_VALUES))
        alike = same_voxels({rater: mask.array for rater, mask in masks.items()})
        notes = (*case.notes, *(f"{row.case}: {note}" for note in found.notes if not untouched))
        vessels = _vessels(row, case)
        scored.append(MetricsRow(row.case, metrics, found.candidates, untouched, tuple(masks), alike, notes, vessels))
    return scored, DrawnSketches(sketches)


def _vessels(row: ManifestRow, case: _ReadRow) -> VesselEvaluation:
    """Measure the readers' contact with the reference vessels, where the case has some."""
    if "vessels" not in case.volumes:
        return VesselEvaluation()
    with located(row, "vessels"):
        return evaluate_vessels(
            row.case, row.files["probability"], case.masks, case.volumes["vessels"], case.vessel_names
        )


def _read(row: ManifestRow, drawn: Sequence[str], vessel_names: Mapping[str, int | str] | None) -> _ReadRow:
    """Read the volumes and the raters' masks of a case."""
    volumes: dict[str, Volume] = {}
    for column in ("probability", *(name for name in drawn if name == "score")):
        with located(row, column):
            volumes[column] = read_volume(row.files[column])
            if not volumes[column].geometry.same_grid(volumes["probability"].geometry):
                raise InputError(
                    f"{column} lies on another grid than the probability map; resample it to that grid",
                    code="grid-differs",
                )
    names: Mapping[str, int] = VESSEL_VALUES
    grid, notes = volumes["probability"].geometry, list[str]()
    with locating(where=row.where):
        if "vessels" in row.files:
            path = row.files["vessels"]
            volumes["vessels"], names, told = read_vessels(path, vessel_names, grid, default=VESSEL_VALUES, judge=False)
            notes += [f"{row.case}: {note}" for note in told]
        if "binary" in row.files:
            volumes["binary"], told = read_mask(row.files["binary"], grid, "the binary prediction")
            notes += [f"{row.case}: {note}" for note in told]
    masks, told = read_annotations(row, grid)
    return _ReadRow(volumes, masks, names, (*notes, *told))


def _score(row: ManifestRow, case: _ReadRow) -> CaseMetrics:
    from twintrack.metrics import evaluate_case

    volumes = case.volumes
    with located(row, "probability"):
        return evaluate_case(
            volumes["probability"], case.masks, volumes.get("vessels"), volumes.get("binary"), case.vessel_names
        )


def _sketch(
    row: ManifestRow,
    volumes: dict[str, Volume],
    masks: dict[str, Volume],
    drawn: Sequence[str],
    sketches: dict[str, ScoreSketch],
) -> None:
    """Add the case to the sketches that the reliability picture is drawn from."""
    from twintrack.calibration import ScoreSketch

    marked = [_box_of(mask.array) for mask in masks.values()]
    for column in drawn:
        score = volumes[column].array
        # The sketch counts voxels where the score is above 0, and those that a rater marked.
        box = union([_box_of(score), *marked]) or (slice(0, 1), slice(0, 1), slice(0, 1))
        with located(row, column):
            if column != "probability":  # that one has been scored
                fractions(score, "the score")
            sketch = ScoreSketch.of_case(score[box], {rater: mask.array[box] for rater, mask in masks.items()})
        sketches[column] = sketches[column] + sketch if column in sketches else sketch


def _box_of(array: NDArray[Any]) -> Box | None:
    """Return the box of all that is above 0."""
    return box_from(array, float(np.finfo(array.dtype).smallest_subnormal) if array.dtype.kind == "f" else 1)
