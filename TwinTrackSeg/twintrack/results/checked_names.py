"""Names by anatomy on their way out of the program: what no reader checked is marked or withheld, and said to be.

A name that a file or a model gave, or that a reader corrected, is a fact. One that was found by anatomy is a proposal
until somebody looked: where nobody can have (a command), sure names go out marked as "not checked" and others do not;
where somebody sits before the pictures (3D Slicer), none does until that reader says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from twintrack.dicom.write.report_content import WITHHELD, WITHHELD_LOW
from twintrack.dicom.write.terminology import name_source
from twintrack.volume import Volume

__all__ = ["ARTERIES", "ToldNames", "is_withheld", "told_names", "told_segments", "withheld_sentence"]

ARTERIES = frozenset(("AORTA", "CELIAC", "SMA", "CHA", "SPLENIC_ARTERY"))
"""Vessels by anatomy that belong to the class of arteries; the others are veins."""

PATTERN_WITHHELD = "withheld: it rests on names by anatomy that no reader checked"


@dataclass(frozen=True)
class ToldNames:
    """What is told outside of vessels that were named by anatomy.

    Attributes
    ----------
    invasion : dict or None
        Content of ``invasion.json``; a withheld vessel has a reason and no numbers.
    withheld : tuple of str
        Vessels whose names stay inside.
    remarks : dict of str to str
        Who named each vessel that is told; what came with a file or a model is not among them.
    """

    invasion: dict[str, Any] | None = None
    withheld: tuple[str, ...] = ()
    remarks: dict[str, str] = field(default_factory=dict)


def is_withheld(vessel: Mapping[str, Any], *, reader_asked: bool = False) -> bool:
    """Whether the name of a vessel of ``invasion.json`` stays inside; `reader_asked` as in `told_names`."""
    if vessel.get("named_by") != "anatomy" or vessel.get("name_checked") is True or not vessel.get("present"):
        return False
    return reader_asked or vessel.get("name_confidence") == "low"


def told_names(invasion: Mapping[str, Any] | None, *, checked: bool, reader_asked: bool = False) -> ToldNames:
    """Return what may be told of an ``invasion.json``.

    Parameters
    ----------
    invasion : mapping or None
        Its content.
    checked : bool
        Whether a reader says that the names are right.
    reader_asked : bool
        Whether a reader was asked and has not said so: then no name by anatomy is told, and no pattern that rests on
        one; else those that are not sure are withheld, which are in no pattern.
    """
    if invasion is None:
        return ToldNames()
    vessels, withheld, remarks = {}, [], {}
    for name, vessel in (invasion.get("vessels") or {}).items():
        if checked and vessel.get("named_by") == "anatomy" and vessel.get("present"):
            vessel = {**vessel, "name_checked": True}
        if is_withheld(vessel, reader_asked=reader_asked):
            withheld.append(name)
            kept = {key: vessel[key] for key in ("title", "named_by", "name_confidence") if key in vessel}
            reason = WITHHELD_LOW if vessel.get("name_confidence") == "low" else WITHHELD
            vessel = {**kept, "present": False, "reason": reason, "category": None}
        elif vessel.get("present") and (source := name_source(vessel)) is not None:
            remarks[name] = source.meaning[0].lower() + source.meaning[1:]
        vessels[name] = vessel
    told = {**invasion, "vessels": vessels}
    if reader_asked and withheld and invasion.get("resectability"):
        nothing = {"pattern": None, "complete": False, "probability": None, "reason": PATTERN_WITHHELD}
        kept = {key: value for key, value in invasion["resectability"].items() if not key.startswith("outline_")}
        told["resectability"] = kept | nothing
    return ToldNames(told, tuple(withheld), remarks)


def told_segments(masks: Mapping[str, Volume], withheld: Collection[str]) -> dict[str, Volume]:
    """Return masks (z, y, x) by name, those of withheld names put together as arteries and as veins, without a name."""
    told = {name: mask for name, mask in masks.items() if name not in withheld}
    for kind in ("ARTERIES", "VEINS"):
        parts = [masks[name] for name in withheld if name in masks and (name in ARTERIES) == (kind == "ARTERIES")]
        if parts:
            whole = parts[0].array != 0
            for part in parts[1:]:
                whole = whole | (part.array != 0)
            told[kind] = parts[0].with_array(whole)
    return told


def withheld_sentence(withheld: Collection[str]) -> str:
    """Say which names stay inside, why, and what lets them out."""
    return (
        f"Names withheld from the DICOM objects: {', '.join(withheld)}. They were found by anatomy and are not sure; "
        "their voxels are arteries or veins there, without a name and without contact. Look at them "
        "(named_vessels.nii.gz), then use twintrack export --names-checked."
    )
