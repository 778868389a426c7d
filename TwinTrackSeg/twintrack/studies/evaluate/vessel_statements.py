"""What an evaluation says of vessels: how far readers agree, and how true a result's statements about them are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twintrack.calibration.statements import ANGLES_DEG
from twintrack.errors import InputError, locating
from twintrack.invasion import DEFAULT_CONTACT_MM, rater_contacts
from twintrack.invasion.rater_categories import category_of
from twintrack.labels import JOINT_VEIN
from twintrack.metrics.reader_agreement import ContactReading, reader_agreement
from twintrack.metrics.statement_scores import VesselReading, statement_scores
from twintrack.settings import checked_contact_mm
from twintrack.studies.table_format import markdown_rows
from twintrack.system.json_file import read_json
from twintrack.volume import Volume

__all__ = ["VesselEvaluation", "evaluate_vessels", "summarize_vessels", "vessel_tables"]

INVASION = "invasion.json"
"""In a result folder, beside the map."""


@dataclass(frozen=True)
class VesselEvaluation:
    """The vessels of one case.

    Attributes
    ----------
    contacts : tuple of ContactReading
        What each reader's mask says of each reference vessel.
    statements : tuple of VesselReading
        What the result beside the map said of readers, with their own angles; empty without such a result.
    source : str
        "calibrated" or "map", as the result says; empty without one.
    """

    contacts: tuple[ContactReading, ...] = ()
    statements: tuple[VesselReading, ...] = ()
    source: str = ""


def evaluate_vessels(
    case: str, probability: Path, masks: Mapping[str, Volume], vessels: Volume, names: Mapping[str, int]
) -> VesselEvaluation:
    """Measure each reader's contact with the reference vessels, and read what the result beside the map said.

    Parameters
    ----------
    case : str
        Its name.
    probability : path
        The map; an ``invasion.json`` beside it is what ``twintrack segment`` said of the same case.
    masks : mapping of str to Volume
        Each reader's mask.
    vessels, names
        The reference.

    Raises
    ------
    InputError
        If the ``invasion.json`` cannot be read.
    """
    said = _said(probability.with_name(INVASION))
    contact_mm = _contact_mm(said, probability.with_name(INVASION))
    # Two veins as one vessel count nowhere in the summary.
    found_by = rater_contacts(list(masks.values()), vessels, names, contact_mm=contact_mm, joint=False)
    contacts = dict(zip(masks, found_by, strict=True))
    readings = []
    angles: dict[str, list[float]] = {}
    for rater, found in contacts.items():
        for name, contact in found.items():
            if contact is None:
                continue
            known = contact.angle_deg
            category = None if known is None else category_of(known).value
            readings.append(ContactReading(case, name, rater, known, category))
            angles.setdefault(name, []).append(contact.counted_deg)
    told = _fractions(said)
    statements = tuple(
        VesselReading(case, name, told[name], tuple(values)) for name, values in angles.items() if name in told
    )
    return VesselEvaluation(tuple(readings), statements, str(said.get("statements") or "map") if statements else "")


def summarize_vessels(cases: Sequence[VesselEvaluation]) -> dict[str, Any] | None:
    """Return the part ``vessels`` of ``summary.json``; None where no case has reference vessels."""
    contacts = [reading for case in cases for reading in case.contacts]
    if not contacts:
        return None
    agreement = reader_agreement([one for one in contacts if _own(one.vessel)])
    statements = [reading for case in cases for reading in case.statements]
    sources = sorted({case.source for case in cases if case.source})
    return {
        "agreement": None if agreement is None else agreement.to_json(),
        "statements": None
        if not statements
        else {"source": " and ".join(sources), **statement_scores([one for one in statements if _own(one.vessel)])},
    }


def vessel_tables(found: Mapping[str, Any] | None) -> list[str]:
    """Return what is said of vessels as lines of Markdown; nothing without any."""
    if found is None:
        return []
    lines: list[str] = []
    if found["agreement"] is not None:
        rows = [_agreement_row(pair) for pair in [found["agreement"]["together"], *found["agreement"]["pairs"]]]
        heads = ["Readers", "Vessels", "ICC of the angle", "Mean difference", "Weighted kappa", "Krippendorff's alpha"]
        lines += ["", "## Agreement of the readers on vessels", "", *markdown_rows(heads, rows)]
    if found["statements"] is not None:
        lines += ["", "## Statements about vessels", "", *_statement_lines(found["statements"])]
    return lines


def _said(path: Path) -> Mapping[str, Any]:
    """Return the content of an ``invasion.json``; empty where there is none."""
    if not path.is_file():
        return {}
    try:
        content = read_json(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot be read ({error}); segment the case again, or remove it", code="file-unreadable", path=path
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("vessels"), dict):
        raise InputError("is not a vessel readout of twintrack; remove it", code="readout-malformed", path=path)
    return content


def _contact_mm(said: Mapping[str, Any], path: Path) -> float:
    """Return the contact distance of a readout in mm, within what is allowed; the program's own where none is said."""
    stated = said.get("contact_mm")
    if stated is None:
        return DEFAULT_CONTACT_MM
    if isinstance(stated, bool) or not isinstance(stated, int | float):
        raise InputError(
            '"contact_mm" must be a length in mm; segment the case again, or remove the file',
            code="readout-malformed",
            path=path,
        )
    with locating(path=path):
        return checked_contact_mm(float(stated))


