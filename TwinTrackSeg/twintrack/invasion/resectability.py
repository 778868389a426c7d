"""The anatomic contact pattern of all vessels together, by a versioned table of rules.

The table is data (``twintrack/data/vascular_contact_rules.json``) and names patterns of contact, never operability.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

from twintrack.invasion.readers import Category, ReaderView

__all__ = ["ContactPattern", "contact_pattern"]

RULES_FILE = "vascular_contact_rules.json"


@dataclass(frozen=True)
class ContactPattern:
    """The pattern a rule table gives to a set of vessel contacts.

    Attributes
    ----------
    rule_set, version, statement : str
        The table, and what its patterns do not say.
    pattern : str
        The table's first pattern that holds at probability level 0.5.
    probability : dict of str to float
        Expected fraction of readers who would see each pattern; sums to 1.
    not_assessed : tuple of str
        Vessels of the table that were not given or not found.
    """

    rule_set: str
    version: str
    statement: str
    pattern: str
    probability: dict[str, float]
    not_assessed: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the ``resectability`` part of ``invasion.json``."""
        return {
            "label": "anatomic contact pattern",
            "rule_set": self.rule_set,
            "version": self.version,
            "pattern": self.pattern,
            "probability": dict(self.probability),
            "not_assessed": list(self.not_assessed),
            "statement": self.statement,
        }


@lru_cache(maxsize=1)
def _rules() -> Any:
    """Return the rule table."""
    return json.loads(resources.files("twintrack").joinpath("data").joinpath(RULES_FILE).read_text(encoding="utf-8"))


def contact_pattern(views: Mapping[str, ReaderView | None]) -> ContactPattern:
    """Apply the rule table to the vessels by name; None marks a vessel that was not found."""
    rules = _rules()
    kinds = {name: rules["vessels"][name] for name, view in views.items() if view and name in rules["vessels"]}
    holding: list[str] = []
    probability: dict[str, float] = {}
    worse = 0.0
    for rule in rules["patterns"]:
        relevant = [
            (views[name], Category(part["at_least"]))
            for part in rule["any_of"]
            for name, kind in kinds.items()
            if kind == part["kind"]
        ]
        if not rule["any_of"] or any(_at_least(view, least) for view, least in relevant):
            holding.append(rule["pattern"])
        # The readers who see this pattern or a worse one are nested too: their share is that of the worst vessel.
        level = max([worse, *(_share(view, least) for view, least in relevant)]) if rule["any_of"] else 1.0
        probability[rule["pattern"]] = level - worse
        worse = level
    missing = tuple(name for name in rules["vessels"] if name not in kinds)
    return ContactPattern(
        rules["rule_set"], rules["version"], rules["statement"], holding[0], probability, not_assessed=missing
    )


def _share(view: ReaderView | None, least: Category) -> float:
    """Return the expected fraction of readers who see contact of at least this category."""
    if view is None:
        return 0.0
    return view.p_encased if least is Category.ENCASEMENT else view.p_contact


def _at_least(view: ReaderView | None, least: Category) -> bool:
    """Tell whether a vessel's category is `least` or worse."""
    if view is None:
        return False
    return view.category is Category.ENCASEMENT or (least is Category.ABUTMENT and view.category is Category.ABUTMENT)
