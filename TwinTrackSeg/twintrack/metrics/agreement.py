"""How often which raters and which outlines of the prediction agree: all that the overlap metrics need of a case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError

__all__ = ["MOST_RATERS", "THRESHOLDS", "AgreementTable"]

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
            raise InputError(f"a case may have at most {MOST_RATERS} annotations, got {len(masks)}")
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