def _fractions(said: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    """Return the fraction of readers over each of `ANGLES_DEG` by vessel, where a result of schema 2 tells it."""
    if said.get("fraction_angles_deg") != list(ANGLES_DEG):
        return {}
    found = {}
    for name, vessel in said["vessels"].items():
        over = vessel.get("fraction_over") if isinstance(vessel, dict) else None
        if isinstance(over, list) and len(over) == len(ANGLES_DEG) and all(map(_is_fraction, over)):
            found[str(name)] = tuple(float(value) for value in over)
    return found


def _is_fraction(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _own(vessel: str) -> bool:
    """Tell whether a vessel is one of its own, and not two together."""
    return vessel != JOINT_VEIN


def _agreement_row(pair: Mapping[str, Any]) -> list[str]:
    raters = pair["raters"]
    name = " and ".join(raters) if len(raters) == 2 else f"all {len(raters)}"
    numbers = [(pair["icc"], ".2f"), (pair["mean_gap_deg"], ".0f"), (pair["kappa"], ".2f"), (pair["alpha"], ".2f")]
    icc, gap, kappa, alpha = ("–" if value is None else f"{value:{form}}" for value, form in numbers)
    return [name, str(pair["angles"]), icc, gap if gap == "–" else f"{gap}°", kappa, alpha]


def _statement_lines(scores: Mapping[str, Any]) -> list[str]:
    """Return the tables of statements, with the base rate of the vessel's name beside them."""
    base = scores["base_rate"]
    rows = []
    for kind, title in (("contact", "contact"), ("encased", "more than 180°")):
        one = scores[kind]
        rows.append(
            [
                title,
                str(one["shown_vessels"]),
                _text(one["shown"]),
                _text(one["raters"]),
                _text(one["calibration_error"]),
                _text(one["brier"]),
                _text(base[f"{kind}_brier"]),
                _text(one["missed"]),
            ]
        )
    heads = [
        *("Statement", "Vessels shown", "Mean shown", "Readers", "Calibration error", "Brier"),
        *("Brier of the vessel's base rate", "Readers where nothing is shown"),
    ]
    bias, within = scores["angle_bias_deg"], scores["within_10_90"]
    return [
        f"Fractions of readers as the results beside the maps state them ({scores['source']}), against the readers' "
        f"own masks on the reference vessels: {scores['vessels']} vessels of {scores['cases']} cases. A vessel is "
        "shown where the stated fraction is above 2 %. Brier: mean square difference of the stated fraction and the "
        "readers'; the base rate is the readers' fraction for the vessel's name in the other cases.",
        "",
        *markdown_rows(heads, rows),
        "",
        f"CRPS of the angle over 360°: {scores['crps']:.4f} (base rate {base['crps']:.4f}); mean angle "
        + ("not shown" if bias is None else f"{bias:+.0f}° off")
        + ("" if within is None else f"; {100 * within:.0f} % of the readers lie within 10 to 90 % (80 % should)")
        + ".",
    ]


def _text(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
