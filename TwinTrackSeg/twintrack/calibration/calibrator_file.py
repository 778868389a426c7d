"""The file ``calibrator.json``: every number comes back exactly, and a stranger's file is refused field by field."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

from twintrack.calibration.band import STEPS
from twintrack.calibration.calibrator import Calibrator
from twintrack.errors import InputError
from twintrack.system.atomic import atomic_path
from twintrack.system.json_file import MAX_JSON_BYTES, parse_json, read_limited
from twintrack.system.ownership import Inputs

__all__ = ["SCHEMA", "calibrator_from_json", "calibrator_to_json", "read_calibrator", "write_calibrator"]

SCHEMA = 1
"""Version of the JSON layout."""


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
        "statements": None if calibrator.statements is None else calibrator.statements.to_json(),
    }


def calibrator_from_json(data: object) -> Calibrator:
    """Return the calibrator of a JSON object; see `Calibrator.from_json`."""
    from twintrack.calibration.calibrator_model import CalibratorModel
    from twintrack.system.json_model import read_model

    return read_model(CalibratorModel, data).calibrator()


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
        return _of_text(read_limited(path, MAX_JSON_BYTES))
    except FileNotFoundError as error:
        raise InputError("no such file; make one with `twintrack calibrate`", code="file-missing", path=path) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"not readable as a calibrator ({error}); make it again with `twintrack calibrate`",
            code="calibrator-unreadable",
            path=path,
        ) from error
    except InputError as error:
        raise InputError(f"not a valid calibrator: {error}", code=error.code, path=path) from error


@lru_cache(maxsize=2)
def _of_text(content: bytes) -> Calibrator:
    """Return the calibrator of a file's content; a case asks twice for its bundle's, and so does the next one."""
    return calibrator_from_json(parse_json(content))


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
