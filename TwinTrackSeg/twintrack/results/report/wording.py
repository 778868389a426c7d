"""What a result says, in words and rounded numbers for a radiologist: from ``result.json`` and ``invasion.json``.

Every field is optional: what is missing or not a number reads as `MISSING`, never as zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = [
    "MISSING",
    "Curve",
    "VesselRow",
    "away",
    "contact_pattern",
    "lesion_table",
    "number",
    "percent",
    "plain_text",
    "vessel_rows",
    "with_unit",
    "words",
]

MISSING = "not available"

CATEGORIES = {
    "none": "no contact",
    "abutment": "abutment (up to 180°)",
    "encasement": "encasement (more than 180°)",
}

UNITS = {"ml": "mL", "mm": "mm", "deg": "°", "hu": "HU"}
"""Ending of a field's name to the unit it stands for."""


@dataclass(frozen=True)
class Curve:
    """Contact angle against threshold as a drawing of 200 by 118 units.

    Attributes
    ----------
    path : str
        Points of the line, as an SVG polyline takes them.
    dots : tuple of (float, float)
        Places of the single thresholds.
    threshold_x : float or None
        Place of the working threshold.
    description : str
        The curve in words, for readers who do not see it.
    """

    path: str
    dots: tuple[tuple[float, float], ...]
    threshold_x: float | None
    description: str


@dataclass(frozen=True)
class VesselRow:
    """One row of the vessel table, all texts ready to show."""

    name: str
    title: str
    present: bool
    angle: str
    members: str
    expected_angle: str
    contact: str
    encased: str
    length: str
    distance: str
    searched: str
    category: str
    notes: str
    curve: Curve | None


def number(value: object) -> float | None:
    """Return a finite number as float, anything else as None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) <= 1e300 and math.isfinite(value) else None


def with_unit(value: object, unit: str, digits: int = 1) -> str:
    """Write a number with its unit, rounded."""
    known = number(value)
    if known is None:
        return MISSING
    space = "" if unit == "°" else " "
    return f"{known:.{digits}f}{space}{unit}"


def away(gap_mm: object) -> str:
    """Write the distance between a vessel and tumour that does not touch it, as "1.2 mm away"; empty if not known."""
    known = number(gap_mm)
    return "" if known is None else f"{known:.1f} mm away"


def percent(value: object) -> str:
    """Write a fraction of raters as a percentage."""
    known = number(value)
    return MISSING if known is None else f"{100 * known:.0f} %"


def plain_text(value: object) -> str:
    """Write any JSON value in one line of words."""
    if value is None:
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if math.isfinite(value) else MISSING
    if isinstance(value, Mapping):
        return "; ".join(f"{words(str(key))}: {plain_text(item)}" for key, item in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(plain_text(item) for item in value) or "none"
    return str(value)


def words(name: str) -> str:
    """Turn the name of a JSON field into words, its unit in brackets."""
    stem, _, ending = name.rpartition("_")
    unit = UNITS.get(ending) if stem else None
    text = (stem if unit else name).replace("_", " ").replace("lps", "LPS")
    return text[:1].upper() + text[1:] + (f" ({unit})" if unit else "")


def lesion_table(lesions: object) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows of the lesion list, whatever simple fields the lesions have."""
    rows = [lesion for lesion in lesions if isinstance(lesion, Mapping)] if isinstance(lesions, list) else []
    fields = list(dict.fromkeys(str(field) for lesion in rows for field in lesion))
    table = [[plain_text(lesion.get(field)) for field in fields] for lesion in rows]
    return [words(field) for field in fields], table


def vessel_rows(invasion: Mapping[str, object] | None, threshold: object) -> list[VesselRow]:
    """Return one reading for each vessel of ``invasion.json``."""
    if not isinstance(invasion, Mapping):
        return []
    vessels = invasion.get("vessels")
    levels = invasion.get("thresholds")
    if not isinstance(vessels, Mapping):
        return []
    return [
        _reading(str(name), vessel, levels, number(threshold))
        for name, vessel in vessels.items()
        if isinstance(vessel, Mapping)
    ]


def contact_pattern(pattern: object) -> list[tuple[str, str]]:
    """Return the contact pattern of all vessels as names and texts; fractions of raters as percentages."""
    if not isinstance(pattern, Mapping):
        return []
    rows = []
    for name, value in pattern.items():
        if name == "probability" and isinstance(value, Mapping):
            shares = [f"{kind} {percent(share)}" for kind, share in value.items()]
            rows.append(("Expected fraction of readers", ", ".join(shares) or MISSING))
        else:
            rows.append((words(str(name)), plain_text(value)))
    return rows


