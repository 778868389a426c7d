"""The CURVAS-PDACVI per-plane degrees of one vessel, under the names of the anatomic planes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from twintrack.imaging.plane_contact import PLANE_AXES, plane_contact_curves_deg

__all__ = ["protocol_degrees"]


def protocol_degrees(
    probability: NDArray[np.generic], vessel: NDArray[np.bool_], thresholds: Sequence[float]
) -> dict[str, list[float]]:
    """Return the largest degrees over the axial, coronal and sagittal slices for each threshold.

    The arrays are (z, y, x) in LPS order: axial slices have constant z (array axis 0), coronal ones constant y
    (axis 1), sagittal ones constant x (axis 2). See `twintrack.imaging.plane_contact` for the count and its traps.
    """
    degrees = plane_contact_curves_deg(probability, vessel, thresholds)
    return {plane: [float(value) for value in degrees[axis]] for plane, axis in PLANE_AXES.items()}
