"""What the fit needs to know of any number of cases, in a fixed size: one pass a case, and sketches add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.cells import CELLS, cell_of
from twintrack.errors import InputError

__all__ = ["ScoreSketch"]


@dataclass
class ScoreSketch:
    """Sums over voxels, one for each of the `CELLS` cells of the score axis.

    Sketches are added with ``+``, so cases can be sketched in any order and on any machine. The counts are integers and
    so do not depend on that order at all; the sums are float64 and depend on it by rounding only. The bins of a fit
    follow from the counts, hence they are the same for every order.

    The domain is the set of voxels whose score is above 0: outside the ROI the score is exactly 0, no reader was asked
    about those voxels through the map, and a calibrator sends 0 to 0. Zeros inside the ROI (a softmax that underflowed)
    are left out for the same reason. A domain mask can only narrow this.

    Attributes
    ----------
    cases : int
        Cases added.
    missed_mhr : float
        Sum of the MHR outside the domain: tumour that no calibrator of this score can recover.
    counts : numpy.ndarray
        int64 (cell,): voxels.
    score_sums, mhr_sums : numpy.ndarray
        float64 (cell,): sum of the score and of the MHR, the mean of the raters present in the voxel's case.
    rater_counts, rater_positives : numpy.ndarray
        int64 (rater, cell): voxels in the cases that the rater drew, and those the rater marked as tumour.
    """

    cases: int
    missed_mhr: float
    counts: NDArray[np.int64]
    score_sums: NDArray[np.float64]
    mhr_sums: NDArray[np.float64]
    rater_counts: NDArray[np.int64]
    rater_positives: NDArray[np.int64]

    @classmethod
    def empty(cls) -> ScoreSketch:
        """Return the sketch of no case, the neutral element of ``+``."""
        no_rater = np.zeros((0, CELLS), np.int64)
        zeros = np.zeros(CELLS)
        return cls(0, 0.0, np.zeros(CELLS, np.int64), zeros, zeros.copy(), no_rater, no_rater.copy())

    @classmethod
    def of_case(
        cls,
        score: NDArray[np.floating],
        annotations: Sequence[NDArray[np.generic] | None],
        domain: NDArray[np.bool_] | None = None,
    ) -> ScoreSketch:
        """Sketch one case.

        Parameters
        ----------
        score : numpy.ndarray
            (z, y, x) pooled score in [0, 1]; read as float32.
        annotations : sequence of numpy.ndarray or None
            One (z, y, x) mask of 0 and 1 for each rater, in a fixed order; None where a rater did not draw this case. A
            mask without tumour is an opinion and counts.
        domain : numpy.ndarray, optional
            (z, y, x) mask of the voxels to use; those with score 0 are left out in any case.

        Raises
        ------
        InputError
            If no rater is present, shapes differ, scores are outside [0, 1] or labels are other than 0 and 1.
        """
        masks = [
            None if mask is None else _checked_mask(mask, rater, score) for rater, mask in enumerate(annotations, 1)
        ]
        present = sum(mask is not None for mask in masks)
        if present == 0:
            raise InputError("a calibration case needs the annotation of at least one rater, got none")
        inside = _checked_score(score) > 0
        if domain is not None:
            _check_shape("domain mask", domain, score)
            inside &= np.asarray(domain, dtype=bool)
        values = np.asarray(score[inside], dtype=np.float32)
        cell = cell_of(values)
        counts = np.bincount(cell, minlength=CELLS)
        score_sums = np.asarray(np.bincount(cell, weights=values, minlength=CELLS), dtype=np.float64)
        seen = np.zeros((len(masks), CELLS), np.int64)
        positives = np.zeros((len(masks), CELLS), np.int64)
        drawn = 0
        for rater, mask in enumerate(masks):
            if mask is not None:
                seen[rater] = counts
                positives[rater] = np.bincount(cell[mask[inside]], minlength=CELLS)
                drawn += int(np.count_nonzero(mask))
        mhr_sums: NDArray[np.float64] = positives.sum(axis=0) / present
        missed = (drawn - int(positives.sum())) / present
        return cls(1, missed, counts, score_sums, mhr_sums, seen, positives)

    def add(
        self,
        score: NDArray[np.floating],
        annotations: Sequence[NDArray[np.generic] | None],
        domain: NDArray[np.bool_] | None = None,
    ) -> ScoreSketch:
        """Add one case to this sketch, in place; see `of_case` for the arguments. Returns this sketch."""
        merged = self + ScoreSketch.of_case(score, annotations, domain)
        self.__dict__.update(merged.__dict__)
        return self

    def __add__(self, other: ScoreSketch) -> ScoreSketch:
        if not isinstance(other, ScoreSketch):
            return NotImplemented
        return ScoreSketch(
            self.cases + other.cases,
            self.missed_mhr + other.missed_mhr,
            self.counts + other.counts,
            self.score_sums + other.score_sums,
            self.mhr_sums + other.mhr_sums,
            _sum_of_raters(self.rater_counts, other.rater_counts),
            _sum_of_raters(self.rater_positives, other.rater_positives),
        )

    @property
    def voxels(self) -> int:
        """Number of voxels in the domain."""
        return int(self.counts.sum())

    @property
    def raters(self) -> int:
        """Largest number of raters of any case."""
        return len(self.rater_counts)


def _sum_of_raters(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add two (rater, cell) tables that may differ in their number of raters."""
    total = np.zeros((max(len(one), len(other)), CELLS), np.int64)
    total[: len(one)] += one
    total[: len(other)] += other
    return total


def _check_shape(what: str, array: NDArray[np.generic], score: NDArray[np.floating]) -> None:
    """Refuse an array that is not on the score's grid."""
    if np.shape(array) != np.shape(score):
        raise InputError(
            f"the {what} has shape {np.shape(array)}, the score {np.shape(score)}; both need the same grid"
        )


def _checked_mask(mask: NDArray[np.generic], rater: int, score: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return an annotation as booleans; refuse other shapes and labels."""
    _check_shape(f"annotation of rater {rater}", mask, score)
    mask = np.asarray(mask)
    marked: NDArray[np.bool_] = mask == 1
    if mask.dtype != bool and np.count_nonzero(mask) != np.count_nonzero(marked):
        raise InputError(f"the annotation of rater {rater} has labels other than 0 and 1; make it a binary tumour mask")
    return marked


def _checked_score(score: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the score; refuse what is not a probability (NaN fails both comparisons)."""
    score = np.asarray(score)
    if score.size and not (score.min() >= 0 and score.max() <= 1):
        raise InputError(f"the score must lie in [0, 1] without NaN, got {score.min():g} to {score.max():g}")
    return score
