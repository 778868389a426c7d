"""What a result says, in words and rounded numbers for a radiologist: from ``result.json`` and ``invasion.json``.

Every field is optional: what is missing or not a number reads as `MISSING`, never as zero.

Two kinds of numbers are told apart everywhere. *Statements* are about readers: fractions, the median reader's angle,
category and pattern, 10 to 90 %. They do not move with a threshold, and say whether they are calibrated. *This outline*
is the map at the working threshold, or an outline drawn by hand: its angle, length and volume are nobody's opinion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "CATEGORIES",
    "ENCASEMENT_ABOVE_DEG",
    "MISSING",
    "NOT_CALIBRATED",
    "NOT_PRESENT",
    "NOT_READERS",
    "NO_CALIBRATOR",
    "SIGNS",
    "ReadersVolume",
    "angle_category",
    "away",
    "bare",
    "contact_pattern",
    "further_readers",
    "is_calibrated",
    "is_score",
    "lesion_table",
    "median_angle_deg",
    "member_range",
    "number",
    "of_result",
    "outline_text",
    "pair",
    "pattern_rules",
    "percent",
    "plain_text",
    "readers_volume",
    "series",
    "share",
    "signed_category",
    "span",
    "statement_source",
    "value_at",
    "vessel_source",
    "with_unit",
    "without_readers",
    "words",
]

MISSING = "not available"

NOT_READERS = "score, not readers"
"""Stands wherever there would be something about readers, of a result without a calibrator."""

NO_CALIBRATOR = f"{NOT_READERS}: no calibrator was applied, so nothing is known of what readers would say"

SAID_OF_READERS = (
    "category",
    "category_probability",
    "p_contact",
    "p_contact_interval",
    "p_encased",
    "p_encased_interval",
    "expected_angle_deg",
    "expected_angle_deg_interval",
    "angle_median_deg",
    "angle_p10_deg",
    "angle_p90_deg",
    "fraction_over",
)
"""Fields of a vessel that are statements about readers."""

NOT_CALIBRATED = "read from the map, not calibrated"
"""Stands wherever a fraction of readers is a level of the map: of a network's map that is not the readers' fraction."""

LEAST_FRACTION, MOST_FRACTION = 0.03, 0.97
"""Beyond them a fraction of readers is told as "under 3 %" and "over 97 %": nothing reads 0 or 100 %."""

NOTE_LIMIT = 300
"""Longest note of a file, in characters, that is shown."""

ENCASEMENT_ABOVE_DEG = 180.0

FULL_TURN_DEG = 360.0

CATEGORIES = {
    "none": "no contact",
    "abutment": "abutment (up to 180°)",
    "encasement": "encasement (more than 180°)",
}

PATTERN_DETAILS = ("label", "rules", "level", "complete", "rule_set", "version", "source")
"""Fields of a contact pattern that say again what others say, or by which rules it was found."""

SIGNS = {"encasement": "●", "abutment": "◐", "none": "○", "": "?"}
"""What tells a category where there is room for one sign; an empty name is a vessel that was not measured."""

SIGNED_CATEGORIES = {
    "encasement": "● encasement",
    "abutment": "◐ abutment",
    "none": "○ no contact",
    "": "? not measured",
}
"""A category in a row of a table: a sign that needs no colour, and the word."""

ANGLE_UNKNOWN = "? angle unknown"
"""The same where it is known how many readers see contact, and not how far around."""

NOT_PRESENT = "not seen"
"""Of a vessel that is not in the vessel segmentation at all."""

UNITS = {"ml": "mL", "mm": "mm", "deg": "°", "hu": "HU"}
"""Ending of a field's name to the unit it stands for."""


@dataclass(frozen=True)
class ReadersVolume:
    """What is said of the volumes that readers would draw, as texts.

    Attributes
    ----------
    any_tumour : str
        Fraction of readers who would mark any tumour; empty where the result does not say.
    median, p10_p90 : str
        The median reader's volume, and between which volumes 8 of 10 readers lie.
    source : str
        Where this comes from.
    """

    any_tumour: str
    median: str
    p10_p90: str
    source: str


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
    """Write a fraction of raters as a percentage, the outermost ones as "under 3 %" and "over 97 %"."""
    known = number(value)
    if known is None:
        return MISSING
    if known < LEAST_FRACTION:
        return f"under {100 * LEAST_FRACTION:.0f} %"
    return f"over {100 * MOST_FRACTION:.0f} %" if known > MOST_FRACTION else share(known)


def share(value: object) -> str:
    """Write a part of something measured, such as a wall, as a percentage."""
    known = number(value)
    return MISSING if known is None else f"{100 * known:.0f} %"


def bare(text: str) -> str:
    """Return a percentage without its sign, for a column whose head has it."""
    return text.removesuffix(" %")


def span(low: object, high: object, unit: str = "") -> str:
    """Write a range of whole numbers, such as angles, with the unit once; one number where both ends read alike."""
    ends = number(low), number(high)
    if ends[0] is None or ends[1] is None:
        return MISSING
    first, last = f"{ends[0]:.0f}", f"{ends[1]:.0f}"
    return f"{first}{unit}" if first == last else f"{first}–{last}{unit}"


