"""Write a volume as a CT series of a synthetic patient, for the demo and for tests."""

from __future__ import annotations

import datetime
import shutil
import uuid
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twintrack import __version__
from twintrack.dicom.read.headers import CT_IMAGE_STORAGE
from twintrack.errors import InputError, OutputError
from twintrack.volume import Geometry, Volume

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pydicom.uid import UID

__all__ = ["Origin", "write_ct_series"]


class Origin(Enum):
    """Where the voxels of a written series come from, as its headers tell it."""

    SYNTHETIC = (
        "Synthetic images, not of a patient. For research use only.",
        "Synthetic images, there is no patient",
        "TwinTrackSeg synthetic study (research use only)",
    )
    VOLUME_FILE = (
        "Made from a volume file: the patient data are placeholders, not of a person. For research use only.",
        "Made from a volume file, without any patient data",
        "TwinTrackSeg study made from a file (research use only)",
    )

    @property
    def note(self) -> str:
        """Comment on patient and images."""
        return self.value[0]

    @property
    def method(self) -> str:
        """Why there is nobody's identity in the headers."""
        return self.value[1]

    @property
    def study(self) -> str:
        """StudyDescription."""
        return self.value[2]


LONG_STRING_LIMIT = 64
"""Longest text, in characters, that the value representations LO and PN take."""

WINDOW_CENTER_HU, WINDOW_WIDTH_HU = 50, 400
"""The soft-tissue window that viewers open the series with."""


def write_ct_series(
    volume: Volume,
    folder: str | Path,
    *,
    description: str,
    patient_name: str = "TwinTrack^Phantom",
    patient_id: str = "TWINTRACK-PHANTOM",
    series_number: int = 1,
    uid_seed: str | None = None,
    origin: Origin = Origin.SYNTHETIC,
) -> tuple[Path, ...]:
    """Write a CT series (CT Image Storage, explicit VR little endian, int16 HU) of a synthetic patient.

    Parameters
    ----------
    volume : Volume
        HU in (z, y, x) order on a grid of any orientation; values are rounded to whole HU. Index k becomes the slices.
    folder : str or Path
        New or empty folder; its parent must exist. It appears only when the series is complete.
    description : str
        SeriesDescription, at most 64 characters.
    patient_name, patient_id : str
        Of a synthetic patient: nothing else is written about a person.
    series_number : int
        SeriesNumber, 1 or more.
    uid_seed : str, optional
        Equal seeds give equal UIDs, so that a demo is repeatable; without it the UIDs are new each time.
    origin : Origin
        Where the voxels come from, which the headers tell.

    Returns
    -------
    tuple of Path
        The files; number k holds ``volume.array[k]``.

    Raises
    ------
    InputError
        If a value is not finite or does not fit int16, or a text is too long.
    OutputError
        If the folder already holds files or cannot be written.
    """
    folder = Path(folder)
    pixels = _to_int16(volume.array)
    for text in (description, patient_name, patient_id):
        if len(text) > LONG_STRING_LIMIT or "\\" in text:
            raise InputError(
                f"'{text}': DICOM takes at most {LONG_STRING_LIMIT} characters and no backslash here", code="dicom-text"
            )
    slices = [_slice(volume.geometry, index, plane, uid_seed) for index, plane in enumerate(pixels)]
    common = _common(volume.geometry, uid_seed, origin)
    common.SeriesDescription = description
    common.PatientName = patient_name
    common.PatientID = patient_id
    common.SeriesNumber = series_number
    for dataset in slices:
        dataset.update(common)
    return _save(slices, folder)


def _to_int16(array: NDArray[np.generic]) -> NDArray[np.int16]:
    """Round HU to whole numbers that fit int16."""
    values = np.rint(array.astype(np.float64))
    limits = np.iinfo(np.int16)
    if not np.all(np.isfinite(values)) or values.min() < limits.min or values.max() > limits.max:
        raise InputError(
            f"a CT series holds finite HU from {limits.min} to {limits.max}; clip the volume first",
            code="hu-out-of-range",
        )
    return values.astype(np.int16)


