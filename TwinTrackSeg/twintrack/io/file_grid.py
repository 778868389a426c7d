"""The grid of a volume file whose axes are not quite, or not at all, perpendicular.

A gantry that is tilted leaves sheared slices, which converters write as a sheared affine; a registration leaves small
shears by rounding. Everything here works on upright grids, so a sheared volume is shifted onto one, as a sheared DICOM
series is, and what was found is brought back to the file's own voxels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from twintrack.dicom.read.grid import MOST_TILT_DEG
from twintrack.dicom.read.layout import SliceLayout
from twintrack.dicom.read.stack import LARGEST_SPACING_MM, SMALLEST_SPACING_MM
from twintrack.errors import InputError
from twintrack.volume import DIRECTION_TOLERANCE, Geometry, Volume

__all__ = ["FileGrid", "check_spacing", "grid_of", "mm_of_unit", "no_spacing"]

ROUNDING = 1e-6
"""Cosines between axes below this are what single precision leaves of 0."""

_MM = {
    **dict.fromkeys(("", "???", "?", "mm", "millimeter", "millimeters", "millimetre", "millimetres"), 1.0),
    **dict.fromkeys(("cm", "centimeter", "centimeters", "centimetre", "centimetres"), 10.0),
    **dict.fromkeys(("m", "meter", "meters", "metre", "metres"), 1000.0),
    **dict.fromkeys(("um", "\u00b5m", "\u03bcm", "micron", "microns", "micrometer", "micrometers"), 0.001),
}
"""Length in mm of the units that headers state as words; one that says nothing is taken as mm."""

Size = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class FileGrid:
    """Where the voxels of a file lie, and the way to the grid that its volume was read onto.

    Attributes
    ----------
    stored : Geometry
        As many voxels as the file has, on the perpendicular axes nearest to its own.
    affine : numpy.ndarray
        4 x 4, from the file's voxel index (i, j, k) to LPS mm: the file's own, sheared.
    read : Geometry
        The grid of the volume; `stored` where no voxel was moved.
    layout : SliceLayout or None
        How the file's planes lie on `read`; None where no voxel was moved.
    axis : int
        The index axis (0 to 2) across the planes.
    """

    stored: Geometry
    affine: NDArray[np.float64]
    read: Geometry
    layout: SliceLayout | None = None
    axis: int = 2

    def upright(self, array: NDArray[np.generic], *, labels: bool, outside: float) -> NDArray[np.generic]:
        """Return the file's voxels (z, y, x) on the grid `read`: labels are moved whole, other values interpolated."""
        if self.layout is None:
            return array
        planes = np.moveaxis(array, 2 - self.axis, 0)
        if labels:
            moved: NDArray[np.generic] = self.layout.labels_to_grid(planes)
        else:
            grid = self.layout.to_grid(planes, outside)
            whole = array.dtype.kind in "iu"
            moved = np.rint(grid).astype(array.dtype) if whole else grid.astype(array.dtype, copy=False)
        return np.ascontiguousarray(np.moveaxis(moved, 0, 2 - self.axis))

    def own_voxels(self, volume: Volume) -> Volume:
        """Return a volume that lies on `read` on the file's own voxels, which `stored` only counts.

        Raises
        ------
        InputError
            If it lies on another grid.
        """
        if not volume.geometry.same_grid(self.read):
            raise InputError(
                "the volume lies on another grid than that which the file was read onto", code="grid-differs"
            )
        if self.layout is None:
            return Volume(volume.array, self.stored)
        planes = np.moveaxis(volume.array, 2 - self.axis, 0)
        if volume.array.dtype.kind == "f":
            moved: NDArray[np.generic] = self.layout.to_slices(planes).astype(volume.array.dtype, copy=False)
        else:
            moved = self.layout.labels_to_slices(planes)
        return Volume(np.ascontiguousarray(np.moveaxis(moved, 0, 2 - self.axis)), self.stored)


def check_spacing(lengths_mm: NDArray[np.float64], unit: str = "") -> None:
    """Refuse voxels of a size that no CT has; `unit` is what the file states its lengths in, if that is not mm.

    Raises
    ------
    InputError
        Without naming the file.
    """
    if np.all((lengths_mm >= SMALLEST_SPACING_MM) & (lengths_mm <= LARGEST_SPACING_MM)):
        return
    size = " x ".join(f"{length:.4g}" for length in lengths_mm)
    stated = f" (its header states {unit})" if unit else ""
    raise InputError(
        f"states voxels of {size} mm{stated}, which no CT has ({SMALLEST_SPACING_MM:g} to {LARGEST_SPACING_MM:g} mm); "
        "correct the spacing or its unit in the header",
        code="spacing-range",
    )


def mm_of_unit(word: str) -> float:
    """Return the length in mm of a unit.

    Raises
    ------
    InputError
        If it is no unit of length.
    """
    word = word.strip().strip('"')
    mm = _MM.get(word.lower())
    if mm is None:
        raise InputError(
            f"states its lengths in {word[:20]!r}, which is not read; write them in mm", code="unit-unknown"
        )
    return mm


