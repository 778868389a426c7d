"""What the fit of statements needs to know of each case: levels of the score, and how many raters went further.

A statement is what a person reads: "over 180 degrees of the SMV", "more than 20 mL", "any tumour". For each there is a
level, the highest one of the pooled score at which the network would make it, and a count, the raters whose own masks
make it. A few hundred numbers a case; a table of them travels with a `ScoreSketch`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from twintrack.errors import InputError
from twintrack.labels import VESSELS, is_joint_vein, vessel_of
from twintrack.system.json_file import parse_json

__all__ = [
    "ANGLES_DEG",
    "ANY_TUMOR",
    "LESION",
    "MOST_CASES",
    "VOLUME",
    "CaseStatements",
    "LevelCount",
    "StatementKey",
    "StatementTable",
    "VesselCounts",
    "artery_share",
    "key_from_json",
    "key_to_json",
]

ANGLES_DEG = tuple(range(0, 360, 5))
"""The contact angles, in degrees, whose levels are kept: of each, that it is exceeded."""

MOST_CASES = 2048
"""Cases of a table; of more, those with the smallest keys stay, which are as good as drawn at random."""

MOST_ENTRIES = 400
"""Vessels of a case, kinds of further statements, and levels of each of them."""

MOST_RATERS_A_CASE = 1000
MOST_NAME = 200

ANY_TUMOR, VOLUME, LESION = "any_tumour", "volume", "lesion"
"""Kinds of further statements: that there is tumour, that it has more than a volume, that a part of it is tumour."""

SOURCES = ("predicted", "given")
"""Where the vessels come from on which the levels were measured: the bundle's networks, or somebody else."""


@dataclass(frozen=True)
class VesselCounts:
    """One vessel of one case.

    Attributes
    ----------
    levels : tuple of float
        Level of the score at which each of `ANGLES_DEG` is exceeded, never rising; 0 where it is not.
    far : int
        Where there is no contact at any level: 0 if the lowest level's tumour is within 3 mm, 1 within 10 mm, else 2.
    counts : tuple of int
        Raters whose own contact angle with the reference vessel exceeds each of `ANGLES_DEG`.
    raters : int
        Raters who could be measured.
    """

    levels: tuple[float, ...]
    far: int
    counts: tuple[int, ...]
    raters: int


def artery_share(name: str) -> float:
    """Return 1 for the name of an artery, 0 for a vein's, and one half for a vessel of which neither is known."""
    if is_joint_vein(name):
        return 0.0
    return next((float(vessel.is_artery) for vessel in VESSELS if vessel.name == vessel_of(name)), 0.5)


@dataclass(frozen=True)
class LevelCount:
    """One further statement of one case: its level, and how many of the raters make it."""

    level: float
    count: int
    raters: int


@dataclass(frozen=True)
class CaseStatements:
    """All statements of one case.

    Attributes
    ----------
    vessels : mapping of str to VesselCounts
        By the vessel's name.
    others : mapping of str to tuple of LevelCount
        By the kind of statement: `ANY_TUMOR`, `VOLUME`, `LESION`, and one for each contact pattern.
    """

    vessels: Mapping[str, VesselCounts]
    others: Mapping[str, tuple[LevelCount, ...]]

    @property
    def has_tumor(self) -> bool:
        """Whether any rater marked tumour, as far as is known."""
        known = self.others.get(ANY_TUMOR, ())
        return not known or any(one.count > 0 for one in known)


@dataclass(frozen=True)
class StatementKey:
    """What a table, and a fit on it, holds for.

    Attributes
    ----------
    networks_sha256 : str
        The networks that gave the score: see `twintrack.bundle.model_bundle.Bundle.networks_sha256`.
    vessel_source : str
        One of `SOURCES`.
    contact_mm : float
        Distance from the lumen, in mm, within which tumour touches a vessel.
    """

    networks_sha256: str
    vessel_source: str
    contact_mm: float

    def __post_init__(self) -> None:
        if self.vessel_source not in SOURCES:
            raise InputError(
                f'"vessel_source" must be one of {", ".join(SOURCES)}, got {self.vessel_source!r}',
                code="statements-value",
            )

    def differs_from(self, other: StatementKey) -> str | None:
        """Say in what another key differs; None if in nothing."""
        if self.networks_sha256 != other.networks_sha256:
            return "other networks"
        if self.vessel_source != other.vessel_source:
            return f"{self.vessel_source} vessels, not {other.vessel_source} ones"
        if abs(self.contact_mm - other.contact_mm) > 1e-6:
            return f"a contact distance of {self.contact_mm:g} mm, not {other.contact_mm:g} mm"
        return None


