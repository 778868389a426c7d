"""Decode the stored pixel values of a DICOM file, whatever its transfer syntax.

Uncompressed pixels are taken apart here, bit by bit as the header says. Compressed frames are decoded by the GDCM
library inside SimpleITK and, where that does not know the encoding, by the plug-ins of pydicom that are installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twintrack.dicom.headers import Header, parse_errors, quiet_parser
from twintrack.errors import InputError
from twintrack.system.private_folder import PrivateFolder

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset
    from pydicom.uid import UID

__all__ = ["StoredPixels", "read_pixels"]

StoredPixels = NDArray[np.integer[Any]]
"""Stored values (frame, y, x), before the rescale to HU."""

WHOLE_BYTES = (8, 16, 32)
"""Values of BitsAllocated that occur in images that are not packed."""


def read_pixels(header: Header) -> tuple[Dataset, StoredPixels]:
    """Return the whole data set of the file that `header` describes, and its stored pixels (frame, y, x).

    Raises
    ------
    InputError
        If the file is cut off or damaged, or encoded in a way that nothing installed decodes.
    """
    import pydicom

    place = str(header.shown or header.path)
    try:
        with quiet_parser():
            dataset = pydicom.dcmread(header.path, force=True)
            stored = _stored(dataset, place)
    except OSError as error:
        raise InputError(f"{place}: cannot be read any more; keep the series until the run is done") from error
    except parse_errors() as error:
        raise _unreadable(place) from error
    columns, rows = header.size
    if stored.shape[1:] != (rows, columns):
        raise _unreadable(place)
    return dataset, stored


def _stored(dataset: FileDataset, place: str) -> StoredPixels:
    """Return the stored pixels (frame, y, x)."""
    from pydicom.uid import UID, ImplicitVRLittleEndian

    syntax = UID(str(dataset.file_meta.get("TransferSyntaxUID") or ImplicitVRLittleEndian))
    if "PixelData" not in dataset:
        raise _unreadable(place)
    if not syntax.is_private and syntax.is_transfer_syntax and syntax.is_encapsulated:
        return np.stack([_decoded(dataset, frame, syntax, place) for frame in _encoded_frames(dataset)])
    return _native(dataset, place)


def _frame_count(dataset: Dataset) -> int:
    return max(1, int(dataset.get("NumberOfFrames") or 1))


def _native(dataset: FileDataset, place: str) -> StoredPixels:
    """Take uncompressed pixels apart: bytes to numbers, bits outside of those stored dropped, sign extended."""
    allocated, stored = int(dataset.BitsAllocated), int(dataset.get("BitsStored") or dataset.BitsAllocated)
    high = int(dataset.get("HighBit") or stored - 1)
    if allocated not in WHOLE_BYTES or not 0 < stored <= high + 1 <= allocated:
        raise InputError(
            f"{place}: stores {stored} of {allocated} bits a pixel up to bit {high}, which no CT does; export it again"
        )
    shape = (_frame_count(dataset), int(dataset.Rows), int(dataset.Columns))
    content: bytes = dataset.PixelData
    needed = int(np.prod(shape)) * allocated // 8
    if len(content) < needed:
        raise _unreadable(place)
    order = "<" if dataset.original_encoding[1] is not False else ">"
    words = np.frombuffer(content[:needed], dtype=f"{order}u{allocated // 8}").astype(
        np.int64 if allocated > 16 else np.int32
    )
    values = (words >> (high + 1 - stored)) & ((1 << stored) - 1)
    if int(dataset.get("PixelRepresentation") or 0) == 1:
        sign = 1 << (stored - 1)
        values = (values ^ sign) - sign
    return values.reshape(shape)


def _encoded_frames(dataset: Dataset) -> Iterator[bytes]:
    """Return the encoded bytes of each frame."""
    from pydicom.encaps import generate_frames

    count = _frame_count(dataset)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=count))
    if len(frames) != count:
        raise ValueError(f"{len(frames)} encoded frames where {count} are stated")
    return iter(frames)


def _decoded(dataset: Dataset, frame: bytes, syntax: UID, place: str) -> NDArray[np.integer[Any]]:
    """Decode one compressed frame, (y, x)."""
    shape = (int(dataset.Rows), int(dataset.Columns))
    try:
        return _decode_by_gdcm(dataset, frame, syntax).reshape(shape)
    except (RuntimeError, ValueError) as error:
        try:
            return _decode_by_plugins(dataset, frame, syntax).reshape(shape)
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


def _decode_by_gdcm(dataset: Dataset, frame: bytes, syntax: UID) -> NDArray[np.integer[Any]]:
    import SimpleITK as sitk

    with PrivateFolder("twintrack-frame-") as folder:
        path = folder / "frame.dcm"
        _single_frame(dataset, frame, syntax).save_as(path, enforce_file_format=True)
        return sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))


def _decode_by_plugins(dataset: Dataset, frame: bytes, syntax: UID) -> NDArray[np.integer[Any]]:
    """Decode by what pydicom finds installed: pylibjpeg with its plug-ins, pyjpegls, python-gdcm."""
    return _single_frame(dataset, frame, syntax).pixel_array


def _undecodable(syntax: UID, place: str) -> InputError:
    """Tell a damaged file from an encoding that no installed decoder knows."""
    from pydicom.pixels.decoders.base import get_decoder

    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if available or syntax in _known_to_gdcm():
        return _unreadable(place)
    return InputError(
        f"{place}: encoded as {syntax.name}, which nothing installed decodes; "
        "install the extra 'codecs' (pip install twintrack[codecs]), or export the series uncompressed"
    )


def _known_to_gdcm() -> list[UID]:
    from pydicom.uid import JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes, RLELossless

    return [*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes, RLELossless]


def _unreadable(place: str) -> InputError:
    return InputError(f"{place}: the pixels cannot be read, the file is cut off or damaged; export it again")
