"""Order the slices of a series and derive its voxel grid from where they lie."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from twintrack.dicom.headers import Header
from twintrack.errors import InputError
from twintrack.volume import Geometry

__all__ = ["stack_slices"]

ORIENTATION_TOLERANCE = 1e-3
"""Largest difference between direction cosines, of slices of one series or from perpendicular axes."""

PIXEL_SPACING_TOLERANCE = 1e-4
"""Largest relative difference of the pixel spacings of slices of one series."""

SAME_POSITION_MM = 0.01
"""Slices closer than this lie at the same place."""

OFF_GRID_TOLERANCE = 0.1
"""Fraction of the slice distance by which a slice may lie off the regular grid."""

SIDEWAYS_TOLERANCE = 0.1
"""Fraction of the pixel spacing by which a slice may be shifted within its plane."""

LARGE_GAP = 1.4
"""A gap of more than this many slice distances is told at once."""

WHOLE_GAP_TOLERANCE = 0.1
"""A gap this close to a multiple of the slice distance (in slices) is told as missing slices."""


def stack_slices(headers: Sequence[Header]) -> tuple[list[Header], Geometry]:
    """Sort slices along their common normal and return them with the grid they form.

    Only ImagePositionPatient, ImageOrientationPatient and PixelSpacing are used: slice thickness, instance numbers and
    SpacingBetweenSlices are often wrong.

    Parameters
    ----------
    headers : sequence of Header
        The slices of one series, in any order.

    Returns
    -------
    ordered : list of Header
        The slices by ascending position along row direction x column direction: array index z, grid index k.
    geometry : Geometry
        The grid in LPS mm: i runs along an image row, j down a column, k through the slices (right-handed).

    Raises
    ------
    InputError
        If there are fewer than two slices, if they differ in size, orientation or pixel spacing, if two lie at one
        place, if some are missing or unevenly spaced, or if the stack is sheared (gantry tilt).
    """
    first = headers[0]
    if len(headers) < 2:
        raise InputError(f"{first.path}: the series has a single slice; a volume needs at least 2")
    axes = _axes(first)
    for header in headers[1:]:
        _check_alike(first, header)
    positions = np.array([header.numbers("ImagePositionPatient", 3) for header in headers])
    along = positions @ axes[:, 2]
    order = np.argsort(along, kind="stable")
    ordered = [headers[index] for index in order]
    positions, along = positions[order], along[order]
    _check_gaps(ordered, along)
    spacing = _spacing_mm(first)
    _check_upright(ordered, positions, axes, spacing)
    geometry = Geometry(
        size=(*first.size, len(ordered)),
        spacing_mm=(*spacing, float(along[-1] - along[0]) / (len(ordered) - 1)),
        origin_mm=(float(positions[0, 0]), float(positions[0, 1]), float(positions[0, 2])),
        direction=tuple(axes.ravel().tolist()),
    )
    return ordered, geometry


def _axes(header: Header) -> NDArray[np.float64]:
    """Return the direction matrix (LPS rows, columns i, j, k) of a slice."""
    cosines = np.array(header.numbers("ImageOrientationPatient", 6)).reshape(2, 3)
    if not np.allclose(cosines @ cosines.T, np.eye(2), atol=ORIENTATION_TOLERANCE):
        raise InputError(
            f"{header.path}: ImageOrientationPatient does not hold two perpendicular unit vectors; "
            "export the original series again"
        )
    normal = np.cross(cosines[0], cosines[1])
    return np.column_stack([cosines[0], cosines[1], normal / np.linalg.norm(normal)])


def _spacing_mm(header: Header) -> tuple[float, float]:
    """Return the in-plane voxel edges along (i, j); PixelSpacing lists the distance of rows first."""
    row_distance, column_distance = header.numbers("PixelSpacing", 2)
    if min(row_distance, column_distance) <= 0:
        raise InputError(f"{header.path}: PixelSpacing must be positive; export the original series again")
    return column_distance, row_distance


def _check_alike(first: Header, other: Header) -> None:
    """Check that two slices can belong to one stack."""

    def differs(what: str, one: object, two: object) -> InputError:
        return InputError(
            f"{other.path}: its {what} {two} differs from {one} of {first.path.name}; "
            "the series is not one stack, export the reconstruction you mean as a series of its own"
        )

    if first.size != other.size:
        raise differs("size", first.size, other.size)
    turned = (first.numbers("ImageOrientationPatient", 6), other.numbers("ImageOrientationPatient", 6))
    if not np.allclose(turned[0], turned[1], rtol=0, atol=ORIENTATION_TOLERANCE):
        raise differs("orientation", *turned)
    spacings = (_spacing_mm(first), _spacing_mm(other))
    if not np.allclose(spacings[0], spacings[1], rtol=PIXEL_SPACING_TOLERANCE, atol=0):
        raise differs("pixel spacing", *spacings)
    frames = [header.text("FrameOfReferenceUID") for header in (first, other)]
    if frames[0] != frames[1]:
        raise differs("frame of reference", *frames)


def _check_gaps(ordered: Sequence[Header], along_mm: NDArray[np.float64]) -> None:
    """Check that the sorted slices are distinct and evenly spaced."""
    gaps = np.diff(along_mm)
    for k in np.flatnonzero(gaps < SAME_POSITION_MM).tolist():
        raise InputError(
            f"{ordered[k].path.parent}: {ordered[k].path.name} and {ordered[k + 1].path.name} lie at the same position "
            f"({along_mm[k]:.2f} mm along the slice normal); keep one phase or copy of the series in the folder"
        )
    # The lower median is a true gap even where every second slice of three is missing.
    usual = float(np.sort(gaps)[(len(gaps) - 1) // 2])
    for k in np.flatnonzero(gaps > LARGE_GAP * usual).tolist():
        missing = round(gaps[k] / usual) - 1
        whole = missing >= 1 and abs(gaps[k] / usual - round(gaps[k] / usual)) <= WHOLE_GAP_TOLERANCE
        what = f"{missing} slice{'s' * (missing > 1)} missing" if whole else "uneven slice distance"
        raise _gap_error(what, ordered, along_mm, k, usual)
    regular = np.linspace(along_mm[0], along_mm[-1], len(along_mm))
    off = np.abs(along_mm - regular)
    if off.max() > OFF_GRID_TOLERANCE * usual:
        # Tell the gap that is furthest from the usual one.
        raise _gap_error("uneven slice distance", ordered, along_mm, int(np.abs(gaps - usual).argmax()), usual)


def _gap_error(
    what: str, ordered: Sequence[Header], along_mm: NDArray[np.float64], k: int, usual_mm: float
) -> InputError:
    return InputError(
        f"{ordered[k].path.parent}: {what} between {ordered[k].path.name} at {along_mm[k]:.2f} mm and "
        f"{ordered[k + 1].path.name} at {along_mm[k + 1]:.2f} mm along the slice normal (slices {k + 1} and {k + 2} of "
        f"{len(ordered)}; usual distance {usual_mm:.2f} mm); export the complete series"
    )


def _check_upright(
    ordered: Sequence[Header],
    positions_mm: NDArray[np.float64],
    axes: NDArray[np.float64],
    spacing_mm: tuple[float, float],
) -> None:
    """Check that the slices lie straight above each other."""
    offsets = (positions_mm - positions_mm[0]) @ axes
    sideways = np.linalg.norm(offsets[:, :2], axis=1)
    if sideways.max() <= SIDEWAYS_TOLERANCE * min(spacing_mm):
        return
    folder = ordered[0].path.parent
    line = offsets[:, 2:] / offsets[-1, 2] * offsets[-1, :2]
    if np.abs(offsets[:, :2] - line).max() <= SIDEWAYS_TOLERANCE * min(spacing_mm):
        tilt_deg = float(np.degrees(np.arctan2(sideways[-1], offsets[-1, 2])))
        raise InputError(
            f"{folder}: the stack is sheared by {tilt_deg:.1f} degrees (gantry tilt), so its voxels are not "
            "rectangular; resample the series to a regular grid first, for instance in 3D Slicer, and give that volume"
        )
    worst = int(sideways.argmax())
    raise InputError(
        f"{ordered[worst].path}: the slice is shifted sideways by {sideways[worst]:.2f} mm against the first one; "
        "the series is not one stack, export the reconstruction you mean as a series of its own"
    )
