"""Overlap of the prediction with the raters: the protocol's Dice scores, and one without thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from twintrack.metrics.agreement import THRESHOLDS, AgreementTable

__all__ = ["consensus_dice", "mhr_products", "soft_dice", "threshold_dice", "threshold_dice_terms"]

EPSILON = 1e-6
"""The protocol adds it to every denominator."""


def threshold_dice_terms(table: AgreementTable) -> tuple[float, ...]:
    r"""Return the Dice score of the prediction and the MHR, both above :math:`t`, for every threshold :math:`t`.

    .. math:: D_t = 2 |P_t \cap G_t| / (|P_t| + |G_t| + 10^{-6}),

    with :math:`P_t` the voxels of probability above :math:`t` and :math:`G_t` those of MHR above :math:`t`, and 1 where
    both are empty. As in the CURVAS-PDACVI protocol (https://curvas-pdacvi.grand-challenge.org).
    """
    terms = []
    for number, threshold in enumerate(THRESHOLDS):
        predicted, drawn = table.levels > number, table.consensus > threshold
        both, sizes = table.size(predicted & drawn), table.size(predicted) + table.size(drawn)
        terms.append(1.0 if sizes == 0 else 2 * both / (sizes + EPSILON))
    return tuple(terms)


def threshold_dice(table: AgreementTable) -> float:
    """Return TDSC, the mean of `threshold_dice_terms` (protocol)."""
    return float(np.mean(threshold_dice_terms(table)))


def consensus_dice(table: AgreementTable, consensus: NDArray[np.bool_]) -> float:
    r"""Return DSC, the Dice score of the binary prediction and a consensus mask (protocol).

    .. math:: 2 |B \cap S| / (|B| + |S| + 10^{-6})

    The protocol has no rule for two empty masks; they give 0.

    Parameters
    ----------
    table : AgreementTable
        The case.
    consensus : numpy.ndarray
        bool (row,): the rows of the table inside the consensus, e.g. of `twintrack.metrics.staple.staple_rows`.
    """
    both = table.size(table.binary & consensus)
    return 2 * both / (table.size(table.binary) + table.size(consensus) + EPSILON)


def soft_dice(probability_square_sum: float, products: float, table: AgreementTable) -> float:
    r"""Return the Dice score of the probability map and the MHR map without a threshold.

    .. math:: 2 \sum p m / (\sum p^2 + \sum m^2)

    It is 1 only where both maps are equal; two empty maps are equal.

    Parameters
    ----------
    probability_square_sum, products : float
        :math:`\sum p^2` and :math:`\sum p m` over all voxels.
    table : AgreementTable
        Gives :math:`\sum m^2`.

    References
    ----------
    F. Milletari, N. Navab, S.-A. Ahmadi, V-Net, 3DV 2016, doi:10.1109/3DV.2016.79 (squared denominators).
    """
    squares = probability_square_sum + float(table.counts @ table.consensus**2)
    return 2 * products / squares if squares > 0 else 1.0


def mhr_products(probability: NDArray[np.floating], masks: Sequence[NDArray[np.generic]]) -> float:
    r"""Return :math:`\sum p m` of a crop that holds every annotation, in double precision."""
    return sum(float(probability[mask != 0].sum(dtype=np.float64)) for mask in masks) / len(masks)
