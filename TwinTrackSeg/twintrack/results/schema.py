"""A result folder, read as one of strangers: ``result.json`` and ``invasion.json`` field by field."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from twintrack.bundle.rater_entries import RATER_ID
from twintrack.errors import InputError
from twintrack.io.volumes import read_volume
from twintrack.results.which_ct import NAME_LIMIT
from twintrack.settings import MAX_SAMPLES
from twintrack.system.atomic import put_in_order
from twintrack.system.case_label import LABEL_LIMIT
from twintrack.system.json_file import read_json
from twintrack.system.paths import is_there
from twintrack.volume import Volume

__all__ = [
    "INVASION_SCHEMAS",
    "MAX_SAMPLES",
    "SAMPLES_FILE",
    "StoredResult",
    "check_invasion_statements",
    "check_rater_maps",
    "check_result_statements",
    "check_samples",
    "read_folder",
    "read_invasion_json",
    "read_result_json",
]

LARGEST = 1e12
"""No number of a result comes near it."""

LARGEST_LABEL = 255
"""Label maps of a result are uint8."""

TARGETS = ("mhr", "single-rater", "hard-label")

STATEMENTS = ("calibrated", "map")
"""Where what is said of raters comes from; files that do not say mean the map."""

FULL_TURN_DEG = 360.0

ROUNDING = 1e-6
"""Numbers may lie outside their range by as much."""

RESULT_SCHEMAS = (1,)
INVASION_SCHEMAS = (1, 2)
"""Versions of ``result.json`` and of ``invasion.json`` that this version reads; a file that does not say has 1."""

Check = Callable[[Any], bool]


SAMPLES_FILE = "samples.nii.gz"
"""Bit s of a voxel says that sample s, a plausible outline drawn by the model, marks it."""


class StoredResult(NamedTuple):
    """What a result folder holds.

    Attributes
    ----------
    probability, labels : Volume
        The map, and the label map in which the tumour wins, (z, y, x).
    result, invasion : dict
        Contents of ``result.json`` and of ``invasion.json``; None where no vessel was measured.
    score : Volume or None
        The uncalibrated score, where it was kept.
    vessels : Volume or None
        The predicted vessels, uint8, (z, y, x), whole where the tumour overlaps them, with the values that
        ``vessel_values`` in `result` states; None of a bundle without vessels, and in results of earlier versions.
    named : Volume or None
        The same of vessels that got names by anatomy, with ``named_vessel_values``.
    """

    probability: Volume
    labels: Volume
    result: dict[str, Any]
    invasion: dict[str, Any] | None
    score: Volume | None
    vessels: Volume | None
    named: Volume | None = None


def read_folder(folder: str | Path) -> StoredResult:
    """Return what a result folder holds.

    Raises
    ------
    InputError
        If the folder holds no complete result, or a file of it is damaged.
    """
    folder = Path(folder)
    put_in_order(folder)
    result, invasion, score = read_result_json(folder / "result.json"), None, None
    if is_there(folder / "invasion.json"):
        invasion = read_invasion_json(folder / "invasion.json")
    labels = read_volume(folder / "segmentation.nii.gz", labels=True)
    probability = read_volume(folder / "probability.nii.gz")
    if is_there(folder / "score.nii.gz"):
        score = read_volume(folder / "score.nii.gz")
    # Only what the result states: a file of that name beside an older result is somebody else's.
    vessels = _read_vessels(folder / "vessels.nii.gz", labels) if result.get("vessel_values") else None
    named = _read_vessels(folder / "named_vessels.nii.gz", labels) if result.get("named_vessel_values") else None
    return StoredResult(probability, labels, result, invasion, score, vessels, named)


def _read_vessels(path: Path, labels: Volume) -> Volume:
    vessels = read_volume(path, labels=True)
    if vessels.array.dtype.kind not in "iu" or not 0 <= vessels.array.min() <= vessels.array.max() <= LARGEST_LABEL:
        raise InputError(
            "holds other values than those of labels; run the segmentation again", code="result-malformed", path=path
        )
    if not vessels.geometry.same_grid(labels.geometry):
        raise InputError(
            "lies on another voxel grid than segmentation.nii.gz; run the segmentation again",
            code="grid-differs",
            path=path,
        )
    return vessels.with_array(vessels.array.astype(np.uint8, copy=False))


def read_result_json(path: Path) -> dict[str, Any]:
    """Read a ``result.json``; what an export needs has the right form.

    Raises
    ------
    InputError
        If it cannot be read or was not written by this program.
    """
    content = _read(path, RESULT_SCHEMAS)
    checks = {"bundle": _is_object, "labels": _is_labels, "device": _is_text, "threshold": _is_threshold}
    _require(content, path, {**checks, "calibrator": _maybe(_is_calibrator)})
    optional = dict.fromkeys(("input", "volume_ml", "suitability"), _maybe(_is_object))
    optional |= dict.fromkeys(("vessel_values", "named_vessel_values"), _maybe(_is_labels))
    _require({name: content.get(name) for name in optional}, path, optional)
    _check_which_ct(content.get("input") or {}, path)
    check_rater_maps(content, path)
    check_samples(content, path)
    check_result_statements(content, path)
    bundle, suitability = content["bundle"], content.get("suitability") or {}
    _require(bundle, path, dict.fromkeys(("name", "version", "sha256"), _is_text))
    _require({"raters": bundle.get("raters")}, path, {"raters": _maybe(_is_count)})
    parts = {"outside": _maybe(_is_list), "contrast": _maybe(_is_object)}
    _require({name: suitability.get(name) for name in parts}, path, parts)
    return content


def check_rater_maps(content: dict[str, Any], path: Path) -> None:
    """Check what ``result.json`` says of the maps of single raters; it is optional.

    Raises
    ------
    InputError
        If an entry has another form, names a rater twice, or a file that is not the rater's own.
    """
    _optional(content, path, rater_maps=_each(_is_object))
    maps = content.get("rater_maps") or []
    for entry in maps:
        _require(entry, path, {"id": _is_rater, "file": _is_text, "volume_ml": _is_volume})
    own = all(entry["file"] == f"raters/{entry['id']}.nii.gz" for entry in maps)
    # Names of files are the same in capitals on some systems.
    if not own or len({entry["id"].casefold() for entry in maps}) < len(maps):
        raise InputError(
            "'rater_maps' must list each rater's own file once; run the segmentation again",
            code="result-malformed",
            path=path,
        )


def check_samples(content: dict[str, Any], path: Path) -> None:
    """Check what ``result.json`` says of the samples that a model drew; it is optional.

    Raises
    ------
    InputError
        If it names another file than their own, more of them than bits, or not a volume for each.
    """
    _optional(content, path, samples=_is_object)
    stated = content.get("samples")
    if stated is None:
        return
    _require(stated, path, {"file": _is_text, "count": _is_count, "volumes_ml": _each(_is_volume)})
    own = stated["file"] == SAMPLES_FILE and stated["count"] <= MAX_SAMPLES
    if not own or len(stated["volumes_ml"]) != stated["count"]:
        raise InputError(
            f"'samples' must name {SAMPLES_FILE}, at most {MAX_SAMPLES} samples and the volume of each; run the "
            "segmentation again",
            code="result-malformed",
            path=path,
        )


def _check_which_ct(stated: dict[str, Any], path: Path) -> None:
    """Check what the result says about its CT; earlier versions do not say it."""

    def text(limit: int) -> Check:
        return lambda value: _is_text(value) and 0 < len(value) <= limit

    def form(pattern: str) -> Check:
        return lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) is not None

    checks = {
        "case": text(LABEL_LIMIT),
        "name": text(NAME_LIMIT),
        "series_description": text(NAME_LIMIT),
        "series_number": lambda value: isinstance(value, int) and not isinstance(value, bool),
        "study_date": form(r"\d{4}-\d{2}-\d{2}"),
        "sha256": form("[0-9a-f]{64}"),
        "created": form(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z"),
    }
    _require({name: stated.get(name) for name in checks}, path, {name: _maybe(check) for name, check in checks.items()})


def read_invasion_json(path: Path) -> dict[str, Any]:
    """Read an ``invasion.json``; what an export needs has the right form.

    Raises
    ------
    InputError
        If it cannot be read or was not written by this program.
    """
    content = _read(path, INVASION_SCHEMAS)
    _require(content, path, {"thresholds": lambda value: _is_list(value) and all(map(_is_number, value))})
    _require(content, path, {"vessels": lambda value: _is_object(value) and all(map(_is_object, value.values()))})
    for vessel in content["vessels"].values():
        # Schema 1, of earlier versions, has no distances.
        curves = {name: vessel.get(name) for name in ("angle_deg", "contact_length_mm", "gap_mm")}
        _require(curves, path, dict.fromkeys(curves, _maybe(_each(_maybe(_is_number)))))
    check_invasion_statements(content, path)
    return content


def check_result_statements(content: dict[str, Any], path: Path) -> None:
    """Check what ``result.json`` says of raters; all of it is optional.

    Raises
    ------
    InputError
        If a field that is there has another form, or a number that cannot be.
    """
    _optional(content, path, statements=_is_object, lesions=_each(_is_object))
    statements = content.get("statements") or {}
    _optional(statements, path, source=_is_source, note=_is_text, any_tumour=_is_fraction, volume_ml=_is_object)
    _optional(statements.get("volume_ml") or {}, path, p10=_is_volume, median=_is_volume, p90=_is_volume)
    for lesion in content.get("lesions") or ():
        _optional(lesion, path, p_found=_is_fraction)


def check_invasion_statements(content: dict[str, Any], path: Path) -> None:
    """Check what ``invasion.json`` says of raters, and of the range over the members; all of it is optional.

    Raises
    ------
    InputError
        If a field that is there has another form, or a number that cannot be.
    """
    whole = {"statements": _is_source, "statements_note": _is_text, "calibration": _is_object}
    _optional(content, path, measured_on=lambda value: value in ("score", "map"))
    _optional(content, path, **whole, resectability=_is_object, fraction_angles_deg=_each(_is_angle))
    calibration = content.get("calibration") or {}
    _optional(calibration, path, cases=_is_count, raters=_is_count, family=_is_text, interval_level=_is_fraction)
    pattern = content.get("resectability") or {}
    _optional(pattern, path, statements=_is_source, probability=_is_fractions, pattern=_is_text)
    angles = content.get("fraction_angles_deg") or []
    _optional(content, path, vessels=lambda value: _is_object(value) and all(map(_is_object, value.values())))
    for vessel in (content.get("vessels") or {}).values():
        _check_vessel_statements(vessel, len(angles), path)


def _check_vessel_statements(vessel: dict[str, Any], angles: int, path: Path) -> None:
    """Check the statements of one vessel; there is one fraction for each of so many angles."""
    fractions = ("p_contact", "p_encased", "level_contact", "level_encased")
    degrees = ("expected_angle_deg", "angle_median_deg", "angle_p10_deg", "angle_p90_deg")
    scored = ("score_level_contact", "score_level_encased")
    _optional(vessel, path, **dict.fromkeys((*fractions, *scored), _is_fraction), **dict.fromkeys(degrees, _is_angle))
    intervals = dict.fromkeys(("p_contact_interval", "p_encased_interval"), _is_pair(_is_fraction))
    _optional(vessel, path, **intervals, expected_angle_deg_interval=_is_pair(_is_angle), statements=_is_source)
    over = _each(_maybe(_is_fraction))
    _optional(vessel, path, fraction_over=lambda value: over(value) and len(value) == angles)
    _optional(vessel, path, member_range=_is_object, category_probability=_is_fractions)
    _optional(vessel, path, named_by=_is_text, name_confidence=_is_text, name_checked=lambda value: value is True)
    levels = dict.fromkeys(fractions, _is_pair(_is_fraction))
    _optional(vessel.get("member_range") or {}, path, **levels, angle_deg=_is_pair(_is_angle), members=_is_number)


def _read(path: Path, schemas: tuple[int, ...]) -> dict[str, Any]:
    try:
        content = read_json(path)
        sane = _is_object(content) and _numbers_are_sane(content)
    except FileNotFoundError:
        raise InputError(
            f"holds no {path.name}; give the result folder of a finished run",
            code="result-incomplete",
            path=path.parent,
        ) from None
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({error})", code="file-unreadable", path=path) from error
    if not sane:
        raise InputError("is not a result of twintrack segment; run it again", code="result-malformed", path=path)
    schema = content.get("schema", 1)
    if not _is_count(schema) or schema not in schemas:
        known = " and ".join(map(str, schemas))
        raise InputError(
            f"'schema' {schema!r} is not known, only {known}; update TwinTrack", code="schema-unknown", path=path
        )
    return dict(content)


def _require(holder: dict[str, Any], path: Path, checks: dict[str, Check]) -> None:
    for name, check in checks.items():
        if name not in holder or not check(holder[name]):
            raise InputError(
                f"{name!r} is missing or malformed; run the segmentation again", code="result-malformed", path=path
            )


def _optional(holder: dict[str, Any], path: Path, **checks: Check) -> None:
    """Check fields that may be missing or null."""
    _require({name: holder.get(name) for name in checks}, path, {name: _maybe(check) for name, check in checks.items()})


def _numbers_are_sane(value: Any) -> bool:
    """Whether every number is finite and of a size that a measurement can have."""
    if isinstance(value, dict):
        return all(map(_numbers_are_sane, value.values()))
    if isinstance(value, list):
        return all(map(_numbers_are_sane, value))
    return not isinstance(value, (int, float)) or (abs(value) < LARGEST and isfinite(value))


def _maybe(check: Check) -> Check:
    return lambda value: value is None or check(value)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_calibrator(value: Any) -> bool:
    return isinstance(value, dict) and value.get("target") in TARGETS


def _is_within(value: Any, most: float) -> bool:
    return _is_number(value) and -ROUNDING <= value <= most + ROUNDING


def _is_fraction(value: Any) -> bool:
    return _is_within(value, 1.0)


def _is_angle(value: Any) -> bool:
    return _is_within(value, FULL_TURN_DEG)


def _is_volume(value: Any) -> bool:
    return _is_within(value, LARGEST)


def _is_rater(value: Any) -> bool:
    return isinstance(value, str) and RATER_ID.fullmatch(value) is not None


def _is_source(value: Any) -> bool:
    return isinstance(value, str) and value in STATEMENTS


def _is_fractions(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_maybe(_is_fraction), value.values())) and all(map(_is_text, value))


def _is_pair(check: Check) -> Check:
    """Whether a low and a high value are of a kind."""
    return lambda value: _is_list(value) and len(value) == 2 and all(map(check, value)) and value[0] <= value[1]


def _each(check: Check) -> Check:
    return lambda value: _is_list(value) and all(map(check, value))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_threshold(value: Any) -> bool:
    return _is_number(value) and 0 < value <= 1


def _is_labels(value: Any) -> bool:
    numbers = value.values() if isinstance(value, dict) else ()
    return isinstance(value, dict) and all(_is_count(number) for number in numbers) and all(map(_is_text, value))
