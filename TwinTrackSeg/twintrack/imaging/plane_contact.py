r"""How many degrees of a vessel's outline a tumour touches in the image planes, as the CURVAS-PDACVI challenge counts.

The count is kept for comparison with published numbers only: it works on pixels, ignores the spacing, looks for tumour
on the right and below but not on the left and above, and can exceed 360 degrees. The clinical readout is the contact in
the vessel's own cross-section (`twintrack.invasion`).

In one slice let ``D`` be the tumour dilated by the 4-neighbour cross, ``E`` the vessel without its erosion by the same
cross (pixels beyond the slice are background), and ``Lo = D \ E``. A pixel of ``E`` counts once if it lies in ``D``;
otherwise it counts once for each of these that holds: its right neighbour is in ``Lo``; the one below is; the one below
right is; any of right and below is. The degrees are the counts over the pixels of ``E`` times 360, and the result is
the largest over all slices of a plane.

All thresholds are counted at once: for a map ``D`` is the largest value over the cross, and a pixel counts above every
threshold that its value exceeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "PLANE_AXES",
    "REACH",
    "Box",
    "PlaneEdge",
    "VesselEdges",
    "bounding_box",
    "plane_contact_curves_deg",
    "plane_contact_deg",
]

PLANE_AXES = {"axial": 0, "coronal": 1, "sagittal": 2}
"""Array axis a plane is perpendicular to, for (z, y, x) arrays in LPS order.

The challenge's code calls axis 0 "cor", axis 1 "sag" and axis 2 "ax" whatever the array's order is, so on the same
(z, y, x) array our axial, coronal and sagittal values are its cor, sag and ax values.
"""

CROSS = ((0, 1), (0, -1), (1, 0), (-1, 0))
"""Rows and columns from a pixel to its 4-neighbours."""

REACH = 2
"""Pixels beyond the vessel's outline that can influence the count: one of dilation, one of the neighbour test."""

Box = tuple[slice, slice, slice]


def plane_contact_deg(tumor: NDArray[np.generic], vessel: NDArray[np.generic] | VesselEdges) -> NDArray[np.float64]:
    """Measure one tumour mask against one vessel mask.

    Parameters
    ----------
    tumor : numpy.ndarray
        Three-dimensional mask; every value other than 0 is inside.
    vessel : numpy.ndarray or VesselEdges
        Mask of the same shape, or its edges.

    Returns
    -------
    numpy.ndarray
        Largest contact in degrees over the slices perpendicular to array axis 0, 1 and 2; shape (3,). Zero where
        nothing touches or one of the masks is empty.
    """
    edges = vessel if isinstance(vessel, VesselEdges) else VesselEdges.of(np.asarray(vessel) != 0)
    return plane_contact_curves_deg(np.asarray(tumor) != 0, edges, [0.5])[:, 0]


def plane_contact_curves_deg(
    probability: NDArray[np.generic], vessel: NDArray[np.bool_] | VesselEdges, thresholds: Sequence[float]
) -> NDArray[np.float64]:
    """Measure the tumours ``probability > threshold`` against one vessel mask.

    The comparison is strict and made in double precision, as the challenge's code does under numpy 2.

    Parameters
    ----------
    probability : numpy.ndarray
        Three-dimensional map in [0, 1].
    vessel : numpy.ndarray of bool or VesselEdges
        Vessel mask of the same shape, or its edges.
    thresholds : sequence of float
        Levels in [0, 1], in any order.

    Returns
    -------
    numpy.ndarray
        Degrees, shape (3, number of thresholds); row ``a`` holds the slices perpendicular to array axis ``a``.
    """
    edges = vessel if isinstance(vessel, VesselEdges) else VesselEdges.of(vessel)
    degrees = np.zeros((3, len(thresholds)))
    order = np.argsort(thresholds)
    rising = np.asarray(thresholds, dtype=np.float64)[order]
    values = edges.around(probability)
    for axis, plane in enumerate(edges.planes):
        own = plane.passed(values, rising)
        right, below, diagonal = (
            np.where(plane.of(plane.edge, *step), 0, plane.passed(values, rising, *step))
            for step in ((0, 1), (1, 0), (1, 1))
        )
        # A pixel in D counts once, another one as often as it has one of four things: so each of the four counts where
        # it is above the threshold or the pixel itself is, and of the pixel's own four counts three are too many.
        counts = -3 * plane.counts(own, len(rising))
        for other in (right, below, diagonal, np.maximum(right, below)):
            counts += plane.counts(np.maximum(own, other), len(rising))
        degrees[axis, order] = plane.largest_deg(counts)
    return degrees