def signed_category(category: str, p_contact: float | None = None) -> str:
    """Write a category, a key of `SIGNS`, for a row; `p_contact` tells "not measured" from "angle not known"."""
    return ANGLE_UNKNOWN if not category and p_contact else SIGNED_CATEGORIES[category]


def outline_text(threshold: object, *, calibrated: bool = True) -> str:
    """Say which voxels an outline at `threshold` takes in, of a map of raters or of an uncalibrated score."""
    if not calibrated:
        return f"voxels that score at least {plain_text(threshold)}"
    return f"voxels that at least {share(threshold)} mark"


def is_calibrated(part: object) -> bool:
    """Whether a part of a result (the invasion, a vessel, the pattern) says that its statements are calibrated."""
    return isinstance(part, Mapping) and "calibrated" in (part.get("statements"), part.get("source"))


def is_score(content: object) -> bool:
    """Whether ``result.json`` or ``invasion.json`` is of a score that no calibrator made a map of."""
    if not isinstance(content, Mapping):
        return False
    return content.get("measured_on") == "score" or ("calibrator" in content and content["calibrator"] is None)


def of_result(invasion: Mapping[str, Any], result: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``invasion.json`` with what ``result.json`` knows of it: earlier files do not say that of a score."""
    return {**invasion, "measured_on": "score"} if is_score(result) and "measured_on" not in invasion else invasion


def without_readers(invasion: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the content of ``invasion.json`` as it may be shown: of a score without what is said of readers.

    What this outline measures, and the levels of the score, stay.
    """
    if not is_score(invasion):
        return invasion
    vessels = invasion.get("vessels")
    shown = {
        name: {
            **{key: value for key, value in vessel.items() if key not in SAID_OF_READERS},
            **dict.fromkeys(SAID_OF_READERS),
            "reason": vessel.get("reason") or (None if vessel.get("present") is False else NOT_READERS),
        }
        for name, vessel in (vessels if isinstance(vessels, Mapping) else {}).items()
        if isinstance(vessel, Mapping)
    }
    return {**invasion, "vessels": shown, "resectability": {}, "statements_note": NO_CALIBRATOR}


def statement_source(content: object) -> str:
    """Say where what is said of raters comes from.

    Parameters
    ----------
    content : object
        Content of ``invasion.json``, or ``statements`` of ``result.json``.
    """
    if is_score(content):
        return NO_CALIBRATOR
    known: Mapping[str, object] = content if isinstance(content, Mapping) else {}
    stated = known.get("statements_note") or known.get("note")
    note = " ".join(stated.split())[:NOTE_LIMIT] if isinstance(stated, str) else ""
    if not is_calibrated(known):
        return note if note.startswith(NOT_CALIBRATED) else f"{NOT_CALIBRATED}: {note}" if note else NOT_CALIBRATED
    calibration = known.get("calibration")
    cases, raters = (
        (number(calibration.get(name)) for name in ("cases", "raters"))
        if isinstance(calibration, Mapping)
        else (None, None)
    )
    if note or cases is None:
        return note or "calibrated"
    return f"calibrated on {cases:.0f} cases" + ("" if raters is None else f" with {raters:.0f} readers each")


def vessel_source(invasion: Mapping[str, object], vessel: object) -> str:
    """Say where the statements of one vessel come from: one may lie outside what was calibrated."""
    if is_calibrated(vessel):
        return statement_source(invasion) if is_calibrated(invasion) else "calibrated"
    return NOT_CALIBRATED if is_calibrated(invasion) else statement_source(invasion)


def median_angle_deg(invasion: Mapping[str, object], vessel: Mapping[str, object]) -> float | None:
    """Return the median rater's contact angle; earlier files do not state it: there it is the map's at 0.5."""
    stated = number(vessel.get("angle_median_deg"))
    if stated is not None or "angle_median_deg" in vessel or is_calibrated(vessel):
        return stated
    return value_at(series(invasion.get("thresholds"), vessel.get("angle_deg")), 0.5)


def angle_category(angle_deg: object) -> str | None:
    """Return the category of an outline's contact angle: a key of `CATEGORIES`; None where it was not measured."""
    known = number(angle_deg)
    if known is None:
        return None
    if known <= 0:
        return "none"
    return "encasement" if known > ENCASEMENT_ABOVE_DEG else "abutment"


def further_readers(vessel: Mapping[str, object]) -> str:
    """Say between which angles most further raters of this kind lie."""
    return span(vessel.get("angle_p10_deg"), vessel.get("angle_p90_deg"), "°")


def member_range(found: object) -> str:
    """Return the range over the ensemble's members in words; empty where there is none."""
    if not isinstance(found, Mapping):
        return ""
    angles = pair(found.get("angle_deg"))
    # Earlier files have the same levels under the names of fractions.
    levels = [
        (what, pair(found.get(f"level_{key}") or found.get(f"p_{key}")))
        for what, key in (("contact", "contact"), ("over 180°", "encased"))
    ]
    parts = [f"angle {angles[0]:.0f}–{angles[1]:.0f}° at level 0.5"] if angles else []
    parts += [f"{what} up to level {ends[0]:.2f}–{ends[1]:.2f}" for what, ends in levels if ends]
    return ", ".join(parts)


def readers_volume(result: Mapping[str, object]) -> ReadersVolume:
    """Say which volumes raters would draw, from ``result.json``: its statements, else the map's own percentiles."""
    if is_score(result):
        return ReadersVolume("", MISSING, MISSING, NO_CALIBRATOR)
    statements, mapped = result.get("statements"), result.get("volume_ml")
    stated: Mapping[str, object] = statements if isinstance(statements, Mapping) else {}
    volumes = stated.get("volume_ml")
    source, known = statement_source(stated), volumes if isinstance(volumes, Mapping) else {}
    if not any(number(known.get(name)) is not None for name in ("p10", "median", "p90")):
        source, known = NOT_CALIBRATED, mapped if isinstance(mapped, Mapping) else {}
    low, high = number(known.get("p10")), number(known.get("p90"))
    return ReadersVolume(
        any_tumour=percent(stated["any_tumour"]) if number(stated.get("any_tumour")) is not None else "",
        median=with_unit(known.get("median"), "mL"),
        p10_p90=MISSING if low is None or high is None else f"{low:.1f}–{high:.1f} mL",
        source=source,
    )


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


def lesion_table(
    lesions: object, statements: object = None, *, score: bool = False
) -> tuple[list[str], list[list[str]]]:
    """Return heads and rows of the lesion list, whatever simple fields the lesions have.

    `statements` is that part of ``result.json``, which says whether the fraction of raters is calibrated; of a `score`
    nothing is said of raters.
    """
    rows = [lesion for lesion in lesions if isinstance(lesion, Mapping)] if isinstance(lesions, list) else []
    fields = list(dict.fromkeys(str(field) for lesion in rows for field in lesion))
    fields = [field for field in fields if field != "p_found" or not score]
    found = "Readers expected to mark it" + ("" if is_calibrated(statements) else f" ({NOT_CALIBRATED})")
    heads = {"p_found": found, "max_probability": "Highest score" if score else "Highest value of the map"}
    table = [
        [percent(lesion.get(field)) if field == "p_found" else plain_text(lesion.get(field)) for field in fields]
        for lesion in rows
    ]
    return [heads.get(field) or words(field) for field in fields], table


def contact_pattern(invasion: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return the contact pattern of all vessels as names and texts: how many raters would see each comes first."""
    pattern = invasion.get("resectability")
    if not isinstance(pattern, Mapping) or not pattern or is_score(invasion):
        return []
    rest = dict(pattern)
    rest.pop("statements", None)
    rows, fractions = [], rest.get("probability")
    if isinstance(fractions, Mapping):
        told = ", ".join(f"{kind} {percent(fraction)}" for kind, fraction in rest.pop("probability").items())
        rows.append(("Readers expected to see", told or MISSING))
    if "pattern" in rest:
        rows.append(("Pattern of the median reader", plain_text(rest.pop("pattern"))))
    if rows:
        rows.append(("Where this comes from", vessel_source(invasion, pattern)))
    if "outline_pattern" in rest:
        rows.append(("Pattern of this outline, edited by hand", plain_text(rest.pop("outline_pattern"))))
    return rows + [(words(str(name)), plain_text(value)) for name, value in rest.items() if name not in PATTERN_DETAILS]


def pattern_rules(invasion: Mapping[str, object]) -> str:
    """Return by which rules the contact pattern was found; empty if there is none."""
    pattern = invasion.get("resectability")
    if not isinstance(pattern, Mapping):
        return ""
    name = " ".join(plain_text(pattern[field]) for field in ("rule_set", "version") if pattern.get(field))
    return "; ".join(part for part in (name, plain_text(pattern.get("source") or "")) if part)


def pair(found: object) -> tuple[float, float] | None:
    """Return a low and a high number; None if it is anything else."""
    low, high = map(number, found) if isinstance(found, list) and len(found) == 2 else (None, None)
    return None if low is None or high is None else (low, high)


def series(levels: object, values: object) -> list[tuple[float, float]]:
    """Pair thresholds with their values, in rising order; empty if they do not fit."""
    if not isinstance(levels, list) or not isinstance(values, list) or len(levels) != len(values):
        return []
    pairs = [(number(level), number(value)) for level, value in zip(levels, values, strict=True)]
    return sorted((level, value) for level, value in pairs if level is not None and value is not None)


def value_at(pairs: list[tuple[float, float]], threshold: float | None) -> float | None:
    """Return the value at `threshold`, between two measured ones by linear interpolation; None outside them."""
    if not pairs or threshold is None or not pairs[0][0] <= threshold <= pairs[-1][0]:
        return None
    levels, values = zip(*pairs, strict=True)
    return float(np.interp(threshold, levels, values))
