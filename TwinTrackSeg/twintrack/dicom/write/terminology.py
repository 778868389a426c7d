"""Codes, colours and names of the structures that a segmentation may hold: SNOMED CT, but for levels of the map.

References
----------
DICOM PS3.16: CID 7150 (category), CID 7159 (lesion types), CID 12112 and CID 12114 (abdominal arteries and veins),
CID 4031 (anatomic regions).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from twintrack.labels import JOINT_VEIN, JOINT_VEIN_TITLE, VESSELS, is_joint_vein, vessel_of

__all__ = [
    "ABNORMAL",
    "CODING_SCHEME",
    "LEVEL_COLORS",
    "OTHER_VESSEL",
    "PANCREAS",
    "TUMOR",
    "Concept",
    "Structure",
    "name_source",
    "structure_of",
]

CODING_SCHEME = "99TWINTRACK"
"""Private coding scheme for what no standard code says: readers, levels, contact of tumour and vessel."""


@dataclass(frozen=True)
class Concept:
    """A coded concept: its value and name in a coding scheme, SNOMED CT if not stated."""

    value: str
    meaning: str
    scheme: str = "SCT"


@dataclass(frozen=True)
class Structure:
    """How a structure is coded and shown.

    Attributes
    ----------
    label : str
        Name for people.
    category, type : Concept
        Segmented property category and type.
    region : Concept or None
        Anatomic region.
    color : tuple of int
        Recommended display colour, sRGB from 0 to 255.
    modifier : Concept or None
        Modifier of the type: which level of the map.
    """

    label: str
    category: Concept
    type: Concept
    region: Concept | None
    color: tuple[int, int, int]
    modifier: Concept | None = None


ABNORMAL = Concept("49755003", "Morphologically Abnormal Structure")
ANATOMICAL = Concept("91723000", "Anatomical Structure")
PANCREAS = Concept("15776009", "Pancreas")
ABDOMEN = Concept("818981001", "Abdomen")

# A segmentation shows where a tumour is, not its histology: the type stays at "primary neoplasm".
TUMOR = Structure("Tumour", ABNORMAL, Concept("372087000", "Neoplasm, Primary"), PANCREAS, (230, 159, 0))

LEVEL_COLORS = ((255, 237, 160), (254, 178, 76), (240, 59, 32), (128, 0, 38))
"""Of the nested levels, from pale for few readers to dark for many."""

OTHER_VESSEL = Structure("Vessel", ANATOMICAL, Concept("59820001", "Blood Vessel"), ABDOMEN, (204, 121, 167))

_VESSELS = {
    vessel.name: Structure(
        vessel.title, ANATOMICAL, Concept(vessel.snomed_code, vessel.snomed_meaning), ABDOMEN, vessel.color
    )
    for vessel in VESSELS
}

_VESSELS_BY_ANATOMY = {
    name: Structure(label, ANATOMICAL, Concept(code, meaning), ABDOMEN, color)
    for name, label, code, meaning, color in (
        ("CHA", "Common hepatic artery", "66559000", "Common Hepatic Artery", (224, 195, 65)),
        ("SPLENIC_ARTERY", "Splenic artery", "22083002", "Splenic artery", (192, 138, 91)),
        ("SPLENIC_VEIN", "Splenic vein", "35819009", "Splenic vein", (127, 214, 194)),
        ("ARTERIES", "Arteries", "51114001", "Artery", (216, 101, 79)),
        ("VEINS", "Veins", "29092000", "Vein", (0, 151, 206)),
    )
}
"""Vessels that get a name by anatomy beside the five, and the classes in which those without a name are."""

JOINT_VEIN_COLOR = (0, 158, 115)

TUMOR_NAMES = ("tumor", "tumour")


def structure_of(name: str) -> Structure:
    """Return the structure called `name`: "tumor", a vessel that the program names, or some other of that name.

    A vessel by another of its names, such as ``celiac_trunk``, has the vessel's code and keeps that name as label.
    """
    if name.lower() in TUMOR_NAMES:
        return TUMOR
    vessel = vessel_of(name)
    if is_joint_vein(name):  # no code means both veins: a blood vessel, of that name
        label = JOINT_VEIN_TITLE if name.upper() == JOINT_VEIN else name
        return Structure(label, OTHER_VESSEL.category, OTHER_VESSEL.type, OTHER_VESSEL.region, JOINT_VEIN_COLOR)
    if name in _VESSELS_BY_ANATOMY:
        return _VESSELS_BY_ANATOMY[name]
    if vessel is not None:
        return _VESSELS[vessel] if name.upper() == vessel else replace(_VESSELS[vessel], label=name)
    return Structure(name, OTHER_VESSEL.category, OTHER_VESSEL.type, OTHER_VESSEL.region, OTHER_VESSEL.color)


BY_ANATOMY = Concept("NAME-BY-ANATOMY", "Named by anatomy, not checked", CODING_SCHEME)
BY_ANATOMY_CHECKED = Concept("NAME-BY-ANATOMY-CHECKED", "Named by anatomy, checked", CODING_SCHEME)
BY_HAND = Concept("NAME-BY-HAND", "Name corrected by hand", CODING_SCHEME)


def name_source(vessel: Mapping[str, Any]) -> Concept | None:
    """Return who named a vessel of ``invasion.json``: anatomy, with or without a reader's check, or a hand.

    None where the name came with the vessel, from a file or a model.
    """
    if vessel.get("named_by") == "hand":
        return BY_HAND
    if vessel.get("named_by") != "anatomy":
        return None
    return BY_ANATOMY_CHECKED if vessel.get("name_checked") is True else BY_ANATOMY
