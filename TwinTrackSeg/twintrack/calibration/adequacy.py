"""Whether there is enough to fit a calibrator on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from twintrack.calibration.bins import Bins

if TYPE_CHECKING:
    from twintrack.calibration.sketch import ScoreSketch

__all__ = ["FEW_CASES", "FEW_TUMOUR_VOXELS", "UPPER_BINS", "UPPER_SCORE", "fit_warnings"]

FEW_CASES = 10
"""A calibrator of fewer cases says so: the spread between patients is then unknown."""

FEW_TUMOUR_VOXELS = 10_000
"""Expected tumour voxels (sum of the MHR) below which a calibrator says so; about one tumour of 10 mL on a fine CT."""

UPPER_SCORE = 0.05
UPPER_BINS = 8
"""A calibrator with fewer than 8 bins above score 0.05 says so: the part of the map that one sees is then coarse."""

MISSED_SHARE = 0.02
"""Share of the readers' tumour outside the domain above which a calibrator says so."""


def fit_warnings(sketch: ScoreSketch, binned: Bins, target: str, rater: int | None) -> tuple[str, ...]:
    """Say in words why a fit on `sketch` may not be trusted; empty if there is no reason known."""
    alone = [rater] if rater is not None else range(1, sketch.raters + 1) if target == "hard-label" else ()
    return (*_warnings(sketch, binned), *_rater_warnings(sketch, alone))


def _rater_warnings(sketch: ScoreSketch, raters: Sequence[int]) -> Iterator[str]:
    """Warn of raters who are fitted on their own and drew few of enough cases; those who drew none are not fitted."""
    for rater in raters if sketch.cases >= FEW_CASES else ():
        drawn = sketch.units.drawn_by(rater)
        if 0 < drawn < FEW_CASES:
            yield f"rater {rater} drew {_number(drawn, 'calibration case')} only; at least {FEW_CASES} are advised"


def _warnings(sketch: ScoreSketch, binned: Bins) -> Iterator[str]:
    upper = int(np.count_nonzero(binned.score > UPPER_SCORE))
    missed = sketch.missed_mhr / (sketch.tumour_voxels + sketch.missed_mhr)
    if sketch.cases < FEW_CASES:
        yield f"calibrator fitted on {_number(sketch.cases, 'case')} only; at least {FEW_CASES} are advised"
    if sketch.tumour_voxels < FEW_TUMOUR_VOXELS:
        found = _number(round(sketch.tumour_voxels), "tumour voxel")
        yield f"calibrator fitted on {found} only; at least {FEW_TUMOUR_VOXELS} are advised"
    if upper < UPPER_BINS:
        lie = "bin of the calibrator lies" if upper == 1 else "bins of the calibrator lie"
        yield f"only {upper} {lie} above score {UPPER_SCORE}; at least {UPPER_BINS} are advised, use more bins"
    if missed > MISSED_SHARE:
        yield (
            f"{missed:.0%} of the tumour that the raters drew in the calibration cases has score 0; check the regions "
            "of interest"
        )
    if sketch.blank_cases:
        yield f"{_number(sketch.blank_cases, 'calibration case')} without any score above 0; check the scores"
    if sketch.repeated_cases:
        yield (
            f"{_number(sketch.repeated_cases, 'calibration case')} with the same score and annotations as another "
            "case; check the manifest"
        )


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
