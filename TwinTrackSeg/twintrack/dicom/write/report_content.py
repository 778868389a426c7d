"""What a structured report says: groups of coded measurements of tumour, lesions and vessel contact."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from twintrack.dicom.write.derived import MapMeaning
from twintrack.dicom.write.remarks import NO_REMARKS, TEXT_LIMIT, Remarks
from twintrack.dicom.write.segments import level_text
from twintrack.dicom.write.terminology import (
    ABNORMAL,
    CODING_SCHEME,
    PANCREAS,
    TUMOR,
    Concept,
    name_source,
    structure_of,
)

__all__ = [
    "CASE",
    "STATEMENTS",
    "WITHHELD",
    "WITHHELD_LOW",
    "Evaluation",
    "Group",
    "Point",
    "Quantity",
    "case_label",
    "report_groups",
    "statement_source",
]

MILLILITER = Concept("ml", "milliliter", "UCUM")
MILLIMETER = Concept("mm", "millimeter", "UCUM")
DEGREE = Concept("deg", "degree", "UCUM")
FRACTION = Concept("1", "no units", "UCUM")

VOLUME = Concept("118565006", "Volume")
LONG_AXIS = Concept("103339001", "Long axis")
MEAN = Concept("373098007", "Mean")
MEDIAN = Concept("373099004", "Median")


def _own(value: str, meaning: str) -> Concept:
    return Concept(value, meaning, CODING_SCHEME)


VOLUME_P10 = _own("VOLUME-P10", "Volume, 10th percentile over readers")
VOLUME_P90 = _own("VOLUME-P90", "Volume, 90th percentile over readers")
EXPECTED_LOW = _own("EXPECTED-VOLUME-LOW", "Expected volume, lower end of its interval")
EXPECTED_HIGH = _own("EXPECTED-VOLUME-HIGH", "Expected volume, upper end of its interval")
MOST_READERS = _own("MAX-FRACTION", "Largest value of the map in the lesion")
CONTACT_ANGLE = _own("CONTACT-ANGLE", "Contact angle of tumour and vessel")
CONTACT_ARC = _own("CONTACT-ARC", "Smallest arc that encloses the contact")
CONTACT_LENGTH = _own("CONTACT-LENGTH", "Contact length of tumour and vessel")
ANGLE_P10 = _own("CONTACT-ANGLE-P10", "Contact angle, 10th percentile over readers")
ANGLE_P90 = _own("CONTACT-ANGLE-P90", "Contact angle, 90th percentile over readers")
ANY_TUMOR = _own("P-ANY-TUMOUR", "Expected fraction of readers who mark any tumour")
P_FOUND = _own("P-FOUND", "Expected fraction of readers who mark this lesion")
EXPECTED_ANGLE_LOW = _own("EXPECTED-ANGLE-LOW", "Expected contact angle, lower end of its interval")
EXPECTED_ANGLE_HIGH = _own("EXPECTED-ANGLE-HIGH", "Expected contact angle, upper end of its interval")
MEMBERS_LOW = _own("CONTACT-ANGLE-MEMBERS-LOW", "Least contact angle over the networks, at level 0.5")
MEMBERS_HIGH = _own("CONTACT-ANGLE-MEMBERS-HIGH", "Largest contact angle over the networks, at level 0.5")
GAP = _own("GAP", "Distance from vessel wall to nearest tumour")
COVERAGE = _own("COVERAGE", "Share of the wall near the tumour that was searched")
P_CONTACT = _own("P-CONTACT", "Expected fraction of readers for contact")
P_ENCASED = _own("P-ENCASED", "Expected fraction of readers for encasement (over 180 degrees)")

FRACTIONS = (ANY_TUMOR, P_FOUND, P_CONTACT, P_ENCASED)
OF_READERS = (VOLUME_P10, VOLUME_P90, ANGLE_P10, ANGLE_P90)
UNDER = _own("FRACTION-UNDER-3", "Under 3 % of readers")
OVER = _own("FRACTION-OVER-97", "Over 97 % of readers")
LEAST_FRACTION, MOST_FRACTION = 0.03, 0.97
"""Fractions of readers beyond them are told as `UNDER` and `OVER`: no report says 0 or 100 %."""

STATEMENTS = _own("STATEMENTS", "Source of what is said of readers")
CALIBRATED = _own("STATEMENTS-CALIBRATED", "Calibrated on readers")
FROM_MAP = _own("STATEMENTS-MAP", "Read from the map, not calibrated")
NOT_READERS = _own("STATEMENTS-SCORE", "Score of the networks, not readers")

CATEGORY = _own("CONTACT-CATEGORY-MEDIAN", "Contact category of the median reader")
CATEGORIES = {
    "none": _own("CONTACT-NONE", "No contact"),
    "abutment": _own("CONTACT-ABUTMENT", "Abutment (contact up to 180 degrees)"),
    "encasement": _own("CONTACT-ENCASEMENT", "Encasement (contact of more than 180 degrees)"),
}

CASE = _own("CASE", "Case")
VESSEL_CONTACT = _own("VESSEL-CONTACT", "Contact of tumour and vessel")
CONTACT_PATTERN = _own("CONTACT-PATTERN", "Anatomic contact pattern")
PATTERN_RULES = _own("PATTERN-RULES", "Rules of the contact pattern")
CENTROID = _own("CENTROID", "Centroid of the lesion")
LARGEST_CONTACT = _own("LARGEST-CONTACT", "Where the contact angle is largest")

THRESHOLD = _own("THRESHOLD", "Working threshold")
INTENDED_USE = _own("INTENDED-USE", "Intended use")
RESEARCH_ONLY = _own("RESEARCH-ONLY", "For research use only, not for diagnosis or treatment")
INPUT_CHECK = _own("INPUT-CHECK", "Input compared with the model's training images")
MODEL_KIND = _own("MODEL-KIND", "Kind of model")
DEMO_MODEL = _own("DEMO-MODEL", "Demo: knows phantoms only, means nothing on a patient's CT")
UNLIKE_TRAINING = _own("INPUT-UNLIKE-TRAINING", "CT is unlike the training images; result is doubtful")

OUTLINE = _own("OUTLINE", "Working outline")
EDITED_OUTLINE = _own("OUTLINE-EDITED", "Edited by hand after the model had run")

NAME_SOURCE = _own("NAME-SOURCE", "Where the vessel's name comes from")

NOT_MEASURED = _own("NOT-MEASURED", "Why a reading is missing")
NOT_NAMED = _own("NOT-NAMED", "Not assessed: which vessel it is was not found by anatomy")

WITHHELD = "withheld: named by anatomy, and no reader checked it"
WITHHELD_LOW = "withheld: named by anatomy, not sure, and no reader checked it"
"""Reasons of vessels whose names do not leave the program as facts."""

REASONS = {
    "the vessel map does not hold this vessel": _own("NOT-IN-VESSEL-MAP", "The vessel map does not hold this vessel"),
    WITHHELD: _own("NAME-WITHHELD", "Withheld: named by anatomy, and no reader checked it"),
    WITHHELD_LOW: _own("NAME-WITHHELD-NOT-SURE", "Withheld: named by anatomy, not sure, and not checked"),
    "the tumour touches the vessel where no cross-section can be measured": _own(
        "NO-CROSS-SECTION", "Contact where no cross-section can be measured"
    ),
    "the vessel lies outside the region that was searched for tumour": _own(
        "NOT-SEARCHED", "Vessel outside the region that was searched"
    ),
    "not assessed: too little of the vessel's wall near the tumour map was searched for tumour": _own(
        "TOO-LITTLE-SEARCHED", "Not assessed: too little of the vessel was searched"
    ),
    "too little of the vessel's wall near the tumour map was searched: what was found is the least": _own(
        "AT-LEAST", "Too little of it was searched: contact is the least there is"
    ),
}
"""The engine's sentences as codes, whose meaning must be short; any other sentence is cut."""

