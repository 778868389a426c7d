"""How many of the raters mark a voxel: the predicted distribution of that number, and its score."""

from __future__ import annotations

from math import comb

import numpy as np
from numpy.typing import NDArray

__all__ = ["binomial_levels", "independent_levels", "ranked_probability_score"]


def binomial_levels(probability: NDArray[np.floating], raters: int) -> NDArray[np.float64]:
    """Return the distribution of the number of `raters` who mark a voxel, if each does with the same probability.

    Parameters
    ----------
    probability : numpy.ndarray
        In [0, 1], any shape.
    raters : int
        Number of raters K.

    Returns
    -------
    numpy.ndarray
        float64 (level, ...): the chance of 0, 1, ... K raters.
    """
    p = probability.astype(np.float64)
    return np.stack([comb(raters, level) * p**level * (1 - p) ** (raters - level) for level in range(raters + 1)])


def independent_levels(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the same for raters with probabilities of their own, independent of each other given the image.

    Parameters
    ----------
    probabilities : numpy.ndarray
        In [0, 1], (rater, ...).

    References
    ----------
    The Poisson binomial distribution by adding one rater after the other: R. E. Barlow, K. D. Heidtmann, IEEE Trans.
    Reliability R-33 (1984) 322, doi:10.1109/TR.1984.5221843.
    """
    levels = np.zeros((len(probabilities) + 1, *probabilities.shape[1:]))
    levels[0] = 1.0
    for p in probabilities.astype(np.float64):
        levels[1:] = levels[1:] * (1 - p) + levels[:-1] * p
        levels[0] *= 1 - p
    return levels


def ranked_probability_score(levels: NDArray[np.floating], marked: NDArray[np.integer]) -> float:
    r"""Return the mean over voxels of the ranked probability score, in [0, 1], 0 for a certain and right prediction.

    .. math:: \frac{1}{K} \sum_{k=0}^{K-1} (F_k - [n \le k])^2, \quad F_k = \sum_{j \le k} p_j

    with :math:`n` of :math:`K` raters. It is the mean over :math:`k` of the Brier scores of the event that more than
    :math:`k` raters mark the voxel; the factor 1/K keeps its range for any number of raters.

    Parameters
    ----------
    levels : numpy.ndarray
        float (K + 1, ...): distribution of the number of raters.
    marked : numpy.ndarray
        int (...): how many raters marked the voxel.

    References
    ----------
    E. S. Epstein, J. Appl. Meteorol. 8 (1969) 985, doi:10.1175/1520-0450(1969)008<0985:ASSFPF>2.0.CO;2.
    """
    cumulative = np.cumsum(levels[:-1], axis=0)
    at_most = marked[None] <= np.arange(len(cumulative)).reshape(-1, *(1,) * marked.ndim)
    return float(np.mean((cumulative - at_most) ** 2))
