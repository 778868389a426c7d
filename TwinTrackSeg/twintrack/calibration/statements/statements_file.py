"""The part ``statements`` of ``calibrator.json``; a stranger's file is refused field by field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twintrack.calibration.statements.families import FAMILIES
from twintrack.calibration.statements.statements import Fitted, LevelMap, Statements
from twintrack.calibration.statements.table import ANGLES_DEG, MOST_NAME, key_from_json, key_to_json
from twintrack.errors import InputError
from twintrack.raters import MOST_RATERS, checked_name

__all__ = ["statements_from_json", "statements_to_json"]

MOST_RESAMPLES = 1000
MOST_KINDS = 200
MOST_CASES = 2**31
MOST_TEXTS = 100
MOST_TEXT = 2000


def statements_to_json(statements: Statements) -> dict[str, Any]:
    """Return the JSON object of statements."""
    return {
        **key_to_json(statements.key),
        "angles_deg": list(ANGLES_DEG),
        "cases": statements.cases,
        "informative_cases": statements.informative,
        "raters": statements.raters,
        "rater_names": list(statements.rater_names),
        "highest_level": statements.highest,
        "family": statements.fitted.family.name,
        "fitted": _fitted_to_json(statements.fitted),
        "interval_level": statements.level,
        "resampled": [_fitted_to_json(one) for one in statements.resampled],
        "compared": {name: list(values) for name, values in statements.compared.items()},
        "warnings": list(statements.warnings),
    }


def statements_from_json(stored: object) -> Statements:
    """Read what `statements_to_json` gave.

    Raises
    ------
    InputError
        Names the field that is wrong.
    """
    if not isinstance(stored, dict):
        raise InputError('"statements" must be an object')
    try:
        return _statements(stored)
    except InputError as error:
        raise InputError(f'"statements": {error}') from error


def _statements(stored: Mapping[str, Any]) -> Statements:
    if stored.get("angles_deg") != list(ANGLES_DEG):
        raise InputError('"angles_deg" must be 0, 5, ... 355')
    kinds = {family.name: family for family in FAMILIES}
    name = stored.get("family")
    if not isinstance(name, str) or name not in kinds:
        raise InputError(f'"family" must be one of {", ".join(kinds)}, got {name!r}; update TwinTrack')
    resampled = _list(stored, "resampled", MOST_RESAMPLES)
    compared = _object(stored, "compared")
    return Statements(
        key=key_from_json(stored),
        cases=_whole(stored, "cases"),
        informative=_whole(stored, "informative_cases"),
        raters=_whole(stored, "raters"),
        rater_names=tuple(checked_name(text) for text in _list(stored, "rater_names", MOST_RATERS)),
        highest=_number(stored, "highest_level", 0.0, 1.0),
        fitted=_fitted(_object(stored, "fitted"), name),
        level=_number(stored, "interval_level", 0.0, 1.0),
        resampled=tuple(_fitted(one, name) for one in resampled),
        compared={_name(key): _pair(values, "compared", 1e6) for key, values in compared.items()},
        warnings=tuple(_text(text) for text in _list(stored, "warnings", MOST_TEXTS)),
    )


def _fitted_to_json(fitted: Fitted) -> dict[str, Any]:
    return {
        **fitted.family.to_json(),
        "scatter_deg": fitted.scatter_deg,
        "far": list(fitted.far),
        "others": {kind: list(one.numbers) for kind, one in fitted.others.items()},
    }


def _fitted(stored: object, name: str) -> Fitted:
    if not isinstance(stored, dict):
        raise InputError("a fit must be an object")
    kinds = {family.name: family for family in FAMILIES}
    others = _object(stored, "others")
    far = tuple(_real(value, "far", 0.0, 1.0) for value in _list(stored, "far", 3))
    maps = {_name(kind): LevelMap(_pair(numbers, "others", 100.0)) for kind, numbers in others.items()}
    if any(one.numbers[1] <= 0 for one in maps.values()):
        raise InputError('"others" must rise with the level')
    return Fitted(kinds[name].from_json(stored), _number(stored, "scatter_deg", 0.0, 90.0), far, maps)


def _object(stored: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = stored.get(name)
    if not isinstance(value, dict) or len(value) > MOST_KINDS:
        raise InputError(f'"{name}" must be an object of at most {MOST_KINDS} entries')
    return value


def _list(stored: Mapping[str, Any], name: str, most: int) -> list[Any]:
    value = stored.get(name)
    if not isinstance(value, list) or len(value) > most:
        raise InputError(f'"{name}" must be a list of at most {most} entries')
    return value


def _whole(stored: Mapping[str, Any], name: str) -> int:
    value = stored.get(name)
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_CASES:
        raise InputError(f'"{name}" must be a whole number from 1, got {value!r}')
    return value


def _number(stored: Mapping[str, Any], name: str, low: float, high: float) -> float:
    return _real(stored.get(name), name, low, high)


def _real(value: Any, name: str, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise InputError(f'"{name}" must be a number from {low:g} to {high:g}, got {value!r}')
    return float(value)


def _pair(values: Any, name: str, most: float) -> tuple[float, float]:
    if not isinstance(values, list) or len(values) != 2:
        raise InputError(f'"{name}" must hold pairs of numbers')
    return _real(values[0], name, -most, most), _real(values[1], name, -most, most)


def _name(text: Any) -> str:
    if not isinstance(text, str) or not 0 < len(text) <= MOST_NAME or not text.isprintable():
        raise InputError("a name is no name")
    return text


def _text(text: Any) -> str:
    if not isinstance(text, str) or len(text) > MOST_TEXT or not text.isprintable():
        raise InputError('"warnings" must be texts on one line')
    return text
