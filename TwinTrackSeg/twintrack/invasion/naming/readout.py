"""Contact with vessels that were named by anatomy: what has no name is said, and what is not sure makes no pattern."""

from __future__ import annotations

from dataclasses import replace

from twintrack.invasion.naming.name_vessels import NamedVessels
from twintrack.invasion.resectability import contact_pattern
from twintrack.invasion.result import InvasionResult, VesselInvasion
from twintrack.invasion.summary import absent_vessel, too_little
from twintrack.labels import JOINT_VEIN, JOINT_VEIN_PARTS

__all__ = ["naming_sentence", "with_names"]

READ_BY_RULES = ("PORTA", "SMV", "AORTA", "CELIAC", "SMA", "CHA")
"""Vessels that a reader looks for in the readouts, and that are listed where they have no name."""


NOT_SURE = "named by anatomy, not sure: in no contact pattern"
"""Note of a vessel whose name has low confidence."""


def _missing(naming: NamedVessels) -> list[str]:
    """Return the vessels that rules need and that have no name; the undivided axis stands for both its parts."""
    joint = naming.vessels[JOINT_VEIN].named
    wanted = [name for name in READ_BY_RULES if not (joint and name in JOINT_VEIN_PARTS)]
    return [name for name in wanted if not naming.vessels[name].named]


def naming_sentence(naming: NamedVessels) -> str:
    """Say which vessels have a name by anatomy, and which have none.

    Examples
    --------
    "Vessels are named by anatomy, please check: AORTA, SMA. Not sure, and in no pattern: CELIAC. NOT NAMED: PORTA."
    """
    sure = [name for name, one in naming.vessels.items() if one.confidence == "high"]
    sentence = f"Vessels are named by anatomy, please check: {', '.join(sure) or 'none'}."
    if naming.low:
        sentence += f" Not sure, and in no pattern: {', '.join(naming.low)}."
    missing = _missing(naming)
    return sentence + (f" NOT NAMED, and so not assessed: {', '.join(missing)}." if missing else "")


def with_names(found: InvasionResult, naming: NamedVessels) -> InvasionResult:
    """Put what is known of the names beside the contact, and read the pattern without names that are not sure.

    Parameters
    ----------
    found : InvasionResult
        Measured on the named map.
    naming : NamedVessels
        Of that map.

    Returns
    -------
    InvasionResult
        A vessel without a name is listed as not assessed, with the reason.
    """
    vessels: dict[str, VesselInvasion] = {}
    for name, vessel in found.vessels.items():
        said = naming.vessels.get(name)
        if said is not None and said.named:
            notes = (NOT_SURE, *vessel.notes) if said.confidence == "low" else vessel.notes
            vessels[name] = replace(vessel, named_by="anatomy", name_confidence=said.confidence, notes=notes)
        elif name == JOINT_VEIN:  # measured of its two parts
            low = any(part in naming.low for part in JOINT_VEIN_PARTS)
            vessels[name] = replace(vessel, named_by="anatomy", name_confidence="low" if low else "high")
        else:
            vessels[name] = vessel
    for name in _missing(naming):
        absent = absent_vessel(len(found.thresholds))
        reason = f"not assessed: not named by anatomy ({naming.vessels[name].reason})"
        vessels[name] = replace(absent, named_by="anatomy", reason=reason)
    walls = {
        name: vessel.wall if vessel.category is not None and vessel.name_confidence != "low" else None
        for name, vessel in vessels.items()
    }
    partly = frozenset(name for name, vessel in vessels.items() if too_little(vessel.coverage))
    pattern = contact_pattern(walls, found.resectability.rules, partly=partly)
    return replace(found, vessels=vessels, resectability=pattern)
