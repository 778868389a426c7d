"""The raters' consensus: simultaneous truth and performance level estimation (STAPLE)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twintrack.metrics.agreement import AgreementTable

__all__ = ["staple_probability", "staple_rows"]

TOLERANCE = 1e-7
"""Largest change of any sensitivity and specificity at which the estimate has converged."""

MOST_ITERATIONS = 10_000


def staple_rows(table: AgreementTable) -> NDArray[np.bool_]:
    """Return which rows of the table belong to the consensus: a probability above one half."""
    return staple_probability(table.raters, table.counts) > 0.5


def staple_probability(raters: NDArray[np.bool_], counts: NDArray[np.int64]) -> NDArray[np.float64]:
    r"""Return the probability that the voxels of every row are tumour.

    All voxels that the same raters mark have the same probability, so one expectation-maximisation over the
    combinations of raters equals the one over all voxels of the volume. The settings are those of
    ``SimpleITK.STAPLE(annotations, 1.0)``: the prior is the mean of all annotations over the whole volume (thus the
    estimate depends on the volume's size), the first guess of the tumour is the raters' mean, no region is left out.
    The tests hold the result against SimpleITK's. Unlike SimpleITK, a case without any tumour gives 0 and not NaN.

    Parameters
    ----------
    raters : numpy.ndarray
        bool (row, rater).
    counts : numpy.ndarray
        int64 (row,): voxels of the row; together the whole volume.

    Returns
    -------
    numpy.ndarray
        float64 (row,).

    References
    ----------
    S. K. Warfield, K. H. Zou, W. M. Wells, IEEE Trans. Med. Imaging 23 (2004) 903, doi:10.1109/TMI.2004.828354.
    """
    voxels = counts.astype(float)
    prior = float(voxels @ raters.mean(axis=1)) / voxels.sum()
    if prior in (0.0, 1.0):
        return np.full(len(voxels), prior)
    weight = raters.mean(axis=1)
    before = np.full(2 * raters.shape[1], np.inf)
    for _ in range(MOST_ITERATIONS):
        inside, outside = voxels * weight, voxels * (1 - weight)
        sensitivity = (inside @ raters) / inside.sum()
        specificity = (outside @ ~raters) / outside.sum()
        tumor = prior * np.where(raters, sensitivity, 1 - sensitivity).prod(axis=1)
        healthy = (1 - prior) * np.where(raters, 1 - specificity, specificity).prod(axis=1)
        weight = np.divide(tumor, tumor + healthy, out=np.zeros_like(weight), where=tumor + healthy > 0)
        now = np.concatenate([sensitivity, specificity])
        if np.abs(now - before).max() <= TOLERANCE:
            break
        before = now
    return weight
