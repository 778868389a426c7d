"""Count the voxels of one case by the cells of the score axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from twintrack.calibration.score_axis import CELLS, cell_of
from twintrack.errors import InputError
from twintrack.raters import same_voxels
from twintrack.volume import fractions

__all__ = ["VoxelCounts", "checked_mask", "count_voxels"]

_BLOCK = 1 << 22
"""Voxels sketched at a time, so that a whole volume needs no large temporary arrays."""


class VoxelCounts(NamedTuple):
    """Voxels of one case: per cell, per rater and cell, and drawn by all raters inside and outside the domain.

    `alike` says whether two raters marked the very same voxels, and some.
    """

    counts: NDArray[np.int64]
    score_sums: NDArray[np.float64]
    positives: NDArray[np.int64]
    drawn: int
    alike: bool


def count_voxels(
    score: NDArray[np.floating],
    masks: Sequence[NDArray[np.bool_]],
    roi: NDArray[np.bool_] | None,
    *,
    everything: bool,
) -> VoxelCounts:
    """Count the voxels of one case, a block at a time.

    Parameters
    ----------
    score : numpy.ndarray
        (z, y, x) score in [0, 1].
    masks : sequence of numpy.ndarray
        (z, y, x) mask of each rater; see `checked_mask`.
    roi : numpy.ndarray or None
        (z, y, x) mask of the voxels to count.
    everything : bool
        Whether voxels with score 0 count.

    Raises
    ------
    InputError
        If a score is outside [0, 1] or NaN, or the ROI mask is not on the score's grid.
    """
    score = _checked_score(score)
    if roi is not None:
        _check_shape("ROI mask", roi, score)
    counts, score_sums = np.zeros(CELLS, np.int64), np.zeros(CELLS)
    positives = np.zeros((len(masks), CELLS), np.int64)
    flat, within = np.ravel(score), None if roi is None else np.ravel(roi).astype(bool, copy=False)
    drawn = [np.ravel(mask) for mask in masks]
    for start in range(0, flat.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        values = flat[block].astype(np.float32, copy=False)
        inside = np.ones(values.shape, bool) if everything else values > 0
        if within is not None:
            inside &= within[block]
        values = values[inside]
        cell = cell_of(values)
        counts += np.bincount(cell, minlength=CELLS)
        score_sums += np.bincount(cell, weights=values, minlength=CELLS)
        for rater, mask in enumerate(drawn):
            positives[rater] += np.bincount(cell[mask[block][inside]], minlength=CELLS)
    marked = sum(int(np.count_nonzero(mask)) for mask in drawn)
    return VoxelCounts(counts, score_sums, positives, marked, bool(same_voxels(dict(enumerate(masks)))))


def _check_shape(what: str, array: NDArray[np.generic], score: NDArray[np.floating]) -> None:
    """Refuse an array that is not on the score's grid."""
    if np.shape(array) != np.shape(score):
        raise InputError(
            f"the {what} has shape {np.shape(array)}, the score {np.shape(score)}; both need the same grid",
            code="grid-differs",
        )


def checked_mask(mask: NDArray[np.generic], rater: str, score: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return an annotation as booleans; refuse other shapes and labels."""
    _check_shape(f"annotation of rater {rater}", mask, score)
    mask = np.asarray(mask)
    marked: NDArray[np.bool_] = mask == 1
    if mask.dtype != bool and np.count_nonzero(mask) != np.count_nonzero(marked):
        raise InputError(
            f"the annotation of rater {rater} has labels other than 0 and 1; make it a binary tumour mask",
            code="mask-not-binary",
        )
    return marked


def _checked_score(score: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the score; refuse what is not a probability."""
    return fractions(np.asarray(score), "the score")
