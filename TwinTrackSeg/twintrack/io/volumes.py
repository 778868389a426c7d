"""Volume files: NIfTI, NRRD and MetaImage, read with what is wrong with them said, and written.

This is the one reader of such files. A stranger's file is read in stages, each of which ends before the next begins:
it is a regular file; its header is read within limits, by code of ours; the memory that the header asks for is there;
then the voxels are read in one pass, with their checksum, and must be exactly as many as the header says
(`voxel_file`). No native reader sees the file.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError, OutputError, locating
from twintrack.io.file_grid import FileGrid
from twintrack.io.metaimage import metaimage_layout
from twintrack.io.nifti import nifti_layout, write_nifti
from twintrack.io.nrrd import nrrd_layout
from twintrack.io.voxel_file import Layout, read_voxels, shown
from twintrack.system.capacity import check_memory
from twintrack.system.paths import is_there
from twintrack.volume import Geometry, Volume

__all__ = [
    "FILE_ENDINGS",
    "Room",
    "StoredVolume",
    "check_single_file",
    "read_stored",
    "read_volume",
    "stored_geometry",
    "write_volume",
]

logger = logging.getLogger(__name__)

_LAYOUTS = {
    ".nii": nifti_layout,
    ".nii.gz": nifti_layout,
    ".nrrd": nrrd_layout,
    ".nhdr": nrrd_layout,
    ".mha": metaimage_layout,
    ".mhd": metaimage_layout,
}

FILE_ENDINGS = tuple(_LAYOUTS)
"""Endings of the volume files that `read_volume` accepts."""

Room: TypeAlias = Callable[[Geometry, np.dtype[Any]], NDArray[Any]]
"""Asked, once a header is known, for the array (z, y, x) on that grid and of that type that voxels are read into."""


@dataclass(frozen=True)
class StoredVolume:
    """A volume, and how it lies in its file.

    Attributes
    ----------
    volume : Volume
        The file's values, (z, y, x), on perpendicular axes in LPS mm.
    grid : FileGrid or None
        The file's own voxels, where its axes are not perpendicular.
    notes : tuple of str
        What a user must be told about where it lies.
    """

    volume: Volume
    grid: FileGrid | None = None
    notes: tuple[str, ...] = ()


def read_volume(path: str | Path, *, work_bytes: int = 0, labels: bool = False, room: Room | None = None) -> Volume:
    """Read a NIfTI, NRRD or MetaImage file.

    Parameters
    ----------
    path : path
        The file. Voxels in other files are read if those lie beside it.
    work_bytes : int
        Memory that the caller will take for each voxel; the header is asked whether that is there.
    labels : bool
        Whether values are labels, between which nothing may be interpolated where axes are sheared.
    room : callable, optional
        Gives the memory that the volume is to lie in, so that whoever has such memory holds it once; see `Room`. What
        it refuses is not read.

    Returns
    -------
    Volume
        The file's own values, (z, y, x), on its own grid in LPS mm; sheared axes are put onto an upright grid.

    Raises
    ------
    InputError
        If the file is missing, damaged, not such an image, not three-dimensional, holds values that are not finite,
        does not say where it lies and how large its voxels are, or does not fit into memory.
    MemoryError
        If memory is short all the same.
    """
    return read_stored(path, work_bytes=work_bytes, labels=labels, room=room).volume


def read_stored(
    path: str | Path,
    *,
    work_bytes: int = 0,
    labels: bool = False,
    outside: float = 0.0,
    room: Room | None = None,
) -> StoredVolume:
    """Do what `read_volume` does; return also how the volume lies in the file.

    Parameters
    ----------
    path, work_bytes, labels, room
        As there.
    outside : float
        Value of voxels that no sheared plane reaches.

    Raises
    ------
    InputError, MemoryError
        As there.
    """
    path = Path(path)
    try:
        layout = _layout(path)
        grid = layout.grid
        # The volume and a copy of it, which the next step makes, are in memory at once.
        size = layout.geometry.size if grid is None else grid.read.size
        check_memory(size, 2 * layout.dtype.itemsize + work_bytes, "the volume")
        place = None if room is None else room(layout.geometry if grid is None else grid.read, layout.dtype)
        if grid is None:
            volume = Volume(read_voxels(path, layout, place), layout.geometry)
        else:
            upright = grid.upright(read_voxels(path, layout), labels=labels, outside=outside)
            if place is not None:
                place[...] = upright
            volume = Volume(upright if place is None else place, grid.read)
    except InputError as error:
        error.path = path
        raise
    except OSError as error:
        raise InputError(
            f"cannot be read ({error.strerror}); check its permissions and its disk", code="file-unreadable", path=path
        ) from error
    except MemoryError as error:
        raise MemoryError(f"{path}: too large for the free memory") from error
    for note in layout.notes:
        logger.warning("%s", note)
    return StoredVolume(volume, grid, layout.notes)


def stored_geometry(path: str | Path) -> Geometry | None:
    """Return where a volume file lies, of its header alone; None for a path that does not end as volume files do.

    Raises
    ------
    InputError
        If the header cannot be read.
    """
    path = Path(path)
    if not path.name.lower().endswith(FILE_ENDINGS):
        return None
    with locating(path=path):
        return _layout(path).geometry


def check_single_file(path: str | Path) -> None:
    """Refuse a volume file whose voxels lie in other files; for places that take files from strangers, one by one.

    Raises
    ------
    InputError
        If it names other files, or cannot be read. A path that does not end as volume files do is left to others.
    """
    path = Path(path)
    if not path.name.lower().endswith(FILE_ENDINGS):
        return
    try:
        files = (nrrd_layout(path, layers=True) if path.name.lower().endswith(".nrrd") else _layout(path)).files
    except InputError as error:
        error.path = path
        raise
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})", code="file-unreadable", path=path) from error
    if files:
        raise InputError(
            f"keeps its voxels in another file ({shown(files[0])}); export it as one file",
            code="voxels-elsewhere",
            path=path,
        )


def _layout(path: Path) -> Layout:
    """Return what the header says."""
    if not is_there(path):
        raise InputError("no such file", code="file-missing")
    ending = next((ending for ending in reversed(FILE_ENDINGS) if path.name.lower().endswith(ending)), None)
    if ending is None:
        raise InputError(f"not a volume file; expected one of {', '.join(FILE_ENDINGS)}", code="volume-ending")
    return _LAYOUTS[ending](path)


def write_volume(
    volume: Volume, path: str | Path, *, names: Mapping[str, int] | None = None, grid: FileGrid | None = None
) -> None:
    """Write `volume` to a NIfTI, NRRD or MetaImage file, compressed where the format allows it.

    Parameters
    ----------
    volume : Volume
        Any values on any grid, (z, y, x).
    path : path
        Where to; its ending chooses the format. A file there is replaced.
    names : mapping of str to int, optional
        What the values of a label map are called; a NIfTI file holds it inside, as TotalSegmentator writes it.
    grid : FileGrid, optional
        Of the file that `volume` belongs to: it is written on that file's own voxels, to a NIfTI file.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    import SimpleITK as sitk

    is_nifti = str(path).lower().endswith((".nii", ".nii.gz"))
    if not str(path).lower().endswith(FILE_ENDINGS):
        raise OutputError(
            "not the name of a volume file; use one that ends with .nii.gz, .nrrd or .mha",
            code="volume-ending",
            path=path,
        )
    if grid is not None and not is_nifti:
        raise OutputError(
            "axes that are not perpendicular are written to NIfTI alone; use .nii.gz", code="axes-sheared", path=path
        )
    volume = volume if grid is None else grid.own_voxels(volume)
    try:
        str(path).encode("utf-8")  # SimpleITK ends the process for a name that is not
        Path(path).open("ab").close()  # it would say on the terminal what is wrong, in its own words
        if is_nifti:
            write_nifti(volume, Path(path), names=names, affine=None if grid is None else grid.affine)
        else:
            sitk.WriteImage(volume.to_sitk(), str(path), useCompression=True)
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror}); check folder and free space", code="not-writable", path=path
        ) from error
    except (RuntimeError, UnicodeEncodeError, InputError, EOFError, zlib.error) as error:
        # Of a file that it could not finish, ITK says nothing; it is missed when the names are put in.
        raise OutputError(
            "cannot be written; check the folder, its permissions and the free space", code="not-writable", path=path
        ) from error
