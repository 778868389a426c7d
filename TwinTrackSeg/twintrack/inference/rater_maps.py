"""What each rater of a bundle would draw: maps of the raters' own networks or outputs, and how far they lie apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.bundle.rater_entries import RaterMember
from twintrack.inference.roi import Roi
from twintrack.volume import Geometry, Volume

__all__ = ["DRAWN", "RaterMaps", "RaterSums", "rater_spread"]

DRAWN = 0.5
"""A rater rather draws a voxel than not from this probability on."""


@dataclass(frozen=True)
class RaterMaps:
    """The maps of single raters, kept small: the whole grid is made when one is asked for.

    Attributes
    ----------
    roi : Roi
        The region.
    turned, grid : Geometry
        The CT's grid in LPS axes, on which `roi` lies, and as it was read.
    maps : mapping of str to numpy.ndarray
        By rater, the probability that this rater would draw a voxel, float16 in [0, 1], (z, y, x) of the region's box.
    spread : numpy.ndarray
        Standard deviation over the raters, float16 in [0, 0.5], (z, y, x) of the box.
    """

    roi: Roi
    turned: Geometry
    grid: Geometry
    maps: Mapping[str, NDArray[np.float16]]
    spread: NDArray[np.float16]

    def volume(self, rater: str) -> Volume:
        """Return a rater's map on the grid of the CT as it was read, float32, 0 outside the region."""
        return self._whole(self.maps[rater])

    def disagreement(self) -> Volume:
        """Return the spread over the raters on the grid of the CT as it was read, float32, 0 outside the region."""
        return self._whole(self.spread)

    def volume_ml(self, rater: str) -> float:
        """Return the volume in mL that the rater rather draws than not."""
        return float(np.count_nonzero(self.maps[rater] >= DRAWN)) * self.turned.voxel_ml

    def _whole(self, part: NDArray[np.float16]) -> Volume:
        return Volume(self.roi.paste(part.astype(np.float32), self.turned), self.turned).restored_to(self.grid)


class RaterSums:
    """The mean over each rater's networks, as they predict one after the other.

    Parameters
    ----------
    raters : sequence of RaterMember
        Those of the bundle, with members.
    """

    def __init__(self, raters: Sequence[RaterMember]) -> None:
        self._raters = raters
        self._sums: dict[str, NDArray[np.float32]] = {}
        self._missing = {rater.id: set(rater.members) for rater in raters}
        self._done: dict[str, NDArray[np.float16]] = {}

    def add(self, member: str, score: NDArray[np.float32]) -> None:
        """Add a network's score, float32, (z, y, x); a rater whose last network it is takes half the memory then."""
        rater = next(rater for rater in self._raters if member in rater.members)
        self._sums[rater.id] = self._sums[rater.id] + score if rater.id in self._sums else score
        self._missing[rater.id].discard(member)
        if not self._missing[rater.id]:
            self._done[rater.id] = (self._sums.pop(rater.id) / len(rater.members)).astype(np.float16)

    def maps(self) -> dict[str, NDArray[np.float16]]:
        """Return the maps of all raters, in their order; all networks have been added."""
        return {rater.id: self._done[rater.id] for rater in self._raters}


def rater_spread(maps: Sequence[NDArray[np.float16]]) -> NDArray[np.float16]:
    """Return the standard deviation over the raters' maps, (z, y, x), one slice at a time."""
    spread = np.zeros_like(maps[0])
    for slice_, *layers in zip(spread, *maps, strict=True):
        slice_[...] = np.std(np.stack(layers).astype(np.float32), axis=0)
    return spread
