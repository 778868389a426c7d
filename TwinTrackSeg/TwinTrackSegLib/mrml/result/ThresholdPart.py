"""What the slider needs of the map, prepared once: the part that a threshold can select, its volumes and boxes."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twintrack.volume import Volume
from TwinTrackSegLib.mrml.Boxes import Box, boundingBox, cropped, grown

__all__ = ["ThresholdPart"]


class ThresholdPart:
    """The part of a map with values from `lowest` on, with look-up tables of what depends on the threshold.

    Parameters
    ----------
    whole : Volume
        The map, on the CT's grid; its memory is shared, not copied.
    lowest : float
        The lowest threshold that will be asked for.
    """

    def __init__(self, whole: Volume, lowest: float) -> None:
        nothing = (slice(0, 1), slice(0, 1), slice(0, 1))
        box = boundingBox(whole.array >= lowest)
        self.box: Box = nothing if box is None else grown(box, whole.array.shape)
        self.volume = cropped(whole, self.box)
        array = self.volume.array
        self._sorted = np.sort(array[array >= lowest], axis=None)
        # The largest value of every plane says at once where any threshold begins and ends.
        self._highest = [array.max(axis=tuple(other for other in range(3) if other != axis)) for axis in range(3)]

    @property
    def voxels(self) -> NDArray[np.generic]:
        """The values (z, y, x), a view of the map."""
        return self.volume.array

    def volumeMl(self, threshold: float) -> float:
        """Return the volume at or above `threshold`, in mL: a look-up among the sorted values."""
        first = np.searchsorted(self._sorted, np.asarray(threshold, dtype=self._sorted.dtype), side="left")
        return float(self._sorted.size - first) * self.volume.geometry.voxel_ml

    def at(self, threshold: float) -> Volume | None:
        """Return the smallest part that holds all values at or above `threshold`; None if there are none."""
        sides = [np.flatnonzero(highest >= threshold) for highest in self._highest]
        if any(side.size == 0 for side in sides):
            return None
        z, y, x = (slice(int(side[0]), int(side[-1]) + 1) for side in sides)
        return cropped(self.volume, grown((z, y, x), self.voxels.shape))
