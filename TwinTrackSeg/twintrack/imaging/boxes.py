"""Where in a volume something lies, found slice by slice, so that no copy of the volume is made."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.plane_contact import Box

__all__ = ["box_from", "grown", "inner_box", "label_boxes", "union"]


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


def label_boxes(labels: NDArray[np.integer], most: int) -> list[Box | None]:
    """Return the box of each label from 1 to `most`; None for one that a label map (z, y, x) does not hold.

    What `scipy.ndimage.find_objects` does, without a look at what lies outside the box of all labels.
    """
    from scipy import ndimage

    array = labels.view(np.uint8) if labels.dtype == bool else labels
    seen = array.max(axis=0, initial=0)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if len(rows) == 0:
        return [None] * most
    y, x = (slice(int(hits[0]), int(hits[-1]) + 1) for hits in (rows, columns))
    box = (slice(0, len(array)), y, x)
    return [None if place is None else inner_box(box, place) for place in ndimage.find_objects(array[box], most)]


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
