"""The CT that comes in: read from whatever holds it, and refused if it cannot be one in HU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from twintrack.errors import InputError
from twintrack.io.volumes import read_volume
from twintrack.system.capacity import WORK_BYTES
from twintrack.system.paths import is_there
from twintrack.volume import Volume

if TYPE_CHECKING:
    from twintrack.dicom import DicomSeries

__all__ = ["Ct", "check_hu", "load_ct"]

SOFT_HU = -30
"""Fat and air lie below this value in every CT of the abdomen, soft tissue above; without either it holds no HU."""

LEAST_SHARE = 0.001
"""Least share of the voxels on each side of `SOFT_HU`."""


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
    """

    volume: Volume
    source: str
    series: DicomSeries | None = None


def load_ct(path: str | Path, series_uid: str | None = None) -> Ct:
    """Read a CT from a volume file, a DICOM folder or ZIP archive, or one file of a DICOM series.

    Parameters
    ----------
    path : str or Path
        The input.
    series_uid : str, optional
        SeriesInstanceUID, to choose among several series in the folder or archive.

    Raises
    ------
    InputError
        If it cannot be read, is no three-dimensional CT, or its values are no HU.
    """
    from twintrack.dicom import is_dicom_input, read_series

    path = Path(path)
    if not is_there(path):
        raise InputError(f"{path}: no such file or folder")
    if is_dicom_input(path):
        series = read_series(path, series_uid=series_uid)
        ct = Ct(series.volume, "dicom", series)
    elif series_uid is not None:
        raise InputError(f"{path}: a volume file holds no DICOM series; leave out --series")
    else:
        ct = Ct(read_volume(path, work_bytes=WORK_BYTES), "file")
    check_hu(ct.volume, str(path))
    return ct


def check_hu(ct: Volume, path: str) -> None:
    """Refuse what cannot be a CT in HU: a colour index, a mask, an MR, a CT that lost its rescale intercept.

    Raises
    ------
    InputError
        Begins with `path`, which names the CT.
    """
    if min(ct.geometry.size) < 2:
        size = " x ".join(str(n) for n in ct.geometry.size)
        raise InputError(f"{path}: a single slice or line ({size} voxels); give the whole three-dimensional CT")
    soft = np.count_nonzero(ct.array < SOFT_HU) / ct.array.size
    if not LEAST_SHARE < soft < 1 - LEAST_SHARE:
        raise InputError(
            f"{path}: values run from {ct.array.min():g} to {ct.array.max():g} and lie on one side of {SOFT_HU}, where "
            "fat and air end; this is not a CT in HU (an MR, a mask, or a CT without its rescale intercept?)"
        )
