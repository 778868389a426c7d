"""What is said of raters beside the vessels: whether there is tumour, how much, and which of its parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from twintrack.calibration.statements import Statements
from twintrack.calibration.statements.table import ANY_TUMOR, LESION, VOLUME
from twintrack.imaging.lesions import Lesion
from twintrack.invasion.result import CALIBRATED, MAP, NOT_CALIBRATED
from twintrack.invasion.statement_case import VOLUME_LEVELS
from twintrack.invasion.statements import NO_STATEMENTS
from twintrack.volume import Volume

__all__ = ["ResultStatements", "result_statements"]


@dataclass(frozen=True)
class ResultStatements:
    """Statements about the whole tumour.

    Attributes
    ----------
    source : str
        "calibrated", or "map" where there is no statement.
    note : str
        The same in a sentence.
    any_tumour : float or None
        Fraction of raters who mark any tumour; None where that was not calibrated.
    p10_ml, median_ml, p90_ml : float or None
        Volume that 10, 50 and 90 % of further raters of this kind stay below.
    statements : Statements or None
        What the parts of the tumour are told by.
    """

    source: str
    note: str
    any_tumour: float | None = None
    p10_ml: float | None = None
    median_ml: float | None = None
    p90_ml: float | None = None
    statements: Statements | None = None

    def told(self, lesions: Sequence[Lesion]) -> tuple[Lesion, ...]:
        """Return lesions with the fraction of raters who mark each of them."""
        if self.statements is None:
            return tuple(lesions)
        return tuple(
            lesion
            if lesion.score_level is None
            else replace(lesion, p_found=_number(self.statements, LESION, lesion.score_level))
            for lesion in lesions
        )

    def to_json(self) -> dict[str, Any]:
        """Return the part ``statements`` of ``result.json``."""
        return {
            "source": self.source,
            "note": self.note,
            "any_tumour": self.any_tumour,
            "volume_ml": {"p10": self.p10_ml, "median": self.median_ml, "p90": self.p90_ml},
        }


def result_statements(score: Volume, networks_sha256: str, statements: Statements | None) -> ResultStatements:
    """Return what the score says of the whole tumour.

    Parameters
    ----------
    score : Volume
        Pooled score, (z, y, x).
    networks_sha256 : str
        The networks that gave it.
    statements : Statements or None
        Of the calibrator; those of other networks are not used. They hold for any vessels.
    """
    if statements is None or statements.key.networks_sha256 != networks_sha256:
        reason = NO_STATEMENTS if statements is None else "the statements were calibrated for other networks"
        return ResultStatements(MAP, f"{NOT_CALIBRATED}: {reason}")
    peak = float(score.array.max())
    found = ResultStatements(
        CALIBRATED,
        f"calibrated on {statements.cases} cases",
        _number(statements, ANY_TUMOR, peak),
        statements=statements,
    )
    fractions = statements.other(VOLUME, np.asarray(VOLUME_LEVELS))
    if fractions is None:
        return found
    most = 1.0 if found.any_tumour is None else found.any_tumour
    # Where fewer raters than that mark any tumour, the others mark none of it.
    p10, median, p90 = (_volume_ml(score, fractions, share) if share <= most else 0.0 for share in (0.9, 0.5, 0.1))
    return replace(found, p10_ml=p10, median_ml=median, p90_ml=p90)


def _volume_ml(score: Volume, fractions: np.ndarray, share: float) -> float | None:
    """Return the volume that `share` of the raters exceed; None where that lies beyond the levels that are compared."""
    if not fractions[0] <= share <= fractions[-1]:
        return None
    level = float(np.interp(share, fractions, VOLUME_LEVELS))
    return float(np.count_nonzero(score.array >= np.float32(level)) * score.geometry.voxel_ml)


def _number(statements: Statements, kind: str, level: float) -> float | None:
    found = statements.other(kind, level)
    return None if found is None else float(found)
