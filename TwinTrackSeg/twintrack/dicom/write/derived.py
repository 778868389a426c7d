"""What every object made from a CT series shares: who made it, the grid it lies on, its header, how it is saved."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from twintrack import __version__
from twintrack.dicom.read.series import DicomSeries
from twintrack.dicom.write.identity import name_instance, series_uid
from twintrack.dicom.write.remarks import Remarks
from twintrack.errors import InputError, OutputError
from twintrack.volume import Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["MANUFACTURER", "Algorithm", "MapMeaning", "common_header", "place_on", "save_dataset"]

MANUFACTURER = "TwinTrackSeg"
"""Stands in every object, and tells the module's own ones from others."""

SPACING_DECIMALS = 9
"""Decimals of voxel edges in mm that are written."""


class MapMeaning(str, Enum):
    """What a map states: the targets of a calibrator, and the uncalibrated score."""

    MHR = "mhr"
    SINGLE_RATER = "single-rater"
    HARD_LABEL = "hard-label"
    SCORE = "score"


@dataclass(frozen=True)
class Algorithm:
    """What made the object.

    Attributes
    ----------
    name, version : str
        Of the model bundle; cut to 64 characters each.
    bundle_sha256 : str
        Fingerprint of the bundle.
    parameters : mapping
        Further settings to state, such as the threshold or the device.
    settings : mapping
        JSON values by which the run differs from others of the same bundle; not stated, they enter the UIDs.
    """

    name: str
    version: str
    bundle_sha256: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def series_uid(self, series: DicomSeries, number: int) -> str:
        """Return the UID of the series with SeriesNumber `number` that it makes of `series`."""
        return series_uid(series, self.bundle_sha256, self.settings, number)


def place_on(volume: Volume, series: DicomSeries, what: str) -> Volume:
    """Return `volume` on the grid of `series`, permuted and flipped where needed.

    Raises
    ------
    InputError
        If it does not have the same voxels; the sentence starts with `what`.
    """
    grid = series.volume.geometry
    if volume.geometry.same_grid(grid):
        return volume
    array = volume.array.astype(np.uint8) if volume.array.dtype == bool else volume.array
    try:
        return volume.with_array(array).restored_to(grid)
    except InputError as error:
        raise InputError(
            f"{what} does not lie on the voxel grid of the DICOM series; give the series that it was made from",
            code="grid-differs",
        ) from error


def common_header(
    series: DicomSeries, algorithm: Algorithm, *, number: int, description: str, remarks: Remarks
) -> dict[str, Any]:
    """Return the keyword arguments of highdicom's constructors that all derived objects share.

    Parameters
    ----------
    series : DicomSeries
        The source; its checked grid gives the pixel measures, because its headers may lack or misstate them.
    algorithm : Algorithm
        What made the object; with the source it gives the UID of the new series.
    number, description
        SeriesNumber and SeriesDescription of the new series that the object forms.
    remarks : Remarks
        Stated in front of the latter, and as the description of the content.
    """
    import highdicom as hd

    # A decimal string takes 16 characters, and positions read from such strings leave a longer tail.
    column_mm, row_mm, slice_mm = (round(edge, SPACING_DECIMALS) for edge in series.volume.geometry.spacing_mm)
    uid = algorithm.series_uid(series, number)
    return {
        "series_instance_uid": uid,
        "series_number": number,
        "series_description": remarks.series_description(description),
        # Its own is known when it is complete (`save_dataset`).
        "sop_instance_uid": uid,
        "instance_number": 1,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": "TwinTrackSeg",
        "software_versions": __version__,
        "device_serial_number": "0",
        "content_description": remarks.content_description,
        "content_label": "TWINTRACK",
        "content_creator_name": "TwinTrackSeg^",
        "pixel_measures": hd.PixelMeasuresSequence((row_mm, column_mm), slice_mm, slice_mm),
    }


def save_dataset(dataset: Dataset, path: Path) -> None:
    """Name a complete object after its content, write it under a temporary name and rename when that is complete.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    name_instance(dataset)
    work = path.with_name(f".{path.name}-{uuid.uuid4().hex}")
    try:
        dataset.save_as(work, enforce_file_format=True)
        work.replace(path)
    except OSError as error:
        raise OutputError(
            "cannot be written; check the folder, its permissions and the free space", code="not-writable", path=path
        ) from error
    finally:
        work.unlink(missing_ok=True)
