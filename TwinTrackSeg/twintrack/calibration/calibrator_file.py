"""The file ``calibrator.json``: every number comes back exactly, and a stranger's file is refused field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from twintrack.calibration.band import STEPS, CalibratorBand
from twintrack.calibration.calibrator import BinSelection, Calibrator
from twintrack.calibration.statements.statements_file import statements_from_json, statements_to_json
from twintrack.errors import InputError
from twintrack.system.atomic import atomic_path
from twintrack.system.json_file import read_json
from twintrack.system.ownership import Inputs

__all__ = ["SCHEMA", "calibrator_from_json", "calibrator_to_json", "read_calibrator", "write_calibrator"]

SCHEMA = 1
"""Version of the JSON layout. Fields in `_LATER` came later and may be missing."""

MAX_WHOLE = 2**63 - 1
MAX_KNOTS = 10_000
MAX_TEXT = 2000
MAX_TEXTS = 100
"""Largest count, most knots, longest text and most texts of a calibrator; one of 250 bins has 250 knots."""

_PLAIN = ("target", "rater", "bins", "cases", "raters", "voxels", "domain", "pooling", "manifest_sha256")
_FIELDS = (*_PLAIN, "bins_used", "knots", "bin_counts", "versions", "warnings")
_LATER = ("weighting", "tumour_voxels", "band", "selection", "rater_names", "statements")


def calibrator_to_json(calibrator: Calibrator) -> dict[str, Any]:
    """Return the JSON object of `calibrator`."""
    band, selection = calibrator.band, calibrator.selection
    return {
        "schema": SCHEMA,
        "target": calibrator.target,
        "rater": calibrator.rater,
        "bins": calibrator.bins,
        "bins_used": len(calibrator.knots_x),
        "knots": {"score": list(calibrator.knots_x), "mhr": list(calibrator.knots_y)},
        "domain": calibrator.domain,
        "weighting": calibrator.weighting,
        "pooling": calibrator.pooling,
        "cases": calibrator.cases,
        "raters": calibrator.raters,
        "rater_names": list(calibrator.rater_names),
        "voxels": calibrator.voxels,
        "tumour_voxels": calibrator.tumour_voxels,
        "bin_counts": list(calibrator.bin_counts),
        "versions": dict(calibrator.versions),
        "manifest_sha256": calibrator.manifest_sha256,
        "warnings": list(calibrator.warnings),
        "selection": None if selection is None else _listed(asdict(selection)),
        "band": None if band is None else _listed(asdict(band)) | {"curve_steps": STEPS},
        "statements": None if calibrator.statements is None else statements_to_json(calibrator.statements),
    }


def calibrator_from_json(data: object) -> Calibrator:
    """Return the calibrator of a JSON object; see `Calibrator.from_json`."""
    if not isinstance(data, dict):
        raise InputError("a calibrator must be a JSON object")
    if data.get("schema") != SCHEMA or isinstance(data["schema"], bool):
        raise InputError(f'"schema" must be {SCHEMA}, got {data.get("schema")!r}; update or fit the calibrator again')
    missing = [name for name in _FIELDS if name not in data]
    if missing:
        raise InputError(f'"{missing[0]}" is missing')
    knots = data["knots"]
    if not isinstance(knots, dict) or "score" not in knots or "mhr" not in knots:
        raise InputError('"knots" must hold the lists "score" and "mhr"')
    _check_plain(data)
    calibrator = Calibrator(
        knots_x=_numbers("knots.score", knots["score"]),
        knots_y=_numbers("knots.mhr", knots["mhr"]),
        bin_counts=tuple(_whole("bin_counts", n) for n in _list("bin_counts", data["bin_counts"])),
        versions=_mapping_of_text("versions", data["versions"]),
        warnings=_texts("warnings", data["warnings"]),
        **{name: data[name] for name in _PLAIN if name != "rater"},
        rater=_rater(data["rater"], data["raters"]),
        **_later(data),
    )
    if data["bins_used"] != len(calibrator.knots_x):
        raise InputError(f'"bins_used" must be the number of knots, {len(calibrator.knots_x)}')
    if calibrator.band is None:
        return calibrator
    # Older files hold the bare percentiles, which cover too little.
    return replace(calibrator, band=calibrator.band.widened(calibrator.knots_x, calibrator.knots_y))


def _check_plain(data: Mapping[str, Any]) -> None:
    """Refuse values of the wrong kind."""
    for name in ("bins", "cases", "raters", "voxels"):
        _whole(name, data[name])
    for name in ("target", "domain", "pooling"):
        _text(name, data[name])
    if data["manifest_sha256"] is not None:
        _text("manifest_sha256", data["manifest_sha256"])


def _rater(value: object, raters: int) -> str | None:
    """Return the rater's name; in older files it is a number, counted from 1."""
    if value is None:
        return None
    if isinstance(value, str):
        return _text("rater", value)
    number = _whole("rater", value)
    if number > raters:
        raise InputError(f'"rater" must be at most the number of raters, {raters}, got {number}')
    return str(number)


