"""Where a network looks: patches placed over the region of interest, and how far the looking has come."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from twintrack.progress.callbacks import CancelToken, Progress

__all__ = ["Tile", "TileMeter", "most_tiles", "plan_tiles", "tiles_near"]

Tile = tuple[slice, slice, slice]
"""A patch's place in network space."""

TILE_STEP = 0.5
"""Largest step between tiles as a fraction of the patch: nnU-Net's default."""


@dataclass
class TileMeter:
    """Counts the tiles of all members, reports each one done and lets the user stop before each one.

    Attributes
    ----------
    total : int
        Tiles planned, over all members; may be corrected on the way.
    message : str
        What the tiles are for.
    progress, cancel
        Called with the fraction done, which never decreases; checked before every pass through a network.
    done : int
        Tiles done so far.
    network_s : float
        Seconds spent in the networks so far: of the wall clock, or of a graphics card's own.
    """

    total: int
    message: str
    progress: Progress
    cancel: CancelToken
    done: int = 0
    network_s: float = 0.0
    _furthest: float = 0.0

    def before(self) -> None:
        """Raise if the user cancelled."""
        self.cancel.check()

    def after(self, tiles: int = 1) -> None:
        """Count and report tiles."""
        self.done += tiles
        self._furthest = max(self._furthest, self.done / max(self.total, 1))
        self.progress(self._furthest, f"{self.message}: tile {self.done} of {self.total}")

    def skip(self, tiles: int) -> None:
        """Take tiles out of the plan."""
        self.total -= tiles


def plan_tiles(
    shape: tuple[int, int, int], patch: tuple[int, int, int], mask: NDArray[np.bool_] | None = None
) -> list[Tile]:
    """Place overlapping tiles over a volume, or over the part of it that matters.

    Without a mask the tiles are nnU-Net's. With one, the volume is tiled axis after axis, each time between the ends of
    the mask in the layer of tiles reached so far: a slanting organ needs fewer tiles than the box around it, and
    neighbouring tiles still overlap by half a patch. Tiles without any of the mask are left out. Of the orders of axes,
    and the tiling of the mask's box, the one with fewest tiles is taken.

    Parameters
    ----------
    shape : tuple of int
        (a, b, c), at least the patch's size.
    patch : tuple of int
        Size of a tile.
    mask : numpy.ndarray, optional
        Which voxels must lie in a tile, bool, (a, b, c).
    """
    if mask is None:
        return _place(shape, patch, None, (0, 1, 2))
    if not mask.any():
        return []
    box = np.zeros_like(mask)
    box[tuple(slice(*(_extent(mask, axis) or (0, 0))) for axis in range(3))] = True
    plans = [_place(shape, patch, mask, order) for order in itertools.permutations(range(3))]
    plans.append(_place(shape, patch, box, (0, 1, 2)))
    return min(([tile for tile in plan if mask[tile].any()] for plan in plans), key=len)


def most_tiles(shape: tuple[int, int, int], patch: tuple[int, int, int]) -> int:
    """Return how many tiles `plan_tiles` places over a whole volume, or a few more."""
    return prod(ceil(max(0, size - edge) / (edge * TILE_STEP)) + 1 for size, edge in zip(shape, patch, strict=True))


def tiles_near(tiles: Sequence[Tile], hot: Sequence[bool]) -> list[Tile]:
    """Return the tiles that are hot or share voxels with a hot one."""
    heat = [tile for tile, is_hot in zip(tiles, hot, strict=True) if is_hot]
    return [tile for tile in tiles if any(_overlap(tile, other) for other in heat)]


def _overlap(one: Tile, other: Tile) -> bool:
    return all(a.start < b.stop and b.start < a.stop for a, b in zip(one, other, strict=True))


def _place(
    shape: tuple[int, int, int], patch: tuple[int, int, int], mask: NDArray[np.bool_] | None, order: tuple[int, ...]
) -> list[Tile]:
    """Tile along the axes in `order`, each within the mask's extent in the layer chosen by the axes before."""
    layers: list[tuple[slice, ...]] = [(slice(None),) * 3]
    for axis in order:
        refined = []
        for layer in layers:
            extent = (0, shape[axis]) if mask is None else _extent(mask[layer], axis)
            for start in _starts(extent, patch[axis], shape[axis]) if extent else ():
                place = list(layer)
                place[axis] = slice(start, start + patch[axis])
                refined.append(tuple(place))
        layers = refined
    return [(a, b, c) for a, b, c in layers]


def _extent(mask: NDArray[np.bool_], axis: int) -> tuple[int, int] | None:
    (filled,) = np.nonzero(mask.any(axis=tuple(other for other in range(3) if other != axis)))
    return (int(filled[0]), int(filled[-1]) + 1) if filled.size else None


def _starts(extent: tuple[int, int], patch: int, size: int) -> list[int]:
    """Start of each tile that covers `extent`; a short extent gets one tile about its centre.

    A longer one gets, as nnU-Net does it, the fewest tiles whose starts lie no more than `TILE_STEP` of a patch apart,
    spread evenly from one end to the other.
    """
    low, high = extent
    if high - low <= patch:
        return [min(max((low + high - patch) // 2, 0), size - patch)]
    room = high - low - patch
    steps = min(ceil(room / (patch * TILE_STEP)), room)
    return [low + round(room / steps * number) for number in range(steps + 1)]