MAX_LESIONS = 100
"""Most lesions of a report, of which the largest come first; each takes milliseconds to write, and a reader's time."""

SAME_THRESHOLD = 1e-6
"""Thresholds this close are the same."""


@dataclass(frozen=True)
class Quantity:
    """A measured number.

    Attributes
    ----------
    name : Concept
        What was measured.
    value : float
        The number.
    unit : Concept
        Its UCUM unit.
    derivation : Concept or None
        How it was derived from several, such as the mean over readers.
    of_readers : bool
        Whether it is a fraction of readers, which is never told as 0 or 1.
    """

    name: Concept
    value: float
    unit: Concept
    derivation: Concept | None = None
    of_readers: bool = False


@dataclass(frozen=True)
class Evaluation:
    """A finding that is no number: what was looked at, and what it was found to be."""

    name: Concept
    value: Concept


@dataclass(frozen=True)
class Point:
    """A place in the patient: what lies there, and its (x, y, z) in mm, LPS."""

    name: Concept
    position_lps_mm: tuple[float, float, float]


@dataclass(frozen=True)
class Group:
    """All that is said about one thing.

    Attributes
    ----------
    name : str
        Its tracking identifier.
    finding : Concept
        What it is.
    site : Concept
        Where it lies.
    segment : str
        Name of the segment that was measured.
    quantities, evaluations
        What is said.
    comment : str
        What speaks against believing it, in whole sentences.
    category : Concept or None
        Kind of finding, where a standard code says it.
    points : tuple of Point
        Places that a viewer may jump to.
    """

    name: str
    finding: Concept
    site: Concept
    quantities: tuple[Quantity, ...]
    evaluations: tuple[Evaluation, ...] = field(default=())
    segment: str = "tumor"
    comment: str = ""
    category: Concept | None = None
    points: tuple[Point, ...] = ()