def _reading(name: str, vessel: Mapping[str, object], levels: object, threshold: float | None) -> VesselRow:
    """Put one vessel into words."""
    category = vessel.get("category")
    present = vessel.get("present") is not False
    angles = _series(levels, vessel.get("angle_deg"))
    lengths = _series(levels, vessel.get("contact_length_mm"))
    return VesselRow(
        name=name,
        title=str(vessel.get("title") or ""),
        present=present,
        angle=with_unit(_at(angles, threshold), "°", 0),
        members=_members(vessel.get("member_range")),
        expected_angle=with_unit(vessel.get("expected_angle_deg"), "°", 0),
        contact=percent(vessel.get("p_contact")),
        encased=percent(vessel.get("p_encased")),
        length=with_unit(_at(lengths, threshold), "mm", 0),
        distance=_distance(vessel.get("gap_mm"), levels, _at(angles, threshold), threshold),
        searched=percent(vessel.get("coverage")),
        category=CATEGORIES.get(category, category) if isinstance(category, str) else _not_assessed(vessel),
        notes=_notes(vessel),
        curve=_curve(name, angles, threshold) if present else None,
    )


def _not_assessed(vessel: Mapping[str, object]) -> str:
    """Say why a vessel has no category."""
    reason = vessel.get("reason")
    return f"not assessed: {reason.removeprefix('not assessed: ')}" if isinstance(reason, str) and reason else MISSING


def _notes(vessel: Mapping[str, object]) -> str:
    """Return what must be known of the numbers; what stands in the row already is not said twice."""
    notes = vessel.get("notes")
    told = [note for note in notes if note != vessel.get("reason")] if isinstance(notes, list) else notes
    if vessel.get("near_180") is True:
        told = [*(told if isinstance(told, list) else ()), "180° lies within the measurement's own error"]
    return plain_text(told) if told else ""


def _distance(gaps: object, levels: object, angle: float | None, threshold: float | None) -> str:
    """Say how far the tumour is from the vessel at the threshold."""
    if angle is None or not isinstance(gaps, list):
        return MISSING
    if angle > 0:
        return "in contact"
    return away(_at(_series(levels, gaps), threshold)) or "none near"


def _members(found: object) -> str:
    """Return the range of the angle over the ensemble's members in words; empty where there is none."""
    angles = found.get("angle_deg") if isinstance(found, Mapping) else None
    low, high = map(number, angles) if isinstance(angles, list) and len(angles) == 2 else (None, None)
    return "" if low is None or high is None else f"members {low:.0f}–{high:.0f}° at 0.5"


def _series(levels: object, values: object) -> list[tuple[float, float]]:
    """Pair thresholds with their values, in rising order; empty if they do not fit."""
    if not isinstance(levels, list) or not isinstance(values, list) or len(levels) != len(values):
        return []
    pairs = [(number(level), number(value)) for level, value in zip(levels, values, strict=True)]
    return sorted((level, value) for level, value in pairs if level is not None and value is not None)


def _at(series: list[tuple[float, float]], threshold: float | None) -> float | None:
    """Return the value at `threshold`, between two measured ones by linear interpolation; None outside them."""
    if not series or threshold is None or not series[0][0] <= threshold <= series[-1][0]:
        return None
    levels, values = zip(*series, strict=True)
    return float(np.interp(threshold, levels, values))


def _curve(name: str, series: list[tuple[float, float]], threshold: float | None) -> Curve | None:
    """Lay out the curve; its frame is 32 to 192 across for 0 to 1 and 92 up to 8 for 0 to 360 degrees."""
    if len(series) < 2:
        return None
    dots = tuple((round(_x(level), 1), round(92 - min(angle, 360.0) / 360 * 84, 1)) for level, angle in series)
    said = ", ".join(f"{angle:.0f}° at {level:g}" for level, angle in series)
    return Curve(
        path=" ".join(f"{x},{y}" for x, y in dots),
        dots=dots,
        threshold_x=None if threshold is None else round(_x(threshold), 1),
        description=f"{name}: contact angle {said}",
    )


def _x(level: float) -> float:
    return 32 + 160 * min(max(level, 0.0), 1.0)
