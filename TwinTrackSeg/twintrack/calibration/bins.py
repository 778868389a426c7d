"""Equal-mass bins of the score, formed from the cells of a sketch or of resampled cases."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.score_axis import cell_bounds

if TYPE_CHECKING:
    from twintrack.calibration.sketch import ScoreSketch

__all__ = ["Bins", "bin_starts", "equal_mass_bins", "per_bin"]

_Number = TypeVar("_Number", np.int64, np.float64)


@dataclass(frozen=True)
class Bins:
    """Equal-mass bins of a sketch, in the order of the score.

    Attributes
    ----------
    counts : numpy.ndarray
        int64 (bin,): voxels.
    mass : numpy.ndarray
        int64 or float64 (bin,): weight of these voxels; w_b of the paper times the mass of all.
    score : numpy.ndarray
        float64 (bin,): mean score, strictly rising.
    mhr : numpy.ndarray
        float64 (bin,): mean MHR.
    rater_counts, rater_positives : numpy.ndarray
        int64 or float64 (rater, bin): mass in cases that the rater drew, and the part marked as tumour.
    """

    counts: NDArray[np.int64]
    mass: NDArray[np.int64] | NDArray[np.float64]
    score: NDArray[np.float64]
    mhr: NDArray[np.float64]
    rater_counts: NDArray[np.int64] | NDArray[np.float64]
    rater_positives: NDArray[np.int64] | NDArray[np.float64]


def equal_mass_bins(sketch: ScoreSketch, bins: int) -> Bins:
    """Form at most `bins` bins of equal mass from the cells of `sketch`; see `bin_starts`."""
    used = np.flatnonzero(sketch.counts)
    first = bin_starts(sketch.mass[used], bins)
    mass = per_bin(sketch.mass[used], first)
    low, high = cell_bounds()
    last = np.append(first[1:], used.size) - 1
    # Rounding in long sums must not move a mean out of its bin: the means stay strictly rising.
    score = np.clip(per_bin(sketch.score_sums[used], first) / mass, low[used[first]], high[used[last]])
    return Bins(
        counts=per_bin(sketch.counts[used], first),
        mass=mass,
        score=score,
        mhr=per_bin(sketch.mhr_sums[used], first) / mass,
        rater_counts=per_bin(sketch.rater_counts[:, used], first),
        rater_positives=per_bin(sketch.rater_positives[:, used], first),
    )


def bin_starts(mass: NDArray[np.int64] | NDArray[np.float64], bins: int) -> NDArray[np.intp]:
    """Return where the bins start among cells of positive `mass`.

    Bins are filled from low to high scores. Each aims at the remaining mass over the remaining bins and ends at the
    cell boundary that comes closest. A cell is never split, so equal scores stay together; a cell that outweighs
    several bins takes one, and the others share what is left equally.
    """
    filled = np.cumsum(mass).tolist()
    total = filled[-1] if filled else 0
    starts, start, done = [], 0, 0
    for remaining in range(bins, 0, -1):
        if start == len(filled):
            break
        starts.append(start)
        aim = done + (total - done) / remaining
        # The sum of the parts may miss the total by rounding when masses are no whole numbers.
        stop = min(bisect_left(filled, aim), len(filled) - 1)
        if stop > start and aim - filled[stop - 1] <= filled[stop] - aim:
            stop -= 1
        start = stop + 1
        done = filled[stop]
    return np.asarray(starts, dtype=np.intp)


def per_bin(cells: NDArray[_Number], first: NDArray[np.intp]) -> NDArray[_Number]:
    """Sum the last axis over the bins that start at the places `first`."""
    sums: NDArray[_Number] = np.add.reduceat(cells, first, axis=-1)
    return sums
