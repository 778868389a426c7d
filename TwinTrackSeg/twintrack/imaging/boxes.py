"""Where in a volume something lies, found slice by slice, so that no copy of the volume is made."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.plane_contact import Box

__all__ = ["box_from", "grown", "inner_box", "union"]


def box_from(array: NDArray[np.generic], level: float) -> Box | None:
    """Return the smallest box that holds every voxel of at least `level`; None if there is none.

    The comparison is made in the array's own precision, to which `level` is rounded. For every value above `level` in
    double precision that still holds, so the box is never too small for ``array > level``.
    """
    hits = [np.zeros(length, dtype=bool) for length in array.shape]
    limit = array.dtype.type(level) if array.dtype.kind == "f" else level
    for number, plane in enumerate(array):
        hit = plane >= limit
        if hit.any():
            hits[0][number] = True
            hits[1] |= hit.any(axis=1)
            hits[2] |= hit.any(axis=0)
    if not hits[0].any():
        return None
    first, last = zip(*((int(np.argmax(hit)), len(hit) - int(np.argmax(hit[::-1]))) for hit in hits), strict=True)
    return slice(first[0], last[0]), slice(first[1], last[1]), slice(first[2], last[2])


def union(boxes: Iterable[Box | None]) -> Box | None:
    """Return the smallest box that holds all boxes that are not None."""
    held = [box for box in boxes if box is not None]
    if not held:
        return None
    z, y, x = (slice(min(box[axis].start for box in held), max(box[axis].stop for box in held)) for axis in range(3))
    return z, y, x


def grown(box: tuple[slice, ...], below: int, above: int, shape: tuple[int, ...]) -> Box:
    """Return `box` with `below` and `above` voxels more at its two ends of every axis, cut at the volume's border."""
    z, y, x = (
        slice(max(side.start - below, 0), min(side.stop + above, length))
        for side, length in zip(box, shape, strict=True)
    )
    return z, y, x


def inner_box(box: Box, place: tuple[slice, ...]) -> Box:
    """Return where `place`, a box in the array cut out by `box`, lies in the whole array."""
    z, y, x = (slice(o.start + i.start, o.start + i.stop) for o, i in zip(box, place, strict=True))
    return z, y, x
