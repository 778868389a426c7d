"""Sketches as ``.npz`` files, to be made on many machines and added up on one."""

from __future__ import annotations

import json
import tokenize
import zipfile
import zlib
from math import prod
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.calibrator import DOMAINS, WEIGHTINGS
from twintrack.calibration.case_groups import COARSE_CELLS, KEY_BITS, MASS, MOST_UNITS, Unit, Units
from twintrack.calibration.score_axis import CELLS
from twintrack.calibration.sketch import ScoreSketch
from twintrack.calibration.statements import StatementTable
from twintrack.errors import InputError
from twintrack.raters import MOST_RATERS, check_apart, checked_name, name_order, numbered
from twintrack.system.atomic import atomic_path
from twintrack.system.capacity import lacking_memory
from twintrack.system.json_file import MAX_JSON_BYTES, parse_json
from twintrack.system.ownership import Inputs
from twintrack.system.zip_directory import open_zip

__all__ = ["load_sketch", "save_sketch"]

SCHEMA = 1
"""Version of the layout; cells are part of it, so that a change of `CELLS` or `COARSE_CELLS` raises it."""

MOST_STATEMENTS = 2048 * 12_000
"""Characters of the table of statements: about 7,000 a case."""

MOST_CASES = 1_000_000
"""Cases of a sketch."""

