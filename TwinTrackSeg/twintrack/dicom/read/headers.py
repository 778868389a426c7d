"""Read the header of one DICOM file, as far as placing its slice in a series and in space needs it."""

from __future__ import annotations

import errno
import hashlib
import math
import os
import re
import stat
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from twintrack.dicom.read.elements import (
    DIRECTORY_STORAGE,
    BeyondLimit,
    FileElements,
    Limits,
    PixelPlace,
    Wanted,
    read_elements,
)
from twintrack.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = [
    "CT_IMAGE_STORAGE",
    "DECIMALS",
    "DIRECTORY_STORAGE",
    "ENHANCED_CT_STORAGE",
    "FUNCTIONAL_GROUPS",
    "GROUPS",
    "HEADER_LIMITS",
    "Header",
    "TooMuchError",
    "damaged",
    "decimal",
    "is_dicom_input",
    "is_zip",
    "items_of",
    "open_plain",
    "parse_errors",
    "quiet_parser",
    "read_header",
    "time_of_day_s",
]

PREAMBLE_BYTES = 128
"""A DICOM file starts with this many free bytes, then the letters ``DICM``."""

BARE_STARTS = (b"\x08\x00", b"\x02\x00")
"""First bytes of files that old systems write without preamble: group 0008 or 0002, little endian."""

CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
ENHANCED_CT_STORAGE = ("1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2")

DERIVED_MODALITIES = frozenset({"SEG", "RTSTRUCT", "RTDOSE", "RTPLAN", "SR", "PR", "KO", "REG", "DOC"})
"""Objects made from images. They may lie beside the series that they describe, so they do not count as a series."""

SECONDARY_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
"""Start of the SOP classes of screen shots, the form of most dose reports."""

HEADER_TAGS = [
    *("SpecificCharacterSet", "SOPClassUID", "SOPInstanceUID", "Modality", "SeriesDescription", "ImageType"),
    *("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "StudyDate", "SeriesNumber"),
    *("AcquisitionNumber", "AcquisitionTime", "ContrastBolusStartTime", "PatientID"),
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel"),
    *("RescaleSlope", "RescaleIntercept", "RescaleType"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PhotometricInterpretation"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit"),
]
"""All single values that are read of a header: nothing that names the patient, whose number is kept as a hash."""

DECIMALS = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("RescaleSlope", "RescaleIntercept"),
)
"""Elements that hold numbers with decimals."""

DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?")
"""A number with a comma for its point, and none for thousands."""

GROUPS = {
    "PlanePositionSequence": ("ImagePositionPatient",),
    "PlaneOrientationSequence": ("ImageOrientationPatient",),
    "PixelMeasuresSequence": ("PixelSpacing",),
    "PixelValueTransformationSequence": ("RescaleSlope", "RescaleIntercept", "RescaleType"),
    "CTImageFrameTypeSequence": ("FrameType",),
    "FrameContentSequence": ("FrameAcquisitionNumber",),
}
"""What is read of the functional groups of a multi-frame file: sequences, and the elements of the item of each."""

FUNCTIONAL_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")

HEADER_LIMITS = Limits()
"""What the header of one file may hold; a slice has some hundred elements, an enhanced CT some dozen for each frame."""


