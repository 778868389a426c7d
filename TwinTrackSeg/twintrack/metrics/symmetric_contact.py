"""Contact of a tumour with a vessel's outline in the image planes, counted alike on all sides and each pixel once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.plane_contact import bounding_box

__all__ = ["symmetric_contact_deg"]


def symmetric_contact_deg(tumours: Sequence[NDArray[np.bool_]], vessel: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the largest contact over the slices of each plane.

    The protocol's count (`twintrack.imaging.plane_contact`) looks for tumour to the right and below but not to the left
    and above, may count a pixel four times, and exceeds 360 degrees. Here a pixel of the vessel's edge is in contact if
    it lies in the tumour dilated by the 4-neighbour cross, or any of its eight neighbours outside the vessel does; the
    degrees are 360 times the fraction of edge pixels in contact. Mirroring the slice changes nothing.

    Parameters
    ----------
    tumours : sequence of numpy.ndarray
        Masks (z, y, x), as many as shall be measured.
    vessel : numpy.ndarray
        Mask of the same shape; the vessel should keep two voxels from the crop's border unless it is the volume's.

    Returns
    -------
    numpy.ndarray
        Degrees (3, tumour); row ``a`` holds the slices perpendicular to array axis ``a``.
    """
    degrees = np.zeros((3, len(tumours)))
    for axis in range(3):
        cross, square = (np.expand_dims(shape, axis) for shape in _neighbourhoods())
        edge = vessel & ~_eroded(vessel, cross)
        others = tuple(other for other in range(3) if other != axis)
        pixels = np.count_nonzero(edge, axis=others)
        for column, tumour in enumerate(tumours):
            if bounding_box(tumour) is None:
                continue
            around = _dilated(tumour, cross)
            touching = edge & (around | _dilated(around & ~vessel, square))
            counts = np.count_nonzero(touching, axis=others)
            fractions = np.divide(counts, pixels, out=np.zeros(counts.shape), where=pixels > 0)
            degrees[axis, column] = 360 * fractions.max()
    return degrees


def _neighbourhoods() -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return the 4-neighbour cross and the 8-neighbour square."""
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)
    return cross, np.ones((3, 3), dtype=bool)


def _dilated(mask: NDArray[np.bool_], structure: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    dilated: NDArray[np.bool_] = ndimage.binary_dilation(mask, structure)
    return dilated


def _eroded(mask: NDArray[np.bool_], structure: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy import ndimage

    eroded: NDArray[np.bool_] = ndimage.binary_erosion(mask, structure)
    return eroded
