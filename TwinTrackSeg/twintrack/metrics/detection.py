"""Calibration of detected lesions: one seen with confidence 0.7 should match what seven of ten raters drew."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.lesions import SMALLEST_LESION_ML
from twintrack.metrics.agreement import THRESHOLDS
from twintrack.raters import name_order

__all__ = ["IOU", "CandidatePool", "LesionCandidate", "connected_parts", "detection_ece", "find_candidates"]

IOU = 0.5
"""A candidate matches a drawn lesion above this intersection over union; then no lesion matches two candidates."""

BINS = 10
"""Uniform bins of the confidence on [0, 1]; the last one holds 1."""

Box = tuple[slice, ...]


@dataclass(frozen=True)
class LesionCandidate:
    """A connected part of the map.

    Attributes
    ----------
    confidence : float
        Largest probability in it.
    matched : mapping
        Whether it matches a lesion that the rater drew, by the rater's name.
    """

    confidence: float
    matched: Mapping[str, bool]


def find_candidates(
    probability: NDArray[np.floating], masks: Mapping[str, NDArray[np.generic]], voxel_ml: float
) -> tuple[LesionCandidate, ...]:
    """Return the lesion candidates of a (z, y, x) crop that holds everything above the lowest of `THRESHOLDS`.

    A candidate is a connected part (26 neighbours) of the map above the lowest threshold. Its outline is where the map
    reaches half of the part's largest value, so that a faint candidate has an outline too; outlines below
    `SMALLEST_LESION_ML` are noise. The drawn lesions are the connected parts of a rater's mask (values other than 0).
    """
    drawn = {rater: _Lesions.of(mask != 0) for rater, mask in masks.items()}
    candidates = []
    for box, part in connected_parts(probability.astype(np.float64) > THRESHOLDS[0]):
        values = np.where(part, probability[box], 0)
        peak = float(values.max())
        outline = values >= peak / 2
        if np.count_nonzero(outline) * voxel_ml >= SMALLEST_LESION_ML:
            matched = {rater: lesions.best_iou(box, outline) > IOU for rater, lesions in drawn.items()}
            candidates.append(LesionCandidate(peak, matched))
    return tuple(candidates)


class CandidatePool:
    """The candidates of many cases as bare numbers, some ten bytes a candidate and rater.

    Attributes
    ----------
    cases, candidates : int
        How many have been added.
    """

    def __init__(self) -> None:
        self.cases = self.candidates = 0
        self._cases, self._raters, self._bins, self._gaps = array("q"), array("q"), array("b"), array("d")
        self._numbers: dict[str, int] = {}

    def add(self, candidates: Sequence[LesionCandidate]) -> None:
        """Add the next case."""
        for candidate in candidates:
            for rater, matched in candidate.matched.items():
                self._cases.append(self.cases)
                self._raters.append(self._numbers.setdefault(rater, len(self._numbers)))
                self._bins.append(min(int(candidate.confidence * BINS), BINS - 1))
                self._gaps.append(candidate.confidence - matched)
        self.cases += 1
        self.candidates += len(candidates)

    @property
    def raters(self) -> list[str]:
        """Names of the raters who were compared with any candidate, in their order."""
        return sorted(self._numbers, key=name_order)

    def sums(self, cases: slice, raters: Sequence[str]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the sums over each case's candidates that the detection error of any set of cases is made from.

        Returns
        -------
        gaps : numpy.ndarray
            float64 (case, rater, bin): sum of the confidences less the number of matched candidates.
        counts : numpy.ndarray
            float64 (case, rater): candidates of the case; 0 for a rater who did not draw it.
        """
        begin, end = np.searchsorted(np.asarray(self._cases), (cases.start, cases.stop))
        number = cases.stop - cases.start
        gaps, counts = np.zeros((number, len(raters), BINS)), np.zeros((number, len(raters)))
        case = np.asarray(self._cases)[begin:end] - cases.start
        places = np.array([raters.index(rater) for rater in self._numbers], dtype=np.intp)
        rater = places[np.asarray(self._raters)[begin:end]]
        np.add.at(gaps, (case, rater, np.asarray(self._bins)[begin:end]), np.asarray(self._gaps)[begin:end])
        np.add.at(counts, (case, rater), 1)
        return gaps, counts


def detection_ece(gaps: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    r"""Return D-ECE, the detection expected calibration error; NaN without a candidate.

    .. math:: \mathrm{mean}_i \sum_k \frac{n_{ik}}{N_i} \left|\mathrm{conf}_{ik} - \mathrm{prec}_{ik}\right|

    over raters :math:`i` and 10 uniform bins :math:`k` of the confidence, with :math:`n_{ik}` of the :math:`N_i`
    candidates in the bin, their mean confidence and the fraction of them that match a lesion of that rater. Lesions
    that nothing was predicted for do not enter: a calibration error, no sensitivity. With the few candidates of one
    case it is mostly noise; pool the cases.

    Parameters
    ----------
    gaps, counts : numpy.ndarray
        Sums of `CandidatePool.sums` over cases, (..., rater, bin) and (..., rater).

    References
    ----------
    F. Küppers et al., Multivariate Confidence Calibration for Object Detection, CVPR workshops 2020, arXiv:2004.13546
    (with the confidence alone); A. Kirillov et al., Panoptic Segmentation, CVPR 2019, arXiv:1801.00868 (matching above
    0.5 is unique).
    """
    errors = np.abs(gaps).sum(axis=-1)
    present = counts > 0
    by_rater = np.divide(errors, counts, out=np.zeros_like(errors), where=present)
    raters = present.sum(axis=-1).astype(float)
    undefined = np.full_like(raters, np.nan)
    result: NDArray[np.float64] = np.divide(by_rater.sum(axis=-1), raters, out=undefined, where=raters > 0)
    return result


@dataclass(frozen=True)
class _Lesions:
    """The connected parts of a rater's mask: numbers (z, y, x) from 1, and voxels by number."""

    numbers: NDArray[np.signedinteger]
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, mask: NDArray[np.bool_]) -> _Lesions:
        from scipy.ndimage import label

        numbers, _ = label(mask, structure=np.ones((3, 3, 3)))
        return cls(numbers, np.bincount(numbers.ravel()))

    def best_iou(self, box: Box, outline: NDArray[np.bool_]) -> float:
        """Return the largest intersection over union of `outline`, which lies in `box`, with any lesion."""
        both = np.bincount(self.numbers[box][outline], minlength=len(self.sizes))
        union = np.count_nonzero(outline) + self.sizes - both
        return float((both / union)[1:].max(initial=0.0))


def connected_parts(mask: NDArray[np.bool_]) -> Iterator[tuple[Box, NDArray[np.bool_]]]:
    """Yield the box of every connected part, and the part in it."""
    from scipy.ndimage import find_objects, label

    numbers, count = label(mask, structure=np.ones((3, 3, 3)))
    for number, box in enumerate(find_objects(numbers, count), start=1):
        yield box, numbers[box] == number