@dataclass(frozen=True)
class StatementTable:
    """The statements of any number of cases; tables of the same key are joined with ``+``.

    Attributes
    ----------
    key : StatementKey
        What the levels were measured on.
    cases : mapping of int to CaseStatements
        By a key made from the case's content, so that the same case counts once.
    """

    key: StatementKey
    cases: Mapping[int, CaseStatements] = field(default_factory=dict)

    def __add__(self, other: StatementTable) -> StatementTable:
        difference = self.key.differs_from(other.key)
        if difference is not None:
            raise InputError(
                f"statements measured with {difference} cannot be joined; calibrate them apart",
                code="statements-differ",
            )
        joined = {**self.cases, **other.cases}
        return StatementTable(self.key, {key: joined[key] for key in sorted(joined)[:MOST_CASES]})

    def to_text(self) -> str:
        """Return the table as JSON text."""
        cases = {
            str(key): {
                "vessels": {
                    name: [list(vessel.levels), vessel.far, list(vessel.counts), vessel.raters]
                    for name, vessel in case.vessels.items()
                },
                "others": {
                    kind: [[one.level, one.count, one.raters] for one in rows] for kind, rows in case.others.items()
                },
            }
            for key, case in self.cases.items()
        }
        return json.dumps({"angles_deg": list(ANGLES_DEG), **key_to_json(self.key), "cases": cases})

    @classmethod
    def from_text(cls, text: str) -> StatementTable:
        """Read what `to_text` gave.

        Raises
        ------
        InputError
            If the text is no such table.
        """
        try:
            stored = parse_json(text)
            if stored["angles_deg"] != list(ANGLES_DEG):
                raise InputError("its angles are not those of this version", code="statements-table")
            cases = stored["cases"].items()
            if len(cases) > MOST_CASES:
                raise InputError(f"it has more than {MOST_CASES} cases", code="statements-table")
            return cls(key_from_json(stored), {_case_key(key): _case(case) for key, case in cases})
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise InputError("its table of statements is damaged", code="statements-table") from error
        except InputError as error:
            raise InputError(f"its table of statements is not valid: {error}", code=error.code) from error


def key_to_json(key: StatementKey) -> dict[str, Any]:
    """Return what `key_from_json` reads."""
    return {
        "networks_sha256": key.networks_sha256,
        "vessel_source": key.vessel_source,
        "contact_mm": key.contact_mm,
    }


def key_from_json(stored: Mapping[str, Any]) -> StatementKey:
    """Read the key of a table or a fit; `InputError` names the field that is wrong."""
    digest, source, contact_mm = (stored.get(name) for name in ("networks_sha256", "vessel_source", "contact_mm"))
    if not isinstance(digest, str) or len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise InputError(f'"networks_sha256" must be a SHA-256 of 64 digits, got {digest!r}', code="statements-value")
    if isinstance(contact_mm, bool) or not isinstance(contact_mm, int | float) or not 0 < contact_mm < 100:
        raise InputError(f'"contact_mm" must be a length in mm, got {contact_mm!r}', code="contact-distance")
    return StatementKey(digest, str(source), float(contact_mm))


def _case_key(text: str) -> int:
    key = int(text)
    if not 0 <= key < 2**64:
        raise InputError("a case's key is out of range", code="statements-table")
    return key


def _case(stored: Mapping[str, Any]) -> CaseStatements:
    vessels = {_name(name): _vessel(values) for name, values in _limited(stored["vessels"]).items()}
    others = {
        _name(kind): tuple(LevelCount(_fraction(level), *_counts(count, raters)) for level, count, raters in rows)
        for kind, rows in _limited(stored["others"]).items()
    }
    if any(len(rows) > MOST_ENTRIES for rows in others.values()):
        raise InputError(f"a case has more than {MOST_ENTRIES} levels of one kind", code="statements-table")
    return CaseStatements(vessels, others)


def _vessel(stored: list[Any]) -> VesselCounts:
    levels, far, counts, raters = stored
    if len(levels) != len(ANGLES_DEG) or len(counts) != len(ANGLES_DEG) or far not in (0, 1, 2):
        raise InputError("a vessel's levels or counts are not complete", code="statements-table")
    found = VesselCounts(
        tuple(map(_fraction, levels)), int(far), tuple(_counts(count, raters)[0] for count in counts), int(raters)
    )
    if _rises(found.levels) or _rises(found.counts):
        raise InputError("a vessel's levels or counts rise with the angle", code="statements-table")
    return found


def _rises(values: Iterable[float]) -> bool:
    return any(after > before for before, after in pairwise(values))


def _limited(stored: Mapping[str, Any]) -> Mapping[str, Any]:
    if len(stored) > MOST_ENTRIES:
        raise InputError(f"a case has more than {MOST_ENTRIES} entries", code="statements-table")
    return stored


def _name(name: str) -> str:
    if not 0 < len(name) <= MOST_NAME or not name.isprintable():
        raise InputError("a name is not a text of letters", code="statements-table")
    return name


def _fraction(value: Any) -> float:
    if isinstance(value, bool) or not 0 <= float(value) <= 1:
        raise InputError(f"a level must lie in [0, 1], got {value!r}", code="statements-table")
    return float(value)


def _counts(count: Any, raters: Any) -> tuple[int, int]:
    whole: Callable[[Any], bool] = lambda value: isinstance(value, int) and not isinstance(value, bool)  # noqa: E731
    if not (whole(count) and whole(raters) and 0 <= count <= raters and 1 <= raters <= MOST_RATERS_A_CASE):
        raise InputError(f"a count must be a number of raters, got {count!r} of {raters!r}", code="statements-table")
    return count, raters
