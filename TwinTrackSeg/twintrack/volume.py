"""An image and where it lies: the one type that carries geometry through the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = ["FRACTION_TOLERANCE", "Geometry", "Volume", "check_kind", "fractions"]

LEAST_SPACING_MM, MOST_SPACING_MM, FARTHEST_MM = 1e-6, 1e6, 1e9
"""No scanner is near these; beyond, arithmetic with matrices of the grid breaks down. Headers that state micrometres or
metres lie within."""

GRID_TOLERANCE = 1e-3
"""Grids whose corners differ by less than this fraction of the smallest voxel edge are the same grid."""

DIRECTION_TOLERANCE = 1e-3
"""Largest deviation of the direction matrix from an orthonormal one (NIfTI stores it in float32)."""


FRACTION_TOLERANCE = 1e-6
"""Scores and probabilities so little below 0 or above 1, as rounding leaves them, are taken as 0 and 1."""


@dataclass(frozen=True)
class Geometry:
    """A regular voxel grid in patient space.

    Attributes
    ----------
    size : tuple of int
        Number of voxels along the index axes (i, j, k), which is (x, y, z) order.
    spacing_mm : tuple of float
        Voxel edge lengths along (i, j, k), in mm.
    origin_mm : tuple of float
        Centre of voxel (0, 0, 0) in LPS patient coordinates, in mm.
    direction : tuple of float
        The 3 x 3 direction cosines, row by row; column ``a`` is the LPS direction of index axis ``a``.
    """

    size: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        if len(self.size) != 3 or min(self.size) < 1:
            raise InputError(
                f"a volume needs three axes with at least one voxel each, got size {self.size}", code="volume-size"
            )
        spacing = np.asarray(self.spacing_mm, dtype=float)
        if spacing.shape != (3,) or not np.all(np.isfinite(spacing)) or spacing.min() <= 0:
            raise InputError(
                f"voxel spacing must be three positive lengths in mm, got {self.spacing_mm}", code="spacing-range"
            )
        if spacing.min() < LEAST_SPACING_MM or spacing.max() > MOST_SPACING_MM:
            raise InputError(
                f"voxel spacing must be {LEAST_SPACING_MM:g} to {MOST_SPACING_MM:g} mm, got {self.spacing_mm}; "
                "correct the file's header",
                code="spacing-range",
            )
        if not np.all(np.abs(self.origin_mm) <= FARTHEST_MM):  # False for what is no number
            raise InputError(
                f"the volume's origin must be finite, within {FARTHEST_MM:g} mm, got {self.origin_mm}",
                code="origin-range",
            )
        matrix = self.direction_matrix
        if not np.all(np.isfinite(matrix)) or not np.allclose(matrix.T @ matrix, np.eye(3), atol=DIRECTION_TOLERANCE):
            raise InputError(
                "the volume's axes are not perpendicular; resample it to a regular grid first", code="axes-sheared"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Array shape (z, y, x) of a volume on this grid."""
        return (self.size[2], self.size[1], self.size[0])

    @property
    def direction_matrix(self) -> NDArray[np.float64]:
        """The 3 x 3 direction cosines (LPS rows, index-axis columns)."""
        return np.asarray(self.direction, dtype=float).reshape(3, 3)

    @property
    def affine(self) -> NDArray[np.float64]:
        """4 x 4 matrix from voxel index (i, j, k) to LPS mm."""
        affine = np.eye(4)
        affine[:3, :3] = self.direction_matrix * np.asarray(self.spacing_mm)
        affine[:3, 3] = self.origin_mm
        return affine

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in mL."""
        return float(np.prod(self.spacing_mm)) / 1000.0

    def to_lps_mm(self, index_xyz: NDArray[np.floating] | NDArray[np.integer]) -> NDArray[np.float64]:
        """Map voxel indices (..., 3) in (x, y, z) order to LPS points in mm."""
        return np.asarray(index_xyz, dtype=float) @ self.affine[:3, :3].T + self.affine[:3, 3]

    def to_index(self, lps_mm: NDArray[np.floating]) -> NDArray[np.float64]:
        """Map LPS points (..., 3) in mm to continuous voxel indices in (x, y, z) order."""
        inverse = np.linalg.inv(self.affine)
        return np.asarray(lps_mm, dtype=float) @ inverse[:3, :3].T + inverse[:3, 3]

    def turned(self, order: Sequence[int], flips: Sequence[bool]) -> Geometry:
        """Return the grid whose index axis ``a`` is this one's ``order[a]``, and runs the other way if ``flips[a]``."""
        matrix, size = self.direction_matrix[:, list(order)], [self.size[axis] for axis in order]
        spacing = np.asarray(self.spacing_mm)[list(order)]
        origin = np.asarray(self.origin_mm, dtype=float)
        for axis in range(3):
            if flips[axis]:
                origin = origin + matrix[:, axis] * spacing[axis] * (size[axis] - 1)
        turned = np.where(flips, 0.0 - matrix, matrix)
        x, y, z = size
        return Geometry((x, y, z), tuple(spacing.tolist()), tuple(origin.tolist()), tuple(turned.ravel().tolist()))

    def same_grid(self, other: Geometry) -> bool:
        """Whether `other` has the same voxels at the same places, to within `GRID_TOLERANCE` of a voxel."""
        if self.size != other.size:
            return False
        last = np.asarray(self.size) - 1
        corners = np.array([(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]) * last
        gap_mm = np.abs(self.to_lps_mm(corners) - other.to_lps_mm(corners)).max()
        return bool(gap_mm <= GRID_TOLERANCE * min(self.spacing_mm))


@dataclass(frozen=True)
class Volume:
    """A 3-D array and its grid.

    Attributes
    ----------
    array : numpy.ndarray
        Voxel values in (z, y, x) order: HU for a CT, probability in [0, 1] for a map, integers for labels.
    geometry : Geometry
        The grid; its ``shape`` equals ``array.shape``.
    """

    array: NDArray[Any]
    geometry: Geometry

    def __post_init__(self) -> None:
        if self.array.shape != self.geometry.shape:
            raise InputError(
                f"array shape {self.array.shape} does not fit the grid's (z, y, x) {self.geometry.shape}",
                code="grid-differs",
            )

    @classmethod
    def from_sitk(cls, image: sitk.Image) -> Volume:
        """Take over a three-dimensional SimpleITK image."""
        import SimpleITK as sitk

        check_kind(image.GetDimension(), image.GetNumberOfComponentsPerPixel())
        geometry = Geometry(image.GetSize(), image.GetSpacing(), image.GetOrigin(), image.GetDirection())
        return cls(sitk.GetArrayFromImage(image), geometry)

    def to_sitk(self) -> sitk.Image:
        """Return a SimpleITK image of the same voxels on the same grid (booleans become uint8)."""
        import SimpleITK as sitk

        array = self.array.astype(np.uint8) if self.array.dtype == bool else self.array
        image = sitk.GetImageFromArray(np.ascontiguousarray(array))
        image.SetSpacing(self.geometry.spacing_mm)
        image.SetOrigin(self.geometry.origin_mm)
        image.SetDirection(self.geometry.direction)
        return image

    def with_array(self, array: NDArray[Any]) -> Volume:
        """Return `array` (z, y, x) on this volume's grid."""
        return Volume(array, self.geometry)

    def cut(self, box: tuple[slice, slice, slice]) -> Volume:
        """Return the voxels of a box, given by first and last index in (z, y, x) order, in their place; a view."""
        array = self.array[box]
        origin = self.geometry.to_lps_mm(np.array([side.start for side in reversed(box)]))
        x, y, z = origin.tolist()
        depth, height, width = array.shape
        grid = replace(self.geometry, size=(width, height, depth), origin_mm=(x, y, z))
        return Volume(array, grid)

    def to_lps(self) -> Volume:
        """Return the same voxels with axes permuted and flipped to lie closest to (L, P, S); nothing is resampled.

        A volume that lies so already is returned itself.
        """
        return self._turned(np.eye(3))

    def restored_to(self, geometry: Geometry) -> Volume:
        """Undo `to_lps`: permute and flip this volume's axes back to exactly the grid `geometry`.

        The array is this volume's own if there is nothing to turn.

        Raises
        ------
        InputError
            If `geometry` is not a permuted or flipped form of this volume's grid.
        """
        turned = self._turned(geometry.direction_matrix)
        if not turned.geometry.same_grid(geometry):
            raise InputError(
                "the volume is not a permuted or flipped form of the grid to restore it to", code="grid-differs"
            )
        # The turned origin went through float arithmetic; the input's own numbers are exact.
        return Volume(turned.array, geometry)

    def _turned(self, wanted: NDArray[np.float64]) -> Volume:
        """Return the volume with its index axes along the same patient axes as those of a direction matrix."""
        along, sign = _patient_axes(self.geometry.direction_matrix)
        wanted_along, wanted_sign = _patient_axes(wanted)
        order = [along.index(axis) for axis in wanted_along]
        flips = [sign[source] != wanted_sign[axis] for axis, source in enumerate(order)]
        if order == [0, 1, 2] and not any(flips):
            return self
        array = self.array.transpose([2 - order[2 - axis] for axis in range(3)])
        array = np.flip(array, tuple(2 - axis for axis in range(3) if flips[axis]))
        return Volume(np.ascontiguousarray(array), self.geometry.turned(order, flips))


def _patient_axes(direction: NDArray[np.float64]) -> tuple[list[int], list[bool]]:
    """Return the patient axis (0, 1, 2 for L, P, S) that each index axis runs along, and whether it does so upwards.

    The largest cosine of all settles its two axes first; of equal ones the last, as ITK has it.
    """
    along, upwards = [0, 0, 0], [True, True, True]
    left = [(row, column) for row in range(3) for column in range(3)]
    while left:
        row, column = max(reversed(left), key=lambda place: abs(direction[place]))
        along[column], upwards[column] = row, bool(direction[row, column] > 0)
        left = [place for place in left if place[0] != row and place[1] != column]
    return along, upwards


def check_kind(dimensions: int, values: int) -> None:
    """Refuse an image that is not three-dimensional, or has more than one value a voxel."""
    if dimensions != 3 or values != 1:
        raise InputError(
            f"a volume must have 3 dimensions and one value a voxel, got {dimensions} dimensions and {values} values",
            code="volume-dimensions",
        )


def fractions(array: NDArray[Any], what: str) -> NDArray[Any]:
    """Return an array of scores or probabilities within [0, 1]; what lies within `FRACTION_TOLERANCE` of it is clipped.

    Parameters
    ----------
    array : numpy.ndarray
        Any shape and kind of number; returned as it is where nothing has to be clipped.
    what : str
        What it is, at the beginning of the message.

    Raises
    ------
    InputError
        If values lie farther away, or are no numbers; says what they look like and what to do.
    """
    if array.size == 0:
        return array
    low, high = float(array.min()), float(array.max())
    if low >= 0 and high <= 1:
        return array
    if not (low >= -FRACTION_TOLERANCE and high <= 1 + FRACTION_TOLERANCE):
        raise InputError(
            f"{what} must lie between 0 and 1, got {low:g} to {high:g}; {_remedy(array, low, high)}",
            code="probability-range",
        )
    return np.clip(array, 0, 1)


def _remedy(array: NDArray[Any], low: float, high: float) -> str:
    """Say how values that are no fractions become such."""
    if not low <= high:
        return "put 0 where there is no number"
    if low < -FRACTION_TOLERANCE:
        return "give the softmax or sigmoid of the networks, no logits and no CT"
    whole = array.dtype.kind in "iub" or bool((array == np.floor(array)).all())
    if high <= 100:
        return "percent? divide by 100" + ("; steps of 1/255? divide by 255" if whole else "")
    if whole and high <= 255:
        return "whole numbers, steps of 1/255? divide by 255"
    if whole and high <= 65535:
        return "whole numbers, steps of 1/65535? divide by 65535"
    return "give fractions of 1"
