"""The anatomic contact pattern of all vessels together, by a versioned table of rules.

The tables are data (``twintrack/data/vascular_contact_rules.json``) and name patterns of contact, never operability.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import resources
from typing import Any, TypeVar

from twintrack.errors import InputError
from twintrack.invasion.rater_categories import CATEGORY_THRESHOLD
from twintrack.invasion.wall import LEVEL_TOLERANCE, VesselWall

__all__ = [
    "DEFAULT_RULES",
    "ContactPattern",
    "calibrated_pattern",
    "check_rules",
    "contact_pattern",
    "known_vessel",
    "pattern_levels",
    "pattern_of",
    "rule_names",
    "vessel_title",
]

RULES_FILE = "vascular_contact_rules.json"

DEFAULT_RULES = "nccn"

_Read = TypeVar("_Read")

_Fraction = Callable[[float], float]
"""Gives the fraction of raters whose contact angle with a vessel exceeds an angle in degrees."""


@dataclass(frozen=True)
class ContactPattern:
    """The pattern a rule table gives to a set of vessel contacts.

    Attributes
    ----------
    rules, rule_set, version, source, statement : str
        The table, where it comes from, and what its patterns do not say.
    pattern : str or None
        The table's first pattern that holds at probability level 0.5; None if none of its vessels was assessed, and
        where it would be the last one, no contact, but a vessel was not assessed that the table needs.
    probability : dict of str to float or None
        Expected fraction of raters who would see each pattern; sums to 1, the last one unknown if not `complete`.
    level : dict of str to float
        Largest level of the map at which each pattern, or a worse one, holds.
    not_assessed : tuple of str
        Vessels of the table that were not given or not found.
    complete : bool
        Whether all vessels without which the table says little were assessed.
    reason : str or None
        Why there is no pattern, or what an incomplete one does not cover.
    statements : str
        "calibrated" where `probability` and `pattern` are calibrated statements, "map" where they are the map's levels.
    """

    rules: str
    rule_set: str
    version: str
    source: str
    statement: str
    pattern: str | None
    probability: dict[str, float | None]
    not_assessed: tuple[str, ...]
    complete: bool
    reason: str | None
    level: dict[str, float] = field(default_factory=dict)
    statements: str = "map"

    def to_json(self) -> dict[str, Any]:
        """Return the ``resectability`` part of ``invasion.json``."""
        return {
            "label": "anatomic contact pattern",
            "rules": self.rules,
            "rule_set": self.rule_set,
            "version": self.version,
            "source": self.source,
            "pattern": self.pattern,
            "statements": self.statements,
            "probability": dict(self.probability),
            "level": dict(self.level),
            "not_assessed": list(self.not_assessed),
            "complete": self.complete,
            "reason": self.reason,
            "statement": self.statement,
        }


def rule_names() -> tuple[str, ...]:
    """Return the names of the rule tables."""
    return tuple(_file()["rule_sets"])


def check_rules(rules: str) -> None:
    """Refuse the name of a rule table that there is not.

    Raises
    ------
    InputError
        With the names that there are.
    """
    if rules not in rule_names():
        raise InputError(f"no such rule set; known are {', '.join(rule_names())}", code="rules-unknown", where=rules)


def known_vessel(name: str) -> str | None:
    """Return the tables' name of a vessel that may be spelled in another way; None if they do not know it."""
    plain = _plain(name)
    for known, vessel in _file()["vessels"].items():
        if plain in (_plain(known), *(_plain(other) for other in vessel["also"])):
            return str(known)
    return None


def vessel_title(name: str) -> str:
    """Return a vessel's name in words, as a radiologist writes it; unknown names stay as they are."""
    known = known_vessel(name)
    return str(_file()["vessels"][known]["title"]) if known else name


def contact_pattern(
    walls: Mapping[str, VesselWall | None], rules: str = DEFAULT_RULES, *, partly: Collection[str] = ()
) -> ContactPattern:
    """Apply a rule table to the vessels by name; None marks a vessel that could not be assessed.

    A vessel that stands for several, as ``PORTA_SMV`` for the two veins, is read beside them: a level holds if it holds
    for any of the three, so that contact over the veins' border counts whole and no contact counts twice. Where it
    stands alone, both are assessed.

    Parameters
    ----------
    walls : mapping of str to VesselWall or None
        By the vessel's name.
    rules : str
        The rule table.
    partly : collection of str
        Vessels whose contact counts, but of which too little was searched to call them assessed.

    Raises
    ------
    InputError
        If there is no such table.
    """
    check_rules(rules)
    table = _file()["rule_sets"][rules]
    read = _by_part(walls)
    given = {known_vessel(name) for name in walls}
    assessed: set[str] = set()
    for name, wall in walls.items():
        known = known_vessel(name)
        if wall is None or known is None:
            continue
        parts = _parts(known)
        alone = parts == [known] or given.isdisjoint(parts)
        assessed.update(parts if alone and name not in partly else ())
    levels = _levels(table, read)
    used = list(dict.fromkeys(vessel for rule in table["patterns"] for part in rule["any_of"] for vessel in part["of"]))
    missing = tuple(name for name in used if name not in assessed)
    lacking = [name for name in table["needs"] if name in missing]
    any_assessed = any(name in read for name in used)
    reached = next((p for p, level in levels.items() if level >= CATEGORY_THRESHOLD - LEVEL_TOLERANCE), None)
    reason = f"not assessed: {', '.join(lacking)}; the pattern holds for the other vessels only" if lacking else None
    return ContactPattern(
        rules=rules,
        rule_set=table["rule_set"],
        version=table["version"],
        source=table["source"],
        statement=_file()["statement"],
        pattern=_told(reached, table, complete=not lacking) if any_assessed else None,
        probability=_shares(levels, complete=not lacking) if any_assessed else dict.fromkeys(levels),
        not_assessed=missing,
        complete=not lacking,
        reason=reason if any_assessed else "not assessed: none of the rule set's vessels could be measured",
        level=levels if any_assessed else {},
    )


