"""Calibration against several raters with every pair of a voxel and a rater as one sample, pooled over cases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BINS", "PairBins", "multirater_ece", "pair_bins"]

BINS = 50
"""Uniform bins of the confidence on [0, 1]; the last one holds 1. As in `twintrack.metrics.tumor_calibration`."""


@dataclass(frozen=True)
class PairBins:
    """The sums in each bin that the error of any set of cases is made from, float64 (bin,).

    Attributes
    ----------
    counts : numpy.ndarray
        Voxels.
    confidence : numpy.ndarray
        Sum of the confidence.
    right : numpy.ndarray
        Sum over voxels of the fraction of raters for whom the prediction is right.
    """

    counts: NDArray[np.float64]
    confidence: NDArray[np.float64]
    right: NDArray[np.float64]

    def stacked(self) -> NDArray[np.float64]:
        """Return the three as (3, bin), which may be added up over cases."""
        return np.stack([self.counts, self.confidence, self.right])


def pair_bins(
    probability: NDArray[np.floating], masks: Sequence[NDArray[np.generic]], *, top_label: bool = False
) -> PairBins:
    """Bin the voxels of a crop of the map against the same crop of every rater's mask (other than 0 is tumour).

    Parameters
    ----------
    probability : numpy.ndarray
        In [0, 1], (z, y, x).
    masks : sequence of numpy.ndarray
        The raters who read the case.
    top_label : bool
        False: the confidence is the probability of tumour, and right who marks the voxel. True: the confidence is the
        larger of the two classes' probabilities, and right who says that class (tumour above one half).
    """
    p = probability.astype(np.float64).ravel()
    fraction = np.mean([(mask != 0).ravel() for mask in masks], axis=0)
    if top_label:
        tumor = p > 0.5
        p, fraction = np.where(tumor, p, 1 - p), np.where(tumor, fraction, 1 - fraction)
    number = np.minimum((p * BINS).astype(np.int64), BINS - 1)
    counts, confidence, right = (
        np.bincount(number, weights=weights, minlength=BINS).astype(float) for weights in (None, p, fraction)
    )
    return PairBins(counts, confidence, right)


def multirater_ece(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""Return the multi-rater expected calibration error of bins that were added up over cases.

    .. math:: \sum_b \frac{n_b}{N} \left| \mathrm{mean}_i\, \mathrm{acc}_{bi} - \mathrm{conf}_b \right|

    The mean over raters stands inside the absolute value: a map that equals the fraction of raters has no error, which
    no error against single raters can say. For tumour probabilities of one case it is `TumorCalibration.mhr_gap`; the
    mean of the errors against each rater is an upper bound.

    Parameters
    ----------
    sums : numpy.ndarray
        float64 (..., 3, bin), of `PairBins.stacked`.

    Returns
    -------
    numpy.ndarray
        float64 (...); NaN without a voxel.
    """
    counts, confidence, right = (sums[..., place, :] for place in range(3))
    total = counts.sum(axis=-1)
    undefined = np.full_like(total, np.nan)
    gaps = np.abs(right - confidence).sum(axis=-1)
    result: NDArray[np.float64] = np.divide(gaps, total, out=undefined, where=total > 0)
    return result
