"""Samples of a network of slices on the CT's grid, kept small: one bit a voxel and sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.inference.roi import Roi
from twintrack.volume import Geometry, Volume

__all__ = ["SampleSet"]


@dataclass(frozen=True)
class SampleSet:
    """Outlines that raters might draw.

    Attributes
    ----------
    roi : Roi
        The region.
    turned, grid : Geometry
        The CT's grid in LPS axes, on which `roi` lies, and as it was read.
    bits : numpy.ndarray
        Bit s (value ``2 ** s``) says that sample s marks the voxel, uint16, (z, y, x) of the region's box.
    count : int
        Number of samples, 1 to 16.
    """

    roi: Roi
    turned: Geometry
    grid: Geometry
    bits: NDArray[np.uint16]
    count: int

    def volume(self) -> Volume:
        """Return the bits on the grid of the CT as it was read, uint16, 0 outside the region."""
        return Volume(self.roi.paste(self.bits, self.turned), self.turned).restored_to(self.grid)

    def volumes_ml(self) -> list[float]:
        """Return the volume in mL that each sample marks."""
        marked = [np.count_nonzero(self.bits & np.uint16(1 << number)) for number in range(self.count)]
        return [float(voxels) * self.turned.voxel_ml for voxels in marked]
