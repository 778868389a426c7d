"""What the fit needs to know of any number of cases, in a bounded size: one pass a case, and sketches add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.calibrator import DOMAINS, WEIGHTINGS
from twintrack.calibration.case_groups import Units, case_unit, content_key
from twintrack.calibration.count_voxels import checked_mask, count_voxels
from twintrack.calibration.score_axis import CELLS
from twintrack.errors import InputError

__all__ = ["CASE_MASS", "ScoreSketch"]

CASE_MASS = 2**40
"""Mass of a case when all cases weigh the same: masses stay whole numbers, whose sums know no order."""


@dataclass
class ScoreSketch:
    """Sums over voxels, one for each of the `CELLS` cells of the score axis.

    Sketches are added with ``+``, so cases can be sketched in any order and on any machine. Counts and masses are whole
    numbers and so do not depend on that order at all; the other sums are float64 and depend on it by rounding only. The
    bins of a fit follow from the masses, hence they are the same for every order.

    The **domain** "roi" is the set of voxels whose score is above 0: outside the ROI the score is exactly 0, no rater
    was asked about those voxels through the map, and a calibrator sends 0 to 0. Zeros inside the ROI (a softmax that
    underflowed) are left out for the same reason. The domain "all" takes every voxel; zeros then lie in the first
    cell, with all other scores below 2**-16. A mask of the ROI can narrow either.

    The **weighting** "voxel" gives every voxel mass 1, as in the paper. "case" gives every case the same mass, shared
    by its voxels, so that a large ROI counts no more than a small one.

    Attributes
    ----------
    cases, blank_cases : int
        Cases added, and those among them without any voxel in the domain.
    tumour_voxels, missed_mhr : float
        Sum of the MHR inside and outside the domain; what lies outside no calibrator of this score can recover.
    counts : numpy.ndarray
        int64 (cell,): voxels.
    mass : numpy.ndarray
        int64 (cell,): voxels times their weight; with the weighting "voxel", `counts`.
    score_sums, mhr_sums : numpy.ndarray
        float64 (cell,): weighted sum of the score and of the MHR, the mean of the raters present in the voxel's case.
    rater_counts, rater_positives : numpy.ndarray
        int64 (rater, cell): mass in the cases that the rater drew, and the part the rater marked as tumour.
    domain, weighting : str
        One of `DOMAINS` and of `WEIGHTINGS`.
    units : Units
        Random groups of cases for resampling; single cases in a small cohort.
    case_keys : tuple of int
        A key of every case with voxels, made from its content.
    manifests : frozenset of str
        SHA-256 of the manifests that listed the cases.
    """

    cases: int
    missed_mhr: float
    counts: NDArray[np.int64]
    score_sums: NDArray[np.float64]
    mhr_sums: NDArray[np.float64]
    rater_counts: NDArray[np.int64]
    rater_positives: NDArray[np.int64]
    mass: NDArray[np.int64]
    tumour_voxels: float = 0.0
    blank_cases: int = 0
    domain: str = "roi"
    weighting: str = "voxel"
    units: Units = field(default_factory=Units)
    case_keys: tuple[int, ...] = ()
    manifests: frozenset[str] = frozenset()

    @classmethod
    def empty(cls, *, domain: str = "roi", weighting: str = "voxel") -> ScoreSketch:
        """Return the sketch of no case, the neutral element of ``+``."""
        _check_choices(domain, weighting)
        no_rater = np.zeros((0, CELLS), np.int64)
        zeros, none = np.zeros(CELLS), np.zeros(CELLS, np.int64)
        return cls(0, 0.0, none, zeros, zeros.copy(), no_rater, no_rater.copy(), none.copy(), 0.0, 0, domain, weighting)

    @classmethod
    def of_case(
        cls,
        score: NDArray[np.floating],
        annotations: Sequence[NDArray[np.generic] | None],
        roi: NDArray[np.bool_] | None = None,
        *,
        domain: str = "roi",
        weighting: str = "voxel",
    ) -> ScoreSketch:
        """Sketch one case.

        Parameters
        ----------
        score : numpy.ndarray
            (z, y, x) pooled score in [0, 1]; read as float32.
        annotations : sequence of numpy.ndarray or None
            One (z, y, x) mask of 0 and 1 for each rater, in a fixed order; None where a rater did not draw this case. A
            mask without tumour is an opinion and counts.
        roi : numpy.ndarray, optional
            (z, y, x) mask that narrows the domain, for a score that is not 0 outside the ROI.
        domain, weighting : str
            See the class.

        Raises
        ------
        InputError
            If no rater is present, shapes differ, scores are outside [0, 1] or labels are other than 0 and 1.
        """
        _check_choices(domain, weighting)
        masks = [
            None if mask is None else checked_mask(mask, rater, score) for rater, mask in enumerate(annotations, 1)
        ]
        present = np.array([mask is not None for mask in masks], dtype=bool)
        if not present.any():
            raise InputError("a calibration case needs the annotation of at least one rater, got none")
        found = count_voxels(score, masks, roi, everything=domain == "all")
        raters, voxels = int(present.sum()), int(found.counts.sum())
        rater_counts = np.where(present[:, None], found.counts, 0)
        key = content_key(found.counts, rater_counts, found.positives, np.array([found.drawn]))
        weight = 1.0 if weighting == "voxel" or voxels == 0 else CASE_MASS / voxels
        mass, rater_counts, positives = (
            _weighted(table, weight) for table in (found.counts, rater_counts, found.positives)
        )
        mhr_sums: NDArray[np.float64] = positives.sum(axis=0) / raters
        inside = int(found.positives.sum())
        return cls(
            cases=1,
            missed_mhr=(found.drawn - inside) / raters,
            counts=found.counts,
            score_sums=found.score_sums * weight,
            mhr_sums=mhr_sums,
            rater_counts=rater_counts,
            rater_positives=positives,
            mass=mass,
            tumour_voxels=inside / raters,
            blank_cases=int(voxels == 0),
            domain=domain,
            weighting=weighting,
            units=case_unit(key, mass, mhr_sums, rater_counts, positives) if voxels else Units(),
            case_keys=(key,) if voxels else (),
        )

    def add(
        self,
        score: NDArray[np.floating],
        annotations: Sequence[NDArray[np.generic] | None],
        roi: NDArray[np.bool_] | None = None,
    ) -> ScoreSketch:
        """Add one case to this sketch, in place; see `of_case` for the arguments. Returns this sketch."""
        merged = self + ScoreSketch.of_case(score, annotations, roi, domain=self.domain, weighting=self.weighting)
        self.__dict__.update(merged.__dict__)
        return self

    def __add__(self, other: ScoreSketch) -> ScoreSketch:
        if not isinstance(other, ScoreSketch):
            return NotImplemented
        if (self.domain, self.weighting) != (other.domain, other.weighting):
            raise InputError(
                f"sketches of the domain {self.domain} with weights by {self.weighting} and of the domain "
                f"{other.domain} with weights by {other.weighting} cannot be added; make them in the same way"
            )
        return ScoreSketch(
            cases=self.cases + other.cases,
            missed_mhr=self.missed_mhr + other.missed_mhr,
            counts=self.counts + other.counts,
            score_sums=self.score_sums + other.score_sums,
            mhr_sums=self.mhr_sums + other.mhr_sums,
            rater_counts=_sum_of_raters(self.rater_counts, other.rater_counts),
            rater_positives=_sum_of_raters(self.rater_positives, other.rater_positives),
            mass=self.mass + other.mass,
            tumour_voxels=self.tumour_voxels + other.tumour_voxels,
            blank_cases=self.blank_cases + other.blank_cases,
            domain=self.domain,
            weighting=self.weighting,
            units=self.units + other.units,
            case_keys=self.case_keys + other.case_keys,
            manifests=self.manifests | other.manifests,
        )

    @property
    def voxels(self) -> int:
        """Number of voxels in the domain."""
        return int(self.counts.sum())

    @property
    def raters(self) -> int:
        """Largest number of a rater of any case."""
        return len(self.rater_counts)

    @property
    def repeated_cases(self) -> int:
        """Cases whose voxels equal those of an earlier one, one by one."""
        return len(self.case_keys) - len(set(self.case_keys))


def _weighted(voxels: NDArray[np.int64], weight: float) -> NDArray[np.int64]:
    """Return whole-number masses; a part never outweighs the whole, since rounding keeps the order."""
    return voxels if weight == 1.0 else np.rint(voxels * weight).astype(np.int64)


def _sum_of_raters(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add two (rater, cell) tables that may differ in their number of raters."""
    total = np.zeros((max(len(one), len(other)), CELLS), np.int64)
    total[: len(one)] += one
    total[: len(other)] += other
    return total


def _check_choices(domain: str, weighting: str) -> None:
    if domain not in DOMAINS:
        raise InputError(f"the domain of a calibrator must be one of {', '.join(DOMAINS)}, got {domain!r}")
    if weighting not in WEIGHTINGS:
        raise InputError(f"the weights of the cases must go by {' or '.join(WEIGHTINGS)}, got {weighting!r}")
