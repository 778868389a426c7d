"""Gaps of a millimetre or three in a vessel: bridged where both ends point at each other, and nowhere else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from twintrack.invasion.naming.tree import Voxels, pieces_of

__all__ = ["GAP_MM", "PIECE_MM3", "bridge"]

GAP_MM = 3.0
"""Widest gap."""

PIECE_MM3 = 60.0
"""Smaller pieces are stray voxels."""

END_MM = 7.0
"""Length of an end by which its direction is told."""

MOST_PLACES = 6
"""Places at which a piece is tried."""

POINTING = 0.7
"""Least cosine between an end's direction and the way to the other end."""


def bridge(voxels: Voxels, anchored: NDArray[np.int64]) -> dict[int, float]:
    """Join pieces to pieces that hold one of the voxels `anchored`, from near to far; return the widest gap of each.

    The pieces are joined in `voxels` itself.
    """
    gaps: dict[int, float] = {}
    loose = [members for members in pieces_of(voxels, PIECE_MM3) if not np.isin(members, anchored).any()]
    held = np.isin(voxels.piece, np.unique(voxels.piece[anchored]))
    reach = GAP_MM + float(np.mean(voxels.grid.spacing_mm))  # between the middles of voxels on both sides
    changed = True
    while changed and loose:
        changed = False
        for members in list(loose):
            base = np.flatnonzero(held)
            if not len(base):
                return gaps
            found = cKDTree(voxels.place_mm[base]).query(voxels.place_mm[members], distance_upper_bound=reach)
            distance, nearest = np.asarray(found[0]), np.asarray(found[1], np.int64)
            if not np.isfinite(distance).any():
                continue
            facing = _facing(voxels, members, base, distance, nearest)
            if facing is None:
                continue
            own, close = facing
            other = int(base[nearest[own]])
            gap = max(float(distance[own]) - float(np.mean(voxels.grid.spacing_mm)), 0.1)
            piece = int(voxels.piece[other])
            voxels.join(base[nearest[close]], members[close])
            gaps[piece] = max(gaps.get(piece, 0.0), gap)
            held[members] = True
            loose = [one for one in loose if one is not members]
            changed = True
    return gaps


def _facing(
    voxels: Voxels,
    members: NDArray[np.int64],
    base: NDArray[np.int64],
    distance: NDArray[np.float64],
    nearest: NDArray[np.int64],
) -> tuple[int, NDArray[np.int64]] | None:
    """Return the place in `members` nearest to a gap in one line, and all that face it; None where there is none.

    A vessel may pass others nearer than the end that it goes on from.
    """
    open_ones = np.flatnonzero(np.isfinite(distance))
    voxel_mm = float(np.mean(voxels.grid.spacing_mm))
    for _ in range(MOST_PLACES):
        if not len(open_ones):
            return None
        own = int(open_ones[distance[open_ones].argmin()])
        away = np.linalg.norm(voxels.place_mm[members[open_ones]] - voxels.place_mm[members[own]], axis=1)
        here = open_ones[away <= END_MM]
        close = here[distance[here] <= distance[own] + 0.6 * voxel_mm]
        facing = np.vstack([voxels.place_mm[members[close]], voxels.place_mm[base[nearest[close]]]])
        piece = voxels.piece[base[nearest[own]]]
        if _points(voxels, members, base[voxels.piece[base] == piece], facing.mean(axis=0)):
            return own, close
        open_ones = open_ones[away > END_MM]
    return None


def _points(
    voxels: Voxels, first_piece: NDArray[np.int64], second_piece: NDArray[np.int64], middle_mm: NDArray[np.float64]
) -> bool:
    """Whether the ends of two pieces on both sides of a gap's middle lie in one line."""
    ends = []
    for group in (first_piece, second_piece):
        away = np.linalg.norm(voxels.place_mm[group] - middle_mm, axis=1)
        end = voxels.place_mm[group[away <= END_MM]]
        if len(end) < 3:
            return False
        ends.append(end.mean(axis=0) - middle_mm)
    lengths = float(np.linalg.norm(ends[0]) * np.linalg.norm(ends[1]))
    return lengths > 0 and float(-(ends[0] @ ends[1])) >= POINTING * lengths
