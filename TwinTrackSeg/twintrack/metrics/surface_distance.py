"""Distance between two outlines, in mm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.neighbors import eroded
from twintrack.imaging.plane_contact import bounding_box

__all__ = ["TOLERANCE_MM", "OutlineDistance", "outline_distance"]

TOLERANCE_MM = 2.0
"""Outlines this close count as the same for the surface Dice score."""


@dataclass(frozen=True)
class OutlineDistance:
    r"""How far two outlines lie apart.

    An outline is the set of voxels of a mask with a face neighbour outside; distances run between voxel centres.

    Attributes
    ----------
    hd95_mm : float or None
        The larger of the two 95th percentiles of the distances from either outline to the other; 0 if both masks are
        empty, None (no distance exists) if one is.
    surface_dice : float
        :math:`(|\{a \in A: d(a, B) \le \tau\}| + |\{b \in B: d(b, A) \le \tau\}|) / (|A| + |B|)` with
        :math:`\tau` = `TOLERANCE_MM`; 1 if both masks are empty, 0 if one is.

    References
    ----------
    D. P. Huttenlocher et al., IEEE PAMI 15 (1993) 850, doi:10.1109/34.232073 (Hausdorff distance, with quantiles);
    S. Nikolov et al., J. Med. Internet Res. 23 (2021) e26151, doi:10.2196/26151 (surface Dice, here by voxel counts).
    """

    hd95_mm: float | None
    surface_dice: float


def outline_distance(
    one: NDArray[np.bool_], other: NDArray[np.bool_], spacing_mm: tuple[float, float, float]
) -> OutlineDistance:
    """Compare two (z, y, x) masks; `spacing_mm` is in (x, y, z) order."""
    from scipy.spatial import cKDTree

    points = [_outline_mm(mask, spacing_mm) for mask in (one, other)]
    empty = [len(outline) == 0 for outline in points]
    if any(empty):
        return OutlineDistance(0.0, 1.0) if all(empty) else OutlineDistance(None, 0.0)
    trees = [cKDTree(outline) for outline in points]
    distances = [trees[1].query(points[0])[0], trees[0].query(points[1])[0]]
    within = sum(int(np.count_nonzero(distance <= TOLERANCE_MM)) for distance in distances)
    hd95_mm = max(float(np.percentile(distance, 95)) for distance in distances)
    return OutlineDistance(hd95_mm, within / sum(len(outline) for outline in points))


def _outline_mm(mask: NDArray[np.bool_], spacing_mm: tuple[float, float, float]) -> NDArray[np.float64]:
    """Return the outline's voxel centres (point, z y x), in mm from the first voxel's."""
    box = bounding_box(mask)
    if box is None:
        return np.zeros((0, 3))
    inner = mask[box]
    outline = inner & ~eroded(inner)
    start = np.array([side.start for side in box])
    return (np.argwhere(outline) + start) * np.asarray(spacing_mm[::-1])
