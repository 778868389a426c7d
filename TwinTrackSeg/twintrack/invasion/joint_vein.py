"""Portal vein and superior mesenteric vein as the one vessel that they are to a surgeon.

Where one ends and the other begins is a convention of whoever labels them. Contact over that border belongs to both,
and is as long and as far around as it is on the two together.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.neighbors import grown_all_around
from twintrack.imaging.plane_contact import Box
from twintrack.invasion.resectability import known_vessel
from twintrack.labels import JOINT_VEIN, JOINT_VEIN_PARTS

__all__ = ["joined_veins"]


def joined_veins(
    labels: NDArray[np.generic], names: Mapping[str, int], boxes: Mapping[str, Box | None]
) -> tuple[tuple[int, int], Box] | None:
    """Return the label values and the box of both veins together.

    Parameters
    ----------
    labels : numpy.ndarray
        Label map, (z, y, x).
    names : mapping of str to int
        Label value of each vessel, under any name that the rule tables know.
    boxes : mapping of str to tuple of slice or None
        Where each of them lies; None for one that the map does not hold.

    Returns
    -------
    tuple or None
        None unless each of the two has one label, both are there and touch each other, and no label has both already.
    """
    known = {name: known_vessel(name) for name in names}
    parts = [[name for name in names if known[name] == part] for part in JOINT_VEIN_PARTS]
    if any(len(part) != 1 for part in parts) or JOINT_VEIN in (*names, *known.values()):
        return None
    (one,), (other,) = parts
    first, second = boxes[one], boxes[other]
    if first is None or second is None:
        return None
    both = _around(first, second, labels.shape, 0)
    # Only where both are near can they touch.
    border = _shared(_around(first, first, labels.shape, 1), second)
    if border is None:
        return None
    grown = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in border)
    part = labels[grown]
    touching = grown_all_around(part == names[one]) & (part == names[other])
    return ((names[one], names[other]), both) if touching.any() else None


def _around(one: Box, other: Box, shape: tuple[int, ...], margin: int) -> Box:
    """Return the box around two boxes, with `margin` voxels on each side, within the array."""
    z, y, x = (
        slice(max(min(a.start, b.start) - margin, 0), min(max(a.stop, b.stop) + margin, n))
        for a, b, n in zip(one, other, shape, strict=True)
    )
    return z, y, x


def _shared(one: Box, other: Box) -> Box | None:
    """Return what two boxes share."""
    z, y, x = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return (z, y, x) if all(side.stop > side.start for side in (z, y, x)) else None
