"""How often which raters and which outlines of the prediction agree: all that the overlap metrics need of a case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from twintrack.metrics.outline_sets import matched_dice, overlaps

__all__ = ["MOST_RATERS", "THRESHOLDS", "AgreementTable", "SampleAgreement", "sample_agreement"]

THRESHOLDS: tuple[float, ...] = tuple(float(level) for level in np.linspace(0.1, 0.8, 6))
"""Probability levels of the CURVAS-PDACVI protocol: 0.1, 0.24, 0.38, 0.52, 0.66, 0.8."""

MOST_RATERS = 50
"""A voxel's raters are held in one 64-bit number, beside the level and the binary prediction."""

_LEVEL_BITS = 3


@dataclass(frozen=True)
class AgreementTable:
    """Voxels counted by who marks them: a row for every combination that occurs.

    Sums over voxels become sums over a few hundred rows, whatever the volume's size, and stay exact integers.

    Attributes
    ----------
    raters : numpy.ndarray
        bool (row, rater): whether the rater marks these voxels as tumour.
    levels : numpy.ndarray
        int64 (row,): number of `THRESHOLDS` that the probability exceeds (strictly, in double precision).
    binary : numpy.ndarray
        bool (row,): whether the binary prediction marks them.
    counts : numpy.ndarray
        int64 (row,): voxels of the row.
    """

    raters: NDArray[np.bool_]
    levels: NDArray[np.int64]
    binary: NDArray[np.bool_]
    counts: NDArray[np.int64]

    @classmethod
    def count(
        cls,
        probability: NDArray[np.floating],
        masks: Sequence[NDArray[np.generic]],
        binary: NDArray[np.bool_],
        *,
        voxels: int,
    ) -> AgreementTable:
        """Count the voxels of a crop that holds everything above the lowest threshold.

        Parameters
        ----------
        probability, binary : numpy.ndarray
            (z, y, x) crops of the prediction.
        masks : sequence of numpy.ndarray
            (z, y, x) crop of every rater's mask; values other than 0 are tumour.
        voxels : int
            Number of voxels of the whole volume; those outside the crop join the row that nobody marks.
        """
        if len(masks) > MOST_RATERS:
            raise InputError(
                f"a case may have at most {MOST_RATERS} annotations, got {len(masks)}", code="too-many-raters"
            )
        exact = probability.astype(np.float64)
        key = np.zeros(probability.shape, dtype=np.int64)
        for threshold in THRESHOLDS:
            key += exact > threshold
        key |= binary.astype(np.int64) << _LEVEL_BITS
        for rater, mask in enumerate(masks, start=_LEVEL_BITS + 1):
            key |= (mask != 0).astype(np.int64) << rater
        keys, counts = np.unique(key[key != 0], return_counts=True)
        keys = np.concatenate([[0], keys])
        counts = np.concatenate([[voxels - int(counts.sum())], counts])
        bits = (keys[:, None] >> np.arange(_LEVEL_BITS, _LEVEL_BITS + 1 + len(masks))) & 1 == 1
        return cls(bits[:, 1:], keys & ((1 << _LEVEL_BITS) - 1), bits[:, 0], counts.astype(np.int64))

    @property
    def consensus(self) -> NDArray[np.float64]:
        """float64 (row,): the fraction of raters who mark the voxels, the MHR."""
        return self.raters.sum(axis=1) / self.raters.shape[1]

    @property
    def rater_voxels(self) -> NDArray[np.int64]:
        """int64 (rater,): voxels that each rater marks."""
        voxels: NDArray[np.int64] = self.counts @ self.raters.astype(np.int64)
        return voxels

    def size(self, rows: NDArray[np.bool_]) -> int:
        """Return the number of voxels in the selected rows."""
        return int(self.counts[rows].sum())


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
    overlap, dice = overlaps(predicted, table.raters, table.counts)
    among_predicted, _ = overlaps(predicted, predicted, table.counts)
    among_raters, _ = overlaps(table.raters, table.raters, table.counts)
    ged = 2 * (1 - overlap).mean() - (1 - among_predicted).mean() - (1 - among_raters).mean()
    return SampleAgreement(max(float(ged), 0.0), float(dice.max(axis=0).mean()), matched_dice(dice))
