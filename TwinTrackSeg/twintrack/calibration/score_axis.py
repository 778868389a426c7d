"""The fixed cells of the score axis: fine where the scores of a softmax pile up.

The layout follows the float32 number line. An octave is the stretch between one power of two and the next; each
octave of the distance to the *nearer* end (the score s below 0.5, 1 - s from there on) has 2,048 cells. Cells are
therefore 1.2e-4 wide at 0.25 to 0.75 and shrink towards both ends:

* Towards 1 down to single float32 numbers: above 1 - 2**-13 no two different float32 scores share a cell, so that a
  saturated tumour core still fills several bins of the calibrator.
* Towards 0 down to 2**-16. All scores below it share cell 0, on purpose: the background of the ROI reaches from 1e-5 to
  1e-30 without telling anything more, and were it resolved, it would use up most of the equal-mass bins.

The cell number never decreases with the score, so equal scores share a cell and cells are ordered as scores are.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

__all__ = ["CELLS", "FLOOR", "GRAINS", "cell_bounds", "cell_counts", "cell_of"]

FLOOR = 2.0**-16
"""Scores below this share the first cell."""

_SHIFT = 12
"""Mantissa bits of float32 (23) that a cell ignores, which leaves 2**11 cells an octave."""

_FIRST = int(np.float32(FLOOR).view(np.uint32)) >> _SHIFT
_HALF = int(np.float32(0.5).view(np.uint32)) >> _SHIFT
_LOWER = _HALF - _FIRST + 1
"""Cells of scores below 0.5, the floor cell included."""

_GRAIN = 2.0**-24
"""Distance of neighbouring float32 numbers between 0.5 and 1."""

GRAINS = round(FLOOR / _GRAIN)
"""Distances to 1 below the floor, each a cell of its own: 0, 1, ... grains."""

CELLS = _LOWER + (_HALF - _FIRST) + 1 + GRAINS
"""Number of cells; below 2**16, so that a cell number fits into uint16."""


def cell_of(score: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Return the cell number of each score.

    Parameters
    ----------
    score : numpy.ndarray
        Scores in [0, 1] of any shape; taken as float32.

    Returns
    -------
    numpy.ndarray
        uint16 of the same shape, in 0 to ``CELLS - 1``, never decreasing with the score.
    """
    score = np.asarray(score, dtype=np.float32)
    upper = score >= 0.5
    # 1 - s is exact in float32 for s of at least 0.5, so no two scores are merged by the subtraction.
    near = np.where(upper, np.float32(1.0) - score, score)
    octave_cell = np.maximum((near.view(np.uint32) >> _SHIFT).astype(np.int64) - _FIRST, -1)
    grains = np.minimum((near / np.float32(_GRAIN)), GRAINS).astype(np.int64)
    high = np.where(octave_cell < 0, CELLS - 1 - grains, CELLS - 1 - GRAINS - octave_cell)
    cell: NDArray[np.uint16] = np.where(upper, high, octave_cell + 1).astype(np.uint16)
    return cell


def cell_counts(score: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return how many scores (in [0, 1], any shape) fall into each cell; those below `FLOOR` are only counted."""
    resolved = score[score >= np.float32(FLOOR)]
    counts = np.bincount(cell_of(resolved), minlength=CELLS)
    counts[0] += score.size - resolved.size
    return counts


@functools.lru_cache(maxsize=1)
def cell_bounds() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the smallest and the largest float32 score of every cell (as float64, read-only).

    A few cells between 0.9998 and 1 - 2**-16 lie between two neighbouring float32 numbers; no score falls into them,
    and their smallest score is above their largest.
    """
    edges = (np.arange(_FIRST, _HALF + 1, dtype=np.uint32) << _SHIFT).view(np.float32)
    below = np.nextafter(edges, np.float32(0.0)).astype(float)
    grains = np.ceil(edges.astype(float) / _GRAIN)
    # The first upper cell holds 0.5 itself, whose distance to 1 starts an octave of its own.
    farthest = np.append(grains[1:] - 1, grains[-1])[::-1]
    single = 1.0 - np.arange(GRAINS - 1, -1, -1) * _GRAIN
    low = np.concatenate([[0.0], edges[:-1].astype(float), 1.0 - farthest * _GRAIN, single])
    high = np.concatenate([below, 1.0 - grains[::-1] * _GRAIN, single])
    for bounds in (low, high):
        bounds.setflags(write=False)
    return low, high
