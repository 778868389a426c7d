"""The outlines at several probability levels against the set of the raters' outlines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.metrics.agreement import THRESHOLDS, AgreementTable

__all__ = ["SampleAgreement", "sample_agreement"]


@dataclass(frozen=True)
class SampleAgreement:
    r"""How well a set of predicted outlines matches the set of the raters' outlines.

    The predicted set :math:`S` holds the outline above each of `THRESHOLDS`, the raters' set :math:`Y` one outline
    each. Two empty outlines agree perfectly.

    Attributes
    ----------
    ged : float
        Squared generalized energy distance
        :math:`2 E[d(S, Y)] - E[d(S, S')] - E[d(Y, Y')]` with :math:`d = 1 - \mathrm{IoU}`, 0 for equal sets.
    dice_max : float
        Mean over raters of the best Dice score of any predicted outline.
    dice_match : float
        Mean Dice score over raters under the best assignment of predicted outlines to raters; an outline may serve
        several raters only where there are more raters than outlines.

    References
    ----------
    S. A. A. Kohl et al., NeurIPS 2018, arXiv:1806.05034 (generalized energy distance, after Székely and Rizzo 2013);
    Y. Wu et al., D-Persona, CVPR 2024, arXiv:2403.13417 (Dice_max and Dice_match); H. W. Kuhn, 1955,
    doi:10.1002/nav.3800020109 (assignment).
    """

    ged: float
    dice_max: float
    dice_match: float


def sample_agreement(table: AgreementTable) -> SampleAgreement:
    """Compare the two sets of outlines of a case."""
    predicted = table.levels[:, None] > np.arange(len(THRESHOLDS))
    overlap, dice = _overlaps(predicted, table.raters, table.counts)
    among_predicted, _ = _overlaps(predicted, predicted, table.counts)
    among_raters, _ = _overlaps(table.raters, table.raters, table.counts)
    ged = 2 * (1 - overlap).mean() - (1 - among_predicted).mean() - (1 - among_raters).mean()
    return SampleAgreement(max(float(ged), 0.0), float(dice.max(axis=0).mean()), _match(dice))


def _overlaps(
    one: NDArray[np.bool_], other: NDArray[np.bool_], counts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return intersection over union and Dice score of every pair of outlines, given as columns of (row, outline)."""
    weighted = one * counts[:, None].astype(float)
    both = weighted.T @ other
    sizes = weighted.sum(axis=0)[:, None] + (counts @ other)[None, :]
    union = sizes - both
    overlap = np.divide(both, union, out=np.ones_like(both), where=union > 0)
    dice = np.divide(2 * both, sizes, out=np.ones_like(both), where=sizes > 0)
    return overlap, dice


def _match(dice: NDArray[np.float64]) -> float:
    """Return the mean Dice score of the best assignment of outlines (rows) to raters (columns)."""
    from scipy.optimize import linear_sum_assignment

    copies = -(-dice.shape[1] // dice.shape[0])
    repeated = np.tile(dice, (copies, 1))
    rows, columns = linear_sum_assignment(repeated, maximize=True)
    return float(repeated[rows, columns].mean())
