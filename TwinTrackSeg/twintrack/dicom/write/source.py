"""Read the source slices again as what a derived object refers to and takes patient and study from."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING

from twintrack.dicom.read.elements import BeyondLimit, Limits, read_elements
from twintrack.dicom.read.headers import (
    CT_IMAGE_STORAGE,
    DECIMALS,
    FUNCTIONAL_GROUPS,
    damaged,
    decimal,
    items_of,
    open_plain,
    parse_errors,
    quiet_parser,
)
from twintrack.dicom.read.series import DicomSeries
from twintrack.dicom.write.references import slice_uid, source_uids
from twintrack.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["blank_identity", "restore_identity", "source_images"]

logger = logging.getLogger(__name__)

SOURCE_LIMITS = Limits(value_bytes=64 * 1024, total_bytes=8 * 1024**2, drop_longer=True)
"""What the header of one source file may hold; nothing longer than this (tables, overlays) is taken over."""

UTF8 = "ISO_IR 192"

IDENTITY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyID",
    "StudyDate",
    "StudyTime",
    "StudyDescription",
    "AccessionNumber",
    "ReferringPhysicianName",
)
"""Elements that are taken over letter by letter, even where their value breaks a rule of the standard."""


def source_images(series: DicomSeries) -> list[Dataset]:
    """Return the headers of the series' slices, in slice order, with every UID that a reference needs.

    UIDs that a de-identification emptied are made from what is left, so that all objects derived from one series agree.

    Raises
    ------
    InputError
        If a file is gone or can no longer be read, or slices share an instance UID.
    """
    if not series.study_uid or not series.series_uid:
        logger.warning("the source series has no study or series UID; the derived object gets new ones")
    series.check_instances()
    read: dict[Path, Dataset] = {}
    images = []
    for index, path in enumerate(series.files):
        if series.frames[index] is None:
            images.append(_complete(_read(path), series, index))
        else:
            if path not in read:
                read[path] = _read(path)
            images.append(_placed(_complete(deepcopy(read[path]), series, index), series, index))
    return images


def blank_identity(images: Sequence[Dataset]) -> dict[str, str]:
    """Blank the elements of `IDENTITY` in all images and return what the first one held.

    The library that builds derived objects refuses odd values in them or reports them; a report could name the patient.
    They are returned as text, so that names are written in the derived object's own character set.
    """
    held = {keyword: str(images[0].get(keyword)) for keyword in IDENTITY if images[0].get(keyword) is not None}
    for image in images:
        for keyword in IDENTITY:
            setattr(image, keyword, "")
    return held


def restore_identity(derived: Dataset, held: Mapping[str, str]) -> None:
    """Write what `blank_identity` returned into a derived object, in UTF-8."""
    derived.SpecificCharacterSet = UTF8
    for keyword, value in held.items():
        setattr(derived, keyword, value)


def _complete(image: Dataset, series: DicomSeries, index: int) -> Dataset:
    """Give the header of slice `index` all UIDs that a reference needs."""
    image.SOPClassUID = CT_IMAGE_STORAGE
    image.SOPInstanceUID = slice_uid(series, index)
    image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = source_uids(series)
    return image


def _read(path: Path) -> Dataset:
    try:
        with open_plain(path) as file, quiet_parser():
            size = os.fstat(file.fileno()).st_size
            marked = file.read(132)[128:] == b"DICM"
            image = read_elements(
                file, size, None, limits=SOURCE_LIMITS, marked=marked, without=frozenset(_frame_tags())
            ).dataset
            image.decode()
            _write_points(image)
            image.SpecificCharacterSet = UTF8
    except OSError as error:
        raise InputError(
            "can no longer be read; keep the DICOM series until the export is done", code="file-unreadable", path=path
        ) from error
    except BeyondLimit as error:
        raise InputError(
            f"the DICOM file has {error.what}, which no CT slice has; export the series again",
            code="dicom-too-large",
            path=path,
        ) from error
    except parse_errors() as error:
        raise damaged(path) from error
    return image


def _write_points(image: Dataset) -> None:
    """Write numbers as DICOM has them where the file has decimal commas, or calls them a text."""
    for element in list(image):
        if element.VR != "DS" and element.keyword not in DECIMALS:
            continue
        texts = [str(item) for item in items_of(element.value)]
        if element.VR == "DS" and not any("," in text for text in texts):
            continue
        with suppress(ValueError):
            for text in texts:
                decimal(text)
            image.add_new(element.tag, "DS", [text.strip().replace(",", ".") for text in texts])


def _frame_tags() -> list[int]:
    """Return the elements that describe the frames of a multi-frame file."""
    from pydicom.tag import Tag

    return [Tag(keyword) for keyword in (*FUNCTIONAL_GROUPS, "NumberOfFrames")]


def _placed(image: Dataset, series: DicomSeries, index: int) -> Dataset:
    """State the place of slice `index` as a single-frame image does."""
    from pydicom.valuerep import DSfloat

    cosines = series.volume.geometry.direction_matrix[:, :2].T.ravel()
    column_mm, row_mm, _ = series.volume.geometry.spacing_mm
    image.ImagePositionPatient = [DSfloat(value, auto_format=True) for value in series.positions_mm[index]]
    image.ImageOrientationPatient = [DSfloat(float(value), auto_format=True) for value in cosines]
    image.PixelSpacing = [DSfloat(value, auto_format=True) for value in (row_mm, column_mm)]
    return image
