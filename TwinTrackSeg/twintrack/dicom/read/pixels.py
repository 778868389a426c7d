"""Decode the stored pixel values of a DICOM file, whatever its transfer syntax.

Uncompressed pixels are taken apart here, bit by bit as the header says. Compressed frames are decoded by the GDCM
library inside SimpleITK and, where that does not know the encoding, by the plug-ins of pydicom that are installed. What
the header states is held against the length of the file, and against what the encoded frame states of itself, before
any memory of that size is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twintrack.dicom.read.elements import BeyondLimit, PixelPlace, read_pixel_bytes
from twintrack.dicom.read.frame_size import check_frame
from twintrack.dicom.read.headers import Header, open_plain, parse_errors, quiet_parser
from twintrack.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset
    from pydicom.uid import UID

__all__ = ["StoredPixels", "read_pixels"]

StoredPixels = NDArray[np.integer[Any]]
"""Stored values (frame, y, x), before the rescale to HU."""

WHOLE_BYTES = (8, 16, 32)
"""Values of BitsAllocated that occur in images that are not packed."""

LONGEST_EDGE = 16_384
"""Most rows or columns of a slice."""

ENCODED_RATIO, ENCODED_FREE_BYTES = 2, 1 << 20
"""Encoded, a frame has at most so many times its decoded bytes, and so many more."""


def read_pixels(header: Header, scratch: Path) -> StoredPixels:
    """Return the stored pixels (frame, y, x) of the file that `header` describes.

    Parameters
    ----------
    header : Header
        Of the file, or of any frame of it.
    scratch : Path
        A folder for the files that decoders need.

    Raises
    ------
    InputError
        If the file is cut off or damaged, or encoded in a way that nothing installed decodes.
    """
    place = str(header.shown or header.path)
    try:
        with quiet_parser():
            return _stored(header, place, scratch)
    except OSError as error:
        raise InputError(
            "can no longer be read; keep the series until the run is done", code="file-unreadable", path=place
        ) from error
    except BeyondLimit as error:
        raise _unreadable(place) from error
    except parse_errors() as error:
        raise _unreadable(place) from error


def _stored(header: Header, place: str, scratch: Path) -> StoredPixels:
    """Return the stored pixels (frame, y, x)."""
    from pydicom.uid import UID, ImplicitVRLittleEndian

    syntax = UID(header.transfer_syntax_uid or ImplicitVRLittleEndian)
    if header.pixels is None:
        raise _unreadable(place)
    columns, rows = header.size
    if not 0 < min(columns, rows) <= max(columns, rows) <= LONGEST_EDGE:
        raise InputError(
            f"has {columns} x {rows} pixels, which no CT slice has; export it again",
            code="pixels-unsupported",
            path=place,
        )
    if not syntax.is_private and syntax.is_transfer_syntax and syntax.is_encapsulated:
        frames = _encoded_frames(header, header.pixels)
        return np.stack([_decoded(header, frame, syntax, place, scratch) for frame in frames])
    return _native(header, header.pixels, place)


def _frame_count(header: Header) -> int:
    return max(1, int(header.dataset.get("NumberOfFrames") or 1))


def _native(header: Header, pixels: PixelPlace, place: str) -> StoredPixels:
    """Take uncompressed pixels apart: bytes to numbers, bits outside of those stored dropped, sign extended."""
    dataset = header.dataset
    allocated, stored = int(dataset.BitsAllocated), int(dataset.get("BitsStored") or dataset.BitsAllocated)
    high = int(dataset.get("HighBit") or stored - 1)
    if allocated not in WHOLE_BYTES or not 0 < stored <= high + 1 <= allocated:
        raise InputError(
            f"stores {stored} of {allocated} bits a pixel up to bit {high}, which no CT does; export it again",
            code="pixels-unsupported",
            path=place,
        )
    columns, rows = header.size
    shape = (_frame_count(header), rows, columns)
    needed = shape[0] * rows * columns * allocated // 8
    if pixels.length is None or pixels.length < needed:
        raise _unreadable(place)
    content = _content(header, pixels, needed)
    order = "<" if header.little_endian else ">"
    words = np.frombuffer(content, dtype=f"{order}u{allocated // 8}").astype(np.int64 if allocated > 16 else np.int32)
    values = (words >> (high + 1 - stored)) & ((1 << stored) - 1)
    if int(dataset.get("PixelRepresentation") or 0) == 1:
        sign = 1 << (stored - 1)
        values = (values ^ sign) - sign
    return values.reshape(shape)


def _content(header: Header, pixels: PixelPlace, needed: int) -> bytes:
    with open_plain(header.path) as file:
        size = os.fstat(file.fileno()).st_size
        return read_pixel_bytes(file, size, pixels, needed=needed, little_endian=header.little_endian)


def _encoded_frames(header: Header, pixels: PixelPlace) -> Iterator[bytes]:
    """Return the encoded bytes of each frame."""
    from pydicom.encaps import generate_frames

    count = _frame_count(header)
    columns, rows = header.size
    decoded = rows * columns * max(1, int(header.dataset.BitsAllocated) // 8)
    content = _content(header, pixels, count * (ENCODED_RATIO * decoded + ENCODED_FREE_BYTES))
    frames = list(islice(generate_frames(content, number_of_frames=count), count + 1))
    if len(frames) != count:
        raise ValueError(f"{len(frames)} encoded frames where {count} are stated")
    return iter(frames)


def _decoded(header: Header, frame: bytes, syntax: UID, place: str, scratch: Path) -> NDArray[np.integer[Any]]:
    """Decode one compressed frame, (y, x)."""
    columns, rows = header.size
    if syntax not in _known_to_gdcm() and not _has_decoder(syntax):
        raise _undecodable(syntax, place)
    check_frame(frame, (columns, rows))
    single = _single_frame(header.dataset, frame, syntax)
    try:
        return _decode_by_gdcm(single, scratch).reshape(rows, columns)
    except (RuntimeError, ValueError) as error:
        try:
            # By what pydicom finds installed: pylibjpeg with its plug-ins, pyjpegls, python-gdcm.
            return single.pixel_array.reshape(rows, columns)
        except (RuntimeError, NotImplementedError, ValueError, ImportError):
            raise _undecodable(syntax, place) from error


def _single_frame(dataset: Dataset, frame: bytes, syntax: UID) -> FileDataset:
    """Wrap one encoded frame as an image file of its own, without a rescale: decoders shall give stored values."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import CTImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    single = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    single.SOPClassUID = CTImageStorage
    single.SOPInstanceUID = generate_uid()
    for keyword in ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"):
        setattr(single, keyword, int(dataset.get(keyword) or 0))
    single.SamplesPerPixel = 1
    single.PhotometricInterpretation = str(dataset.get("PhotometricInterpretation") or "MONOCHROME2")
    single.PixelData = encapsulate([frame])
    single["PixelData"].is_undefined_length = True
    single["PixelData"].VR = "OB"
    return single


def _decode_by_gdcm(single: FileDataset, scratch: Path) -> NDArray[np.integer[Any]]:
    import SimpleITK as sitk

    path = scratch / "frame.dcm"
    single.save_as(path, enforce_file_format=True)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))


def _undecodable(syntax: UID, place: str) -> InputError:
    """Tell a damaged file from an encoding that no installed decoder knows."""
    if syntax in _known_to_gdcm() or _has_decoder(syntax):
        return _unreadable(place)
    return InputError(
        f"encoded as {syntax.name}, which no installed codec decodes; "
        "pip install pylibjpeg pylibjpeg-openjpeg, or export the series uncompressed",
        code="codec-missing",
        path=place,
    )


def _has_decoder(syntax: UID) -> bool:
    from pydicom.pixels.decoders.base import get_decoder

    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def _known_to_gdcm() -> list[UID]:
    from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes, RLELossless

    return [*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes, RLELossless]


def _unreadable(place: str) -> InputError:
    return InputError(
        "the pixels cannot be read, the file is cut off or damaged; export it again", code="dicom-damaged", path=place
    )
