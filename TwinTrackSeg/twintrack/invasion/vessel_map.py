"""A vessel map brought to the grid of the map it is measured against."""

from __future__ import annotations

import numpy as np

from twintrack.errors import InputError
from twintrack.volume import Geometry, Volume

__all__ = ["fitted_to"]

LEAST_INSIDE = 0.5
"""Least share of the labelled voxels that must lie inside the other grid for both to be in the same place."""


def fitted_to(vessels: Volume, geometry: Geometry) -> tuple[Volume, str | None]:
    """Return the label map on the grid `geometry`, and a warning if it had to be resampled (nearest neighbour).

    Files know no frame of reference. Two grids are taken to be in the same one if most of what is labelled lies inside
    the other grid.

    Raises
    ------
    InputError
        If it does not.
    """
    if vessels.geometry.same_grid(geometry):
        # Files store the geometry rounded in different ways; it is the same grid.
        return Volume(vessels.array, geometry), None
    inside = _share_inside(vessels, geometry)
    if inside < LEAST_INSIDE:
        raise InputError(
            "the vessel map does not lie in the same place as the image it belongs to; give one made on that image "
            f"(image: {_describe(geometry)}; vessel map: {_describe(vessels.geometry)})"
        )
    import SimpleITK as sitk

    labels = vessels.array.astype(np.uint8 if vessels.array.max(initial=0) < 256 else np.int32)
    reference = sitk.Image(geometry.size, sitk.sitkUInt8)
    reference.SetSpacing(geometry.spacing_mm)
    reference.SetOrigin(geometry.origin_mm)
    reference.SetDirection(geometry.direction)
    moved = sitk.Resample(vessels.with_array(labels).to_sitk(), reference, sitk.Transform(), sitk.sitkNearestNeighbor)
    warning = (
        "the vessel map was resampled to the image's grid, nearest neighbour "
        f"(image: {_describe(geometry)}; vessel map: {_describe(vessels.geometry)})"
    )
    if inside < 1:
        warning += f"; {100 * (1 - inside):.0f} % of what is labelled lies outside the image"
    return Volume(sitk.GetArrayFromImage(moved), geometry), warning


def _share_inside(vessels: Volume, geometry: Geometry) -> float:
    """Return the share of the labelled voxels whose middle lies inside the grid; 1 if nothing is labelled."""
    places = np.argwhere(vessels.array > 0)[:, ::-1]
    if len(places) == 0:
        places = np.indices((2, 2, 2)).reshape(3, -1).T * (np.asarray(vessels.geometry.size) - 1)
    index = geometry.to_index(vessels.geometry.to_lps_mm(places))
    return float(np.all((index >= -0.5) & (index <= np.asarray(geometry.size) - 0.5), axis=1).mean())


def _describe(geometry: Geometry) -> str:
    """Return size, spacing, origin and direction for a message."""
    spacing = ", ".join(f"{value:.4g}" for value in geometry.spacing_mm)
    origin = ", ".join(f"{value:.5g}" for value in geometry.origin_mm)
    direction = ", ".join(f"{value:.3g}" for value in geometry.direction)
    return f"size {geometry.size}, spacing ({spacing}) mm, origin ({origin}) mm, direction ({direction})"
