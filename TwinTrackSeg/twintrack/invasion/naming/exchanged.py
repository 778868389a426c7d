"""Pieces of a vessel that lie in the other class: an artery that goes on through veins, or a vein through arteries.

Networks do so where both lie side by side, as SMA and SMV. The piece joins the wrong vessel, and takes its name along.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from twintrack.invasion.naming.tree import Voxels, pieces_of

__all__ = ["MOST_EXCHANGED", "exchanged"]

MOST_EXCHANGED = 0.12
"""A vessel of which a larger share continues one of the other class gets no name."""

PIECE_MM3, PIECES = 100.0, 8
"""Least volume of a piece that may go on elsewhere, and how many of them are looked at."""

WAY_MM = (4.0, 32.0)
"""Length of the way from one end to the other."""

END_MM = 12.0
"""Length of an end by which its direction is told."""

BEYOND_MM = 3.0
"""What goes on so far beyond its end has none there: it only passes."""

IN_LINE = 0.7
"""Least cosine between the axis of one of the two ends and the way: a thick vessel's end has none that is clear."""

FILLED = 0.7
"""Share of the way that the other class fills."""

PLACES = 4
"""Places at which two pieces are tried."""


def exchanged(own: Voxels, other: Voxels) -> NDArray[np.bool_]:
    """Return which voxels of one class lie where a vessel of the other goes on behind a gap.

    Parameters
    ----------
    own : Voxels
        Of the class that is asked about.
    other : Voxels
        Of the other class.
    """
    suspect = np.zeros(len(own.index), bool)
    pieces = pieces_of(other, PIECE_MM3)[:PIECES]
    if not len(own.index) or len(pieces) < 2:
        return suspect
    places, voxel_mm = cKDTree(own.place_mm), float(np.mean(own.grid.spacing_mm))
    trees = [cKDTree(other.place_mm[members]) for members in pieces]
    for one, two in combinations(range(len(pieces)), 2):
        first, second = pieces[one], pieces[two]
        reached = trees[two].query(other.place_mm[first], distance_upper_bound=WAY_MM[1])
        distance, nearest = np.asarray(reached[0]), np.asarray(reached[1], np.int64)
        left = np.flatnonzero(np.isfinite(distance))
        for _ in range(PLACES):
            if not len(left):
                break
            here = int(left[distance[left].argmin()])
            start, end = other.place_mm[first[here]], other.place_mm[second[nearest[here]]]
            near = np.linalg.norm(other.place_mm[first[left]] - start, axis=1) <= END_MM
            if _goes_on(other, first, second, start, end, places, voxel_mm):
                facing = left[near & (distance[left] <= distance[here] + voxel_mm)]
                radius = 1.5 + max(_depth(other, first, start), _depth(other, second, end))
                start = other.place_mm[first[facing]].mean(axis=0)
                end = other.place_mm[second[nearest[facing]]].mean(axis=0)
                suspect |= _beside(own.place_mm, start, end, radius)
                break
            left = left[~near]
    return suspect


def _goes_on(
    other: Voxels,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    own: cKDTree,
    voxel_mm: float,
) -> bool:
    """Whether two vessels end at both ends of a way, one of them along it, and the other class fills it."""
    way = end - start
    length = float(np.linalg.norm(way))
    if not WAY_MM[0] <= length <= WAY_MM[1]:
        return False
    ahead = way / length
    ends = [_cosine(other.place_mm[first], start, ahead), _cosine(other.place_mm[second], end, -ahead)]
    if None in ends or max(one for one in ends if one is not None) < IN_LINE:
        return False
    steps = np.arange(1.5, length - 1.4, 1.0)
    if not len(steps):
        return False
    away, _ = own.query(start + steps[:, None] * way / length)
    return float(np.mean(np.asarray(away) <= 1.2 * voxel_mm)) >= FILLED


def _cosine(places: NDArray[np.float64], end: NDArray[np.float64], way: NDArray[np.float64]) -> float | None:
    """Return the cosine between the axis of a vessel's end and a way; None where the vessel does not end there."""
    near = places[np.linalg.norm(places - end, axis=1) <= END_MM]
    if len(near) < 8 or float(((near - end) @ way).max()) > BEYOND_MM:
        return None
    axes = np.linalg.svd(near - near.mean(axis=0), full_matrices=False)[2]
    return abs(float(axes[0] @ way))


def _depth(voxels: Voxels, members: NDArray[np.int64], place: NDArray[np.float64]) -> float:
    near = members[np.linalg.norm(voxels.place_mm[members] - place, axis=1) <= END_MM]
    return float(voxels.depth_mm[near].max(initial=0.0))


def _beside(
    places: NDArray[np.float64], start: NDArray[np.float64], end: NDArray[np.float64], radius_mm: float
) -> NDArray[np.bool_]:
    """Return which places lie within a radius of a line."""
    way = end - start
    along = np.clip((places - start) @ way / float(way @ way), 0.0, 1.0)
    inside: NDArray[np.bool_] = np.linalg.norm(places - start - along[:, None] * way, axis=1) <= radius_mm
    return inside