def report_groups(
    result: Mapping[str, Any], invasion: Mapping[str, Any] | None, meaning: MapMeaning, raters: int | None
) -> list[Group]:
    """Return the groups of a report on ``result.json`` and ``invasion.json``; what they do not state is left out."""
    threshold = float(result["threshold"])
    text = level_text(threshold, meaning, raters)
    text = f"voxels that {text} mark" if meaning is MapMeaning.MHR else text
    stated: tuple[Evaluation, ...] = (
        Evaluation(THRESHOLD, _own(f"THRESHOLD-{round(1000 * threshold):04d}", text[0].upper() + text[1:])),
        Evaluation(INTENDED_USE, RESEARCH_ONLY),
    )
    remarks = Remarks.of(result)
    if remarks.demo:
        stated = (*stated, Evaluation(MODEL_KIND, DEMO_MODEL))
    if remarks.unlike:
        stated = (*stated, Evaluation(INPUT_CHECK, UNLIKE_TRAINING))
    if result.get("edited"):
        stated = (*stated, Evaluation(OUTLINE, EDITED_OUTLINE))
    of_score = meaning is MapMeaning.SCORE
    if of_score:
        stated = (*stated, Evaluation(STATEMENTS, NOT_READERS))
    comment = remarks.sentences("") if remarks != NO_REMARKS else ""
    lesions = result.get("lesions") or []
    if len(lesions) > MAX_LESIONS:
        comment = f"{comment} The report lists the first {MAX_LESIONS} of {len(lesions):,} lesions.".strip()
    statements = result.get("statements") or {}
    source = statements.get("source")
    whole = _group("tumor", TUMOR.type, PANCREAS, _volumes(result, meaning), stated, source)
    groups = [replace(whole, category=ABNORMAL, comment=comment)]
    for number, lesion in enumerate(lesions[:MAX_LESIONS], start=1):
        found = _outlines_own(_lesion(lesion)) if of_score else _lesion(lesion)
        group = _group(f"lesion {number}", TUMOR.type, PANCREAS, found, stated, source)
        points = _points(CENTROID, lesion.get("centroid_lps_mm"))
        groups.append(replace(group, category=ABNORMAL, points=points))
    groups = [group for group in groups if group.quantities]
    for name, vessel in ((invasion or {}).get("vessels") or {}).items():
        found = _vessel(vessel, _index(invasion or {}, threshold)) if vessel.get("present") else ()
        found = _outlines_own(found) if of_score else found
        category = CATEGORIES.get(str(vessel.get("category"))) if found and not of_score else None
        told = (*stated, Evaluation(CATEGORY, category)) if category is not None else stated
        named = name_source(vessel)
        told = told if named is None else (*told, Evaluation(NAME_SOURCE, named))
        why = _missing(vessel)
        if found or why:
            site = structure_of(name).type
            group = _group(f"{name} contact", VESSEL_CONTACT, site, found, (*told, *why), vessel.get("statements"))
            groups.append(replace(group, points=_points(LARGEST_CONTACT, _largest_contact(vessel, threshold))))
    pattern = None if of_score else _pattern((invasion or {}).get("resectability") or {}, stated)
    return groups if pattern is None else [*groups, pattern]


def _outlines_own(quantities: tuple[Quantity, ...]) -> tuple[Quantity, ...]:
    """Leave out what would be said of readers: of a score nobody knows what they would say."""
    of_readers = (*OF_READERS, EXPECTED_LOW, EXPECTED_HIGH, EXPECTED_ANGLE_LOW, EXPECTED_ANGLE_HIGH)
    return tuple(q for q in quantities if not (q.of_readers or q.name in of_readers or q.derivation is not None))


