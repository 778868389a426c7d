"""How well a set of predicted outlines matches the set of outlines that several raters drew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEVELS", "OutlineSetScores", "level_dice", "matched_dice", "outline_set_scores", "overlaps"]

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Levels at which D-Persona and the Harmonizer compare the mean of a set of outlines with the raters' mean."""


@dataclass(frozen=True)
class OutlineSetScores:
    r"""Agreement of the predicted outlines :math:`S` with the raters' outlines :math:`Y`; two empty ones are equal.

    Attributes
    ----------
    ged_v : float
        Squared generalized energy distance :math:`2 E[d(S, Y)] - E[d(S, S')] - E[d(Y, Y')]` with
        :math:`d = 1 - \mathrm{IoU}`, every expectation over all pairs, an outline with itself included (V-statistic,
        as in public evaluation code): 0 for equal sets, never below.
    ged_u : float or None
        The same with pairs of two different outlines only (U-statistic): without bias, and below 0 by chance. None for
        a set with one outline, which has no pair.
    dice_soft : float
        Dice score of the mean of :math:`S` and the mean of :math:`Y`, averaged over `LEVELS`.
    dice_max : float
        Mean over raters of the best Dice score of any predicted outline.
    dice_match : float
        Mean Dice score over raters under the best assignment of predicted outlines to raters.
    own_dice, other_dice : float or None
        Mean Dice score of an outline that stands for a rater with this rater's, and with the others'; None where no
        outline stands for a rater.

    References
    ----------
    S. A. A. Kohl et al., NeurIPS 2018, arXiv:1806.05034 (generalized energy distance, after Székely and Rizzo 2013);
    Y. Wu et al., D-Persona, CVPR 2024, arXiv:2403.13417 (the Dice scores); H. W. Kuhn, 1955,
    doi:10.1002/nav.3800020109 (assignment).
    """

    ged_v: float
    ged_u: float | None
    dice_soft: float
    dice_max: float
    dice_match: float
    own_dice: float | None
    other_dice: float | None


def outline_set_scores(
    predicted: Sequence[NDArray[np.bool_]],
    drawn: Sequence[NDArray[np.bool_]],
    stands_for: Sequence[int] | None = None,
) -> OutlineSetScores:
    """Compare two sets of masks, (z, y, x) or any other shape that all share.

    Parameters
    ----------
    predicted, drawn : sequence of numpy.ndarray
        bool masks, at least one of each.
    stands_for : sequence of int, optional
        For each predicted mask the index in `drawn` of the rater whom it stands for.
    """
    ours, theirs = (np.stack([mask.ravel() for mask in masks], axis=1) for masks in (predicted, drawn))
    ones = np.ones(len(ours), dtype=np.int64)
    overlap, dice = overlaps(ours, theirs, ones)
    within_ours, within_theirs = (1 - overlaps(masks, masks, ones)[0] for masks in (ours, theirs))
    across = 2 * float((1 - overlap).mean())
    own = other = None
    if stands_for is not None:
        mine = np.asarray(stands_for)[:, None] == np.arange(theirs.shape[1])
        own = float(dice[mine].mean())
        other = float(dice[~mine].mean()) if (~mine).any() else None
    pairs = [_mean_of_pairs(distances) for distances in (within_ours, within_theirs)]
    return OutlineSetScores(
        ged_v=max(across - float(within_ours.mean()) - float(within_theirs.mean()), 0.0),
        ged_u=None if None in pairs else across - sum(pair for pair in pairs if pair is not None),
        dice_soft=level_dice(ours.mean(axis=1), theirs.mean(axis=1)),
        dice_max=float(dice.max(axis=0).mean()),
        dice_match=matched_dice(dice),
        own_dice=own,
        other_dice=other,
    )


def level_dice(one: NDArray[np.floating], other: NDArray[np.floating], levels: Sequence[float] = LEVELS) -> float:
    """Return the mean over `levels` of the Dice score of two maps in [0, 1] above it; two empty sets give 1."""
    terms = []
    for level in levels:
        first, second = one > level, other > level
        sizes = np.count_nonzero(first) + np.count_nonzero(second)
        terms.append(2 * np.count_nonzero(first & second) / sizes if sizes else 1.0)
    return float(np.mean(terms))


def overlaps(
    one: NDArray[np.bool_], other: NDArray[np.bool_], counts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return intersection over union and Dice score of every pair of outlines; two empty ones agree perfectly.

    Parameters
    ----------
    one, other : numpy.ndarray
        bool (row, outline): whether the outline holds the voxels of the row.
    counts : numpy.ndarray
        int64 (row,): voxels of the row.

    Returns
    -------
    tuple of numpy.ndarray
        Both float64 (outline of `one`, outline of `other`).
    """
    weighted = one * counts[:, None].astype(float)
    both = weighted.T @ other
    sizes = weighted.sum(axis=0)[:, None] + (counts @ other)[None, :]
    union = sizes - both
    overlap = np.divide(both, union, out=np.ones_like(both), where=union > 0)
    dice = np.divide(2 * both, sizes, out=np.ones_like(both), where=sizes > 0)
    return overlap, dice


def matched_dice(dice: NDArray[np.float64]) -> float:
    """Return the mean Dice score of the best assignment of outlines (rows) to raters (columns).

    An outline may serve several raters only where there are more raters than outlines.
    """
    from scipy.optimize import linear_sum_assignment

    copies = -(-dice.shape[1] // dice.shape[0])
    repeated = np.tile(dice, (copies, 1))
    rows, columns = linear_sum_assignment(repeated, maximize=True)
    return float(repeated[rows, columns].mean())


def _mean_of_pairs(distances: NDArray[np.float64]) -> float | None:
    """Return the mean of a symmetric matrix without its diagonal, which is 0; None for a single outline."""
    count = len(distances)
    return None if count < 2 else float(distances.sum()) / (count * (count - 1))
