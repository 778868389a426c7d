"""Calibrated statements in the place of the map's own levels, where they hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from twintrack.calibration.statements import ANGLES_DEG, StatementKey, Statements, VesselStatement
from twintrack.calibration.statements.table import ANY_TUMOR
from twintrack.invasion.rater_categories import CATEGORY_THRESHOLD, Category
from twintrack.invasion.resectability import calibrated_pattern, pattern_levels
from twintrack.invasion.result import CALIBRATED, NOT_CALIBRATED, InvasionResult, VesselInvasion
from twintrack.invasion.score_levels import ScoreLevels

__all__ = ["NO_STATEMENTS", "pattern_kind", "read_from_map", "why_not", "with_statements"]

NO_STATEMENTS = "there are no calibrated statements for these networks"


def pattern_kind(rules: str, pattern: str) -> str:
    """Return what the statement that a pattern, or a worse one, holds is called in a table of statements."""
    return f"pattern/{rules}/{pattern}"


def why_not(statements: Statements | None, key: StatementKey) -> str | None:
    """Say why statements do not hold for what was measured; None if they do."""
    if statements is None:
        return NO_STATEMENTS
    difference = statements.key.differs_from(key)
    return None if difference is None else f"the statements were calibrated for {difference}"


def read_from_map(found: InvasionResult, reason: str) -> InvasionResult:
    """Say that what is told of raters is read from the map, and why."""
    return replace(found, statements_note=f"{NOT_CALIBRATED}: {reason}")


def with_statements(
    found: InvasionResult,
    levels: Mapping[str, ScoreLevels | None],
    statements: Statements | None,
    key: StatementKey,
    peak: float,
) -> InvasionResult:
    """Put the levels of the score, and the calibrated statements where they hold, into a measurement.

    Parameters
    ----------
    found : InvasionResult
        Measured on the map.
    levels : mapping of str to ScoreLevels or None
        Of the same vessels, measured on the score.
    statements : Statements or None
        Of the calibrator.
    key : StatementKey
        What the levels were measured on; statements for anything else are not used.
    peak : float
        Largest score: no more raters can see contact than mark any tumour.

    Returns
    -------
    InvasionResult
        With `statements_note`, which says where the fractions of raters come from.
    """
    reason = why_not(statements, key)
    vessels = {name: _with_levels(vessel, levels.get(name)) for name, vessel in found.vessels.items()}
    found = replace(found, vessels=vessels, networks_sha256=key.networks_sha256, vessel_source=key.vessel_source)
    if reason is not None or statements is None:
        return read_from_map(found, reason or NO_STATEMENTS)
    any_tumour = _one(statements.other(ANY_TUMOR, peak))
    most = 1.0 if any_tumour is None else any_tumour
    said = {
        name: statements.vessel(name, level.over, level.far, most)
        for name, level in levels.items()
        if level is not None and _is_measured(vessels.get(name))
    }
    told = {name: _told(vessel, said[name]) if name in said else vessel for name, vessel in vessels.items()}
    sure = [name for name in said if vessels[name].name_confidence != "low"]
    walls = {name: level.wall for name, level in levels.items() if level is not None and name in sure}
    rules = found.resectability.rules
    own = {
        pattern: min(fraction, most)
        for pattern, level in pattern_levels(walls, rules).items()
        if (fraction := _one(statements.other(pattern_kind(rules, pattern), level))) is not None
    }
    fractions: dict[str, Callable[[float], float]] = {name: partial(_fraction_over, said[name]) for name in sure}
    readers = "1 reader" if statements.raters == 1 else f"up to {statements.raters} readers"
    return replace(
        found,
        vessels=told,
        resectability=calibrated_pattern(found.resectability, own, fractions),
        statements=CALIBRATED,
        statements_note=f"calibrated on {statements.cases} cases with {readers} each",
        calibration={
            "cases": statements.cases,
            "informative_cases": statements.informative,
            "raters": statements.raters,
            "family": statements.fitted.family.name,
            "interval_level": statements.level,
        },
        warnings=(*found.warnings, *statements.warnings),
    )


def _is_measured(vessel: VesselInvasion | None) -> bool:
    return vessel is not None and vessel.p_contact is not None


def _with_levels(vessel: VesselInvasion, level: ScoreLevels | None) -> VesselInvasion:
    return vessel if level is None else replace(vessel, score_levels=level.over, score_gap_mm=level.gap_mm)


def _told(vessel: VesselInvasion, said: VesselStatement) -> VesselInvasion:
    """Return a vessel with its statement; what could not be measured stays unknown."""
    notes = vessel.notes
    if said.beyond is not None:
        notes = (
            *notes,
            f"not calibrated: the score's level is above {said.beyond:.2f}, the highest of the calibration cases; the "
            "fractions are those at that level",
        )
    contact = {"p_contact": said.p_contact, "p_contact_interval": said.p_contact_interval}
    vessel = replace(vessel, statements=CALIBRATED, notes=notes, **contact)  # type: ignore[arg-type]
    if vessel.expected_angle_deg is None:
        # No cross-section shows the contact, or too little was searched: only that there is contact can be told.
        seen = said.p_contact > CATEGORY_THRESHOLD
        encased = vessel.p_encased is not None
        return replace(
            vessel,
            category=_category(said) if encased and seen else None,
            p_encased=said.p_encased if encased else None,
            p_encased_interval=said.p_encased_interval if encased else None,
        )
    return replace(
        vessel,
        expected_angle_deg=said.expected_angle_deg,
        expected_angle_deg_interval=said.expected_angle_deg_interval,
        angle_median_deg=said.angle_median_deg,
        angle_p10_deg=said.angle_p10_deg,
        angle_p90_deg=said.angle_p90_deg,
        fraction_over=said.fraction_over,
        p_encased=said.p_encased,
        p_encased_interval=said.p_encased_interval,
        category=_category(said),
        category_probability={
            Category.NONE.value: 1 - said.p_contact,
            Category.ABUTMENT.value: said.p_contact - said.p_encased,
            Category.ENCASEMENT.value: said.p_encased,
        },
    )


def _category(said: VesselStatement) -> Category:
    """Return the median rater's category."""
    if said.p_encased > CATEGORY_THRESHOLD:
        return Category.ENCASEMENT
    return Category.ABUTMENT if said.p_contact > CATEGORY_THRESHOLD else Category.NONE


def _fraction_over(said: VesselStatement, angle_deg: float) -> float:
    """Return the fraction of raters over an angle; between two angles of the table by linear interpolation."""
    return float(np.interp(angle_deg, ANGLES_DEG, said.fraction_over))


def _one(fraction: object) -> float | None:
    return None if fraction is None else float(np.asarray(fraction))