def _largest_contact(vessel: Mapping[str, Any], threshold: float) -> Sequence[float] | None:
    """Return where this outline goes furthest around a vessel; None without contact, or if that is not known."""
    worst = vessel.get("worst_section") or {}
    is_outline = abs(float(worst.get("level") or 0.0) - threshold) < SAME_THRESHOLD
    return worst.get("position_lps_mm") if is_outline and (worst.get("angle_deg") or 0.0) > 0 else None


def _points(name: Concept, position_lps_mm: Sequence[float] | None) -> tuple[Point, ...]:
    """Return the place, if it is known."""
    if position_lps_mm is None:
        return ()
    x, y, z = (float(value) for value in position_lps_mm)
    return (Point(name, (x, y, z)),)


def _pattern(resectability: Mapping[str, Any], stated: tuple[Evaluation, ...]) -> Group | None:
    """Return the group of the anatomic contact pattern, with the fraction of readers for each; None if there is none.

    Rules may be a site's own, so that a pattern's code is made of its name.
    """
    pattern = resectability.get("pattern")
    if not isinstance(pattern, str) or not pattern:
        return None
    rules = f"{resectability.get('rule_set')} {resectability.get('version')}"
    told = (
        *stated,
        Evaluation(CONTACT_PATTERN, _own(_pattern_code("PATTERN", pattern), _cut(pattern))),
        Evaluation(PATTERN_RULES, _own(_pattern_code("RULES", rules), _cut(rules))),
    )
    quantities = tuple(
        Quantity(_own(_pattern_code("P-PATTERN", name), _cut(f"Readers: {name}")), value, FRACTION, of_readers=True)
        for name, value in (resectability.get("probability") or {}).items()
        if isinstance(value, (int, float))
    )
    sentences = (resectability.get("reason"), resectability.get("statement"))
    comment = " ".join(_sentence(text) for text in sentences if isinstance(text, str) and text)
    source = resectability.get("statements")
    return _group("contact pattern", CONTACT_PATTERN, PANCREAS, quantities, told, source, comment)


def _pattern_code(prefix: str, text: str) -> str:
    return f"{prefix}-{hashlib.sha256(text.encode()).hexdigest()[:8].upper()}"


def _cut(text: str) -> str:
    return text[0].upper() + text[1:TEXT_LIMIT]


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."


def statement_source(result: Mapping[str, Any], invasion: Mapping[str, Any] | None) -> str:
    """Say in a sentence where what is said of readers comes from: the files' own, or that it is not calibrated."""
    if "calibrator" in result and result["calibrator"] is None:
        return f"{NOT_READERS.meaning}: no calibrator was applied"
    said = result.get("statements") or {}
    source, note = said.get("source"), said.get("note")
    if invasion is not None:
        source, note = invasion.get("statements"), invasion.get("statements_note")
    meaning = (CALIBRATED if source == "calibrated" else FROM_MAP).meaning
    if not isinstance(note, str) or not note:
        return meaning
    told = note[0].upper() + note[1:]
    return told if source == "calibrated" or told.startswith(meaning) else f"{meaning}: {note}"


def _group(
    name: str,
    finding: Concept,
    site: Concept,
    quantities: tuple[Quantity, ...],
    stated: tuple[Evaluation, ...],
    source: object,
    comment: str = "",
) -> Group:
    """Make a group; where something is said of readers it says where from, and no fraction of 0 or 1."""
    ends = {
        quantity.name: UNDER if quantity.value < LEAST_FRACTION else OVER
        for quantity in quantities
        if quantity.of_readers and not LEAST_FRACTION <= quantity.value <= MOST_FRACTION
    }
    told = tuple(Evaluation(fraction, end) for fraction, end in ends.items())
    if any(each.of_readers or each.name in OF_READERS or each.derivation is not None for each in quantities):
        told = (Evaluation(STATEMENTS, CALIBRATED if source == "calibrated" else FROM_MAP), *told)
    left = tuple(quantity for quantity in quantities if quantity.name not in ends)
    return Group(name, finding, site, left, (*stated, *told), comment=comment)


def case_label(result: Mapping[str, Any]) -> str:
    """Return the label of the case in ``result.json``; empty in one of an earlier version."""
    label = (result.get("input") or {}).get("case")
    return label if isinstance(label, str) else ""


