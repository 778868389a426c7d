"""JSON that a stranger wrote, checked by a pydantic model: what a field must be stands once, in its type.

pydantic takes a tenth of a second to import, and is not there before the engine's packages are installed. Modules of
models are therefore imported inside the functions that read such a file.
"""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from twintrack.errors import InputError

__all__ = ["PRINTABLE", "JsonModel", "MustBe", "line", "listed", "number", "one_of", "read_model", "whole"]

PRINTABLE = r"^(?:[^\p{C}\p{Z}]| )*$"
"""Pattern of a text of printable characters on one line, in pydantic's own regular expressions."""

SHOWN = 100
FEW = 3
"""Most characters of a wrong value that an error repeats, and entries of a list or object."""


class JsonModel(BaseModel):
    """An object of JSON: no number for a truth value or a text for a number, no NaN; unknown fields are ignored."""

    model_config = ConfigDict(strict=True, frozen=True, allow_inf_nan=False, extra="ignore")

    def values(self) -> dict[str, Any]:
        """Return the fields that are there and not null."""
        return {name: value for name, value in self if value is not None}


class MustBe:
    """Limits of a value, and the words for them in errors and in the published schema.

    Parameters
    ----------
    requirement : str
        Ends the sentence '"field" must be'.
    remedy : str, optional
        What to do about another value, where that is more than to write another one.
    **limits
        Of pydantic's core schema, such as ``ge`` or ``max_length``.
    """

    def __init__(self, requirement: str, *, remedy: str = "", **limits: Any) -> None:
        self.requirement, self.limits = requirement, limits
        self._remedy = f"; {remedy}" if remedy else ""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner: Any = {**handler(source), **self.limits}
        return core_schema.no_info_wrap_validator_function(self._check, inner)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {**handler(schema), "description": self.requirement}

    def _check(self, value: Any, handler: core_schema.ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            value = error.errors(include_url=False)[0]["input"]
        except InputError:
            pass  # of a validator of ours
        told = {"requirement": self.requirement, "got": _shown(value), "remedy": self._remedy}
        raise PydanticCustomError("must_be", "must be {requirement}, got {got}{remedy}", told)


def whole(low: int, high: int) -> MustBe:
    """Return the limits of a whole number."""
    return MustBe(f"a whole number from {low} to {high}", ge=low, le=high)


def number(low: float, high: float) -> MustBe:
    """Return the limits of a number."""
    return MustBe(f"a number from {low:g} to {high:g}", ge=low, le=high)


def line(most: int) -> MustBe:
    """Return the limits of a text on one line."""
    return MustBe(f"at most {most} printable characters on one line", max_length=most, pattern=PRINTABLE)


def one_of(*words: str, remedy: str = "") -> MustBe:
    """Return the limits of a text that is one of a few words of letters and hyphens."""
    return MustBe(f"one of {', '.join(words)}", remedy=remedy, pattern=f"^({'|'.join(words)})$")


def listed(what: str, most: int, least: int = 0) -> MustBe:
    """Return the limits of a tuple that a JSON list becomes; `what` are its entries."""
    count = f"at most {most}" if least < most else str(most)
    return MustBe(f"a list of {count} {what}", min_length=least, max_length=most, strict=False)


_Model = TypeVar("_Model", bound=JsonModel)


def read_model(model: type[_Model], content: object) -> _Model:
    """Return JSON content as a model.

    Parameters
    ----------
    model : type
        A `JsonModel`.
    content : object
        What `twintrack.system.json_file.parse_json` gave.

    Raises
    ------
    InputError
        With one sentence that names the first wrong field and what it must be.
    """
    try:
        return model.model_validate(content)
    except ValidationError as found:
        raise InputError(_sentence(found), code="field-malformed") from None


def _sentence(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(str(part) for part in first["loc"])
    subject = f'"{field}"' if field else "it"
    if first["type"] == "missing":
        return f"{subject} is missing"
    if first["type"] == "must_be":
        return f"{subject} {first['msg']}"
    if first["type"] == "model_type":
        return f"{subject} must be an object, got {_shown(first['input'])}"
    return f"{subject} cannot be {_shown(first['input'])}"


def _shown(value: object) -> str:
    if isinstance(value, list | dict) and len(value) > FEW:
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)} entries"
    shown = repr(value)
    return shown if len(shown) <= SHOWN else f"{shown[:SHOWN]}..."
