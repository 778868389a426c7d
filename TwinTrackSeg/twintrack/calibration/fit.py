"""Fitting a calibrator: equal-mass bins of the score, then isotonic regression on the bins.

References
----------
Kirscher et al., "TwinTrack: Post-hoc Multi-Rater Calibration for Medical Image Segmentation", arXiv 2604.15950,
Appendix A, equations 1 to 4. Barlow et al., "Statistical Inference under Order Restrictions", Wiley, 1972 (the
pool-adjacent-violators algorithm).
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

import twintrack
from twintrack.calibration.bins import Bins, equal_mass_bins
from twintrack.calibration.calibrator import DOMAINS, POOLING, TARGETS, UPPER_SCORE, Calibrator
from twintrack.errors import InputError
from twintrack.raters import checked_name, look_alikes

if TYPE_CHECKING:
    from twintrack.calibration.sketch import ScoreSketch

__all__ = [
    "FEW_CASES",
    "FEW_TUMOR_VOXELS",
    "UPPER_BINS",
    "check_options",
    "fit_bins",
    "fit_calibrator",
    "fit_warnings",
    "rater_place",
]


def fit_calibrator(
    sketch: ScoreSketch,
    *,
    target: str = "mhr",
    rater: str | None = None,
    bins: int = 250,
    pooling: str = POOLING,
    manifest_sha256: str | None = None,
) -> Calibrator:
    """Fit the monotone map from score to MHR.

    Parameters
    ----------
    sketch : ScoreSketch
        All calibration cases; it says which voxels take part (the domain) and what a case weighs.
    target : str
        "mhr": the mean of the raters (eq. 4 of the paper). "single-rater": the annotations of one rater (eq. 1), from
        the cases this rater drew. "hard-label": one map for each rater, averaged. All targets share the bins, which
        depend on the scores alone; so the average of the raters' piecewise linear maps is one such map on the same
        knots.
    rater : str, optional
        Name of the rater; for "single-rater" only.
    bins : int
        Number of equal-mass bins, at least 2.
    pooling : str
        How the members were pooled into the score; recorded.
    manifest_sha256 : str, optional
        Hash of the manifest of the cases; recorded. By default the one of the manifests that `sketch` knows.

    Returns
    -------
    Calibrator
        With ``warnings`` if it was fitted on too little; without a band (see `bootstrap_band`).

    Raises
    ------
    InputError
        If the sketch holds no voxel or no tumour, or an option is wrong.
    """
    rater = None if rater is None else checked_name(rater)
    check_options(sketch, target, rater, bins)
    binned = equal_mass_bins(sketch, bins)
    return Calibrator(
        target=target,
        rater=rater,
        bins=bins,
        knots_x=tuple(binned.score.tolist()),
        knots_y=tuple(fit_bins(binned, target, rater_place(sketch, rater)).tolist()),
        bin_counts=tuple(binned.counts.tolist()),
        cases=sketch.cases,
        raters=sketch.raters,
        rater_names=sketch.rater_names,
        voxels=sketch.voxels,
        tumour_voxels=sketch.tumour_voxels,
        domain=DOMAINS[sketch.domain],
        weighting=sketch.weighting,
        pooling=pooling,
        versions=_versions(),
        manifest_sha256=manifest_sha256 or _manifest_sha256(sketch),
        warnings=fit_warnings(sketch, binned, target, rater),
    )


def fit_bins(binned: Bins, target: str, place: int | None) -> NDArray[np.float64]:
    """Return the calibrated MHR at the mean score of every bin: monotone, in [0, 1].

    Parameters
    ----------
    binned : Bins
        The bins.
    target
        As in `fit_calibrator`.
    place : int or None
        The rater's place among those of the bins, see `rater_place`; the rater, or for "hard-label" any rater, must
        have drawn some case.
    """
    if target == "mhr":
        mapped = _isotonic(binned.mhr, binned.mass)
    else:
        drawn = np.flatnonzero(binned.rater_counts.any(axis=1)).tolist()
        mapped = np.mean([_rater_map(binned, n) for n in (drawn if place is None else [place])], axis=0)
    fitted: NDArray[np.float64] = np.maximum.accumulate(np.clip(mapped, 0.0, 1.0))
    return fitted


def rater_place(sketch: ScoreSketch, rater: str | None) -> int | None:
    """Return the place of a rater among those of a sketch; None for no rater."""
    return None if rater is None else sketch.rater_names.index(checked_name(rater))


def check_options(sketch: ScoreSketch, target: str, rater: str | None, bins: int) -> None:
    """Refuse what no calibrator can be fitted on."""
    where = "with a score above 0 " if sketch.domain == "roi" else ""
    if target not in TARGETS:
        raise InputError(
            f"the calibration target must be one of {', '.join(TARGETS)}, got {target!r}", code="calibration-target"
        )
    if bins < 2:
        raise InputError(f"a calibrator needs at least 2 bins, got {bins}", code="too-few-bins")
    if sketch.voxels == 0:
        raise InputError(
            "no voxel with a score above 0 to calibrate on; check that the scores are not all zero", code="score-empty"
        )
    if not sketch.mhr_sums.any():
        raise InputError(
            f"no rater marked any voxel {where}as tumour; check scores and annotations", code="no-tumour-marked"
        )
    if (target == "single-rater") != (rater is not None):
        raise InputError("the rater's name belongs to the target single-rater and only to it", code="calibration-rater")
    rater = None if rater is None else checked_name(rater)
    if rater is not None and rater not in sketch.rater_names:
        raise InputError(f"no case has a rater {rater!r}; {_choice(sketch.rater_names, rater)}", code="rater-unknown")
    if rater is not None and not sketch.rater_positives[rater_place(sketch, rater)].any():
        raise InputError(
            f"rater {rater} marked no voxel {where}as tumour; choose another rater", code="no-tumour-marked"
        )


def _choice(names: Sequence[str], meant: str) -> str:
    """Say which raters there are, first the one whose name differs in case, spaces or leading zeros only."""
    alike = next((name for name in names if look_alikes((name, meant))), None)
    if alike is not None:
        return f"write {alike!r}"
    shown = ", ".join(names[:MOST_NAMED])
    return f"choose one of {shown}{f' and {len(names) - MOST_NAMED} more' if len(names) > MOST_NAMED else ''}"


def _isotonic(rate: NDArray[np.float64], weight: NDArray[np.int64] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weighted isotonic least-squares fit of `rate`, which lies in the order of the score."""
    from sklearn.isotonic import isotonic_regression

    fitted: NDArray[np.float64] = isotonic_regression(rate, sample_weight=weight.astype(float))
    return fitted