def _later(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that older files lack."""
    found = {name: data[name] for name in _LATER if data.get(name) is not None}
    if "weighting" in found:
        _text("weighting", found["weighting"])
    if "tumour_voxels" in found:
        found["tumour_voxels"] = _real("tumour_voxels", found["tumour_voxels"])
    if "band" in found:
        found["band"] = _band(_object("band", found["band"]))
    if "rater_names" in found:
        found["rater_names"] = _texts("rater_names", found["rater_names"])
    if "statements" in found:
        found["statements"] = statements_from_json(found["statements"])
    if "selection" in found:
        found["selection"] = _selection(_object("selection", found["selection"]))
    return found


def _band(data: Mapping[str, Any]) -> CalibratorBand:
    curves = _list("band.curves", data.get("curves"))
    if data.get("curve_steps") != STEPS:
        raise InputError(f'"band.curve_steps" must be {STEPS}, got {data.get("curve_steps")!r}')
    return CalibratorBand(
        score=_numbers("band.score", data.get("score")),
        low=_numbers("band.low", data.get("low")),
        high=_numbers("band.high", data.get("high")),
        level=_real("band.level", data.get("level")),
        resamples=_whole("band.resamples", data.get("resamples")),
        seed=_whole("band.seed", data.get("seed"), least=0),
        units=_whole("band.units", data.get("units")),
        widening=_real("band.widening", data.get("widening", 1.0)),
        curves=tuple(
            tuple(_whole("band.curves", value, least=0) for value in _list("band.curves", curve)) for curve in curves
        ),
    )


def _selection(data: Mapping[str, Any]) -> BinSelection:
    def reals(name: str) -> tuple[float, ...]:
        return tuple(_real(f"selection.{name}", value) for value in _list(f"selection.{name}", data.get(name)))

    constant = data.get("constant_loss")
    return BinSelection(
        bins=tuple(_whole("selection.bins", value) for value in _list("selection.bins", data.get("bins"))),
        loss=reals("loss"),
        excess=reals("excess"),
        excess_error=reals("excess_error"),
        chosen=_whole("selection.chosen", data.get("chosen")),
        folds=_whole("selection.folds", data.get("folds")),
        constant_loss=None if constant is None else _real("selection.constant_loss", constant),
    )


def _whole(name: str, value: object, *, least: int = 1) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MAX_WHOLE:
        raise InputError(f'"{name}" must be a whole number from {least} to {MAX_WHOLE}, got {value!r}')
    return value


def _real(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise InputError(f'"{name}" must be a number, got {value!r}')
    return float(value)


def _list(name: str, value: object) -> list[object]:
    if not isinstance(value, list):
        raise InputError(f'"{name}" must be a list')
    return value


def _object(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InputError(f'"{name}" must be an object')
    return value


def _numbers(name: str, value: object) -> tuple[float, ...]:
    numbers = _list(name, value)
    if len(numbers) > MAX_KNOTS:
        raise InputError(f'"{name}" must have at most {MAX_KNOTS} entries, it has {len(numbers)}')
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
            raise InputError(f'"{name}" must be a list of numbers in [0, 1], got {number!r}')
    return tuple(float(number) for number in numbers if isinstance(number, int | float))


def _text(name: str, value: object) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT or not value.isprintable():
        raise InputError(f'"{name}" must be at most {MAX_TEXT} printable characters on one line, got {value!r}')
    return value


def _texts(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, list) and len(value) > MAX_TEXTS:
        raise InputError(f'"{name}" must have at most {MAX_TEXTS} entries, it has {len(value)}')
    return tuple(_text(name, line) for line in _list(name, value))


def _mapping_of_text(name: str, value: object) -> dict[str, str]:
    return {_text(name, key): _text(name, item) for key, item in _object(name, value).items()}


def _listed(data: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a dataclass with lists in place of tuples, as JSON reads them."""
    return json.loads(json.dumps(data))


def read_calibrator(path: str | Path) -> Calibrator:
    """Read the calibrator in a ``calibrator.json``.

    Parameters
    ----------
    path : path
        What ``twintrack calibrate`` or `write_calibrator` wrote.

    Returns
    -------
    Calibrator
        A function of a score array in [0, 1].

    Raises
    ------
    InputError
        If the file is missing or not a valid calibrator; the message names the file and the field.
    """
    path = Path(path)
    try:
        return calibrator_from_json(read_json(path))
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; make one with `twintrack calibrate`") from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: not readable as a calibrator ({error}); make it again with `twintrack calibrate`"
        ) from error
    except InputError as error:
        raise InputError(f"{path}: not a valid calibrator: {error}") from error


def write_calibrator(calibrator: Calibrator, path: str | Path, *, inputs: Inputs = (), overwrite: bool = False) -> None:
    """Write ``calibrator.json``; every number comes back exactly.

    Parameters
    ----------
    calibrator, path
        What, and where.
    inputs, overwrite
        See `twintrack.system.atomic.atomic_paths`.

    Raises
    ------
    OutputError
        If another file lies there, or the file cannot be written.
    """
    text = _one_row_a_line(calibrator_to_json(calibrator))
    with atomic_path(path, inputs=inputs, overwrite=overwrite) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def _one_row_a_line(value: Any, indent: str = "") -> str:
    """Write JSON with each field, and each row of a table, on a line of its own."""
    deeper = indent + " "
    if isinstance(value, dict) and value:
        rows = [f"{json.dumps(key)}: {_one_row_a_line(item, deeper)}" for key, item in value.items()]
        return "{\n" + ",\n".join(deeper + row for row in rows) + f"\n{indent}}}"
    if isinstance(value, list) and value and isinstance(value[0], list):
        return "[\n" + ",\n".join(deeper + json.dumps(row) for row in value) + f"\n{indent}]"
    return json.dumps(value, allow_nan=False)
