"""What a row of a calibration manifest gives for statements: levels of the score, and the raters' contacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from twintrack.calibration.statements import StatementKey, StatementTable
from twintrack.invasion import DEFAULT_CONTACT_MM, score_levels
from twintrack.invasion.statement_case import statement_case
from twintrack.io.manifest import ManifestRow, located
from twintrack.labels import VESSEL_VALUES
from twintrack.pipeline import read_vessels
from twintrack.results.measure_again import score_origin
from twintrack.settings import checked_contact_mm
from twintrack.volume import Volume

if TYPE_CHECKING:
    from twintrack.bundle.model_bundle import Bundle
    from twintrack.invasion import ScoreLevels
    from twintrack.pipeline import Segmentation

__all__ = ["Scored", "StatementOptions", "scored_by_bundle", "scored_from_file", "statements_of_row"]

RESULT = "result.json"


@dataclass(frozen=True)
class StatementOptions:
    """How statements are measured.

    Attributes
    ----------
    vessel_names : mapping or None
        Value of each vessel in the column ``vessels``, or what the file calls it.
    contact_mm : float or None
        Distance from the lumen, in mm, within which tumour touches; None: the bundle's, or the program's own.
    """

    vessel_names: Mapping[str, int | str] | None = None
    contact_mm: float | None = None

    def __post_init__(self) -> None:
        if self.contact_mm is not None:
            checked_contact_mm(self.contact_mm)


@dataclass(frozen=True)
class Scored:
    """The score of one row.

    Attributes
    ----------
    score : Volume
        Pooled score in [0, 1], (z, y, x).
    key : StatementKey or None
        What its levels hold for; None where they could not be measured.
    levels : mapping of str to ScoreLevels or None
        By vessel.
    reason : str or None
        Why there are no levels.
    """

    score: Volume
    key: StatementKey | None = None
    levels: Mapping[str, ScoreLevels | None] | None = None
    reason: str | None = None


def scored_by_bundle(found: Segmentation, bundle: Bundle, *, given: bool) -> Scored:
    """Return the score and the levels of a run."""
    if found.invasion is None:
        return Scored(found.score, reason="no vessels were predicted, and none are given")
    key = StatementKey(bundle.networks_sha256, "given" if given else "predicted", found.invasion.contact_mm)
    return Scored(found.score, key, found.levels)


def scored_from_file(row: ManifestRow, score: Volume, options: StatementOptions) -> Scored:
    """Measure the levels of a stored score, if its result folder says which networks made it.

    Vessels are those of the column ``predicted_vessels``, else those that the run predicted, else the reference.

    Raises
    ------
    InputError
        If a vessel map cannot be used.
    """
    if "vessels" not in row.files:
        return Scored(score)
    origin = score_origin(row.files["score"])
    if origin is None:
        return Scored(score, reason=f"no {RESULT} beside the score says which networks made it")
    contact_mm = options.contact_mm or origin.contact_mm or DEFAULT_CONTACT_MM
    column = "predicted_vessels" if "predicted_vessels" in row.files else "vessels"
    path = row.files[column]
    if column == "vessels" and origin.predicted is not None:
        path = origin.predicted
    names = options.vessel_names if path == row.files["vessels"] else None
    with located(row, column):
        vessels, values, _ = read_vessels(path, names, score.geometry, default=VESSEL_VALUES)
    own = origin.predicted is not None and path.resolve() == origin.predicted.resolve()
    searched = score.with_array((score.array > 0).astype(np.uint8))
    levels = score_levels(score, vessels, values, contact_mm=contact_mm, searched=searched)
    return Scored(score, StatementKey(origin.networks_sha256, "predicted" if own else "given", contact_mm), levels)


def statements_of_row(
    row: ManifestRow, scored: Scored, masks: Mapping[str, Volume], key: int, options: StatementOptions
) -> StatementTable | None:
    """Return the table of one case; None where its row has no reference vessels, or no levels could be measured.

    Raises
    ------
    InputError
        If the reference vessels cannot be used.
    """
    if "vessels" not in row.files or scored.key is None or scored.levels is None:
        return None
    with located(row, "vessels"):
        path = row.files["vessels"]
        vessels, names, _ = read_vessels(
            path, options.vessel_names, scored.score.geometry, default=VESSEL_VALUES, judge=False
        )
    case = statement_case(scored.score, scored.levels, masks, vessels, names, contact_mm=scored.key.contact_mm)
    return StatementTable(scored.key, {key: case})
