"""Calibration of the tumour probability itself, which the protocol's top-label error hardly sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["TumorCalibration", "tumor_calibration"]

BINS = 50
"""Uniform bins of the probability on [0, 1]; the last one holds 1."""


@dataclass(frozen=True)
class TumorCalibration:
    r"""Errors of the probability of tumour, over all voxels of a box.

    With :math:`n_k` of the :math:`N` voxels in bin :math:`k`, their mean probability :math:`\bar p_k`, the fraction
    :math:`y_{k i}` of them that rater :math:`i` marks and :math:`m_k = \mathrm{mean}_i\, y_{k i}`:

    Attributes
    ----------
    rater_gap : float
        :math:`\mathrm{mean}_i \sum_k (n_k / N) |\bar p_k - y_{k i}|`, averaged over raters.
    rater_gap_max : float
        :math:`\mathrm{mean}_i \max_k |\bar p_k - y_{k i}|` over the bins in use.
    mhr_gap : float
        :math:`\sum_k (n_k / N) |\bar p_k - m_k|`: 0 for a map that equals the MHR, which no per-rater error is.
    brier : float
        :math:`\mathrm{mean}_i\, \mathrm{mean}_x (p(x) - y_i(x))^2`.

    References
    ----------
    M. P. Naeini, G. F. Cooper, M. Hauskrecht, AAAI 2015 (the gaps to a rater are there ECE and MCE of the
    positive class); G. W. Brier, Mon. Weather Rev. 78 (1950) 1,
    doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2; the MHR as in TwinTrack's appendix A.
    """

    rater_gap: float
    rater_gap_max: float
    mhr_gap: float
    brier: float


def tumor_calibration(probability: NDArray[np.floating], masks: Sequence[NDArray[np.generic]]) -> TumorCalibration:
    """Measure a crop of the map against the same crop of every rater's mask (values other than 0 are tumour)."""
    p = probability.astype(np.float64).ravel()
    number = np.minimum((p * BINS).astype(np.int64), BINS - 1)
    counts = np.bincount(number, minlength=BINS)
    sums = np.bincount(number, weights=p, minlength=BINS)
    marked = [(mask != 0).ravel() for mask in masks]
    positives = np.stack([np.bincount(number[mask], minlength=BINS) for mask in marked])
    gaps = np.abs(sums - positives)
    used = counts > 0
    # (p - y)^2 = p^2 - 2 p y + y for a label y of 0 or 1.
    products = sum(float(p[mask].sum()) for mask in marked) / len(masks)
    squares = float(p @ p) - 2 * products + float(positives.sum()) / len(masks)
    return TumorCalibration(
        rater_gap=float(gaps.sum(axis=1).mean()) / p.size,
        rater_gap_max=float((gaps[:, used] / counts[used]).max(axis=1).mean()),
        mhr_gap=float(np.abs(sums - positives.mean(axis=0)).sum()) / p.size,
        brier=squares / p.size,
    )
