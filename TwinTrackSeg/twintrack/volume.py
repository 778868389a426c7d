"""An image and where it lies: the one type that carries geometry through the engine."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError, OutputError
from twintrack.given_paths import is_there
from twintrack.nifti_length import check_length
from twintrack.preflight import check_memory, is_out_of_memory

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = ["FILE_ENDINGS", "Geometry", "Volume", "read_volume", "write_volume"]

FILE_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
"""Endings of the volume files that `read_volume` accepts."""

UNREADABLE = "cannot be read as an image; the file may be damaged or of another kind"

_NIBABEL_DAMAGE = (OSError, EOFError, ValueError, OverflowError, TypeError, zlib.error)
"""What nibabel raises for damaged files, beside its own errors."""

GRID_TOLERANCE = 1e-3
"""Grids whose corners differ by less than this fraction of the smallest voxel edge are the same grid."""

DIRECTION_TOLERANCE = 1e-3
"""Largest deviation of the direction matrix from an orthonormal one (NIfTI stores it in float32)."""


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
            raise InputError(f"a volume needs three axes with at least one voxel each, got size {self.size}")
        spacing = np.asarray(self.spacing_mm, dtype=float)
        if spacing.shape != (3,) or not np.all(np.isfinite(spacing)) or spacing.min() <= 0:
            raise InputError(f"voxel spacing must be three positive lengths in mm, got {self.spacing_mm}")
        if not np.all(np.isfinite(self.origin_mm)):
            raise InputError(f"the volume's origin must be finite, got {self.origin_mm}")
        matrix = self.direction_matrix
        if not np.all(np.isfinite(matrix)) or not np.allclose(matrix.T @ matrix, np.eye(3), atol=DIRECTION_TOLERANCE):
            raise InputError("the volume's axes are not perpendicular; resample it to a regular grid first")

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
            raise InputError(f"array shape {self.array.shape} does not fit the grid's (z, y, x) {self.geometry.shape}")

    @classmethod
    def from_sitk(cls, image: sitk.Image) -> Volume:
        """Take over a three-dimensional SimpleITK image."""
        import SimpleITK as sitk

        _check_kind(image.GetDimension(), image.GetNumberOfComponentsPerPixel())
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

    def to_lps(self) -> Volume:
        """Return the same voxels with axes permuted and flipped to lie closest to (L, P, S); nothing is resampled."""
        import SimpleITK as sitk

        return Volume.from_sitk(sitk.DICOMOrient(self.to_sitk(), "LPS"))

    def restored_to(self, geometry: Geometry) -> Volume:
        """Undo `to_lps`: permute and flip this volume's axes back to exactly the grid `geometry`.

        Raises
        ------
        InputError
            If `geometry` is not a permuted or flipped form of this volume's grid.
        """
        import SimpleITK as sitk

        code = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(geometry.direction)
        turned = Volume.from_sitk(sitk.DICOMOrient(self.to_sitk(), code))
        if not turned.geometry.same_grid(geometry):
            raise InputError("the volume is not a permuted or flipped form of the grid to restore it to")
        # The turned origin went through float arithmetic; the input's own numbers are exact.
        return Volume(turned.array.astype(self.array.dtype, copy=False), geometry)


def read_volume(path: str | Path, *, work_bytes: int = 0) -> Volume:
    """Read a NIfTI, NRRD or MetaImage file.

    Parameters
    ----------
    path : path
        The file.
    work_bytes : int
        Memory that the caller will take for each voxel; the header is asked whether that is there.

    Raises
    ------
    InputError
        If the file is missing, not such an image, not three-dimensional, holds values that are not finite, or does not
        fit into memory.
    MemoryError
        If memory is short all the same.
    """
    import SimpleITK as sitk

    path = Path(path)
    if not is_there(path):
        raise InputError(f"{path}: no such file")
    if not path.name.lower().endswith(FILE_ENDINGS):
        raise InputError(f"{path}: not a volume file; expected one of {', '.join(FILE_ENDINGS)}")
    try:
        size, stored = _header(path)
        # The image and its array are in memory at once.
        check_memory(size, 2 * stored + work_bytes, "the volume")
        volume = Volume.from_sitk(sitk.ReadImage(str(path)))
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise MemoryError(f"{path}: too large for the free memory") from error
        raise InputError(f"{path}: {UNREADABLE}") from error
    if volume.array.dtype.kind == "f" and not _all_finite(volume, path):
        raise InputError(f"{path}: holds voxels that are not finite (NaN or infinity); replace them and try again")
    return volume


def _check_kind(dimensions: int, values: int) -> None:
    if dimensions != 3 or values != 1:
        raise InputError(
            f"a volume must have 3 dimensions and one value a voxel, got {dimensions} dimensions and {values} values"
        )


def _header(path: Path) -> tuple[tuple[int, ...], int]:
    """Return the size (x, y, z) of a file's volume, and the bytes of one voxel; refuse what is no whole volume."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    _check_kind(reader.GetDimension(), reader.GetNumberOfComponents())
    check_length(path, reader)
    return reader.GetSize(), sitk.Image([1, 1, 1], reader.GetPixelID()).GetSizeOfPixelComponent()


def _all_finite(volume: Volume, path: Path) -> bool:
    """Whether every voxel of the file is a number; ITK's NIfTI reader silently turns those that are not into 0."""
    if path.name.lower().endswith((".nii", ".nii.gz")):
        import nibabel

        damage = (nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError, *_NIBABEL_DAMAGE)
        try:
            stored: Any = nibabel.load(path)
            return bool(np.isfinite(np.asanyarray(stored.dataobj)).all())
        except damage as error:
            raise InputError(f"{path}: {UNREADABLE}") from error
    return bool(np.isfinite(volume.array).all())


def write_volume(volume: Volume, path: str | Path) -> None:
    """Write `volume` to a NIfTI, NRRD or MetaImage file, compressed where the format allows it.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    import SimpleITK as sitk

    try:
        sitk.WriteImage(volume.to_sitk(), str(path), useCompression=True)
    except RuntimeError as error:
        raise OutputError(f"{path}: cannot be written; check the folder, its permissions and the free space") from error