@dataclass(frozen=True)
class Header:
    """The part of a DICOM header that places one slice in a series and in space.

    Attributes
    ----------
    path : Path
        The file.
    dataset : pydicom.dataset.Dataset
        The elements of `HEADER_TAGS` that the file has; for a frame of a multi-frame file, those of the frame.
    sop_class_uid, sop_instance_uid : str
        From the data set or, where a de-identification emptied it, from the file meta information.
    transfer_syntax_uid : str
        How the pixels are encoded; empty for a file without file meta information.
    pixels : PixelPlace or None
        Where in the file its pixels lie.
    little_endian : bool
        Order of their bytes.
    frame : int or None
        Number of the frame in a multi-frame file, from 1.
    shown : Path or None
        What to call the file in messages, where that is not `path`: its place inside a ZIP archive.
    walked : int
        Elements of the file that were walked through.
    patient : str
        Hash of the PatientID, to compare; empty without one.
    """

    path: Path
    dataset: Dataset
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    pixels: PixelPlace | None = None
    little_endian: bool = True
    frame: int | None = None
    shown: Path | None = None
    walked: int = 0
    patient: str = field(default="", repr=False)

    @property
    def place(self) -> str:
        """What to call the slice in a message: its whole path, and the frame in it."""
        return f"{self.shown or self.path}{self._frame_text}"

    @property
    def name(self) -> str:
        """What to call the slice where its folder was named already."""
        return f"{self.path.name}{self._frame_text}"

    @property
    def folder(self) -> str:
        """What to call the series' place: the folder, the ZIP archive, or the multi-frame file."""
        shown = self.shown or self.path
        return str(shown if self.frame is not None else shown.parent)

    @property
    def _frame_text(self) -> str:
        return "" if self.frame is None else f" frame {self.frame}"

    def text(self, keyword: str) -> str:
        """Return the element `keyword` as text on one line, empty where absent."""
        value = self.dataset.get(keyword)
        text = "" if value is None else str(value)
        return "".join(letter if letter.isprintable() else " " for letter in text).strip()

    @property
    def series_uid(self) -> str:
        """SeriesInstanceUID; may be empty after a strict de-identification."""
        return self.text("SeriesInstanceUID")

    @property
    def size(self) -> tuple[int, int]:
        """Number of (columns, rows)."""
        return self.whole_number("Columns"), self.whole_number("Rows")

    @property
    def is_image(self) -> bool:
        """Whether the file is an acquired or reformatted image, not an object made from one."""
        return min(self.size) > 0 and self.text("Modality") not in DERIVED_MODALITIES

    @property
    def frames(self) -> int:
        """NumberOfFrames of the file."""
        return max(1, self.whole_number("NumberOfFrames"))

    @property
    def is_side_image(self) -> bool:
        """Whether the image is a scout (localizer) or a screen shot, which lie beside the slices of a series."""
        kind = self.dataset.get("ImageType")
        values = [kind] if isinstance(kind, str) else list(kind or [])
        return "LOCALIZER" in values or self.sop_class_uid.startswith(SECONDARY_CAPTURES)

    def whole_number(self, keyword: str) -> int:
        """Return the element `keyword` as a whole number, 0 where it is absent or no number.

        A repeated element counts by its first value, as a viewer would take it.
        """
        value = self.dataset.get(keyword)
        if isinstance(value, (list, tuple)) or type(value).__name__ == "MultiValue":
            value = value[0] if len(value) else 0
        try:
            return int(value or 0)
        except (TypeError, ValueError, OverflowError):
            return 0

    def numbers(self, keyword: str, count: int) -> tuple[float, ...]:
        """Return the `count` numbers of element `keyword`.

        Raises
        ------
        InputError
            If the element is missing or does not hold exactly `count` finite numbers.
        """
        try:
            values = tuple(decimal(item) for item in items_of(self.dataset.get(keyword)))
        except (TypeError, ValueError):
            values = ()
        if len(values) != count or not all(math.isfinite(item) for item in values):
            raise InputError(
                f"the DICOM header has no usable {keyword} ({count} numbers), "
                "so the slice cannot be placed in space; export the original axial series",
                code="dicom-header",
                path=self.place,
            )
        return values

    @property
    def has_decimal_commas(self) -> bool:
        """Whether a number that counts is written with a comma."""
        return any("," in str(item) for keyword in DECIMALS for item in items_of(self.dataset.get(keyword)))


def items_of(value: Any) -> Sequence[Any]:
    """Return the values of an element, also of one that its file calls a text, in which they are not divided."""
    if isinstance(value, str):
        return value.split("\\")
    return [] if value is None else value if isinstance(value, Sequence) else [value]


def decimal(value: object) -> float:
    """Read one value of the kind DS; a decimal comma, as some systems write it by mistake, counts as a point.

    Raises
    ------
    ValueError
        If it is no number.
    """
    text = str(value).strip()
    return float(text.replace(",", ".") if "," in text and DECIMAL_COMMA.fullmatch(text) else text)


def time_of_day_s(text: str) -> float | None:
    """Read a value of the kind TM, HHMMSS with a fraction, as seconds of the day; None for anything else."""
    whole, _, fraction = text.strip().replace(":", "").partition(".")
    if len(whole) != 6 or not whole.isascii() or not whole.isdecimal():
        return None
    share = float(f"0.{fraction}") if fraction.isascii() and fraction.isdecimal() else 0.0
    return int(whole[:2]) * 3600 + int(whole[2:4]) * 60 + int(whole[4:]) + share


def is_dicom_input(path: str | Path) -> bool:
    """Whether `path` is to be read with `read_series`: any folder or ZIP, or a file that starts as DICOM files do.

    A folder or ZIP counts without a look inside, so that an empty one gets the message of `read_series`.
    """
    path = Path(path)
    if path.is_dir() or is_zip(path):
        return True
    try:
        with open_plain(path) as file:
            start = file.read(PREAMBLE_BYTES + 4)
    except OSError:
        return False
    return start[PREAMBLE_BYTES:] == b"DICM" or (start[:2] in BARE_STARTS and read_header(path) is not None)


