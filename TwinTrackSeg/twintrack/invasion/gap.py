"""How far the tumour is from a vessel, at every probability level: the gap that is left where there is no contact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from twintrack.imaging.neighbors import eroded, grown_along
from twintrack.imaging.plane_contact import Box, bounding_box
from twintrack.imaging.runs import Runs
from twintrack.invasion.geometry import directional_voxel_mm
from twintrack.invasion.wall import LEVEL_TOLERANCE
from twintrack.volume import Volume

__all__ = ["FAR_MM", "WallPoints", "gaps_mm", "wall_points", "wall_voxels"]

FAR_MM = 30.0
"""Tumour further away than this is not looked for: nobody asks for its distance."""

BLOCK = 4
"""Edge, in voxels, of the blocks that are compared before single voxels are."""

SMOOTHING_VOXELS = 0.8
"""Gaussian width that turns a mask's steps into a wall with a place and a direction to a part of a voxel."""

NEIGHBORS = np.array([(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)])

Reals = NDArray[np.float64]


def gaps_mm(
    probability: Volume,
    mask: NDArray[np.bool_],
    box: Box,
    levels: Sequence[float],
    *,
    wall: WallPoints | None = None,
) -> tuple[float | None, ...]:
    """Return the distance from a vessel's wall to the nearest tumour at every level.

    The wall is where the smoothed mask passes one half. The tumour's surface at a level lies
    where the map, linear between the middles of two voxels, passes it; towards the vessel itself, where maps stop, a
    voxel's value stands for all of the voxel.

    Parameters
    ----------
    probability : Volume
        The tumour map, (z, y, x).
    mask : numpy.ndarray of bool
        The vessel on the map's grid, cropped to `box`; (z, y, x).
    box : tuple of slice
        The mask's place in the map.
    levels : sequence of float
        Probability levels, rising.
    wall : WallPoints, optional
        What `wall_points` gives of the mask, where that is known.

    Returns
    -------
    tuple of float or None
        In mm, one value a level, never falling; 0 where the tumour is drawn up to the wall or over it, None where there
        is no tumour of that level within `FAR_MM`.
    """
    shape = np.array(probability.array.shape)
    spacing_mm = np.asarray(probability.geometry.spacing_mm[::-1], dtype=float)
    low, high = (np.array([getattr(side, end) for side in box]) for end in ("start", "stop"))
    reach = np.ceil(FAR_MM / spacing_mm).astype(np.int64) + 1
    outer = _slices(np.maximum(low - reach, 0), np.minimum(high + reach, shape))
    found = bounding_box(np.greater_equal(probability.array[outer], levels[0] - LEVEL_TOLERANCE))
    if found is None:
        return (None,) * len(levels)
    # One voxel of margin: the map falls below a level between a voxel of the tumour and its neighbour.
    first = np.array([place.start + side.start for place, side in zip(outer, found, strict=True)]) - 1
    last = np.array([place.start + side.stop for place, side in zip(outer, found, strict=True)]) + 1
    level, vessel = _window(probability.array, first, last), _placed(mask, low, first, last)
    touched = float(level[grown_along(vessel)].max(initial=0.0))
    wanted = np.asarray(levels, dtype=float) - LEVEL_TOLERANCE
    gaps = np.zeros(len(levels))
    beyond = np.flatnonzero(wanted > touched)
    if len(beyond):
        wall = wall_points(mask, spacing_mm) if wall is None else wall
        places = low + wall.places
        wall = wall.only(np.all((places >= first - reach) & (places < last + reach), axis=1))
        gaps[beyond] = _beyond(level, wanted[beyond], wall.moved((low - first) * spacing_mm), spacing_mm)
    return tuple(float(gap) if gap <= FAR_MM else None for gap in gaps)


@dataclass(frozen=True)
class WallPoints:
    """Points on a vessel's wall, one for each of the mask's outermost voxels.

    Attributes
    ----------
    places : numpy.ndarray of int
        Index (z, y, x) of the voxel; shape (n, 3).
    points_mm : numpy.ndarray
        The point, (z, y, x) in mm from the middle of voxel (0, 0, 0); shape (n, 3).
    outward : numpy.ndarray
        Unit vector out of the vessel; shape (n, 3).
    """

    places: NDArray[np.int64]
    points_mm: Reals
    outward: Reals

    def only(self, wanted: NDArray[np.bool_]) -> WallPoints:
        """Return some of the points."""
        return WallPoints(self.places[wanted], self.points_mm[wanted], self.outward[wanted])

    def moved(self, by_mm: Reals) -> WallPoints:
        """Return the points as another origin has them; the voxels' indices stay."""
        return WallPoints(self.places, self.points_mm + by_mm, self.outward)


def wall_points(mask: NDArray[np.bool_], spacing_mm: Reals) -> WallPoints:
    """Return the wall of a mask (z, y, x), whose voxels have edges of `spacing_mm` (z, y, x)."""
    found = [_softened(mask, part, spacing_mm) for part in Runs.of(mask.view(np.uint8)).by_part()]
    places, fall, inside = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort(places.T[::-1])
    places, fall, inside = places[order], fall[order], inside[order]
    steepness = np.maximum(np.linalg.norm(fall, axis=1), 1e-6)
    outward = fall / steepness[:, None]
    # A voxel's middle lies in the vessel and that of its neighbour does not: the wall is between the two.
    most_mm = directional_voxel_mm(np.where(steepness[:, None] > 1e-6, outward, 1.0), spacing_mm)
    ahead_mm = np.clip((inside - 0.5) / steepness, 0.0, most_mm)
    return WallPoints(places, places * spacing_mm + ahead_mm[:, None] * outward, outward)


