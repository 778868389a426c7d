"""Lesions that an ensemble's members find each for itself, grouped: who stays silent counts as 0."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.lesions import SMALLEST_LESION_ML
from twintrack.metrics.agreement import THRESHOLDS
from twintrack.metrics.detection import IOU, LesionCandidate, connected_parts

__all__ = ["MemberLesion", "group_lesions", "grouped_candidates", "lesions_of_member"]


@dataclass(frozen=True)
class MemberLesion:
    """A lesion that one member found.

    Attributes
    ----------
    member : int
        Which.
    confidence : float
        Largest probability in it.
    outline : numpy.ndarray
        bool (z, y, x) of the whole crop: where the member's map reaches half of that.
    """

    member: int
    confidence: float
    outline: NDArray[np.bool_]


def lesions_of_member(member: int, probability: NDArray[np.floating], voxel_ml: float) -> list[MemberLesion]:
    """Return the lesions of one member's map (z, y, x), as `find_candidates` finds those of the pooled one."""
    found = []
    for box, part in connected_parts(probability.astype(np.float64) > THRESHOLDS[0]):
        values = np.where(part, probability[box], 0)
        peak = float(values.max())
        outline = np.zeros(probability.shape, dtype=bool)
        outline[box] = values >= peak / 2
        if np.count_nonzero(outline) * voxel_ml >= SMALLEST_LESION_ML:
            found.append(MemberLesion(member, peak, outline))
    return found


def group_lesions(lesions: Sequence[MemberLesion], members: int) -> list[tuple[float, NDArray[np.bool_]]]:
    r"""Group the lesions of all members; return each group's confidence and outline, the most confident first.

    In falling order of confidence a lesion joins the group whose first lesion it overlaps most, above an intersection
    over union of `IOU`, if its member is not in it yet, and founds a group otherwise. The confidence is

    .. math:: s_G = \frac{1}{S} \sum_{l \in G} s_l

    with the number :math:`S` of all members: those who saw nothing count as 0. The outline holds the voxels of at least
    half of the group's outlines.

    References
    ----------
    Equation 2 of Campi et al., Rater-specific ensembles (the order of grouping is not given there and is ours).
    """
    groups: list[list[MemberLesion]] = []
    for lesion in sorted(lesions, key=lambda one: -one.confidence):
        free = [group for group in groups if all(other.member != lesion.member for other in group)]
        overlap = [_iou(group[0].outline, lesion.outline) for group in free]
        best = int(np.argmax(overlap)) if overlap else -1
        if best >= 0 and overlap[best] > IOU:
            free[best].append(lesion)
        else:
            groups.append([lesion])
    found = [
        (sum(one.confidence for one in group) / members, np.mean([one.outline for one in group], axis=0) >= 0.5)
        for group in groups
    ]
    return sorted(found, key=lambda one: -one[0])


def grouped_candidates(
    maps: Sequence[NDArray[np.floating]], masks: Mapping[str, NDArray[np.generic]], voxel_ml: float
) -> tuple[LesionCandidate, ...]:
    """Return the grouped lesions of the members' maps with whom they match, ready for a `CandidatePool`.

    In falling order of confidence a group takes, of the lesions of a rater that are left, the one that it overlaps
    most, if that is an intersection over union of at least `IOU`.

    Parameters
    ----------
    maps : sequence of numpy.ndarray
        (z, y, x), probability of tumour of each member.
    masks : mapping of str to numpy.ndarray
        (z, y, x), each rater's mask by the rater's name; values other than 0 are tumour.
    voxel_ml : float
        Volume of a voxel in mL.
    """
    lesions = [one for number, map_ in enumerate(maps) for one in lesions_of_member(number, map_, voxel_ml)]
    groups = group_lesions(lesions, len(maps))
    left = {rater: _drawn(mask != 0) for rater, mask in masks.items()}
    return tuple(
        LesionCandidate(confidence, {rater: _take(drawn, outline) for rater, drawn in left.items()})
        for confidence, outline in groups
    )


def _drawn(mask: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
    found = []
    for box, part in connected_parts(mask):
        lesion = np.zeros(mask.shape, dtype=bool)
        lesion[box] = part
        found.append(lesion)
    return found


def _take(drawn: list[NDArray[np.bool_]], outline: NDArray[np.bool_]) -> bool:
    """Remove the lesion that `outline` matches from those left; return whether there is one."""
    overlap = [_iou(lesion, outline) for lesion in drawn]
    if not overlap or max(overlap) < IOU:
        return False
    drawn.pop(int(np.argmax(overlap)))
    return True


def _iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    both = np.count_nonzero(one & other)
    return both / (np.count_nonzero(one) + np.count_nonzero(other) - both)
