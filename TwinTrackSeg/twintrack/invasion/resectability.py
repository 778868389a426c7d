"""The anatomic contact pattern of all vessels together, by a versioned table of rules.

The tables are data (``twintrack/data/vascular_contact_rules.json``) and name patterns of contact, never operability.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from twintrack.errors import InputError
from twintrack.invasion.rater_categories import CATEGORY_THRESHOLD
from twintrack.invasion.wall import LEVEL_TOLERANCE, VesselWall

__all__ = [
    "DEFAULT_RULES",
    "ContactPattern",
    "check_rules",
    "contact_pattern",
    "known_vessel",
    "rule_names",
    "vessel_title",
]

RULES_FILE = "vascular_contact_rules.json"

DEFAULT_RULES = "nccn"


@dataclass(frozen=True)
class ContactPattern:
    """The pattern a rule table gives to a set of vessel contacts.

    Attributes
    ----------
    rules, rule_set, version, source, statement : str
        The table, where it comes from, and what its patterns do not say.
    pattern : str or None
        The table's first pattern that holds at probability level 0.5; None if none of its vessels was assessed.
    probability : dict of str to float or None
        Expected fraction of raters who would see each pattern; sums to 1.
    not_assessed : tuple of str
        Vessels of the table that were not given or not found.
    complete : bool
        Whether all vessels without which the table says little were assessed.
    reason : str or None
        Why there is no pattern, or what an incomplete one does not cover.
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

    def to_json(self) -> dict[str, Any]:
        """Return the ``resectability`` part of ``invasion.json``."""
        return {
            "label": "anatomic contact pattern",
            "rules": self.rules,
            "rule_set": self.rule_set,
            "version": self.version,
            "source": self.source,
            "pattern": self.pattern,
            "probability": dict(self.probability),
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
        raise InputError(f"{rules}: no such rule set; known are {', '.join(rule_names())}")


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
    read: dict[str, list[VesselWall]] = {}
    assessed: set[str] = set()
    given = {known_vessel(name) for name in walls}
    for name, wall in walls.items():
        known = known_vessel(name)
        if wall is None or known is None:
            continue
        parts = _file()["vessels"][known].get("stands_for", [known])
        for part in parts:
            read.setdefault(part, []).append(wall)
        alone = parts == [known] or given.isdisjoint(parts)
        assessed.update(parts if alone and name not in partly else ())
    levels = _levels(table, read)
    used = list(dict.fromkeys(vessel for rule in table["patterns"] for part in rule["any_of"] for vessel in part["of"]))
    missing = tuple(name for name in used if name not in assessed)
    lacking = [name for name in table["needs"] if name in missing]
    any_assessed = any(name in read for name in used)
    reason = f"not assessed: {', '.join(lacking)}; the pattern holds for the other vessels only" if lacking else None
    return ContactPattern(
        rules=rules,
        rule_set=table["rule_set"],
        version=table["version"],
        source=table["source"],
        statement=_file()["statement"],
        pattern=next(p for p, level in levels.items() if level >= CATEGORY_THRESHOLD - LEVEL_TOLERANCE)
        if any_assessed
        else None,
        probability=_shares(levels) if any_assessed else dict.fromkeys(levels),
        not_assessed=missing,
        complete=not lacking,
        reason=reason if any_assessed else "not assessed: none of the rule set's vessels could be measured",
    )


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


def _shares(levels: dict[str, float]) -> dict[str, float | None]:
    """Return the share of raters for each pattern: those who see it or worse, less those who see worse.

    The raters who see a pattern or a worse one are nested too, so that their share is that of the worst vessel.
    """
    values = list(levels.values())
    return {name: level - worse for name, level, worse in zip(levels, values, [0.0, *values], strict=False)}


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())


@lru_cache(maxsize=1)
def _file() -> Any:
    """Return the rule file."""
    return json.loads(resources.files("twintrack").joinpath("data").joinpath(RULES_FILE).read_text(encoding="utf-8"))
