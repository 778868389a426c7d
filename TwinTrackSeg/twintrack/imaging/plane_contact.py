r"""How many degrees of a vessel's outline a tumour touches in the image planes, as the CURVAS-PDACVI challenge counts.

The count is kept for comparison with published numbers only: it works on pixels, ignores the spacing, looks for tumour
on the right and below but not on the left and above, and can exceed 360 degrees. The clinical readout is the contact in
the vessel's own cross-section (`twintrack.invasion`).

In one slice let ``D`` be the tumour dilated by the 4-neighbour cross, ``E`` the vessel without its erosion by the same
cross (pixels beyond the slice are background), and ``Lo = D \ E``. A pixel of ``E`` counts once if it lies in ``D``;
otherwise it counts once for each of these that holds: its right neighbour is in ``Lo``; the one below is; the one below
right is; any of right and below is. The degrees are the counts over the pixels of ``E`` times 360, and the result is
the largest over all slices of a plane.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["PLANE_AXES", "REACH", "Box", "bounding_box", "plane_contact_curves_deg", "plane_contact_deg"]

PLANE_AXES = {"axial": 0, "coronal": 1, "sagittal": 2}
"""Array axis a plane is perpendicular to, for (z, y, x) arrays in LPS order.

The challenge's code calls axis 0 "cor", axis 1 "sag" and axis 2 "ax" whatever the array's order is, so on the same
(z, y, x) array our axial, coronal and sagittal values are its cor, sag and ax values.
"""

REACH = 2
"""Pixels beyond the vessel's outline that can influence the count: one of dilation, one of the neighbour test."""

Box = tuple[slice, slice, slice]


def plane_contact_deg(tumour: NDArray[np.generic], vessel: NDArray[np.generic]) -> NDArray[np.float64]:
    """Measure one tumour mask against one vessel mask.

    Parameters
    ----------
    tumour, vessel : numpy.ndarray
        Masks of equal three-dimensional shape; every value other than 0 is inside.

    Returns
    -------
    numpy.ndarray
        Largest contact in degrees over the slices perpendicular to array axis 0, 1 and 2; shape (3,). Zero where
        nothing touches or one of the masks is empty.
    """
    return plane_contact_curves_deg(np.asarray(tumour) != 0, np.asarray(vessel) != 0, [0.5])[:, 0]


def plane_contact_curves_deg(
    probability: NDArray[np.generic], vessel: NDArray[np.bool_], thresholds: Sequence[float]
) -> NDArray[np.float64]:
    """Measure the tumours ``probability > threshold`` against one vessel mask.

    The comparison is strict and made in double precision, as the challenge's code does under numpy 2.

    Parameters
    ----------
    probability : numpy.ndarray
        Three-dimensional map in [0, 1].
    vessel : numpy.ndarray of bool
        Vessel mask of the same shape.
    thresholds : sequence of float
        Levels, in any order.

    Returns
    -------
    numpy.ndarray
        Degrees, shape (3, number of thresholds); row ``a`` holds the slices perpendicular to array axis ``a``.
    """
    degrees = np.zeros((3, len(thresholds)))
    box = bounding_box(vessel, REACH)
    if box is None:
        return degrees
    # A little below the lowest threshold, as single-precision numbers round: this only says where to look.
    zone = bounding_box(np.greater(probability[box], 0.999 * min(thresholds, default=0.0) - 1e-6), REACH)
    if zone is None:
        return degrees
    padded = _padded(zone)
    near = np.pad(probability[box][zone].astype(np.float64), REACH)
    inside = np.pad(vessel[box], REACH)
    edges, edge_counts = [], []
    for axis in range(3):
        edge = _edge(inside, axis)
        edge_counts.append(np.count_nonzero(edge, axis=_others(axis))[padded[axis]])
        edges.append(edge[padded])
    for column, threshold in enumerate(thresholds):
        tumour = near > threshold
        around = bounding_box(tumour, REACH)
        if around is None:
            continue
        for axis in range(3):
            counts = _contact_counts(tumour[around], edges[axis][around], axis)
            pixels = edge_counts[axis][around[axis]]
            # Multiplied in this order, which decides the last bit.
            slices_deg = np.divide(counts, pixels, out=np.zeros(counts.shape), where=pixels > 0) * 360
            degrees[axis, column] = slices_deg.max()
    return degrees


def bounding_box(mask: NDArray[np.bool_], margin: int = 0) -> Box | None:
    """Return the smallest box that holds `mask` and `margin` voxels more, within the array; None if it is empty."""
    slices: list[slice] = []
    for axis in range(3):
        hits = np.flatnonzero(mask.any(axis=_others(axis)))
        if hits.size == 0:
            return None
        slices.append(slice(max(int(hits[0]) - margin, 0), min(int(hits[-1]) + 1 + margin, mask.shape[axis])))
    return slices[0], slices[1], slices[2]


def _padded(box: Box) -> Box:
    """Return where a box and `REACH` voxels around it lie in the array padded by as many."""
    z, y, x = (slice(s.start, s.stop + 2 * REACH) for s in box)
    return z, y, x


def _others(axis: int) -> tuple[int, int]:
    """Return the rows' and the columns' axis of a slice perpendicular to `axis`."""
    first, second = (a for a in range(3) if a != axis)
    return first, second


def _neighbour(mask: NDArray[np.bool_], axis: int, step: int) -> NDArray[np.bool_]:
    """Return for every voxel the value of the one `step` (+1 or -1) further along `axis`; beyond the array is False."""
    shifted = np.zeros_like(mask)
    to: list[slice] = [slice(None)] * 3
    source: list[slice] = [slice(None)] * 3
    to[axis], source[axis] = (slice(None, -1), slice(1, None)) if step > 0 else (slice(1, None), slice(None, -1))
    shifted[tuple(to)] = mask[tuple(source)]
    return shifted


def _edge(vessel: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    """Return the vessel pixels with a background 4-neighbour in their slice."""
    inner = vessel.copy()
    for other in _others(axis):
        inner &= _neighbour(vessel, other, 1) & _neighbour(vessel, other, -1)
    edge: NDArray[np.bool_] = vessel & ~inner
    return edge


def _contact_counts(tumour: NDArray[np.bool_], edge: NDArray[np.bool_], axis: int) -> NDArray[np.int64]:
    """Return the contact count of every slice perpendicular to `axis`."""
    row, column = _others(axis)
    dilated = tumour.copy()
    for other in (row, column):
        dilated |= _neighbour(tumour, other, 1) | _neighbour(tumour, other, -1)
    outside = dilated & ~edge
    open_edge = edge & ~dilated
    right, below = _neighbour(outside, column, 1), _neighbour(outside, row, 1)
    diagonal = _neighbour(right, row, 1)
    counts = np.zeros(edge.shape[axis], dtype=np.int64)
    for hits in (
        edge & dilated,
        open_edge & right,
        open_edge & below,
        open_edge & diagonal,
        open_edge & (right | below),
    ):
        counts += np.count_nonzero(hits, axis=(row, column))
    return counts