def _new_uid(seed: str | None, *parts: object) -> UID:
    """Return a new UID, or the one that belongs to `seed` and `parts`."""
    from pydicom.uid import generate_uid

    return generate_uid(entropy_srcs=None if seed is None else ["twintrack", seed, *map(str, parts)])


def _common(geometry: Geometry, uid_seed: str | None, origin: Origin) -> Dataset:
    """Return what all slices of the series share: patient, study, series, equipment, image encoding."""
    from pydicom.dataset import Dataset

    now = datetime.datetime.now()
    day, clock = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.PatientComments = origin.note
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = origin.method
    dataset.StudyInstanceUID = _new_uid(uid_seed, "study")
    dataset.SeriesInstanceUID = _new_uid(uid_seed, "series")
    dataset.FrameOfReferenceUID = _new_uid(uid_seed, "frame of reference")
    for event in ("Study", "Series", "Content"):
        setattr(dataset, f"{event}Date", day)
        setattr(dataset, f"{event}Time", clock)
    dataset.StudyID = "1"
    dataset.StudyDescription = origin.study
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""
    dataset.Modality = "CT"
    dataset.PatientPosition = "HFS"
    dataset.BodyPartExamined = "ABDOMEN"
    dataset.PositionReferenceIndicator = ""
    dataset.Manufacturer = "TwinTrackSeg"
    dataset.ManufacturerModelName = "TwinTrackSeg phantom"
    dataset.SoftwareVersions = __version__
    dataset.BurnedInAnnotation = "NO"
    dataset.ImageComments = origin.note
    _describe_pixels(dataset, geometry)
    return dataset


def _describe_pixels(dataset: Dataset, geometry: Geometry) -> None:
    """Add how the pixels are encoded and how large they are."""
    from pydicom.valuerep import DSfloat

    columns, rows, _ = geometry.size
    column_distance, row_distance, slice_distance = geometry.spacing_mm
    dataset.SOPClassUID = CT_IMAGE_STORAGE
    dataset.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    dataset.AcquisitionNumber = 1
    dataset.KVP = None
    dataset.SliceThickness = DSfloat(slice_distance, auto_format=True)
    dataset.PixelSpacing = [DSfloat(value, auto_format=True) for value in (row_distance, column_distance)]
    cosines = geometry.direction_matrix[:, :2].T.ravel()
    dataset.ImageOrientationPatient = [DSfloat(float(value), auto_format=True) for value in cosines]
    dataset.Rows, dataset.Columns = rows, columns
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.RescaleIntercept = 0
    dataset.RescaleSlope = 1
    dataset.RescaleType = "HU"
    dataset.WindowCenter, dataset.WindowWidth = WINDOW_CENTER_HU, WINDOW_WIDTH_HU


def _slice(geometry: Geometry, index: int, plane: NDArray[np.int16], uid_seed: str | None) -> Dataset:
    """Return what is of slice `index` alone: identity, place and pixels (y, x)."""
    from pydicom.dataset import Dataset
    from pydicom.valuerep import DSfloat

    dataset = Dataset()
    dataset.SOPInstanceUID = _new_uid(uid_seed, "slice", index)
    dataset.InstanceNumber = index + 1
    position = geometry.to_lps_mm(np.array([0, 0, index]))
    dataset.ImagePositionPatient = [DSfloat(float(value), auto_format=True) for value in position]
    dataset.PixelData = plane.astype("<i2").tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


def _save(slices: list[Dataset], folder: Path) -> tuple[Path, ...]:
    """Write the slices beside `folder` and give them its name when all are there."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    work = folder.parent / f".{folder.name}-{uuid.uuid4().hex}"
    names = [f"CT_{index + 1:04d}.dcm" for index in range(len(slices))]
    try:
        if folder.exists() and any(folder.iterdir()):
            raise OutputError(
                "already holds files; a DICOM series needs a new or empty folder", code="folder-not-empty", path=folder
            )
        work.mkdir()
        for name, dataset in zip(names, slices, strict=True):
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
            dataset.save_as(work / name, enforce_file_format=True)
        if folder.exists():
            folder.rmdir()
        work.rename(folder)
    except OSError as error:
        raise OutputError(
            "cannot be written; check the folder, its permissions and the free space", code="not-writable", path=folder
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return tuple(folder / name for name in names)
