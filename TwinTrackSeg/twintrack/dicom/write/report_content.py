"""What a structured report says: groups of coded measurements of tumour, lesions and vessel contact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twintrack.dicom.write.derived import MapMeaning
from twintrack.dicom.write.remarks import NO_REMARKS, TEXT_LIMIT, Remarks
from twintrack.dicom.write.segments import level_text
from twintrack.dicom.write.terminology import CODING_SCHEME, PANCREAS, Concept, structure_of

__all__ = ["CASE", "Evaluation", "Group", "Quantity", "case_label", "report_groups"]

MILLILITER = Concept("ml", "milliliter", "UCUM")
MILLIMETER = Concept("mm", "millimeter", "UCUM")
DEGREE = Concept("deg", "degree", "UCUM")
FRACTION = Concept("1", "no units", "UCUM")

VOLUME = Concept("118565006", "Volume")
LONG_AXIS = Concept("103339001", "Long axis")
MEAN = Concept("373098007", "Mean")


def _own(value: str, meaning: str) -> Concept:
    return Concept(value, meaning, CODING_SCHEME)


VOLUME_P10 = _own("VOLUME-P10", "Volume, 10th percentile over readers")
VOLUME_P90 = _own("VOLUME-P90", "Volume, 90th percentile over readers")
MOST_READERS = _own("MAX-FRACTION", "Largest value of the map in the lesion")
CONTACT_ANGLE = _own("CONTACT-ANGLE", "Contact angle of tumour and vessel")
CONTACT_LENGTH = _own("CONTACT-LENGTH", "Contact length of tumour and vessel")
GAP = _own("GAP", "Distance from vessel wall to nearest tumour")
COVERAGE = _own("COVERAGE", "Share of the wall near the tumour that was searched")
P_CONTACT = _own("P-CONTACT", "Expected fraction of readers for contact")
P_ENCASED = _own("P-ENCASED", "Expected fraction of readers for encasement (over 180 degrees)")

CATEGORY = _own("CONTACT-CATEGORY", "Contact category at the working threshold")
CATEGORIES = {
    "none": _own("CONTACT-NONE", "No contact"),
    "abutment": _own("CONTACT-ABUTMENT", "Abutment (contact up to 180 degrees)"),
    "encasement": _own("CONTACT-ENCASEMENT", "Encasement (contact of more than 180 degrees)"),
}

CASE = _own("CASE", "Case")
THRESHOLD = _own("THRESHOLD", "Working threshold")
INTENDED_USE = _own("INTENDED-USE", "Intended use")
RESEARCH_ONLY = _own("RESEARCH-ONLY", "For research use only, not for diagnosis or treatment")
INPUT_CHECK = _own("INPUT-CHECK", "Input compared with the model's training images")
MODEL_KIND = _own("MODEL-KIND", "Kind of model")
DEMO_MODEL = _own("DEMO-MODEL", "Demo: knows phantoms only, means nothing on a patient's CT")
UNLIKE_TRAINING = _own("INPUT-UNLIKE-TRAINING", "CT is unlike the training images; result is doubtful")

OUTLINE = _own("OUTLINE", "Working outline")
EDITED_OUTLINE = _own("OUTLINE-EDITED", "Edited by hand after the model had run")

NOT_MEASURED = _own("NOT-MEASURED", "Why a reading is missing")
REASONS = {
    "the vessel map does not hold this vessel": _own("NOT-IN-VESSEL-MAP", "The vessel map does not hold this vessel"),
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
    """

    name: Concept
    value: float
    unit: Concept
    derivation: Concept | None = None


@dataclass(frozen=True)
class Evaluation:
    """A finding that is no number: what was looked at, and what it was found to be."""

    name: Concept
    value: Concept


@dataclass(frozen=True)
class Group:
    """All that is said about one thing.

    Attributes
    ----------
    name : str
        Its tracking identifier.
    site : Concept
        Where it lies.
    segment : str
        Name of the segment that was measured.
    quantities, evaluations
        What is said.
    comment : str
        What speaks against believing it, in whole sentences.
    """

    name: str
    site: Concept
    quantities: tuple[Quantity, ...]
    evaluations: tuple[Evaluation, ...] = field(default=())
    segment: str = "tumor"
    comment: str = ""


