"""Volume files: NIfTI, NRRD and MetaImage, read with what is wrong with them said, and written."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from twintrack.errors import InputError, OutputError
from twintrack.io.nifti_length import check_length
from twintrack.system.capacity import check_memory, is_out_of_memory
from twintrack.system.paths import is_there
from twintrack.volume import Volume, check_kind

__all__ = ["FILE_ENDINGS", "read_volume", "write_volume"]

FILE_ENDINGS = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
"""Endings of the volume files that `read_volume` accepts."""

UNREADABLE = "cannot be read as an image; the file may be damaged or of another kind"

_NIBABEL_DAMAGE = (OSError, EOFError, ValueError, OverflowError, TypeError, zlib.error)
"""What nibabel raises for damaged files, beside its own errors."""


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


def _header(path: Path) -> tuple[tuple[int, ...], int]:
    """Return the size (x, y, z) of a file's volume, and the bytes of one voxel; refuse what is no whole volume."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    check_kind(reader.GetDimension(), reader.GetNumberOfComponents())
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
