"""Calibrated statements: what a person reads of raters, fitted to what the raters' own masks say."""

from twintrack.calibration.statements.fit import fit_statements, lacking_cases
from twintrack.calibration.statements.statements import Statements, VesselStatement
from twintrack.calibration.statements.table import (
    ANGLES_DEG,
    CaseStatements,
    LevelCount,
    StatementKey,
    StatementTable,
    VesselCounts,
)

__all__ = [
    "ANGLES_DEG",
    "CaseStatements",
    "LevelCount",
    "StatementKey",
    "StatementTable",
    "Statements",
    "VesselCounts",
    "VesselStatement",
    "fit_statements",
    "lacking_cases",
]
