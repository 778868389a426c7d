"""Order the slices of a series by where they lie, and check that they can be one stack."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.dicom.read.headers import Header
from twintrack.errors import InputError

__all__ = ["Stack", "stack_slices"]

ORIENTATION_TOLERANCE = 1e-3
"""Largest difference between direction cosines, of slices of one series or from perpendicular axes."""

PIXEL_SPACING_TOLERANCE = 1e-4
"""Largest relative difference of the pixel spacings of slices of one series."""

SMALLEST_SPACING_MM, LARGEST_SPACING_MM = 0.01, 20.0
"""Pixels of a CT are not smaller or larger than this."""

SAME_POSITION_MM = 0.01
"""Slices closer than this lie at the same place."""

FARTHEST_MM = 1e5
"""No slice lies farther from the origin than this."""


@dataclass(frozen=True)
class Stack:
    """Parallel slices of one size by ascending position along row direction x column direction.

    Attributes
    ----------
    slices : list of Header
        The slices in this order.
    positions_mm : numpy.ndarray
        (slice, 3): LPS position of the first pixel of each, as its header states it.
    offsets_mm : numpy.ndarray
        (slice, 3): the same from the first slice on, along the axes (i, j, k).
    axes : numpy.ndarray
        Direction matrix (LPS rows, columns i, j, k), right-handed: i runs along an image row, j down a column.
    size : tuple of int
        (columns, rows).
    spacing_mm : tuple of float
        Pixel edges along (i, j).
    """

    slices: list[Header]
    positions_mm: NDArray[np.float64]
    offsets_mm: NDArray[np.float64]
    axes: NDArray[np.float64]
    size: tuple[int, int]
    spacing_mm: tuple[float, float]

    @property
    def along_mm(self) -> NDArray[np.float64]:
        """(slice,): how far each slice lies from the first one, along the normal of the slices."""
        return self.offsets_mm[:, 2]


def stack_slices(headers: Sequence[Header]) -> Stack:
    """Sort slices along their common normal.

    Only ImagePositionPatient, ImageOrientationPatient and PixelSpacing are used: slice thickness, instance numbers and
    SpacingBetweenSlices are often wrong.

    Parameters
    ----------
    headers : sequence of Header
        The slices of one series, in any order.

    Raises
    ------
    InputError
        If there are fewer than two slices, if they differ in size, orientation, pixel spacing or frame of reference,
        or if two lie at one place.
    """
    if len(headers) < 2:
        raise InputError(
            "the series has a single slice; a volume needs at least 2", code="single-slice", path=headers[0].place
        )
    first = _check_alike(headers)
    axes = _axes(first)
    positions = np.array([_position_mm(header) for header in headers])
    order = np.argsort(positions @ axes[:, 2], kind="stable")
    slices, positions = [headers[index] for index in order], positions[order]
    offsets = (positions - positions[0]) @ axes
    _check_distinct(slices, offsets[:, 2])
    return Stack(slices, positions, offsets, axes, first.size, _spacing_mm(first))


def _position_mm(header: Header) -> tuple[float, ...]:
    position = header.numbers("ImagePositionPatient", 3)
    if max(abs(value) for value in position) > FARTHEST_MM:
        raise InputError(
            "ImagePositionPatient lies beyond any patient; export the series again",
            code="dicom-header",
            path=header.place,
        )
    return position


def _axes(header: Header) -> NDArray[np.float64]:
    """Return the direction matrix (LPS rows, columns i, j, k) of a slice."""
    cosines = np.array(header.numbers("ImageOrientationPatient", 6)).reshape(2, 3)
    if not np.allclose(cosines @ cosines.T, np.eye(2), atol=ORIENTATION_TOLERANCE):
        raise InputError(
            "ImageOrientationPatient does not hold two perpendicular unit vectors; export the original series again",
            code="dicom-header",
            path=header.place,
        )
    normal = np.cross(cosines[0], cosines[1])
    return np.column_stack([cosines[0], cosines[1], normal / np.linalg.norm(normal)])


def _spacing_mm(header: Header) -> tuple[float, float]:
    """Return the in-plane voxel edges along (i, j); PixelSpacing lists the distance of rows first."""
    row_distance, column_distance = header.numbers("PixelSpacing", 2)
    if min(row_distance, column_distance) <= 0:
        raise InputError(
            "PixelSpacing must be positive; export the original series again", code="dicom-header", path=header.place
        )
    if (
        not SMALLEST_SPACING_MM
        <= min(row_distance, column_distance)
        <= max(row_distance, column_distance)
        <= LARGEST_SPACING_MM
    ):
        raise InputError(
            f"PixelSpacing is {row_distance:g} x {column_distance:g} mm, which no CT has; "
            "export the original series again",
            code="dicom-header",
            path=header.place,
        )
    return column_distance, row_distance


def _check_alike(headers: Sequence[Header]) -> Header:
    """Check that slices can belong to one stack, and return one that stands for all.

    The message names a slice that is unlike the most of them, and how many more are.
    """
    kinds: list[tuple[str, list[tuple[float, ...]], float, float]] = [
        ("size", [header.size for header in headers], 0.0, 0.0),
        (
            "orientation",
            [header.numbers("ImageOrientationPatient", 6) for header in headers],
            0.0,
            ORIENTATION_TOLERANCE,
        ),
        ("pixel spacing", [_spacing_mm(header) for header in headers], PIXEL_SPACING_TOLERANCE, 0.0),
    ]
    for what, values, relative, absolute in kinds:
        array = np.array(values, dtype=float)
        common = np.array(Counter(map(tuple, array.round(4).tolist())).most_common(1)[0][0])
        like = int(np.abs(array - common).sum(axis=1).argmin())
        unlike = ~np.isclose(array, array[like], rtol=relative, atol=absolute).all(axis=1)
        _refuse_odd_ones(headers, what, [str(value) for value in values], unlike, like)
    frames = [header.text("FrameOfReferenceUID") for header in headers]
    common_frame = Counter(frames).most_common(1)[0][0]
    odd = np.array([frame != common_frame for frame in frames])
    shown = [frame or "(none)" for frame in frames]
    _refuse_odd_ones(headers, "frame of reference", shown, odd, frames.index(common_frame))
    return headers[0]


def _refuse_odd_ones(
    headers: Sequence[Header], what: str, values: Sequence[str], unlike: NDArray[np.bool_], like: int
) -> None:
    """Raise if any of the slices is `unlike` the one of index `like`."""
    if not unlike.any():
        return
    worst = int(np.flatnonzero(unlike)[0])
    more = int(unlike.sum()) - 1
    others = f" (and that of {more} more slice{'s' * (more > 1)})" if more else ""
    raise InputError(
        f"its {what} {values[worst]}{others} differs from {values[like]} of "
        f"{headers[like].name}; the series is not one stack, export the reconstruction you mean as a series of its own",
        code="slices-differ",
        path=headers[worst].place,
    )


def _check_distinct(slices: Sequence[Header], along_mm: NDArray[np.float64]) -> None:
    """Check that no two slices lie at the same place."""
    same = np.flatnonzero(np.diff(along_mm) < SAME_POSITION_MM)
    if same.size:
        k = int(same[0])
        raise InputError(
            f"{slices[k].name} and {slices[k + 1].name} lie at the same position "
            f"({along_mm[k]:.2f} mm above the lowest slice; {same.size} such pair{'s' * (same.size > 1)}); "
            "keep one phase or copy of the series",
            code="slices-coincide",
            path=slices[k].folder,
        )
