"""The labelled stretches of a label map's rows: most of a volume is labelled by nothing, and costs nothing here.

Connected parts are found among stretches of equal labels instead of voxels, for all labels at once: what
`scipy.ndimage.label` finds label by label, in a part of the time and without a volume of 32-bit numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.plane_contact import Box

__all__ = ["Runs"]

Numbers = NDArray[np.int64]

FACES = ((0, 1), (1, 0))
EVERY_NEIGHBOR = (*FACES, (1, -1), (1, 1))
"""Rows beside a row that come after it, as steps along (z, y)."""


@dataclass(frozen=True)
class Runs:
    """Stretches of one label along the last axis of a map (z, y, x), in the order of its voxels.

    Attributes
    ----------
    start, length : numpy.ndarray of int
        Number of the first voxel, counted through the whole map, and the number of voxels; shape (n,).
    value : numpy.ndarray
        The label; shape (n,).
    shape : tuple of int
        Of the map.
    """

    start: Numbers
    length: Numbers
    value: NDArray[np.unsignedinteger]
    shape: tuple[int, ...]

    @classmethod
    def of(cls, labels: NDArray[np.unsignedinteger]) -> Runs:
        """Return the stretches that are not 0."""
        flat = np.ascontiguousarray(labels).ravel()
        if not flat.size:
            return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), flat, labels.shape)
        begins = np.empty(flat.size, dtype=bool)
        np.not_equal(flat[1:], flat[:-1], out=begins[1:])
        begins.reshape(labels.shape)[..., 0] = True
        start = np.flatnonzero(begins)
        length = np.diff(start, append=flat.size)
        labelled = flat[start] != 0
        return cls(start[labelled], length[labelled], flat[start[labelled]], labels.shape)

    @cached_property
    def voxels(self) -> Numbers:
        """Number of each labelled voxel, rising; shape (m,)."""
        before = np.cumsum(self.length) - self.length
        return np.asarray(np.arange(int(self.length.sum())) + np.repeat(self.start - before, self.length))

    def to_voxels(self, each: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return what each stretch has (n,) for each of its voxels (m,)."""
        return np.repeat(each, self.length)

    def only(self, wanted: NDArray[np.bool_] | Numbers) -> Runs:
        """Return some of the stretches."""
        return Runs(self.start[wanted], self.length[wanted], self.value[wanted], self.shape)

    @cached_property
    def box(self) -> Box:
        """The smallest box that holds all stretches, of which there must be one."""
        _, rows, columns = self.shape
        row, first = self.start // columns, self.start % columns
        z, y = row // rows, row % rows
        ends = ((z, z + 1), (y, y + 1), (first, first + self.length))
        z_box, y_box, x_box = (slice(int(low.min()), int(high.max())) for low, high in ends)
        return z_box, y_box, x_box

    def mask_in(self, box: Box) -> NDArray[np.bool_]:
        """Return where the labelled voxels are in a box that holds them all."""
        mask = np.zeros(tuple(side.stop - side.start for side in box), dtype=bool)
        places = np.unravel_index(self.voxels, self.shape)
        mask[tuple(place - side.start for place, side in zip(places, box, strict=True))] = True
        return mask

    def by_part(self) -> list[Runs]:
        """Return the connected parts (see `parts`) in the order of their first voxels."""
        part, count = self.parts()
        order = np.argsort(part, kind="stable")
        return [self.only(some) for some in np.split(order, np.cumsum(np.bincount(part, minlength=count))[:-1])[:count]]

    def parts(self, *, by_faces: bool = False) -> tuple[NDArray[np.int32], int]:
        """Return the number of the connected part that each stretch belongs to, from 0, and how many there are.

        Parts have one label each, and are numbered in the order of their first voxels. Voxels are neighbours that share
        a face, an edge or a corner, or faces alone.
        """
        from scipy import sparse
        from scipy.sparse import csgraph

        beyond, steps = (0, FACES) if by_faces else (1, EVERY_NEIGHBOR)
        some, others = (np.concatenate(side) for side in zip(*(self._beside(s, beyond) for s in steps), strict=True))
        same = self.value[some] == self.value[others]
        # csgraph before scipy 1.16 takes 32-bit indices only.
        some, others = some[same].astype(np.int32), others[same].astype(np.int32)
        count = len(self.start)
        joined = sparse.csr_array((np.ones(len(some), dtype=np.int8), (some, others)), shape=(count, count))
        number, part = csgraph.connected_components(joined, directed=False)
        _, first = np.unique(part, return_index=True)
        order = np.empty(int(number), dtype=np.int32)
        order[np.argsort(first)] = np.arange(number, dtype=np.int32)
        return order[part], int(number)

    def _beside(self, step: tuple[int, int], beyond: int) -> tuple[Numbers, Numbers]:
        """Return the pairs of stretches that lie beside each other in two rows, `step` along (z, y) apart.

        A stretch reaches `beyond` voxels further than it is long.
        """
        slices, rows, columns = self.shape
        row = self.start // columns
        z, y = row // rows + step[0], row % rows + step[1]
        (here,) = np.nonzero((z < slices) & (y >= 0) & (y < rows))
        other_row = (z[here] * rows + y[here]) * columns
        first = self.start[here] % columns
        low = other_row + np.maximum(first - beyond, 0)
        high = other_row + np.minimum(first + self.length[here] + beyond, columns)
        begin = np.searchsorted(self.start + self.length, low, side="right")
        count = np.maximum(np.searchsorted(self.start, high, side="left") - begin, 0)
        before = np.cumsum(count) - count
        others = np.arange(int(count.sum())) + np.repeat(begin - before, count)
        return np.repeat(here, count), others