def parse_errors() -> tuple[type[Exception], ...]:
    """Return what the parser raises on a damaged file."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (
        *(EOFError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError, RecursionError, IndexError),
        *(struct.error, zlib.error, OverflowError, LookupError, InvalidDicomError, BytesLengthException),
    )


@contextmanager
def quiet_parser() -> Iterator[None]:
    """Pass over odd values in silence, because a warning about them would quote them."""
    from pydicom.config import disable_value_validation

    with disable_value_validation(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def is_zip(path: Path) -> bool:
    """Whether `path` is a ZIP archive, by its first bytes and its end."""
    try:
        with open_plain(path) as file:
            return file.read(2) == b"PK" and zipfile.is_zipfile(file)
    except (OSError, zipfile.BadZipFile):  # the second of archives over several disks
        return False


class TooMuchError(InputError):
    """A file goes beyond a limit; whether that matters depends on the series that it says it belongs to.

    Attributes
    ----------
    modality, series_uid : str
        As far as they were read; empty where not.
    """

    def __init__(self, message: str, path: Path, modality: str = "", series_uid: str = "") -> None:
        super().__init__(message, code="dicom-too-large", path=path)
        self.modality, self.series_uid = modality, series_uid

    def may_belong_to(self, series_uid: str) -> bool:
        """Whether the file can be a slice of the CT series."""
        return self.modality in ("", "CT") and self.series_uid in ("", series_uid)


def read_header(path: Path, shown: Path | None = None) -> Header | None:
    """Read the header of one existing file, which messages call `shown` where that is given.

    Returns
    -------
    Header or None
        None if the file is not DICOM.

    Raises
    ------
    TooMuchError
        If the file is DICOM but has more of something than `HEADER_LIMITS` allow.
    InputError
        If the file is DICOM but cut off or damaged, or cannot be opened.
    """
    marked = False
    try:
        with open_plain(path) as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(PREAMBLE_BYTES + 4)
            marked = start[PREAMBLE_BYTES:] == b"DICM"
            if not marked and start[:2] not in BARE_STARTS:
                return None
            with quiet_parser():
                found = read_elements(
                    file, size, _wanted(), limits=HEADER_LIMITS, marked=marked, stop_at=DERIVED_MODALITIES
                )
                found.dataset.decode()
                # Values are decoded when first looked at; what cannot be decoded shall show here.
                for _ in found.dataset.iterall():
                    pass
                header = _header(path, found, shown)
        complete = not _is_cut_off(header)
    except OSError as error:
        raise InputError(
            "cannot be read; check the permissions of the file", code="file-unreadable", path=shown or path
        ) from error
    except BeyondLimit as error:
        too_much = _too_much(path, error, shown)
        if not marked and not too_much.modality:
            return None
        raise too_much from error
    except parse_errors() as error:
        if marked:
            raise damaged(shown or path) from error
        return None
    if complete:
        return header
    if marked:
        raise damaged(shown or path)
    return None


def open_plain(path: Path) -> BinaryIO:
    """Open a file for reading without a buffer; never wait for the other end of a pipe.

    Raises
    ------
    OSError
        If it cannot be opened, or is no plain file.
    """
    file = open(path, "rb", buffering=0, opener=_without_waiting)  # noqa: SIM115 - Path.open takes no opener
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "no plain file", str(path))
    return cast("BinaryIO", file)


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


@lru_cache(maxsize=1)
def _wanted() -> Wanted:
    """Return what is read of a header, by tag."""

    def tag(keyword: str) -> int:
        from pydicom.datadict import tag_for_keyword

        return cast("int", tag_for_keyword(keyword))

    groups = {tag(group): {tag(keyword): None for keyword in keywords} for group, keywords in GROUPS.items()}
    return {
        **{tag(keyword): None for keyword in HEADER_TAGS},
        **{tag(keyword): groups for keyword in FUNCTIONAL_GROUPS},
        tag("ModalityLUTSequence"): {tag("ModalityLUTType"): None},
    }


def _too_much(path: Path, error: BeyondLimit, shown: Path | None) -> TooMuchError:
    modality = series_uid = ""
    with quiet_parser(), suppress(*parse_errors()):
        if error.found is not None:
            known = Header(path, error.found, "", "", "")
            modality, series_uid = known.text("Modality"), known.series_uid
    return TooMuchError(
        f"the DICOM file has {error.what}, which no CT slice has; export it again, or take it out of the folder if it "
        "does not belong to the series",
        shown or path,
        modality,
        series_uid,
    )


def damaged(place: Path | str) -> InputError:
    """Return the error for a file that is DICOM but not whole."""
    return InputError("the DICOM file is cut off or damaged; copy or export it again", code="dicom-damaged", path=place)


def _header(path: Path, found: FileElements, shown: Path | None) -> Header:
    """Wrap what was read, with the file meta information standing in for emptied elements."""

    def uid(keyword: str, meta_keyword: str) -> str:
        return str(found.dataset.get(keyword) or found.meta.get(meta_keyword) or "").strip()

    number = str(found.dataset.get("PatientID") or "").strip()
    if "PatientID" in found.dataset:
        del found.dataset["PatientID"]
    return Header(
        path=path,
        dataset=found.dataset,
        sop_class_uid=uid("SOPClassUID", "MediaStorageSOPClassUID"),
        sop_instance_uid=uid("SOPInstanceUID", "MediaStorageSOPInstanceUID"),
        transfer_syntax_uid=str(found.meta.get("TransferSyntaxUID") or ""),
        pixels=found.pixels,
        little_endian=found.little_endian,
        shown=shown,
        walked=found.walked,
        patient=hashlib.sha256(number.encode("utf-8", "replace")).hexdigest() if number else "",
    )


def _is_cut_off(header: Header) -> bool:
    """Whether a file starts as DICOM but ends before what such a file must have."""
    if min(header.size) > 0 or header.text("Modality") in DERIVED_MODALITIES:
        return False
    return not header.sop_class_uid or header.sop_class_uid in (CT_IMAGE_STORAGE, *ENHANCED_CT_STORAGE)