def report_groups(
    result: Mapping[str, Any], invasion: Mapping[str, Any] | None, meaning: MapMeaning, raters: int | None
) -> list[Group]:
    """Return the groups of a report on ``result.json`` and ``invasion.json``; what they do not state is left out."""
    threshold = float(result["threshold"])
    text = level_text(threshold, meaning, raters)
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
    comment = remarks.sentences("") if remarks != NO_REMARKS else ""
    lesions = result.get("lesions") or []
    if len(lesions) > MAX_LESIONS:
        comment = f"{comment} The report lists the first {MAX_LESIONS} of {len(lesions):,} lesions.".strip()
    groups = [Group("tumor", PANCREAS, _volumes(result.get("volume_ml") or {}, meaning), stated, comment=comment)]
    for number, lesion in enumerate(lesions[:MAX_LESIONS], start=1):
        groups.append(Group(f"lesion {number}", PANCREAS, _lesion(lesion), stated))
    groups = [group for group in groups if group.quantities]
    for name, vessel in ((invasion or {}).get("vessels") or {}).items():
        found = _vessel(vessel, _index(invasion or {}, threshold)) if vessel.get("present") else ()
        category = CATEGORIES.get(str(vessel.get("category"))) if found else None
        told = (*stated, Evaluation(CATEGORY, category)) if category is not None else stated
        why = _missing(vessel)
        if found or why:
            groups.append(Group(f"{name} contact", structure_of(name).type, found, (*told, *why)))
    return groups


def case_label(result: Mapping[str, Any]) -> str:
    """Return the label of the case in ``result.json``; empty in one of an earlier version."""
    label = (result.get("input") or {}).get("case")
    return label if isinstance(label, str) else ""


def _missing(vessel: Mapping[str, Any]) -> tuple[Evaluation, ...]:
    """Say why readings of a vessel are missing, if the engine does."""
    reason = vessel.get("reason")
    if not isinstance(reason, str) or not reason:
        return ()
    return (Evaluation(NOT_MEASURED, REASONS.get(reason) or _own("OTHER-REASON", reason[:TEXT_LIMIT])),)


def _quantities(*rows: tuple[Concept, Any, Concept, Concept | None]) -> tuple[Quantity, ...]:
    """Leave out what is not stated."""
    return tuple(
        Quantity(name, float(value), unit, derivation)
        for name, value, unit, derivation in rows
        if isinstance(value, (int, float))
    )


def _volumes(volume_ml: Mapping[str, Any], meaning: MapMeaning) -> tuple[Quantity, ...]:
    rows: list[tuple[Concept, Any, Concept, Concept | None]] = [
        (VOLUME, volume_ml.get("at_threshold"), MILLILITER, None)
    ]
    if meaning is not MapMeaning.SCORE:
        rows.append((VOLUME, volume_ml.get("expected"), MILLILITER, MEAN))
    if meaning is MapMeaning.MHR:
        rows.append((VOLUME_P10, volume_ml.get("p10"), MILLILITER, None))
        rows.append((VOLUME_P90, volume_ml.get("p90"), MILLILITER, None))
    return _quantities(*rows)


def _lesion(lesion: Mapping[str, Any]) -> tuple[Quantity, ...]:
    return _quantities(
        (VOLUME, lesion.get("volume_ml"), MILLILITER, None),
        (LONG_AXIS, lesion.get("longest_diameter_mm"), MILLIMETER, None),
        (MOST_READERS, lesion.get("max_probability"), FRACTION, None),
    )


def _vessel(vessel: Mapping[str, Any], index: int | None) -> tuple[Quantity, ...]:
    def at_threshold(key: str) -> Any:
        curve: Sequence[Any] = vessel.get(key) or ()
        return curve[index] if index is not None and index < len(curve) else None

    free = at_threshold("angle_deg") == 0
    return _quantities(
        (CONTACT_ANGLE, at_threshold("angle_deg"), DEGREE, None),
        (CONTACT_ANGLE, vessel.get("expected_angle_deg"), DEGREE, MEAN),
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
