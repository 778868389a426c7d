"""SNOMED CT codes, colours and names of the structures that a segmentation may hold.

References
----------
DICOM PS3.16: CID 7150 (category), CID 7159 (lesion types), CID 12112 and CID 12114 (abdominal arteries and veins),
CID 4031 (anatomic regions).
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["OTHER_VESSEL", "PANCREAS", "TUMOR", "SnomedCode", "Structure", "structure_of"]


@dataclass(frozen=True)
class SnomedCode:
    """A SNOMED CT concept: its number and DICOM's name for it."""

    value: str
    meaning: str


@dataclass(frozen=True)
class Structure:
    """How a structure is coded and shown.

    Attributes
    ----------
    label : str
        Name for people.
    category, type : SnomedCode
        Segmented property category and type.
    region : SnomedCode or None
        Anatomic region, for findings; an anatomical structure is its own place.
    color : tuple of int
        Recommended display colour, sRGB from 0 to 255.
    """

    label: str
    category: SnomedCode
    type: SnomedCode
    region: SnomedCode | None
    color: tuple[int, int, int]


ABNORMAL = SnomedCode("49755003", "Morphologically Abnormal Structure")
ANATOMICAL = SnomedCode("91723000", "Anatomical Structure")
PANCREAS = SnomedCode("15776009", "Pancreas")

# A segmentation shows where a tumour is, not its histology: the type stays at "primary neoplasm".
TUMOR = Structure("Tumour", ABNORMAL, SnomedCode("372087000", "Neoplasm, Primary"), PANCREAS, (230, 159, 0))

OTHER_VESSEL = Structure("Vessel", ANATOMICAL, SnomedCode("59820001", "Blood Vessel"), None, (204, 121, 167))

VESSELS = {
    "PORTA": Structure("Portal vein", ANATOMICAL, SnomedCode("32764006", "Portal vein"), None, (0, 114, 178)),
    "SMV": Structure(
        "Superior mesenteric vein",
        ANATOMICAL,
        SnomedCode("90771006", "Superior Mesenteric Vein"),
        None,
        (86, 180, 233),
    ),
    "AORTA": Structure("Aorta", ANATOMICAL, SnomedCode("15825003", "Aorta"), None, (178, 24, 43)),
    "CELIAC": Structure("Celiac trunk", ANATOMICAL, SnomedCode("57850000", "Celiac Axis"), None, (213, 94, 0)),
    "SMA": Structure(
        "Superior mesenteric artery",
        ANATOMICAL,
        SnomedCode("42258001", "Superior mesenteric artery"),
        None,
        (240, 128, 128),
    ),
}
"""The five vessels of the readouts, by the names used in label files."""

TUMOR_NAMES = ("tumor", "tumour")


def structure_of(name: str) -> Structure:
    """Return the structure called `name`: "tumor", one of the five vessels, or some other vessel of that name."""
    if name.lower() in TUMOR_NAMES:
        return TUMOR
    known = VESSELS.get(name.upper())
    if known is not None:
        return known
    return Structure(name, OTHER_VESSEL.category, OTHER_VESSEL.type, OTHER_VESSEL.region, OTHER_VESSEL.color)