@dataclass(frozen=True)
class PlaneEdge:
    """The edge pixels of a vessel in the slices perpendicular to one axis.

    Attributes
    ----------
    edge : numpy.ndarray of bool
        The vessel's pixels with a background 4-neighbour in their slice; the shape of `VesselEdges.vessel`.
    pixels : numpy.ndarray of int
        Where in the flat `edge` they are; shape (n,).
    slices : numpy.ndarray of int
        The slice of each; shape (n,).
    steps : tuple of int
        From a pixel to the next row and the next column in the flat array.
    """

    edge: NDArray[np.bool_]
    pixels: NDArray[np.intp]
    slices: NDArray[np.intp]
    steps: tuple[int, int]

    def of(self, part: NDArray[np.generic], rows: int = 0, columns: int = 0) -> NDArray[np.generic]:
        """Return what an array of `edge`'s shape holds so many rows and columns from each edge pixel; shape (n,)."""
        return _beside(part, self.pixels, rows * self.steps[0] + columns * self.steps[1])

    def passed(
        self, values: NDArray[np.generic], rising: NDArray[np.float64], rows: int = 0, columns: int = 0
    ) -> NDArray[np.intp]:
        """Return how many of the rising thresholds the largest value exceeds, over a cross beside each edge pixel."""
        largest = self.of(values, rows, columns)
        for row, column in CROSS:
            largest = np.maximum(largest, self.of(values, rows + row, columns + column))
        return np.searchsorted(rising, largest.astype(np.float64), side="left")

    def counts(self, passed: NDArray[np.intp], thresholds: int) -> NDArray[np.intp]:
        """Return the number of edge pixels in each slice that exceed each threshold; shape (slices, thresholds)."""
        rows = int(self.slices.max(initial=-1)) + 1
        found = np.bincount(self.slices * (thresholds + 1) + passed, minlength=rows * (thresholds + 1))
        above = found.reshape(rows, thresholds + 1)[:, :0:-1]
        return np.cumsum(above, axis=1)[:, ::-1]

    def largest_deg(self, counts: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return the degrees of the slice with the most, for counts (slices, thresholds); shape (thresholds,)."""
        whole = np.bincount(self.slices, minlength=len(counts))[:, None]
        # Multiplied in this order, which decides the last bit.
        slices_deg = np.divide(counts, whole, out=np.zeros(counts.shape), where=whole > 0) * 360
        largest: NDArray[np.float64] = slices_deg.max(axis=0, initial=0.0)
        return largest


@dataclass(frozen=True)
class VesselEdges:
    """The edge pixels of a vessel in all three planes, for maps of the vessel mask's shape.

    Attributes
    ----------
    box : tuple of slice
        The part of the maps that matters: the vessel and `REACH` voxels more.
    vessel : numpy.ndarray of bool
        The vessel in this box, with `REACH` voxels of background around.
    planes : tuple of PlaneEdge
        Perpendicular to array axis 0, 1 and 2; nothing for an empty vessel.
    """

    box: Box
    vessel: NDArray[np.bool_]
    planes: tuple[PlaneEdge, ...]

    @classmethod
    def of(cls, vessel: NDArray[np.bool_]) -> VesselEdges:
        """Find the edges of a mask (z, y, x)."""
        box = bounding_box(vessel, REACH)
        if box is None:
            nothing = slice(0, 0)
            return cls((nothing, nothing, nothing), np.zeros((0, 0, 0), dtype=bool), ())
        inside = np.ascontiguousarray(np.pad(vessel[box], REACH))
        places = np.flatnonzero(inside)
        strides = (inside.shape[1] * inside.shape[2], inside.shape[2], 1)
        planes = []
        for axis in range(3):
            row, column = (strides[other] for other in _others(axis))
            inner = np.ones(len(places), dtype=bool)
            for step in (row, -row, column, -column):
                inner &= _beside(inside, places, step)
            pixels = places[~inner]
            edge = np.zeros_like(inside)
            edge.ravel()[pixels] = True
            planes.append(PlaneEdge(edge, pixels, pixels // strides[axis] % inside.shape[axis], (row, column)))
        return cls(box, inside, tuple(planes))

    def around(self, values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Return the part of an array that matters, 0 beyond the array's edges; the shape of `vessel`."""
        return np.ascontiguousarray(np.pad(values[self.box], REACH))


def _beside(part: NDArray[np.generic], places: NDArray[np.intp], step: int) -> NDArray[np.generic]:
    """Return what an array holds `step` after each place, both counted in the flat array."""
    # The array's start is moved, not each place.
    return part.ravel()[step:][places] if step >= 0 else part.ravel()[places + step]


def bounding_box(mask: NDArray[np.bool_], margin: int = 0) -> Box | None:
    """Return the smallest box that holds `mask` and `margin` voxels more, within the array; None if it is empty."""
    slices: list[slice] = []
    for axis in range(3):
        hits = np.flatnonzero(mask.any(axis=_others(axis)))
        if hits.size == 0:
            return None
        slices.append(slice(max(int(hits[0]) - margin, 0), min(int(hits[-1]) + 1 + margin, mask.shape[axis])))
    return slices[0], slices[1], slices[2]


def _others(axis: int) -> tuple[int, int]:
    """Return the rows' and the columns' axis of a slice perpendicular to `axis`."""
    first, second = (a for a in range(3) if a != axis)
    return first, second
