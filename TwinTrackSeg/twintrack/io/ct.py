"""The CT that comes in: read from whatever holds it, and refused if it cannot be one in HU."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twintrack.dicom.read.hounsfield import AIR_HU
from twintrack.errors import InputError
from twintrack.io.file_grid import FileGrid
from twintrack.io.volumes import FILE_ENDINGS, read_stored
from twintrack.system.capacity import WORK_BYTES
from twintrack.system.paths import is_there
from twintrack.volume import Volume

if TYPE_CHECKING:
    from twintrack.dicom import DicomSeries

__all__ = ["Ct", "check_hu", "ct_sha256", "load_ct"]

SOFT_HU = -30
"""Fat and air lie below this value in every CT of the abdomen, soft tissue above; without either it holds no HU."""

LEAST_SHARE = 0.001
"""Least share of the voxels on each side of `SOFT_HU`."""

HASHED_DECIMALS = 3
"""Decimals of the grid's numbers, in mm, that are hashed: NIfTI keeps no more of a position in single precision."""


@dataclass(frozen=True)
class Ct:
    """A CT as it was given.

    Attributes
    ----------
    volume : Volume
        HU on the input's own grid.
    source : str
        ``file`` or ``dicom``.
    series : DicomSeries, optional
        The series it was read from.
    name : str, optional
        Name of the file or folder that was given. It may be a patient's, and so it stands in no log.
    grid : FileGrid, optional
        The own voxels of a file whose axes are not perpendicular.
    notes : tuple of str
        What a user must be told about the way from the input to the volume.
    """

    volume: Volume
    source: str
    series: DicomSeries | None = None
    name: str | None = field(default=None, repr=False)
    grid: FileGrid | None = None
    notes: tuple[str, ...] = ()


def load_ct(path: str | Path, series_uid: str | None = None, acquisition: int | None = None) -> Ct:
    """Read a CT from a volume file, a DICOM folder or ZIP archive, or one file of a DICOM series.

    Parameters
    ----------
    path : str or Path
        The input.
    series_uid : str, optional
        SeriesInstanceUID or SeriesNumber, to choose among several series in the folder or archive.
    acquisition : int, optional
        AcquisitionNumber, to choose among several phases or passes of the series.

    Raises
    ------
    InputError
        If it cannot be read, is no three-dimensional CT, or its values are no HU.
    """
    from twintrack.dicom import is_dicom_input, read_series

    path = Path(path)
    if not is_there(path):
        raise InputError("no such file or folder", code="file-missing", path=path)
    name = path.absolute().name or None
    if is_dicom_input(path):
        try:
            series = read_series(path, series_uid=series_uid, acquisition=acquisition)
        except InputError as error:
            if error.code == "no-dicom-files" and _has_volume_file(path):
                raise InputError(
                    "no DICOM files in this folder or below it, but a volume file; give the file itself",
                    code="no-dicom-files",
                    path=path,
                ) from error
            raise
        ct = Ct(series.volume, "dicom", series, name, notes=series.notes)
    elif series_uid is not None or acquisition is not None:
        raise InputError(
            "a volume file holds no DICOM series; leave out --series and --acquisition",
            code="series-of-a-file",
            path=path,
        )
    elif not path.name.lower().endswith(FILE_ENDINGS):
        raise InputError(
            "no CT in a form that is read; give DICOM (a folder, a ZIP archive or one file of the series), or a volume "
            f"file ({', '.join(FILE_ENDINGS)})",
            code="volume-ending",
            path=path,
        )
    else:
        stored = read_stored(path, work_bytes=WORK_BYTES, outside=AIR_HU)
        ct = Ct(stored.volume, "file", name=name, grid=stored.grid, notes=stored.notes)
    check_hu(ct.volume, str(path))
    return ct


def _has_volume_file(place: Path) -> bool:
    """Whether a volume file lies in a folder; no name of one is told, for it may be a patient's."""
    return place.is_dir() and any(file.name.lower().endswith(FILE_ENDINGS) for file in place.iterdir())


def check_hu(ct: Volume, path: str) -> None:
    """Refuse what cannot be a CT in HU: a colour index, a mask, an MR, a CT that lost its rescale intercept.

    Raises
    ------
    InputError
        Begins with `path`, which names the CT.
    """
    if min(ct.geometry.size) < 2:
        size = " x ".join(str(n) for n in ct.geometry.size)
        raise InputError(
            f"a single slice or line ({size} voxels); give the whole three-dimensional CT",
            code="single-slice",
            path=path,
        )
    soft = np.count_nonzero(ct.array < SOFT_HU) / ct.array.size
    if not LEAST_SHARE < soft < 1 - LEAST_SHARE:
        raise InputError(
            f"values run from {ct.array.min():g} to {ct.array.max():g} and lie on one side of {SOFT_HU}, where "
            "fat and air end; this is not a CT in HU (an MR, a mask, or a CT without its rescale intercept?)",
            code="not-hounsfield",
            path=path,
        )


def ct_sha256(ct: Volume) -> str:
    """Return the hash of a CT as it was read, by which two are told apart.

    Hashed are, one after the other, size (i, j, k), spacing and origin in LPS mm and the nine direction cosines row by
    row, as one line of JSON with `HASHED_DECIMALS` decimals, and the voxels, k slowest: HU as little-endian int16 where
    all are whole and fit, else as little-endian float32. The kind of file and the type in it so make no difference; a
    CT that was turned, resampled or cropped is another one.
    """
    grid = ct.geometry
    numbers = (grid.spacing_mm, grid.origin_mm, grid.direction)
    rounded = [[round(float(number), HASHED_DECIMALS) + 0.0 for number in row] for row in numbers]  # no -0.0
    digest = hashlib.sha256(json.dumps([list(grid.size), *rounded]).encode("ascii") + b"\n")
    kind = "<i2" if all(map(_fits_int16, ct.array)) else "<f4"
    for plane in ct.array:
        digest.update(np.ascontiguousarray(plane, dtype=kind).data)
    return digest.hexdigest()


def _fits_int16(plane: NDArray[np.generic]) -> bool:
    limits = np.iinfo(np.int16)
    if plane.dtype == np.int16:
        return True
    return bool(plane.min() >= limits.min and plane.max() <= limits.max and np.array_equal(plane, np.rint(plane)))