def _missing(vessel: Mapping[str, Any]) -> tuple[Evaluation, ...]:
    """Say why readings of a vessel are missing, if the engine does."""
    reason = vessel.get("reason")
    if not isinstance(reason, str) or not reason:
        return ()
    if reason not in REASONS and vessel.get("named_by") and not vessel.get("present"):
        return (Evaluation(NOT_MEASURED, NOT_NAMED),)
    return (Evaluation(NOT_MEASURED, REASONS.get(reason) or _own("OTHER-REASON", reason[:TEXT_LIMIT])),)


def _quantities(*rows: tuple[Concept, Any, Concept, Concept | None]) -> tuple[Quantity, ...]:
    """Leave out what is not stated."""
    return tuple(
        Quantity(name, float(value), unit, derivation, of_readers=name in FRACTIONS)
        for name, value, unit, derivation in rows
        if isinstance(value, (int, float))
    )


def _volumes(result: Mapping[str, Any], meaning: MapMeaning) -> tuple[Quantity, ...]:
    volume_ml, statements = result.get("volume_ml") or {}, result.get("statements") or {}
    rows: list[tuple[Concept, Any, Concept, Concept | None]] = [
        (VOLUME, volume_ml.get("at_threshold"), MILLILITER, None)
    ]
    if meaning is not MapMeaning.SCORE:
        interval = result.get("expected_volume_ml") or {}
        rows.append((VOLUME, volume_ml.get("expected"), MILLILITER, MEAN))
        rows.append((EXPECTED_LOW, interval.get("low"), MILLILITER, None))
        rows.append((EXPECTED_HIGH, interval.get("high"), MILLILITER, None))
    if meaning is MapMeaning.MHR:
        readers = statements.get("volume_ml") or {}
        readers = readers if any(value is not None for value in readers.values()) else volume_ml
        rows.append((VOLUME, readers.get("median"), MILLILITER, MEDIAN))
        rows.append((VOLUME_P10, readers.get("p10"), MILLILITER, None))
        rows.append((VOLUME_P90, readers.get("p90"), MILLILITER, None))
        rows.append((ANY_TUMOR, statements.get("any_tumour"), FRACTION, None))
    return _quantities(*rows)


def _lesion(lesion: Mapping[str, Any]) -> tuple[Quantity, ...]:
    return _quantities(
        (VOLUME, lesion.get("volume_ml"), MILLILITER, None),
        (LONG_AXIS, lesion.get("longest_diameter_mm"), MILLIMETER, None),
        (MOST_READERS, lesion.get("max_probability"), FRACTION, None),
        (P_FOUND, lesion.get("p_found"), FRACTION, None),
    )


def _vessel(vessel: Mapping[str, Any], index: int | None) -> tuple[Quantity, ...]:
    def at_threshold(key: str) -> Any:
        curve: Sequence[Any] = vessel.get(key) or ()
        return curve[index] if index is not None and index < len(curve) else None

    free = at_threshold("angle_deg") == 0
    low, high = (vessel.get("member_range") or {}).get("angle_deg") or (None, None)
    expected_low, expected_high = vessel.get("expected_angle_deg_interval") or (None, None)
    return _quantities(
        (CONTACT_ANGLE, at_threshold("angle_deg"), DEGREE, None),
        (CONTACT_ANGLE, vessel.get("angle_median_deg"), DEGREE, MEDIAN),
        (CONTACT_ANGLE, vessel.get("expected_angle_deg"), DEGREE, MEAN),
        (EXPECTED_ANGLE_LOW, expected_low, DEGREE, None),
        (EXPECTED_ANGLE_HIGH, expected_high, DEGREE, None),
        (CONTACT_ARC, at_threshold("arc_deg"), DEGREE, None),
        (ANGLE_P10, vessel.get("angle_p10_deg"), DEGREE, None),
        (ANGLE_P90, vessel.get("angle_p90_deg"), DEGREE, None),
        (MEMBERS_LOW, low, DEGREE, None),
        (MEMBERS_HIGH, high, DEGREE, None),
        (CONTACT_LENGTH, at_threshold("contact_length_mm"), MILLIMETER, None),
        (P_CONTACT, vessel.get("p_contact"), FRACTION, None),
        (GAP, at_threshold("gap_mm") if free else None, MILLIMETER, None),
        (P_ENCASED, vessel.get("p_encased"), FRACTION, None),
        (COVERAGE, vessel.get("coverage"), FRACTION, None),
    )


def _index(invasion: Mapping[str, Any], threshold: float) -> int | None:
    """Return which of the listed thresholds is the working one; none where it is not listed."""
    for index, listed in enumerate(invasion.get("thresholds") or ()):
        if abs(float(listed) - threshold) < SAME_THRESHOLD:
            return index
    return None
