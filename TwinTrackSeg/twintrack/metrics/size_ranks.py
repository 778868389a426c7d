"""Whether raters can be told apart by how much they draw."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["size_rank_p_value"]

PERMUTATIONS = 999

ROUNDING = 1e-9
"""Deals that are equal but for rounding count as equal."""


def size_rank_p_value(
    sizes: Sequence[Mapping[str, float]], *, permutations: int = PERMUTATIONS, seed: int = 0
) -> float | None:
    """Return the p-value of the raters' ranks by size, were the ranks of each case dealt at random among its readers.

    What is compared is the sum over raters of the squared sum of their ranks, each rank counted from the case's mean:
    where all read all cases, Kendall's W but for a factor. Equal sizes share a rank, so that a case that nobody marked
    says nothing.

    Parameters
    ----------
    sizes : sequence of mapping
        For each case the size of what each of its readers drew, in any unit, by the rater's name.
    permutations, seed : int
        Number of deals, and what they are drawn from.

    Returns
    -------
    float or None
        None where no case has two readers.

    References
    ----------
    M. G. Kendall, B. Babington Smith, Ann. Math. Stat. 10 (1939) 275, doi:10.1214/aoms/1177732186.
    """
    from scipy.stats import rankdata

    names = sorted({name for case in sizes for name in case})
    ranks = np.full((len(sizes), len(names)), np.nan)
    for row, case in zip(ranks, sizes, strict=True):
        if len(case) > 1:
            there = [names.index(name) for name in case]
            row[there] = rankdata(list(case.values())) - (len(case) + 1) / 2
    ranks = ranks[~np.isnan(ranks).all(axis=1)]
    if not len(ranks):
        return None
    rng = np.random.default_rng(seed)
    found = _spread(ranks) - ROUNDING
    reached = sum(_spread(_dealt(ranks, rng)) >= found for _ in range(permutations))
    return float((1 + reached) / (permutations + 1))


def _spread(ranks: NDArray[np.float64]) -> float:
    return float((np.nansum(ranks, axis=0) ** 2).sum())


def _dealt(ranks: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return ranks (case, rater) dealt anew among the readers of each case."""
    order = rng.random(ranks.shape)
    order[np.isnan(ranks)] = 2.0
    target, source = order.argsort(axis=1), np.argsort(np.isnan(ranks), axis=1, kind="stable")
    dealt = np.full_like(ranks, np.nan)
    np.put_along_axis(dealt, target, np.take_along_axis(ranks, source, 1), 1)
    return dealt
