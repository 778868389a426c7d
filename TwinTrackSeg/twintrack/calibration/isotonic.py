"""Fitting a calibrator: equal-mass bins of the score, then isotonic regression on the bins.

References
----------
Kirscher et al., "TwinTrack: Post-hoc Multi-Rater Calibration for Medical Image Segmentation", arXiv 2604.15950,
Appendix A, equations 1 to 4. Barlow et al., "Statistical Inference under Order Restrictions", Wiley, 1972 (the
pool-adjacent-violators algorithm).
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

import twintrack
from twintrack.calibration.calibrator import DOMAIN, TARGETS, Calibrator
from twintrack.calibration.cells import cell_bounds
from twintrack.errors import InputError

if TYPE_CHECKING:
    from twintrack.calibration.sketch import ScoreSketch

__all__ = ["Bins", "equal_mass_bins", "fit_calibrator"]

_Number = TypeVar("_Number", np.int64, np.float64)

FEW_CASES = 10
"""A calibrator of fewer cases says so: the spread between patients is then unknown."""

FEW_TUMOUR_VOXELS = 10_000
"""Expected tumour voxels (sum of the MHR) below which a calibrator says so; about one tumour of 10 mL on a fine CT."""

UPPER_SCORE = 0.05
UPPER_BINS = 8
"""A calibrator with fewer than 8 bins above score 0.05 says so: the part of the map that one sees is then coarse."""

MISSED_SHARE = 0.02
"""Share of the readers' tumour outside the domain above which a calibrator says so."""


@dataclass(frozen=True)
class Bins:
    """Equal-mass bins of a sketch, in the order of the score.

    Attributes
    ----------
    counts : numpy.ndarray
        int64 (bin,): voxels, the weight w_b times the number of all voxels.
    score : numpy.ndarray
        float64 (bin,): mean score, strictly rising.
    mhr : numpy.ndarray
        float64 (bin,): mean MHR.
    rater_counts, rater_positives : numpy.ndarray
        int64 (rater, bin): voxels in cases that the rater drew, and those marked as tumour.
    """

    counts: NDArray[np.int64]
    score: NDArray[np.float64]
    mhr: NDArray[np.float64]
    rater_counts: NDArray[np.int64]
    rater_positives: NDArray[np.int64]


def equal_mass_bins(sketch: ScoreSketch, bins: int) -> Bins:
    """Form at most `bins` bins of equal mass from the cells of `sketch`.

    Bins are filled from low to high scores. Each aims at the remaining voxels over the remaining bins and ends at the
    cell boundary that comes closest. A cell is never split, so equal scores stay together; a cell that outweighs
    several bins takes one, and the others share what is left equally.
    """
    used = np.flatnonzero(sketch.counts)
    filled = np.cumsum(sketch.counts[used])
    total = sketch.voxels
    starts, start, done = [], 0, 0
    for remaining in range(bins, 0, -1):
        if start == used.size:
            break
        starts.append(start)
        aim = done + (total - done) / remaining
        stop = int(np.searchsorted(filled, aim))
        if stop > start and aim - filled[stop - 1] <= filled[stop] - aim:
            stop -= 1
        start = stop + 1
        done = int(filled[stop])
    first = np.asarray(starts, dtype=np.intp)
    return _sum_cells(sketch, used, first)


def _sum_cells(sketch: ScoreSketch, used: NDArray[np.intp], first: NDArray[np.intp]) -> Bins:
    """Merge the cells `used` of `sketch` into the bins that start at the positions `first` among them."""
    counts = _per_bin(sketch.counts[used], first)
    low, high = cell_bounds()
    last = np.append(first[1:], used.size) - 1
    # Rounding in long sums must not move a mean out of its bin: the means stay strictly rising.
    score = np.clip(_per_bin(sketch.score_sums[used], first) / counts, low[used[first]], high[used[last]])
    return Bins(
        counts,
        score,
        _per_bin(sketch.mhr_sums[used], first) / counts,
        _per_bin(sketch.rater_counts[:, used], first),
        _per_bin(sketch.rater_positives[:, used], first),
    )


def _per_bin(cells: NDArray[_Number], first: NDArray[np.intp]) -> NDArray[_Number]:
    """Sum the last axis over the bins that start at `first`."""
    sums: NDArray[_Number] = np.add.reduceat(cells, first, axis=-1)
    return sums


