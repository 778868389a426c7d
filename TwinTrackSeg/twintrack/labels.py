"""The vessels of the readouts: name, names for people, default value, code and colours of each, in one place.

References
----------
DICOM PS3.16, CID 12112 and CID 12114 (abdominal arteries and veins), for the codes of SNOMED CT.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["VESSELS", "VESSEL_VALUES", "VESSEL_VALUES_TEXT", "Vessel"]


@dataclass(frozen=True)
class Vessel:
    """A vessel that the program knows by name.

    Attributes
    ----------
    name : str
        In label files, manifests, ``invasion.json`` and as an option.
    value : int
        Default value in a vessel label map.
    title, short_title : str
        Name for people, and one that is short enough for a table.
    snomed_code, snomed_meaning : str
        Concept of SNOMED CT, and its meaning as DICOM writes it.
    is_artery : bool
        Arteries and veins have rules of their own.
    color : tuple of int
        Recommended display colour, sRGB from 0 to 255.
    color_on_ct : str
        Colour of its outline over a grey CT, as ``#RRGGBB``.
    spellings : str
        What people call it, as a pattern for a name in lower case with blanks for underscores.
    """

    name: str
    value: int
    title: str
    short_title: str
    snomed_code: str
    snomed_meaning: str
    is_artery: bool
    color: tuple[int, int, int]
    color_on_ct: str
    spellings: str


VESSELS = (
    Vessel(
        name="PORTA",
        value=1,
        title="Portal vein",
        short_title="Portal vein",
        snomed_code="32764006",
        snomed_meaning="Portal vein",
        is_artery=False,
        color=(0, 114, 178),
        color_on_ct="#56B4E9",
        spellings=r"porta|portal.?vein|portal.?splenic|\bpv\b|vena.?portae?",
    ),
    Vessel(
        name="SMV",
        value=2,
        title="Superior mesenteric vein",
        short_title="SMV",
        snomed_code="90771006",
        snomed_meaning="Superior Mesenteric Vein",
        is_artery=False,
        color=(86, 180, 233),
        color_on_ct="#4D7CFE",
        spellings=r"\bsmv\b|superior.?mesenteric.?vein|vena.?mesenterica",
    ),
    Vessel(
        name="AORTA",
        value=3,
        title="Aorta",
        short_title="Aorta",
        snomed_code="15825003",
        snomed_meaning="Aorta",
        is_artery=True,
        color=(178, 24, 43),
        color_on_ct="#FF5A5A",
        spellings=r"\baorta|\bao\b",
    ),
    Vessel(
        name="CELIAC",
        value=4,
        title="Celiac trunk",
        short_title="Celiac trunk",
        snomed_code="57850000",
        snomed_meaning="Celiac Axis",
        is_artery=True,
        color=(213, 94, 0),
        color_on_ct="#FFB347",
        spellings=r"c(o)?eliac|truncus|\bca\b",
    ),
    Vessel(
        name="SMA",
        value=5,
        title="Superior mesenteric artery",
        short_title="SMA",
        snomed_code="42258001",
        snomed_meaning="Superior mesenteric artery",
        is_artery=True,
        color=(240, 128, 128),
        color_on_ct="#FF8FB1",
        spellings=r"\bsma\b|superior.?mesenteric.?arter|arteria.?mesenterica",
    ),
)

VESSEL_VALUES: dict[str, int] = {vessel.name: vessel.value for vessel in VESSELS}
"""Default value of each vessel in a label map, in the order of the readouts."""

VESSEL_VALUES_TEXT = ",".join(f"{name}={value}" for name, value in VESSEL_VALUES.items())
"""The same as an option is written."""
