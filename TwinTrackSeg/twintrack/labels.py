"""The vessels of the readouts: name, names for people, default value, code and colours of each, in one place.

What other people call them is told by whole names and codes, never by a part of a name: "portal phase", "truncus
pulmonalis" and "aorta false lumen" hold a vessel's word and are none of the five. A vessel that is not recognised is
named by hand; one that is taken for another gives a wrong reading.

References
----------
DICOM PS3.16, CID 12112 and CID 12114 (abdominal arteries and veins), for the codes of SNOMED CT; its annex on the
mapping from the retired codes of SNOMED RT.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "JOINT_VEIN",
    "JOINT_VEIN_PARTS",
    "JOINT_VEIN_SHORT_TITLE",
    "JOINT_VEIN_TITLE",
    "SHORT_TITLES",
    "STRUCTURES",
    "VESSELS",
    "VESSELS_OF_CLASSES",
    "VESSEL_VALUES",
    "VESSEL_VALUES_TEXT",
    "Vessel",
    "is_joint_vein",
    "structure_of",
    "vessel_of",
    "vessel_of_code",
    "vessel_of_segment",
]


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
    names : tuple of str
        What people call it, whole, in the words that `_WORDS` translates to.
    codes : tuple of pair of str
        Coding scheme and value of every concept that means it, retired ones included.
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
    names: tuple[str, ...]
    codes: tuple[tuple[str, str], ...]


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
        names=(
            "porta",
            "pv",
            "mpv",
            "vp",
            "portal vein",
            "main portal vein",
            "hepatic portal vein",
            "vein porta",
            "vein portal",
            "vein portal hepatis",
            "vein porta hepatis",
            "portal trunk",
            "trunk portal",
            "portalvein",
            "portalvene",
            "pfortader",
            "pfortaderstamm",
        ),
        codes=(("SCT", "32764006"), ("SRT", "T-48810")),
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
        names=(
            "smv",
            "vms",
            "superior mesenteric vein",
            "superior mesenteric v",
            "mesenteric vein superior",
            "vein mesenteric superior",
            "superior mesenterialvene",
            "superior gekrosevene",
            "superior gekroesevene",
        ),
        codes=(("SCT", "90771006"), ("SRT", "T-48840")),
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
        names=(
            "aorta",
            "artery aorta",
            "abdominal aorta",
            "aorta abdominal",
            "bauchaorta",
            "bauchschlagader",
            "hauptschlagader",
        ),
        codes=(("SCT", "15825003"), ("SCT", "7832008"), ("SRT", "T-42000"), ("SRT", "T-42500")),
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
        names=(
            "celiac",
            "tc",
            "trc",
            "trunk c",
            "celiac trunk",
            "celiac artery",
            "celiac a",
            "trunk celiac",
            "artery celiac",
        ),
        codes=(("SCT", "57850000"), ("SRT", "T-46400")),
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
        names=(
            "sma",
            "ams",
            "superior mesenteric artery",
            "superior mesenteric a",
            "mesenteric artery superior",
            "artery mesenteric superior",
            "superior mesenterialarterie",
            "superior gekrosearterie",
            "superior gekroesearterie",
        ),
        codes=(("SCT", "42258001"), ("SRT", "T-46510")),
    ),
)

JOINT_VEIN = "PORTA_SMV"
"""Portal vein and superior mesenteric vein together: read as one vessel where both meet, or one label for both."""

JOINT_VEIN_PARTS = ("PORTA", "SMV")

JOINT_VEIN_TITLE = "Portal vein and SMV together"
"""Its name for people. No code of SNOMED CT or DICOM means the two and no other vessel."""

JOINT_VEIN_SHORT_TITLE = "PV and SMV"
"""The same where a row of a narrow panel has to hold it."""

SHORT_TITLES = {vessel.name: vessel.short_title for vessel in VESSELS} | {
    "CHA": "Hepatic a.",
    "SPLENIC_ARTERY": "Splenic a.",
    "SPLENIC_VEIN": "Splenic v.",
    JOINT_VEIN: JOINT_VEIN_SHORT_TITLE,
}
"""Names for people, for such a row, of every vessel that gets a name by anatomy."""

_JOINT_VEIN_NAMES = (
    *("porta smv", "smv porta", "pv smv", "smv pv", "pvsmv", "smvpv", "portal vein smv", "smv portal vein"),
    *("portal vein and smv", "portal and superior mesenteric vein", "portal vein and superior mesenteric vein"),
    *("portomesenteric trunk", "portomesenteric vein", "portal mesenteric trunk", "portal mesenteric vein"),
)
"""What people call a label of the undivided axis, whole, in the words that `_WORDS` translates to."""

VESSEL_VALUES: dict[str, int] = {vessel.name: vessel.value for vessel in VESSELS}
"""Default value of each vessel in a label map, in the order of the readouts."""

VESSEL_VALUES_TEXT = ",".join(f"{name}={value}" for name, value in VESSEL_VALUES.items())
"""The same as an option is written."""

STRUCTURES: dict[str, int] = {
    "AORTA": 1,
    "IVC": 2,
    "PORTAL_SPLENIC": 3,
    "ARTERIES": 4,
    "VEINS": 5,
    "liver": 6,
    "spleen": 7,
    "pancreas": 8,
}
"""What vessels can be named from, and its value where such a map is put together."""

VESSELS_OF_CLASSES = frozenset(("ARTERIES", "VEINS", "PORTAL_SPLENIC"))
"""Classes in which vessels without a name are."""

_STRUCTURE_NAMES = {
    "aorta": "AORTA",
    "ivc": "IVC",
    "inferior vein cava": "IVC",
    "vein cava inferior": "IVC",
    "vein cava": "IVC",
    "portal splenic": "PORTAL_SPLENIC",
    "portal vein and splenic vein": "PORTAL_SPLENIC",
    "arteries": "ARTERIES",
    "arterien": "ARTERIES",
    "all arteries": "ARTERIES",
    "veins": "VEINS",
    "venen": "VEINS",
    "all veins": "VEINS",
    "liver": "liver",
    "leber": "liver",
    "spleen": "spleen",
    "milz": "spleen",
    "pancreas": "pancreas",
    "pancreas parenchyma": "pancreas",
    "pankreas": "pancreas",
}
"""What people call them, whole, in the words that `_WORDS` translates to."""

_WORDS = {
    word: meaning
    for meaning, words in {
        "abdominal": "abd abdominale abdominalis abdominelle addominale",
        "aorta": "ao aorte",
        "artery": "art artere arteria arterie",
        "celiac": "caeliacus celiaca celiaco celiacus celiaque coel coeliac coeliaca coeliacus coeliaque",
        "mesenteric": "mes mesent mesenterica mesenterique",
        "portal": "portae portale porte",
        "superior": "obere sup superiore superieure",
        "trunk": "axis tr tripode tripus tronc tronco truncus",
        "vein": "veine vena vene",
    }.items()
    for word in words.split()
}
"""English for the Latin, German, French, Italian and Spanish words of which names are made, and for short forms."""

_FIRST_LETTERS = {"a": "artery", "v": "vein"}
"""Short forms that are one only in front: "V. portae", but in "portal V" it may be a segment of the liver."""

_NEUTRAL = frozenset(("label", "mask", "seg", "segment", "segmentation", "structure", "vessel"))
"""Words before or after a name that say nothing of what it names."""

_MEANT = {name: vessel.name for vessel in VESSELS for name in vessel.names}
_CODED = {code: vessel.name for vessel in VESSELS for code in vessel.codes}

_SPLENIC = ("esplen", "lienal", "milz", "splen")
"""How words for the splenic vein begin."""

_SAME_SCHEME = {"SNM3": "SRT", "99SDM": "SRT"}
"""Designators that older objects use for SNOMED RT."""


def vessel_of(name: str) -> str | None:
    """Return which of the five vessels `name` means as a whole, or None.

    Names may be English, Latin, German, French, Italian or Spanish, with the usual short forms. Case, accents, blanks
    and ``_ - . ,`` make no difference, camel case is read as words; words such as "segment" or "label" at the ends and
    one number at the end are passed over ("portal vein_1"). A file's ending is no part of its name.

    Left out on purpose: "CA", which is as often cancer, calcium or CA 19-9 as the celiac artery; "celiac aa", arteries
    in the plural; "portal" alone, which is also a phase; "mesenteric vein" and "mesenterica superior", which are two
    vessels each; parts of the aorta that lie elsewhere (arch, ascending, thoracic) or are not its whole lumen; every
    name of two vessels in one, such as ``portal_vein_and_splenic_vein`` of TotalSegmentator. Its ``aorta`` is ours. For
    portal vein and superior mesenteric vein in one see `is_joint_vein`.

    Examples
    --------
    >>> vessel_of("V. mesenterica sup."), vessel_of("tronc cœliaque"), vessel_of("PortalVein_2")
    ('SMV', 'CELIAC', 'PORTA')
    >>> vessel_of("portal_vein_and_splenic_vein"), vessel_of("Arteria mesenterica inferior")
    (None, None)
    """
    return _MEANT.get(_plain(name))


def is_joint_vein(name: str) -> bool:
    """Return whether `name` as a whole means portal vein and superior mesenteric vein in one, `JOINT_VEIN`.

    Examples
    --------
    >>> is_joint_vein("PORTA_SMV"), is_joint_vein("PV-SMV"), is_joint_vein("portal_vein_and_splenic_vein")
    (True, True, False)
    """
    return _plain(name) in _JOINT_VEIN_NAMES


def structure_of(name: str) -> str | None:
    """Return which of `STRUCTURES` `name` means as a whole, or None.

    Examples
    --------
    >>> structure_of("veins"), structure_of("inferior_vena_cava"), structure_of("pulmonary_vein")
    ('VEINS', 'IVC', None)
    """
    return _STRUCTURE_NAMES.get(_plain(name))


def vessel_of_code(scheme: str, value: str) -> str | None:
    """Return which of the five vessels the concept `value` of the coding scheme `scheme` means, or None.

    SNOMED CT (``SCT``) and the retired codes of SNOMED RT (``SRT``, in older objects also ``SNM3`` or ``99SDM``).

    Examples
    --------
    >>> vessel_of_code("SCT", "32764006"), vessel_of_code("SRT", "T-48810"), vessel_of_code("SCT", "35819009")
    ('PORTA', 'PORTA', None)
    """
    scheme, value = scheme.strip().upper(), value.strip().upper()
    return _CODED.get((_SAME_SCHEME.get(scheme, scheme), value))


def vessel_of_segment(name: str, codes: Iterable[tuple[str, str]]) -> str | None:
    """Return which of the five vessels a segment is, or None: by its codes, and by its whole name where they say none.

    A segment whose name holds the splenic vein is never the portal vein: no code of DICOM's own says "portal and
    splenic vein", so that one may be coded as the portal vein alone. Codes of two vessels are none,
    and neither are a code and a name that say different ones.

    Parameters
    ----------
    name : str
        What the segment is called.
    codes : iterable of pair of str
        Coding scheme and value of the concepts that say what the segment is, not where it lies.

    Examples
    --------
    >>> vessel_of_segment("Segment_2", [("SCT", "42258001")]), vessel_of_segment("aorta", [("SCT", "59820001")])
    ('SMA', 'AORTA')
    """
    coded = {vessel for scheme, value in codes if (vessel := vessel_of_code(scheme, value))}
    if len(coded) > 1 or ("PORTA" in coded and any(word.startswith(_SPLENIC) for word in _plain(name).split())):
        return None
    named = vessel_of(name)
    if not coded:
        return named
    code = coded.pop()
    return code if named in (None, code) else None


def _plain(name: str) -> str:
    """Return `name` in the words and the form of the vessels' `names`."""
    text = unicodedata.normalize("NFKD", name.replace("œ", "oe").replace("Œ", "OE"))
    text = "".join(character for character in text if not unicodedata.combining(character))
    text = re.sub("(?<=[a-z])(?=[A-Z])", " ", text)
    words = re.split(r"[\s_.,-]+", text.casefold().strip(" _.,-\t\r\n"))
    words = _without_neutral(words)
    if len(words) > 1 and re.fullmatch("[0-9]{1,3}", words[-1]):  # Slicer tells equal names apart so
        words = _without_neutral(words[:-1])
    if len(words) > 1 and all(len(word) == 1 for word in words):  # S.M.A.
        return "".join(words)
    words = [_WORDS.get(word, word) for word in words]
    return " ".join([_FIRST_LETTERS.get(word, word) for word in words[:1]] + words[1:])


def _without_neutral(words: list[str]) -> list[str]:
    """Return `words` without those at either end that say nothing."""
    first, last = 0, len(words)
    while first < last and words[first] in _NEUTRAL:
        first += 1
    while last > first and words[last - 1] in _NEUTRAL:
        last -= 1
    return words[first:last]
