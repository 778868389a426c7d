"""The vessel part of a structured report: what the software fills in, and what is left for the radiologist.

The items follow the vessel part of the consensus template of the Society of Abdominal Radiology and the American
Pancreatic Association (Al-Hawary et al. 2014, 10.1148/radiol.13131184); the aorta and the length of contact are added.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from twintrack.labels import JOINT_VEIN, JOINT_VEIN_TITLE
from twintrack.results.report.wording import (
    MISSING,
    angle_category,
    away,
    further_readers,
    median_angle_deg,
    number,
    percent,
    share,
    with_unit,
    without_readers,
)

__all__ = ["HUMAN_ITEMS", "StructuredVessel", "structured_vessels"]

TEMPLATE_ROWS = (
    ("SMA", "Superior mesenteric artery", True),
    ("CELIAC", "Celiac trunk", True),
    ("CHA", "Common hepatic artery", True),
    ("PORTA", "Main portal vein", False),
    ("SMV", "Superior mesenteric vein", False),
    (JOINT_VEIN, JOINT_VEIN_TITLE, False),
    ("AORTA", "Aorta", True),
)
"""Name in ``invasion.json``, name in the report, and whether it is an artery. The two veins together are shown where
they were measured as one.
"""

HUMAN_ITEMS = (
    "Hazy attenuation or stranding (≤ 180° / > 180°)",
    "Contour irregularity, narrowing",
    "Occlusion or thrombus",
    "Extension to branches",
)
"""Items that the software does not assess."""

WHOLE = 0.995
"""Share of the wall from which on all of it counts as searched."""

NARROW_RATIO = 0.8
"""Lumen diameter, as a fraction of the free vessel's, below which narrowing is pointed out."""


@dataclass(frozen=True)
class StructuredVessel:
    """One row, all texts ready to show; an empty text is a field for the radiologist.

    Attributes
    ----------
    name : str
        Vessel.
    contact, degree, length, lumen : str
        What the software found: the median rater's contact and degree, with how many raters agree, and the length and
        lumen of the outline at half of the raters.
    human : tuple of str
        One text for each of `HUMAN_ITEMS`; empty, or that the item does not apply.
    """

    name: str
    contact: str
    degree: str
    length: str
    lumen: str
    human: tuple[str, ...]


def structured_vessels(invasion: Mapping[str, object] | None, *, edited: bool = False) -> list[StructuredVessel]:
    """Return the rows from the content of ``invasion.json``; without it no rows.

    Of an outline that was edited by hand, contact and degree are that outline's.
    """
    vessels = invasion.get("vessels") if isinstance(invasion, Mapping) else None
    if not isinstance(invasion, Mapping) or not isinstance(vessels, Mapping):
        return []
    shown = without_readers(invasion)
    rows = [row for row in TEMPLATE_ROWS if row[0] != JOINT_VEIN or JOINT_VEIN in shown["vessels"]]
    return [_row(title, is_artery, shown["vessels"].get(name), shown, edited) for name, title, is_artery in rows]


def _row(title: str, is_artery: bool, vessel: object, invasion: Mapping[str, object], edited: bool) -> StructuredVessel:
    human = tuple("does not apply" if is_artery and item.startswith("Occlusion") else "" for item in HUMAN_ITEMS)
    if not isinstance(vessel, Mapping) or vessel.get("present") is False:
        reason = "not found in the vessel map" if isinstance(vessel, Mapping) else "not segmented"
        if isinstance(vessel, Mapping) and vessel.get("named_by") and isinstance(vessel.get("reason"), str):
            reason = vessel["reason"].removeprefix("not assessed: ")  # it is there, but nobody knows which it is
        return StructuredVessel(title, f"not assessed: {reason}", "", "", "", human)
    levels, drawn = invasion.get("thresholds"), _value_at_half(vessel.get("angle_deg"), invasion.get("thresholds"))
    category = (angle_category(drawn) if edited else None) or vessel.get("category")
    fraction = percent(vessel.get("p_contact"))
    if category is None and fraction == MISSING and isinstance(vessel.get("reason"), str):
        reason = vessel["reason"].removeprefix("not assessed: ")
        return StructuredVessel(title, f"not assessed: {reason}{_searched(vessel.get('coverage'))}", "", "", "", human)
    contact = {"none": "absent", "abutment": "present", "encasement": "present"}.get(str(category), MISSING)
    told = [f"{fraction} of readers expected to see contact"] if fraction != MISSING else []
    contact_text = contact + _brackets(["this outline, edited by hand"] * edited + told)
    gap = away(_value_at_half(vessel.get("gap_mm"), levels)) if contact == "absent" else ""
    contact_text += (f"; tumour {gap}" if gap else "") + _searched(vessel.get("coverage"))
    if contact != "present":
        return StructuredVessel(title, contact_text, "", "", "", human)
    angle = f"this outline {with_unit(drawn, '°', 0)}" if edited else f"median reader {_median(invasion, vessel)}"
    degree = [angle, f"8 of 10 further readers {further_readers(vessel)}"]
    degree = [part for part in degree if MISSING not in part]
    degree.append(f"{percent(vessel.get('p_encased'))} of readers expected over 180°")
    return StructuredVessel(
        title,
        contact_text,
        ("> 180°" if category == "encasement" else "≤ 180°") + _brackets(degree),
        _at_half(vessel.get("contact_length_mm"), levels, "mm"),
        _lumen(vessel.get("worst_section")),
        human,
    )


def _brackets(parts: list[str]) -> str:
    """Put what is added into brackets, if anything is."""
    return f" ({'; '.join(parts)})" if parts else ""


def _median(invasion: Mapping[str, object], vessel: Mapping[str, object]) -> str:
    return with_unit(median_angle_deg(invasion, vessel), "°", 0)


def _searched(coverage: object) -> str:
    """Say how much of the wall near the tumour was searched, if that is not all."""
    known = number(coverage)
    return "" if known is None or known >= WHOLE else f"; {share(known)} of the wall near the tumour searched"


def _at_half(values: object, levels: object, unit: str) -> str:
    """Return a curve's value at half of the raters with its unit."""
    return with_unit(_value_at_half(values, levels), unit, 0)


def _value_at_half(values: object, levels: object) -> object:
    """Return a curve's value at half of the raters; None where it has none."""
    if isinstance(values, list) and isinstance(levels, list) and len(values) == len(levels):
        for level, value in zip(levels, values, strict=True):
            known = number(level)
            if known is not None and abs(known - 0.5) < 1e-9:
                return value
    return None


def _lumen(worst: object) -> str:
    """Say how wide the vessel is at the contact, against the free vessel beside."""
    ratio = number(worst.get("lumen_ratio")) if isinstance(worst, Mapping) else None
    if ratio is None:
        return MISSING
    return f"{100 * ratio:.0f} % of the free vessel's diameter" + (" (narrow?)" if ratio < NARROW_RATIO else "")