def _softened(
    mask: NDArray[np.bool_], part: Runs, spacing_mm: Reals
) -> tuple[NDArray[np.int64], Reals, NDArray[np.float32]]:
    """Return the outermost voxels of a connected part of a mask, and how the smoothed mask falls and is at each.

    Parts are looked at one by one because the box of several can be many times larger than theirs together.
    """
    places = np.argwhere(wall_voxels(part.mask_in(part.box)))
    margin = int(np.ceil(4 * SMOOTHING_VOXELS))
    low, high = (np.array([getattr(side, end) for side in part.box]) for end in ("start", "stop"))
    around = _window(mask, low - margin, high + margin)
    soft = ndimage.gaussian_filter(around, SMOOTHING_VOXELS)
    fall = np.empty(places.shape)
    for axis in range(3):
        before, after = (tuple((places + margin + sign * np.eye(3, dtype=np.int64)[axis]).T) for sign in (-1, 1))
        fall[:, axis] = (soft[before] - soft[after]) / (2 * spacing_mm[axis])
    return places + low, fall, soft[tuple((places + margin).T)]


def wall_voxels(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the voxels of a mask that have a side outside of it."""
    return mask & ~eroded(mask)


def _beyond(level: NDArray[np.float32], wanted: Reals, wall: WallPoints, spacing_mm: Reals) -> Reals:
    """Return the gap at each of the `wanted` levels, none of which touches the vessel; infinite without tumour near.

    `level` is the map in a window with a margin of one voxel, `wall` has its points in mm from that window's first
    voxel.
    """
    gaps = np.full(len(wanted), np.inf)
    # The margin holds neighbours only; tumour that goes on there is too far away.
    voxels = np.argwhere(level[1:-1, 1:-1, 1:-1] >= wanted[0]) + 1
    if not len(voxels) or not len(wall.places):
        return gaps
    tree = cKDTree(wall.points_mm)
    voxels = _nearest_blocks(voxels, level[tuple(voxels.T)], wanted, tree, spacing_mm)
    around = (voxels[:, None, :] + NEIGHBORS).reshape(-1, 3)
    numbers = np.ravel_multi_index(tuple(np.concatenate([voxels, around]).T), level.shape)
    some, back = np.unique(numbers, return_inverse=True)
    places = np.stack(np.unravel_index(some, level.shape), axis=1)
    distance_mm, _ = tree.query(places * spacing_mm)
    away_mm = np.asarray(distance_mm)[back]
    own_mm, other_mm = away_mm[: len(voxels)], away_mm[len(voxels) :].reshape(-1, len(NEIGHBORS))
    own, other = level[tuple(voxels.T)], level[tuple(around.T)].reshape(-1, len(NEIGHBORS))
    step_mm = spacing_mm.max()
    for number, least in enumerate(wanted):
        of_level = np.flatnonzero(own >= least)
        if not len(of_level):
            break
        near = of_level[own_mm[of_level] <= own_mm[of_level].min() + step_mm]
        falls = (other[near] < least) & (other_mm[near] < own_mm[near, None])
        fall = np.where(falls, own[near, None] - other[near], 1.0)
        part = np.where(falls, (own[near, None] - least) / fall, 0.0)
        surface_mm = own_mm[near, None] - part * np.where(falls, own_mm[near, None] - other_mm[near], 0.0)
        gaps[number] = max(float(surface_mm.min()), 0.0)
    return np.asarray(np.maximum.accumulate(gaps))


def _nearest_blocks(
    voxels: NDArray[np.int64], level: NDArray[np.float32], wanted: Reals, tree: cKDTree, spacing_mm: Reals
) -> NDArray[np.int64]:
    """Return those of the voxels (n, 3) that could be nearest to the wall at some wanted level."""
    shape = tuple((voxels.max(axis=0) // BLOCK + 1).tolist())
    some, member = np.unique(np.ravel_multi_index(tuple((voxels // BLOCK).T), shape), return_inverse=True)
    blocks = np.stack(np.unravel_index(some, shape), axis=1)
    highest = np.zeros(len(blocks), dtype=level.dtype)
    np.maximum.at(highest, member, level)
    radius_mm = float(np.linalg.norm(spacing_mm)) * BLOCK / 2
    away_mm, _ = tree.query((blocks * BLOCK + (BLOCK - 1) / 2) * spacing_mm)
    # How many wanted levels each block reaches; some voxel of a block that reaches a level is at most this far.
    reached = np.searchsorted(wanted, highest, side="right") - 1
    most_mm = np.full(len(wanted), np.inf)
    np.minimum.at(most_mm, reached, away_mm + radius_mm)
    most_mm = np.minimum.accumulate(most_mm[::-1])[::-1]
    kept = away_mm - radius_mm <= most_mm[reached] + spacing_mm.max()
    return voxels[kept[member]]


def _slices(low: NDArray[np.int64], high: NDArray[np.int64]) -> Box:
    z, y, x = (slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    return z, y, x


def _window(array: NDArray[np.generic], first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the part of an array from index `first` to before `last`, 0 beyond its edges."""
    low, high = np.maximum(first, 0), np.minimum(last, array.shape)
    part = array[_slices(low, high)].astype(np.float32)
    return np.pad(part, np.stack([low - first, last - high], axis=1))


def _placed(
    mask: NDArray[np.bool_], start: NDArray[np.int64], first: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return what of a mask that begins at index `start` lies in the window from `first` to before `last`."""
    whole = np.zeros(last - first, dtype=bool)
    low, high = np.maximum(first, start), np.minimum(last, start + mask.shape)
    if np.all(high > low):
        whole[_slices(low - first, high - first)] = mask[_slices(low - start, high - start)]
    return whole