_DAMAGED = (
    *(OSError, EOFError, MemoryError),
    *(AttributeError, KeyError, TypeError, ValueError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
    *(tokenize.TokenError, SyntaxError, OverflowError),  # of an array's header, which is a Python literal; of its keys
)
"""What numpy, zipfile and json raise on files that are something else, cut or altered."""

_TABLES = {
    "counts": ("i", 1),
    "mass": ("i", 1),
    "score_sums": ("f", 1),
    "mhr_sums": ("f", 1),
    "rater_counts": ("i", 2),
    "rater_positives": ("i", 2),
}
"""Kind of number and of shape, (cell,) or (rater, cell), of the sums over cells."""

_MOST_BYTES = {
    **{name: 8 * CELLS * (MOST_RATERS if dimensions == 2 else 1) for name, (_, dimensions) in _TABLES.items()},
    "about": 4 * MAX_JSON_BYTES,
    "case_keys": 8 * MOST_CASES,
    "unit_keys": 8 * MOST_UNITS,
    "unit_sums": 8 * MOST_UNITS * (2 + 2 * MOST_RATERS) * COARSE_CELLS,
    "statements": 4 * MOST_STATEMENTS,
}
"""Largest size of each array."""


def check_sketch_name(path: str | Path) -> None:
    """Refuse the name of a file that is not a sketch's.

    Raises
    ------
    InputError
        Says how it has to end.
    """
    if Path(path).suffix.lower() != ".npz":
        raise InputError("not a sketch file name; use one that ends with .npz", code="sketch-ending", path=path)


def save_sketch(sketch: ScoreSketch, path: str | Path, *, inputs: Inputs = (), overwrite: bool = False) -> None:
    """Write `sketch` to a ``.npz`` file; every number comes back exactly.

    Parameters
    ----------
    sketch, path
        What, and where.
    inputs, overwrite
        See `twintrack.system.atomic.atomic_paths`.

    Raises
    ------
    InputError
        If the name does not end with ``.npz``.
    OutputError
        If the file cannot be written.
    """
    check_sketch_name(path)
    about = {
        "schema": SCHEMA,
        "cases": sketch.cases,
        "blank_cases": sketch.blank_cases,
        "missed_mhr": sketch.missed_mhr,
        "tumour_voxels": sketch.tumour_voxels,
        "domain": sketch.domain,
        "weighting": sketch.weighting,
        "manifests": sorted(sketch.manifests),
        "rater_names": list(sketch.rater_names),
        "alike_cases": sketch.alike_cases,
        "unit_bits": sketch.units.bits,
    }
    units = sorted(sketch.units.by_key)
    arrays: dict[str, Any] = {name: getattr(sketch, name) for name in _TABLES}
    arrays |= {
        "about": np.array(json.dumps(about)),
        "case_keys": np.array(sorted(sketch.case_keys), np.uint64),
        "unit_keys": np.array(units, np.uint64),
        "unit_sums": sketch.units.table(sketch.rater_names),
    }
    if sketch.statements is not None:
        arrays["statements"] = np.array(sketch.statements.to_text())
    with atomic_path(path, inputs=inputs, overwrite=overwrite) as partial, partial.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def load_sketch(path: str | Path) -> ScoreSketch:
    """Read what `save_sketch` wrote.

    Raises
    ------
    InputError
        If the file is missing, no sketch, damaged, or its numbers contradict each other; the message names the file.
    """
    path = Path(path)
    try:
        with open_zip(path, max_files=2 * len(_MOST_BYTES)) as archive:
            _check_sizes(archive)
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return _sketch({name: stored[name] for name in stored.files})
    except FileNotFoundError:
        raise InputError(
            "no such file; make one with `twintrack calibrate --sketch`", code="file-missing", path=path
        ) from None
    except InputError as error:
        raise InputError(f"not a valid sketch: {error}; make it again", code=error.code, path=path) from error
    except _DAMAGED as error:
        raise InputError(
            "not readable as a sketch; make it again with `twintrack calibrate --sketch`",
            code="sketch-unreadable",
            path=path,
        ) from error


def _check_sizes(archive: zipfile.ZipFile) -> None:
    """Refuse arrays that are not those of a sketch, or larger than they can be, before memory is taken for one.

    An array's header can promise any size, and a packed one grows a thousandfold.
    """
    total = 0
    for entry in archive.infolist():
        name = entry.filename.removesuffix(".npy")
        if name not in _MOST_BYTES or name == entry.filename:
            _refuse(f"it holds {entry.filename[:100]!r}, which is no part of a sketch")
        with archive.open(entry) as stream:
            version = np.lib.format.read_magic(stream)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, kind = read(stream)
        size = prod(shape) * kind.itemsize
        if kind.hasobject or len(shape) > 3 or min(shape, default=0) < 0:
            _refuse(f'"{name}" has the wrong shape or kind, {shape} {kind}')
        if size > _MOST_BYTES[name] or size > entry.file_size:
            _refuse(f'"{name}" shall have {size:,} bytes, more than it holds or may have')
        total += size
    lacking = lacking_memory(2 * total)
    if lacking is not None:
        _refuse(f"it {lacking}")


def _sketch(stored: dict[str, NDArray[Any]]) -> ScoreSketch:
    """Return the sketch of the arrays of a file; refuse arrays that contradict each other."""
    about = parse_json(str(stored["about"]))
    if not isinstance(about, dict) or about.get("schema") != SCHEMA:
        _refuse(f"its schema is unknown, this version reads {SCHEMA}")
    if about["domain"] not in DOMAINS or about["weighting"] not in WEIGHTINGS:
        _refuse(f"unknown domain {about['domain']!r} or weighting {about['weighting']!r}")
    tables = {name: _table(name, stored[name]) for name in _TABLES}
    keys = tuple(int(key) for key in stored["case_keys"])
    names = _names(about, len(tables["rater_counts"]))
    cases, blank = _whole(about, "cases"), _whole(about, "blank_cases")
    if len(keys) + blank != cases:
        _refuse('"case_keys" and "blank_cases" do not add up to "cases"')
    sketch = ScoreSketch(
        cases=cases,
        blank_cases=blank,
        missed_mhr=_amount(about, "missed_mhr"),
        tumour_voxels=_amount(about, "tumour_voxels"),
        domain=about["domain"],
        weighting=about["weighting"],
        manifests=frozenset(str(digest) for digest in about["manifests"]),
        case_keys=keys,
        units=_units(stored, _whole(about, "unit_bits"), names),
        rater_names=names,
        alike_cases=_whole({"alike_cases": 0} | about, "alike_cases"),
        statements=StatementTable.from_text(str(stored["statements"])) if "statements" in stored else None,
        **tables,
    )
    _check_sums(sketch)
    return sketch


def _table(name: str, found: NDArray[Any]) -> NDArray[Any]:
    """Return one array of sums; refuse another shape, another kind of number, and what cannot be a sum."""
    kind, dimensions = _TABLES[name]
    if found.dtype.kind != kind or found.ndim != dimensions or found.shape[-1] != CELLS:
        _refuse(f'"{name}" has the wrong shape or kind, {found.shape} {found.dtype}')
    if not (np.isfinite(found).all() and (found >= 0).all()):
        _refuse(f'"{name}" holds numbers that are no sums')
    return found.astype(np.int64 if kind == "i" else np.float64, copy=False)


def _names(about: dict[str, Any], raters: int) -> tuple[str, ...]:
    """Return the names of the raters; older files know their number alone."""
    names = about.get("rater_names", list(numbered(raters)))
    if not isinstance(names, list) or len(names) != raters or raters > MOST_RATERS:
        _refuse(f'"rater_names" must be a list with a name for each of the {raters} raters')
    if names != sorted((checked_name(name) for name in names), key=name_order):
        _refuse('"rater_names" must hold names in their order')
    check_apart(names)
    return tuple(names)


def _units(stored: dict[str, NDArray[Any]], bits: int, raters: tuple[str, ...]) -> Units:
    keys, sums = [int(key) for key in stored["unit_keys"]], stored["unit_sums"].astype(np.float64, copy=False)
    if sums.shape != (len(keys), 2 + 2 * len(raters), COARSE_CELLS) or not 0 <= bits <= KEY_BITS:
        _refuse(f'"unit_sums" has the wrong shape, {sums.shape}')
    if len(set(keys)) != len(keys) or len(keys) > MOST_UNITS or any(key >> bits for key in keys):
        _refuse('"unit_keys" holds wrong keys')
    if not (np.isfinite(sums).all() and (sums >= 0).all()):
        _refuse('"unit_sums" holds numbers that are no sums')
    return Units(bits, {key: Unit(raters, unit) for key, unit in zip(keys, sums, strict=True)})


def _check_sums(sketch: ScoreSketch) -> None:
    """Refuse sums over cells that cannot come from the same voxels."""
    if sketch.rater_counts.shape != sketch.rater_positives.shape:
        _refuse('"rater_counts" and "rater_positives" differ in their raters')
    if (sketch.rater_positives > sketch.rater_counts).any() or (sketch.rater_counts > sketch.mass).any():
        _refuse("a rater marked more voxels than were seen")
    limit = sketch.mass * (1 + 1e-9)
    if (sketch.mhr_sums > limit).any() or (sketch.score_sums > limit).any():
        _refuse("a mean score or response lies above 1")
    if bool(sketch.mhr_sums.any()) != (sketch.tumour_voxels > 0):
        _refuse('"tumour_voxels" contradicts "mhr_sums"')
    if ((sketch.counts == 0) & (sketch.mass > 0)).any():
        _refuse('"mass" lies in cells without voxels')
    mass = sum(float(unit.sums[MASS].sum()) for unit in sketch.units.by_key.values())
    if not np.isclose(mass, float(sketch.mass.sum()), rtol=1e-9):
        _refuse('"unit_sums" do not add up to "mass"')


def _whole(about: dict[str, Any], name: str) -> int:
    value = about[name]
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        _refuse(f'"{name}" must be a whole number, got {value!r}')
    return value


def _amount(about: dict[str, Any], name: str) -> float:
    value = about[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e300:
        _refuse(f'"{name}" must be a number of voxels, got {value!r}')
    return float(value)


def _refuse(reason: str) -> NoReturn:
    raise InputError(reason, code="sketch-invalid")
