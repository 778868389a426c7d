"""What a score says of the vessels near a tumour, against the raters' own masks: the statements' calibration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration import Calibrator
from twintrack.invasion import DEFAULT_CONTACT_MM, rater_contacts, score_levels
from twintrack.labels import JOINT_VEIN, VESSEL_VALUES
from twintrack.studies.raters.scores import CaseTruth
from twintrack.studies.table1.vessel_statements import CaseVessels, VesselLevels, summarize_statements
from twintrack.volume import Volume

__all__ = ["case_statements", "rater_angles", "statement_summary"]

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
    score: NDArray[np.floating], truth: CaseTruth, vessels: Volume, angles: Mapping[str, list[float]]
) -> dict[str, Any]:
    """Return the levels of a pooled score (z, y, x) at which it says how much contact, with `angles` beside, for JSON.

    Both are measured on the reference vessels, so that only what is said of the tumour differs.
    """
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
    return found.to_json()


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
    """
    first, second = ({name: CaseVessels.from_json(one) for name, one in cases.items()} for cases in (calibration, test))
    return summarize_statements(first, second, calibrator, None, NETWORKS)
