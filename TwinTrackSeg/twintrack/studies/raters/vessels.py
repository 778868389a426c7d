"""What a score says of the vessels near a tumour, against the raters' own masks: the statements' calibration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from twintrack.calibration import Calibrator
from twintrack.calibration.statements import ANGLES_DEG
from twintrack.invasion import DEFAULT_CONTACT_MM, rater_contacts, score_levels
from twintrack.labels import JOINT_VEIN, VESSEL_VALUES
from twintrack.studies.raters.scores import OUTLINE, CaseTruth, RaterPrediction
from twintrack.studies.table1.vessel_statements import CaseVessels, VesselLevels, summarize_statements
from twintrack.volume import Volume

__all__ = ["case_statements", "rater_angles", "statement_summary"]

OUTLINED = "outlined"
"""Key of what the raters' own maps say."""

NETWORKS = "0" * 64
"""Stands for the networks' hash: statements are fitted and used within one run and never leave it."""


def rater_angles(truth: CaseTruth, vessels: Volume) -> dict[str, list[float]]:
    """Return each rater's contact angle, degrees, with each reference vessel of a case."""
    masks = list(truth.annotations.values())
    contacts = rater_contacts(masks, vessels, VESSEL_VALUES, contact_mm=DEFAULT_CONTACT_MM)
    found: dict[str, list[float]] = {}
    for name in VESSEL_VALUES:
        own = [one for contact in contacts if (one := contact.get(name)) is not None]
        if name != JOINT_VEIN and own:
            found[name] = [one.counted_deg for one in own]
    return found


def case_statements(
    prediction: RaterPrediction, truth: CaseTruth, vessels: Volume, angles: Mapping[str, list[float]]
) -> dict[str, Any]:
    """Return the levels of the pooled score at which it says how much contact, with `angles` beside, for JSON.

    Where members stand for raters, ``outlined`` holds in the levels' place the fraction of those raters' maps whose
    outline says as much. All is measured on the reference vessels, so that only what is said of the tumour differs.
    """
    score = prediction.score
    levels = score_levels(vessels.with_array(score), vessels, VESSEL_VALUES, contact_mm=DEFAULT_CONTACT_MM)
    known, lacking = {}, []
    for name, own in angles.items():
        level = levels.get(name)
        if level is None:
            lacking.append(name)
        else:
            known[name] = VesselLevels(level.over, level.far, tuple(own))
    masks = truth.annotations.values()
    marked = sum(bool(np.any(mask.array)) for mask in masks)
    found = CaseVessels(DEFAULT_CONTACT_MM, known, tuple(lacking), float(score.max()), marked, len(masks))
    maps = list(prediction.of_raters().values())
    if not maps:
        return found.to_json()
    outlines = CaseTruth({str(n): vessels.with_array((one > OUTLINE).astype(np.uint8)) for n, one in enumerate(maps)})
    drawn = rater_angles(outlines, vessels)
    as_levels = {
        name: replace(vessel, over=tuple(np.mean(np.asarray(drawn[name])[:, None] > ANGLES_DEG, axis=0).tolist()))
        for name, vessel in known.items()
    }
    marking = float(np.mean([bool(np.any(one > OUTLINE)) for one in maps]))
    return {**found.to_json(), OUTLINED: replace(found, vessels=as_levels, peak=marking).to_json()}


def statement_summary(
    calibration: Mapping[str, Mapping[str, Any]], test: Mapping[str, Mapping[str, Any]], calibrator: Calibrator
) -> dict[str, Any] | None:
    """Fit statements on the calibration cases and score them on the test cases; None without vessels.

    Parameters
    ----------
    calibration, test : mapping of str to mapping
        What `case_statements` gave, by the case's name.
    calibrator : Calibrator
        What makes the map of the score.

    Returns
    -------
    dict or None
        As `twintrack.studies.table1.vessel_statements.summarize_statements`; its ``methods`` have two more where
        members stand for raters: ``outlines`` tells the fraction of the raters' maps as it is, and
        ``calibrated_outlines`` calibrates it as the score's levels are calibrated.
    """
    found = summarize_statements(_cases(calibration), _cases(test), calibrator, None, NETWORKS)
    if found is None or not all(OUTLINED in one for one in (*calibration.values(), *test.values())):
        return found
    first, second = ({name: one[OUTLINED] for name, one in cases.items()} for cases in (calibration, test))
    other = summarize_statements(_cases(first), _cases(second), np.asarray, None, NETWORKS)
    if other is not None:
        found["methods"]["outlines"] = other["methods"]["map"]
        if "calibrated" in other["methods"]:
            found["methods"]["calibrated_outlines"] = other["methods"]["calibrated"]
    return found


def _cases(stored: Mapping[str, Mapping[str, Any]]) -> dict[str, CaseVessels]:
    return {name: CaseVessels.from_json(one) for name, one in stored.items()}
