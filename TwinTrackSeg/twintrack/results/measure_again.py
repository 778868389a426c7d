"""Vessel contact of a map that lies in a file, or of a score that a result folder vouches for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twintrack.calibration import Calibrator, read_calibrator
from twintrack.calibration.statements import StatementKey
from twintrack.errors import InputError
from twintrack.invasion import (
    DEFAULT_CONTACT_MM,
    InvasionResult,
    measure_invasion,
    score_levels,
    with_statements,
    write_invasion_csv,
)
from twintrack.invasion.naming import NamedVessels, with_names
from twintrack.invasion.statements import read_from_map
from twintrack.io.vessel_classes import are_classes
from twintrack.io.volumes import read_volume
from twintrack.pipeline import named_by_anatomy, read_vessels
from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part
from twintrack.settings import check_name_vessels, checked_contact_mm
from twintrack.system.atomic import atomic_paths, check_output_files
from twintrack.system.json_file import read_json, save_json
from twintrack.system.marks import is_marked
from twintrack.system.paths import file_sha256
from twintrack.volume import Volume, fractions

__all__ = ["NO_SCORE", "ScoreOrigin", "measure_files", "measure_volume", "score_key", "score_origin"]

RESULT, PREDICTED, PROBABILITY = "result.json", "vessels.nii.gz", "probability.nii.gz"
"""Names in a result folder."""

ONE_READER = (
    "This map says how one reader would draw: its levels, category and pattern are no statement of what readers say."
)
"""Warning for a map of a single reader, which ``segment --raters`` wrote."""

NO_SCORE = "only a score that a result.json beside it vouches for has calibrated statements"


@dataclass(frozen=True)
class ScoreOrigin:
    """What a result folder says of the score that it holds.

    Attributes
    ----------
    networks_sha256 : str
        The networks that gave it.
    contact_mm : float or None
        Contact distance of the run, in mm; None: the program's own.
    predicted : pathlib.Path or None
        The vessels that the run predicted, where they are as it wrote them.
    """

    networks_sha256: str
    contact_mm: float | None
    predicted: Path | None


def score_origin(path: str | Path) -> ScoreOrigin | None:
    """Return what the ``result.json`` beside a score says of it; None if there is none, or it is of another file.

    Parameters
    ----------
    path : path
        The volume file; what ``twintrack segment --keep-score`` wrote as ``score.nii.gz``.
    """
    path = Path(path)
    try:
        stated = read_json(path.with_name(RESULT))
        if stated["score_sha256"] != file_sha256(path):
            return None
        vessels, own = path.with_name(PREDICTED), stated.get("vessels_sha256")
        predicted = vessels if own is not None and vessels.is_file() and file_sha256(vessels) == own else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return _origin(stated, predicted)


def score_key(
    score: str | Path | None,
    vessels: str | Path | None,
    contact_mm: float | None,
    *,
    summary: Mapping[str, Any] | None = None,
    predicted: bool = False,
) -> tuple[StatementKey | None, float]:
    """Return what a score is, and the contact distance in mm: the one given, else that of the run.

    Parameters
    ----------
    score : path or None
        The score's file; None for one in memory, which `summary` tells of.
    vessels : path or None
        The vessels' file; None for those in memory, of which `predicted` tells.
    contact_mm : float or None
        As the caller gave it.
    summary : mapping, optional
        Content of the ``result.json`` that a score in memory belongs to.
    predicted : bool
        Whether the vessels are those that this run predicted.

    Returns
    -------
    tuple
        No key for what is no score of a known run.
    """
    given_mm = None if contact_mm is None else checked_contact_mm(contact_mm)
    origin = _origin(summary, None) if score is None else score_origin(score)
    if origin is None:
        return None, DEFAULT_CONTACT_MM if given_mm is None else given_mm
    own = predicted or (
        vessels is not None and origin.predicted is not None and Path(vessels).resolve() == origin.predicted.resolve()
    )
    contact_mm = given_mm or origin.contact_mm or DEFAULT_CONTACT_MM
    return StatementKey(origin.networks_sha256, "predicted" if own else "given", contact_mm), contact_mm


def _origin(summary: Mapping[str, Any] | None, predicted: Path | None) -> ScoreOrigin | None:
    """Read what a ``result.json`` says of the run; None if it does not."""
    try:
        if summary is None:
            return None
        contact_mm = summary["settings"].get("contact_mm") or summary["bundle"].get("contact_mm")
        contact_mm = None if contact_mm is None else checked_contact_mm(float(contact_mm))
        key = StatementKey(summary["bundle"]["networks_sha256"], "given", contact_mm or DEFAULT_CONTACT_MM)
    except (ValueError, KeyError, TypeError, AttributeError, InputError):
        return None
    return ScoreOrigin(str(key.networks_sha256), None if contact_mm is None else key.contact_mm, predicted)


def measure_volume(
    probability: Volume,
    vessels: Volume,
    names: Mapping[str, int],
    *,
    contact_mm: float,
    rules: str = "nccn",
    calibrator: Calibrator | None = None,
    key: StatementKey | None = None,
    naming: NamedVessels | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> InvasionResult:
    """Measure contact, with calibrated statements where they hold.

    Parameters
    ----------
    probability : Volume
        Map in [0, 1]; with a `key`, the pooled score of those networks.
    vessels, names, contact_mm, rules, progress, cancel
        As in `twintrack.invasion.measure_invasion`.
    calibrator : Calibrator, optional
        What makes the score a map, and what its statements are read from.
    key : StatementKey, optional
        What the score is, where that is known.
    naming : NamedVessels, optional
        Where the vessels have their names by anatomy.
    """
    if calibrator is None or key is None:
        found = measure_invasion(
            probability,
            vessels,
            names,
            contact_mm=contact_mm,
            rules=rules,
            progress=progress,
            cancel=cancel,
        )
        found = found if naming is None else with_names(found, naming)
        return found if calibrator is None else read_from_map(found, NO_SCORE)
    score = probability
    searched = score.with_array((score.array > 0).astype(np.uint8))
    found = measure_invasion(
        score.with_array(calibrator(score.array)),
        vessels,
        names,
        contact_mm=contact_mm,
        rules=rules,
        searched=searched,
        progress=part(progress, 0.0, 0.7),
        cancel=cancel,
    )
    found = found if naming is None else with_names(found, naming)
    levels = score_levels(score, vessels, names, contact_mm=contact_mm, searched=searched, cancel=cancel)
    return with_statements(found, levels, calibrator.statements, key, float(score.array.max()))


def measure_files(
    probability_path: str | Path,
    vessels_path: str | Path,
    names: Mapping[str, int | str] | None,
    out: str | Path,
    *,
    name_vessels: str = "auto",
    rules: str = "nccn",
    contact_mm: float | None = None,
    calibrator: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> dict[str, Any]:
    """Measure vessel contact of a map and write it as JSON to `out`, and as CSV beside it; return the JSON's content.

    A CSV has no room for a mark, so the JSON keeps its hash: both are replaced by a later run as long as both are as
    they were written, and other files only with `overwrite`.

    Parameters
    ----------
    probability_path : path
        Map in [0, 1]; or, with `calibrator`, the score of a result folder.
    vessels_path, names, out, rules, contact_mm
        The vessels, which is which, where to, and how contact is measured.
    name_vessels : str
        One of `twintrack.settings.NAME_VESSELS`; the JSON says which, where the vessels were classes.
    calibrator : path, optional
        Gives calibrated statements for a score that a ``result.json`` beside it vouches for. Anything else is read as
        a map, and the result says so.

    Raises
    ------
    InputError
        If the map is not in [0, 1], the vessels lie in another place, there is no such rule set or contact distance,
        the calibrator cannot be read, or `out` does not end with .json.
    OutputError
        If another file lies at one of the two places, or they cannot be written.
    """
    if contact_mm is not None:
        checked_contact_mm(contact_mm)
    check_name_vessels(name_vessels)
    out = Path(out)
    if out.suffix.lower() != ".json":
        raise InputError("not a JSON file name; use one that ends with .json", code="json-ending", path=out)
    table = out.with_suffix(".csv")
    inputs = [probability_path, vessels_path, *([] if calibrator is None else [calibrator])]
    options: dict[str, Any] = {
        "inputs": inputs,
        "overwrite": overwrite,
        "proof": lambda path: _is_table_of(out, path) if path == table else is_marked(path),
    }
    check_output_files(table, out, **options)
    read = None if calibrator is None else read_calibrator(calibrator)
    probability = read_volume(probability_path)
    vessels, values, notes = read_vessels(vessels_path, names, probability.geometry)
    of_classes = are_classes(values)
    vessels, values, naming, told = named_by_anatomy(vessels, values, name_vessels)
    notes += told
    key, contact_mm = score_key(None if read is None else probability_path, vessels_path, contact_mm)
    try:
        measured = measure_volume(
            probability.with_array(fractions(probability.array, "the probability map")),
            vessels,
            values,
            contact_mm=contact_mm,
            rules=rules,
            calibrator=read,
            key=key,
            naming=naming,
            progress=progress,
            cancel=cancel,
        )
    except InputError as error:
        error.path = f"{probability_path} with {vessels_path}" if error.path is None else error.path
        raise
    found = measured.to_json()
    if of_classes:
        found["name_vessels"] = name_vessels
    if read is None:
        found["measured_on"] = _measured_on(Path(probability_path))
    one = (ONE_READER,) if _is_one_readers(Path(probability_path)) else ()
    found["warnings"] = [*one, *notes, *found["warnings"]]
    with atomic_paths(table, out, **options) as (partial_table, partial):
        write_invasion_csv(found, partial_table)
        save_json(partial, found | {"table_sha256": file_sha256(partial_table)})
    return found


def _measured_on(path: Path) -> str | None:
    """Say whether a volume is a score, by the ``result.json`` beside it; None where that does not say."""
    if score_origin(path) is not None:
        return "score"
    try:
        calibrator = read_json(path.with_name(RESULT))["calibrator"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if path.name != PROBABILITY else "score" if calibrator is None else "map"


def _is_one_readers(path: Path) -> bool:
    """Whether a ``result.json`` lists the map as that of a single reader."""
    try:
        entries = read_json(path.parent.with_name(RESULT))["rater_maps"]
        return any(entry["file"] == f"{path.parent.name}/{path.name}" for entry in entries)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def _is_table_of(document: Path, table: Path) -> bool:
    """Whether a table is the one that was written with `document`."""
    try:
        stated = read_json(document)["table_sha256"] if is_marked(document) else None
        return stated is not None and not table.is_symlink() and file_sha256(table) == stated
    except (OSError, ValueError, KeyError, TypeError):
        return False