def _rater_map(binned: Bins, number: int) -> NDArray[np.float64]:
    """Return one rater's isotonic map at the bin means; bins without this rater's cases are interpolated."""
    marks = binned.rater_counts[number]
    known = marks > 0
    fitted = _isotonic(binned.rater_positives[number, known] / marks[known], marks[known])
    return np.interp(binned.score, binned.score[known], fitted)


def _manifest_sha256(sketch: ScoreSketch) -> str | None:
    """Return the hash of the one manifest, or one hash of the hashes of several, in any order."""
    if len(sketch.manifests) < 2:
        return next(iter(sketch.manifests), None)
    return hashlib.sha256("\n".join(sorted(sketch.manifests)).encode()).hexdigest()


def _versions() -> dict[str, str]:
    """Return the versions that decide the numbers of a fit."""
    import sklearn

    return {
        "twintrack": twintrack.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
    }


MOST_NAMED = 8
"""Raters that a message names."""

FEW_CASES = 10
"""A calibrator of fewer cases says so: the spread between patients is then unknown."""

FEW_TUMOR_VOXELS = 10_000
"""Expected tumour voxels (sum of the MHR) below which a calibrator says so; about one tumour of 10 mL on a fine CT."""

UPPER_BINS = 8
"""A calibrator with fewer bins above `UPPER_SCORE` says so: the part of the map that one sees is then coarse."""

MISSED_SHARE = 0.02
"""Share of the raters' tumour outside the domain above which a calibrator says so."""


def fit_warnings(sketch: ScoreSketch, binned: Bins, target: str, rater: str | None) -> tuple[str, ...]:
    """Say in words why a fit on `sketch` may not be trusted; empty if there is no reason known."""
    alone = [rater] if rater is not None else sketch.rater_names if target == "hard-label" else ()
    return (*_warnings(sketch, binned), *_rater_warnings(sketch, alone))


def _rater_warnings(sketch: ScoreSketch, raters: Sequence[str]) -> Iterator[str]:
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
    if sketch.tumour_voxels < FEW_TUMOR_VOXELS:
        found = _number(round(sketch.tumour_voxels), "tumour voxel")
        yield f"calibrator fitted on {found} only; at least {FEW_TUMOR_VOXELS} are advised"
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
    if sketch.alike_cases:
        yield (
            f"two raters marked the very same voxels in {_number(sketch.alike_cases, 'calibration case')}; check that "
            "no mask stands under two names"
        )
    if sketch.cases > 1 and sketch.raters > 1 and all(sketch.units.drawn_by(name) < 2 for name in sketch.rater_names):
        yield f"none of the {sketch.raters} raters read more than one case; give each rater one name in all cases"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
