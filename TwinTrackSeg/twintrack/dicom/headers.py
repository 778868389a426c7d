"""Read the header of one DICOM file, as far as placing its slice in a series and in space needs it."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twintrack.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

__all__ = [
    "CT_IMAGE_STORAGE",
    "ENHANCED_CT_STORAGE",
    "PARSE_ERRORS",
    "Header",
    "damaged",
    "is_dicom_input",
    "read_header",
]

PREAMBLE_BYTES = 128
"""A DICOM file starts with this many free bytes, then the letters ``DICM``."""

BARE_STARTS = (b"\x08\x00", b"\x02\x00")
"""First bytes of files that old systems write without preamble: group 0008 or 0002, little endian."""

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT_STORAGE = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")

DERIVED_MODALITIES = frozenset({"SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "SR", "PR", "KO", "REG", "DOC"})
"""Objects made from images. They may lie beside the series that they describe, so they do not count as a series."""

HEADER_TAGS = [
    *("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesDescription"),
    *("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "RescaleIntercept"),
]
"""All that is read of a header: nothing that names the patient."""

PARSE_ERRORS = (EOFError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError, struct.error)
"""What the parser raises on a damaged file."""


@dataclass(frozen=True)
class Header:
    """The part of one DICOM file's header that places it in a series and in space.

    Attributes
    ----------
    path : Path
        The file.
    dataset : pydicom.dataset.Dataset
        The elements of `HEADER_TAGS` that the file has.
    sop_class_uid, sop_instance_uid : str
        From the data set or, where a de-identification emptied it, from the file meta information.
    transfer_syntax_uid : str
        How the pixels are encoded; empty for a file without file meta information.
    """

    path: Path
    dataset: Dataset
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str

    def text(self, keyword: str) -> str:
        """Return the element `keyword` as text without surrounding blanks, empty where absent."""
        value = self.dataset.get(keyword)
        return "" if value is None else str(value).strip()

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID; may be empty after a strict de-identification."""
        return self.text("SeriesInstanceUID")

    @property
    def size(self) -> tuple[int, int]:
        """Number of (columns, rows)."""
        return int(self.dataset.get("Columns") or 0), int(self.dataset.get("Rows") or 0)

    @property
    def is_image(self) -> bool:
        """Whether the file is an acquired or reformatted image, not an object made from one."""
        return min(self.size) > 0 and self.text("Modality") not in DERIVED_MODALITIES

    def numbers(self, keyword: str, count: int) -> tuple[float, ...]:
        """Return the `count` numbers of element `keyword`.

        Raises
        ------
        InputError
            If the element is missing or does not hold exactly `count` finite numbers.
        """
        try:
            value: Any = self.dataset.get(keyword)
            values = tuple(float(item) for item in ([] if value is None else value))
        except (TypeError, ValueError):
            values = ()
        if len(values) != count or not all(math.isfinite(item) for item in values):
            raise InputError(
                f"{self.path}: the DICOM header has no usable {keyword} ({count} numbers), "
                "so the slice cannot be placed in space; export the original axial series"
            )
        return values


def is_dicom_input(path: str | Path) -> bool:
    """Whether `path` is to be read with `read_series`: any folder, or a file that starts as DICOM files do.

    A folder counts without a look inside, so that an empty one gets the message of `read_series`.
    """
    path = Path(path)
    if path.is_dir():
        return True
    try:
        with path.open("rb") as file:
            start = file.read(PREAMBLE_BYTES + 4)
    except OSError:
        return False
    return start[PREAMBLE_BYTES:] == b"DICM" or (start[:2] in BARE_STARTS and read_header(path) is not None)


def read_header(path: Path) -> Header | None:
    """Read the header of one existing file.

    Returns
    -------
    Header or None
        None if the file is not DICOM.

    Raises
    ------
    InputError
        If the file is DICOM but cut off or damaged, or cannot be opened.
    """
    import pydicom
    from pydicom.config import disable_value_validation

    marked = False
    try:
        with path.open("rb") as file:
            start = file.read(PREAMBLE_BYTES + 4)
        marked = start[PREAMBLE_BYTES:] == b"DICM"
        if not marked and start[:2] not in BARE_STARTS:
            return None
        # Odd values are passed over in silence, because a warning about them would quote them.
        with disable_value_validation():
            found = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(HEADER_TAGS), force=not marked)
            header = _header(path, found)
        complete = not _is_cut_off(header)
    except OSError as error:
        raise InputError(f"{path}: cannot be read; check the permissions of the file") from error
    except PARSE_ERRORS as error:
        if marked:
            raise damaged(path) from error
        return None
    if complete:
        return header
    if marked:
        raise damaged(path)
    return None


def damaged(path: Path) -> InputError:
    """Return the error for a file that is DICOM but not whole."""
    return InputError(f"{path}: the DICOM file is cut off or damaged; copy or export it again")


def _header(path: Path, found: FileDataset) -> Header:
    """Wrap what was read, with the file meta information standing in for emptied elements."""
    meta: Any = getattr(found, "file_meta", None) or {}

    def uid(keyword: str, meta_keyword: str) -> str:
        return str(found.get(keyword) or meta.get(meta_keyword) or "").strip()

    return Header(
        path=path,
        dataset=found,
        sop_class_uid=uid("SOPClassUID", "MediaStorageSOPClassUID"),
        sop_instance_uid=uid("SOPInstanceUID", "MediaStorageSOPInstanceUID"),
        transfer_syntax_uid=str(meta.get("TransferSyntaxUID") or ""),
    )


def _is_cut_off(header: Header) -> bool:
    """Whether a file starts as DICOM but ends before what such a file must have."""
    if min(header.size) > 0:
        return False
    return not header.sop_class_uid or header.sop_class_uid in (CT_IMAGE_STORAGE, *ENHANCED_CT_STORAGE)