def no_spacing(field: str) -> InputError:
    """Return the error for a file that does not say how large its voxels are."""
    return InputError(
        f"does not say how large its voxels are (no {field}); export it again with its spacing", code="spacing-missing"
    )


def grid_of(size: Size, affine: NDArray[np.float64]) -> tuple[Geometry, FileGrid | None, tuple[str, ...]]:
    """Return the grid of a file's voxels, the way to an upright one where they are sheared, and what to say of it.

    Axes within `DIRECTION_TOLERANCE` of perpendicular are taken as such, and no voxel is moved.

    Parameters
    ----------
    size : tuple of int
        Voxels along (i, j, k).
    affine : numpy.ndarray
        4 x 4, from voxel index to LPS mm; with lengths that are not 0.

    Raises
    ------
    InputError
        If the axes are sheared in more than one direction, or by more than a gantry tilts.
    """
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / lengths
    cosines = np.abs(axes.T @ axes - np.eye(3))
    if cosines.max() <= ROUNDING:
        return _geometry(size, lengths, affine[:3, 3], axes), None, ()
    left, _, right = np.linalg.svd(axes)
    stored = _geometry(size, lengths, affine[:3, 3], left @ right)
    if cosines.max() <= DIRECTION_TOLERANCE:
        return stored, FileGrid(stored, affine, stored), ()
    for axis in (2, 1, 0):
        if cosines[tuple(n for n in range(3) if n != axis)] <= DIRECTION_TOLERANCE and size[axis] > 1:
            grid = _upright(size, affine, axis, stored)
            return stored, grid, (_shear_note(size, affine, axis),)
    first, second = np.unravel_index(int(cosines.argmax()), (3, 3))
    off_mm = cosines[first, second] * lengths[second] * (size[second] - 1)
    raise InputError(
        f"states axes sheared in more than one direction (up to {off_mm:.1f} mm at the far end), as no scanner "
        "leaves them; resample it to a regular grid first",
        code="axes-sheared",
    )


def _upright(size: Size, affine: NDArray[np.float64], axis: int, stored: Geometry) -> FileGrid:
    """Return the upright grid that holds all planes across `axis`."""
    p, q = (n for n in range(3) if n != axis)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    normal = np.cross(affine[:3, p], affine[:3, q])
    normal *= np.sign(normal @ affine[:3, axis]) / np.linalg.norm(normal)
    first = affine[:3, p] / lengths[p]
    second = affine[:3, q] - first * (first @ affine[:3, q])
    turned = np.column_stack([first, second / np.linalg.norm(second), normal])
    step = turned.T @ affine[:3, axis]
    tilt_deg = float(np.degrees(np.arctan2(np.linalg.norm(step[:2]), step[2])))
    if tilt_deg > MOST_TILT_DEG:
        off_mm = float(np.linalg.norm(step[:2])) * (size[axis] - 1)
        raise InputError(
            f"states axes that are sheared by {tilt_deg:.1f} degrees ({off_mm:.1f} mm at the far end), more than a "
            "gantry tilts; convert the original series again",
            code="axes-sheared",
        )
    shift = np.arange(size[axis])[:, None] * (step[:2] / lengths[[p, q]])
    start = np.floor(shift.min(axis=0))
    wide = (np.array([size[p], size[q]]) + np.ceil(shift.max(axis=0)) - start).astype(int)
    origin = affine[:3, 3] + turned[:, :2] @ (start * lengths[[p, q]])
    spacing = np.array([lengths[p], lengths[q], step[2]])
    planes = _geometry((int(wide[0]), int(wide[1]), size[axis]), spacing, origin, turned)
    layout = SliceLayout(planes, (size[p], size[q]), shift - start, np.arange(size[axis], dtype=float))
    back = np.argsort([p, q, axis])
    a, b, c = (planes.size[n] for n in back)
    return FileGrid(stored, affine, _geometry((a, b, c), spacing[back], origin, turned[:, back]), layout, axis)


def _shear_note(size: Size, affine: NDArray[np.float64], axis: int) -> str:
    p, q = (n for n in range(3) if n != axis)
    normal = np.cross(affine[:3, p], affine[:3, q])
    normal /= np.linalg.norm(normal)
    step = affine[:3, axis]
    sideways_mm = float(np.linalg.norm(step - normal * (normal @ step)))
    tilt_deg = float(np.degrees(np.arctan2(sideways_mm, abs(normal @ step))))
    return (
        f"The slices are sheared by {tilt_deg:.1f} degrees, {sideways_mm * (size[axis] - 1):.1f} mm from the first to "
        "the last (gantry tilt); they were shifted onto an upright grid, and results back onto the file's own voxels."
    )


def _geometry(
    size: Size, spacing: NDArray[np.float64], origin: NDArray[np.float64], axes: NDArray[np.float64]
) -> Geometry:
    i, j, k = (float(value) for value in spacing)
    x, y, z = (float(value) for value in origin)
    return Geometry(size, (i, j, k), (x, y, z), tuple((axes + 0.0).ravel().tolist()))
