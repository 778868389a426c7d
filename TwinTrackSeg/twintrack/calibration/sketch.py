"""What the fit needs to know of any number of cases, in a bounded size: one pass a case, and sketches add up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.calibrator import DOMAINS, WEIGHTINGS
from twintrack.calibration.case_groups import Units, all_names, case_unit, content_key
from twintrack.calibration.count_voxels import checked_mask, count_voxels
from twintrack.calibration.score_axis import CELLS
from twintrack.calibration.statements import StatementTable
from twintrack.errors import InputError
from twintrack.raters import MOST_RATERS, by_name, check_apart, name_order, numbered

__all__ = ["CASE_MASS", "Annotations", "ScoreSketch"]

Annotations = Mapping[Any, NDArray[np.generic]] | Sequence[NDArray[np.generic] | None]
"""Masks by rater; or one for each of the raters "1", "2" and so on, None for those who did not read the case."""

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
    rater_names : tuple of str
        Names of the raters who read any case, in their order; sketches are added by them.
    domain, weighting : str
        One of `DOMAINS` and of `WEIGHTINGS`.
    units : Units
        Random groups of cases for resampling; single cases in a small cohort.
    case_keys : tuple of int
        A key of every case with voxels, made from its content.
    manifests : frozenset of str
        SHA-256 of the manifests that listed the cases.
    alike_cases : int
        Cases in which two raters marked the very same voxels, and some.
    statements : StatementTable or None
        What the fit of statements needs of those cases that have vessels.
    """

    cases: int
    missed_mhr: float
    counts: NDArray[np.int64]
    score_sums: NDArray[np.float64]
    mhr_sums: NDArray[np.float64]
    rater_counts: NDArray[np.int64]
    rater_positives: NDArray[np.int64]
    mass: NDArray[np.int64]
    rater_names: tuple[str, ...]
    tumour_voxels: float = 0.0
    blank_cases: int = 0
    domain: str = "roi"
    weighting: str = "voxel"
    units: Units = field(default_factory=Units)
    case_keys: tuple[int, ...] = ()
    manifests: frozenset[str] = frozenset()
    alike_cases: int = 0
    statements: StatementTable | None = None

    @classmethod
    def empty(cls, *, domain: str = "roi", weighting: str = "voxel") -> ScoreSketch:
        """Return the sketch of no case, the neutral element of ``+``."""
        _check_choices(domain, weighting)
        no_rater = np.zeros((0, CELLS), np.int64)
        zeros, none = np.zeros(CELLS), np.zeros(CELLS, np.int64)
        return cls(
            cases=0,
            missed_mhr=0.0,
            counts=none,
            score_sums=zeros,
            mhr_sums=zeros.copy(),
            rater_counts=no_rater,
            rater_positives=no_rater.copy(),
            mass=none.copy(),
            rater_names=(),
            domain=domain,
            weighting=weighting,
        )

    @classmethod
    def of_case(
        cls,
        score: NDArray[np.floating],
        annotations: Annotations,
        roi: NDArray[np.bool_] | None = None,
        *,
        domain: str = "roi",
        weighting: str = "voxel",
    ) -> ScoreSketch:
        """Sketch one case.

        Parameters
        ----------
        score : numpy.ndarray
            (z, y, x) pooled score in [0, 1], as `twintrack.volume.fractions` allows it; read as float32.
        annotations : mapping or sequence of numpy.ndarray
            (z, y, x) mask of 0 and 1 by the name of each rater who read this case; see `Annotations`. A mask without
            tumour is an opinion and counts.
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
        masks = {name: checked_mask(mask, name, score) for name, mask in _named(annotations)}
        if not masks:
            raise InputError(
                "a calibration case needs the annotation of at least one rater, got none", code="no-annotation"
            )
        found = count_voxels(score, tuple(masks.values()), roi, everything=domain == "all")
        names, raters, voxels = tuple(masks), len(masks), int(found.counts.sum())
        rater_counts = np.repeat(found.counts[None], raters, axis=0)
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
            rater_names=names,
            tumour_voxels=inside / raters,
            blank_cases=int(voxels == 0),
            domain=domain,
            weighting=weighting,
            units=case_unit(key, names, mass, mhr_sums, rater_counts, positives) if voxels else Units(),
            case_keys=(key,) if voxels else (),
            alike_cases=int(found.alike),
        )

    def add(
        self,
        score: NDArray[np.floating],
        annotations: Annotations,
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
                f"{other.domain} with weights by {other.weighting} cannot be added; make them in the same way",
                code="sketches-differ",
            )
        names = all_names(self.rater_names, other.rater_names)
        check_apart(names)
        if len(names) > MOST_RATERS:
            raise InputError(
                f"the cases have more than {MOST_RATERS} raters ({', '.join(names[:5])}, ...); give each rater one "
                "name in all cases",
                code="too-many-raters",
            )
        return ScoreSketch(
            cases=self.cases + other.cases,
            missed_mhr=self.missed_mhr + other.missed_mhr,
            counts=self.counts + other.counts,
            score_sums=self.score_sums + other.score_sums,
            mhr_sums=self.mhr_sums + other.mhr_sums,
            rater_counts=self._spread(self.rater_counts, names) + other._spread(other.rater_counts, names),
            rater_positives=self._spread(self.rater_positives, names) + other._spread(other.rater_positives, names),
            mass=self.mass + other.mass,
            rater_names=names,
            tumour_voxels=self.tumour_voxels + other.tumour_voxels,
            blank_cases=self.blank_cases + other.blank_cases,
            domain=self.domain,
            weighting=self.weighting,
            units=self.units + other.units,
            case_keys=self.case_keys + other.case_keys,
            manifests=self.manifests | other.manifests,
            alike_cases=self.alike_cases + other.alike_cases,
            statements=_joined(self.statements, other.statements),
        )

    @property
    def voxels(self) -> int:
        """Number of voxels in the domain."""
        return int(self.counts.sum())

    @property
    def raters(self) -> int:
        """Number of raters who read any case."""
        return len(self.rater_names)

    @property
    def repeated_cases(self) -> int:
        """Cases whose voxels equal those of an earlier one, one by one."""
        return len(self.case_keys) - len(set(self.case_keys))

    def _spread(self, table: NDArray[np.int64], names: Sequence[str]) -> NDArray[np.int64]:
        """Return a (rater, cell) table of this sketch with a row for each of `names`, among whom are its own."""
        spread = np.zeros((len(names), CELLS), np.int64)
        spread[[names.index(name) for name in self.rater_names]] = table
        return spread


def _joined(one: StatementTable | None, other: StatementTable | None) -> StatementTable | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other


def _weighted(voxels: NDArray[np.int64], weight: float) -> NDArray[np.int64]:
    """Return whole-number masses; a part never outweighs the whole, since rounding keeps the order."""
    return voxels if weight == 1.0 else np.rint(voxels * weight).astype(np.int64)


def _named(annotations: Annotations) -> list[tuple[str, NDArray[np.generic]]]:
    """Return the masks that are there with their raters, in the order of the names."""
    if not isinstance(annotations, Mapping):
        names = numbered(len(annotations))
        annotations = {name: mask for name, mask in zip(names, annotations, strict=True) if mask is not None}
    named = by_name(annotations)
    check_apart(named)
    return sorted(named.items(), key=lambda one: name_order(one[0]))


def _check_choices(domain: str, weighting: str) -> None:
    if domain not in DOMAINS:
        raise InputError(
            f"the domain of a calibrator must be one of {', '.join(DOMAINS)}, got {domain!r}", code="calibration-domain"
        )
    if weighting not in WEIGHTINGS:
        raise InputError(
            f"the weights of the cases must go by {' or '.join(WEIGHTINGS)}, got {weighting!r}",
            code="calibration-weighting",
        )