def pattern_levels(walls: Mapping[str, VesselWall | None], rules: str) -> dict[str, float]:
    """Return the largest level at which each pattern of a rule table, or a worse one, holds; the worst pattern first.

    The last pattern, which always holds, is left out. `walls` are as in `contact_pattern`.
    """
    levels = _levels(_file()["rule_sets"][rules], _by_part(walls))
    return dict(list(levels.items())[:-1])


def pattern_of(walls: Mapping[str, VesselWall | None], rules: str, threshold: float) -> int:
    """Return the number of the first pattern that holds at a level; patterns are counted from the worst, from 0."""
    levels = list(pattern_levels(walls, rules).values())
    held = [number for number, level in enumerate(levels) if level >= threshold - LEVEL_TOLERANCE]
    return held[0] if held else len(levels)


def calibrated_pattern(
    found: ContactPattern,
    own: Mapping[str, float],
    fractions: Mapping[str, _Fraction],
) -> ContactPattern:
    """Put calibrated fractions of raters in the place of the map's levels.

    Parameters
    ----------
    found : ContactPattern
        Read from the map.
    own : mapping of str to float
        Calibrated fraction of raters who see each pattern or a worse one, where such a statement was fitted.
    fractions : mapping of str to callable
        By vessel: gives the fraction of raters whose contact angle exceeds an angle in degrees.

    Returns
    -------
    ContactPattern
        Coherent: no pattern, or a worse one, is seen by fewer raters than one of the contacts that make it, or by more
        than all of these together.
    """
    if not found.level:  # none of the vessels could be measured
        return found
    read = _by_part(fractions)
    reached: dict[str, float] = {}
    worse = 0.0
    seen: dict[_Fraction, float] = {}  # how many see a contact of each vessel that makes this pattern or a worse one
    for rule in _file()["rule_sets"][found.rules]["patterns"]:
        for part in rule["any_of"]:
            over_deg = part["over_deg"] if "over_deg" in part else max(part["from_deg"] - 1.0, 0.0)
            for fraction in (one for vessel in part["of"] for one in read.get(vessel, [])):
                seen[fraction] = max(seen.get(fraction, 0.0), fraction(over_deg))
        together = sum(seen.values())
        worse = max([worse, min(own.get(rule["pattern"], 0.0), together), *seen.values()]) if rule["any_of"] else 1.0
        reached[rule["pattern"]] = worse
    table = _file()["rule_sets"][found.rules]
    seen_by_most = next(pattern for pattern, fraction in reached.items() if fraction > CATEGORY_THRESHOLD)
    return replace(
        found,
        pattern=_told(seen_by_most, table, complete=found.complete),
        probability=_shares(reached, complete=found.complete),
        statements="calibrated",
    )


def _parts(known: str) -> list[str]:
    """Return the vessels that a vessel of the tables stands for."""
    return list(_file()["vessels"][known].get("stands_for", [known]))


def _by_part(read: Mapping[str, _Read | None]) -> dict[str, list[_Read]]:
    """Return what was read of each vessel of the tables, under the tables' names."""
    parts: dict[str, list[_Read]] = {}
    for name, value in read.items():
        known = known_vessel(name)
        if value is None or known is None:
            continue
        for part in _parts(known):
            parts.setdefault(part, []).append(value)
    return parts


def _levels(table: Any, assessed: Mapping[str, list[VesselWall]]) -> dict[str, float]:
    """Return the largest level at which each pattern, or a worse one, holds; worst pattern first."""
    levels: dict[str, float] = {}
    worse = 0.0
    for rule in table["patterns"]:
        found = [
            wall.level_over(part["over_deg"]) if "over_deg" in part else wall.level_from(part["from_deg"])
            for part in rule["any_of"]
            for vessel in part["of"]
            for wall in assessed.get(vessel, [])
        ]
        worse = max([worse, *found]) if rule["any_of"] else 1.0
        levels[rule["pattern"]] = worse
    return levels


def _told(pattern: str | None, table: Any, *, complete: bool) -> str | None:
    """Return a pattern that can be told: no contact is not known while a needed vessel was not looked at."""
    return None if not complete and pattern == table["patterns"][-1]["pattern"] else pattern


def _shares(levels: dict[str, float], *, complete: bool) -> dict[str, float | None]:
    """Return the share of raters for each pattern: those who see it or worse, less those who see worse.

    The raters who see a pattern or a worse one are nested too, so that their share is that of the worst vessel. How
    many see none is not known while a needed vessel was not looked at.
    """
    values = list(levels.values())
    shares: dict[str, float | None] = {
        name: level - worse for name, level, worse in zip(levels, values, [0.0, *values], strict=False)
    }
    return shares if complete else shares | {list(levels)[-1]: None}


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


@lru_cache(maxsize=1)
def _file() -> Any:
    """Return the rule file."""
    return json.loads(resources.files("twintrack").joinpath("data").joinpath(RULES_FILE).read_text(encoding="utf-8"))