def fit_calibrator(
    sketch: ScoreSketch,
    *,
    target: str = "mhr",
    rater: int | None = None,
    bins: int = 250,
    domain: str = DOMAIN,
    manifest_sha256: str | None = None,
) -> Calibrator:
    """Fit the monotone map from score to MHR.

    Parameters
    ----------
    sketch : ScoreSketch
        All calibration cases.
    target : str
        "mhr": the mean of the raters (eq. 4 of the paper). "single-rater": the annotations of one rater (eq. 1), from
        the cases this rater drew. "hard-label": one map for each rater, averaged. All targets share the bins, which
        depend on the scores alone; so the average of the raters' piecewise linear maps is one such map on the same
        knots.
    rater : int, optional
        Number of the rater, from 1; for "single-rater" only.
    bins : int
        Number of equal-mass bins, at least 2.
    domain : str
        In words, which voxels were put into the sketch; recorded.
    manifest_sha256 : str, optional
        Hash of the manifest of the cases; recorded.

    Returns
    -------
    Calibrator
        With ``warnings`` if it was fitted on too little.

    Raises
    ------
    InputError
        If the sketch holds no voxel or no tumour, or an option is wrong.
    """
    _check_options(sketch, target, rater, bins)
    binned = equal_mass_bins(sketch, bins)
    if target == "mhr":
        mapped = _isotonic(binned.score, binned.mhr, binned.counts)
    else:
        chosen = [rater - 1] if rater is not None else np.flatnonzero(sketch.rater_counts.any(axis=1)).tolist()
        mapped = np.mean([_rater_map(binned, number) for number in chosen], axis=0)
    return Calibrator(
        target=target,
        rater=rater,
        bins=bins,
        knots_x=tuple(binned.score.tolist()),
        knots_y=tuple(np.maximum.accumulate(np.clip(mapped, 0.0, 1.0)).tolist()),
        bin_counts=tuple(binned.counts.tolist()),
        cases=sketch.cases,
        raters=sketch.raters,
        voxels=sketch.voxels,
        domain=domain,
        versions=_versions(),
        manifest_sha256=manifest_sha256,
        warnings=_warnings(sketch, binned),
    )


def _check_options(sketch: ScoreSketch, target: str, rater: int | None, bins: int) -> None:
    """Refuse what no calibrator can be fitted on."""
    if target not in TARGETS:
        raise InputError(f"the calibration target must be one of {', '.join(TARGETS)}, got {target!r}")
    if bins < 2:
        raise InputError(f"a calibrator needs at least 2 bins, got {bins}")
    if sketch.voxels == 0:
        raise InputError("no voxel with a score above 0 to calibrate on; check that the scores are not all zero")
    if not sketch.mhr_sums.any():
        raise InputError("no rater marked any voxel with a score above 0 as tumour; check scores and annotations")
    if (target == "single-rater") != (rater is not None):
        raise InputError("the rater's number belongs to the target single-rater and only to it")
    if rater is not None and not 1 <= rater <= sketch.raters:
        raise InputError(f"the rater's number must be 1 to {sketch.raters}, got {rater}")
    if rater is not None and not sketch.rater_positives[rater - 1].any():
        raise InputError(f"rater {rater} marked no voxel with a score above 0 as tumour; choose another rater")


def _isotonic(score: NDArray[np.float64], rate: NDArray[np.float64], weight: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the weighted isotonic least-squares fit of `rate`, at every `score`."""
    from sklearn.isotonic import IsotonicRegression

    fit = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    fitted: NDArray[np.float64] = fit.fit(score, rate, sample_weight=weight).predict(score)
    return fitted


def _rater_map(binned: Bins, number: int) -> NDArray[np.float64]:
    """Return one rater's isotonic map at the bin means; bins without this rater's cases are interpolated."""
    seen = binned.rater_counts[number]
    known = seen > 0
    rate = binned.rater_positives[number, known] / seen[known]
    fitted = _isotonic(binned.score[known], rate, seen[known])
    return np.interp(binned.score, binned.score[known], fitted)


def _warnings(sketch: ScoreSketch, binned: Bins) -> tuple[str, ...]:
    """Say why a fit on `sketch` may not be trusted."""
    warnings = []
    tumour = float(sketch.mhr_sums.sum())
    upper = int(np.count_nonzero(binned.score > UPPER_SCORE))
    missed = sketch.missed_mhr / (tumour + sketch.missed_mhr)
    if sketch.cases < FEW_CASES:
        warnings.append(f"fitted on {sketch.cases} cases only; at least {FEW_CASES} are advised")
    if tumour < FEW_TUMOUR_VOXELS:
        warnings.append(f"fitted on {tumour:.0f} tumour voxels only; at least {FEW_TUMOUR_VOXELS} are advised")
    if upper < UPPER_BINS:
        warnings.append(
            f"only {upper} bins lie above score {UPPER_SCORE}; at least {UPPER_BINS} are advised, use more bins"
        )
    if missed > MISSED_SHARE:
        warnings.append(f"{missed:.0%} of the tumour drawn by the raters has score 0; check the regions of interest")
    return tuple(warnings)


def _versions() -> dict[str, str]:
    """Return the versions that decide the numbers of a fit."""
    import sklearn

    return {
        "twintrack": twintrack.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scikit-learn": sklearn.__version__,
    }
