"""How much wider an interval from resampling must be where the cases are few."""

from __future__ import annotations

import numpy as np

__all__ = ["expanded_tail", "small_sample_factor"]


def small_sample_factor(level: float, cases: int) -> float:
    """Return by how much a bootstrap interval over `cases` is to be widened to cover `level`, at least 2 cases.

    Resampled means scatter too little by ``sqrt(1 - 1 / n)``, and their spread is itself an estimate, as Student's t
    knows.

    References
    ----------
    T. C. Hesterberg, The American Statistician 69 (2015) 371, doi:10.1080/00031305.2015.1089789.
    """
    from scipy.special import ndtri, stdtrit

    upper = (1 + level) / 2
    return float(np.sqrt(cases / (cases - 1)) * stdtrit(cases - 1, upper) / ndtri(upper))


def expanded_tail(level: float, cases: int) -> float:
    """Return the share of resampled values to leave out at either end so that the rest covers `level`."""
    from scipy.special import ndtr, ndtri

    return float(ndtr(-small_sample_factor(level, cases) * ndtri((1 + level) / 2)))
