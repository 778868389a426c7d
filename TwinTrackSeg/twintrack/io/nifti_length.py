"""Whether a NIfTI file holds all the voxels of its header: ITK's reader silently takes missing ones for 0."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from twintrack.errors import InputError

if TYPE_CHECKING:
    import SimpleITK as sitk

__all__ = ["check_length"]

GZIP = b"\x1f\x8b"
BLOCK_BYTES = 4 << 20


def check_length(path: Path, reader: sitk.ImageFileReader) -> None:
    """Refuse a NIfTI file that ends before its last voxel, or whose checksum is wrong; leave other formats alone.

    Parameters
    ----------
    path : Path
        The file.
    reader : SimpleITK.ImageFileReader
        Has read the file's header.

    Raises
    ------
    InputError
        Says so, without naming the file.
    """
    if not reader.HasMetaDataKey("vox_offset"):
        return
    voxels_bytes = math.prod(reader.GetSize()) * int(reader.GetMetaData("bitpix")) // 8
    needed, there = int(float(reader.GetMetaData("vox_offset"))) + voxels_bytes, _length(path)
    if there < needed:
        raise InputError(f"is cut off, {there:,} of {needed:,} bytes are there; copy it again")


def _length(path: Path) -> int:
    """Return the bytes of a file once it is unpacked, as far as that goes."""
    with path.open("rb") as plain:
        if plain.read(len(GZIP)) != GZIP:
            return path.stat().st_size
    length = 0
    with gzip.open(path) as stream:
        try:
            while block := stream.read1(BLOCK_BYTES):  # up to the end, where the checksum is compared
                length += len(block)
        except EOFError:
            return length
        except (gzip.BadGzipFile, zlib.error) as error:
            raise InputError("is damaged: what it holds does not fit its checksum; copy it again") from error
    return length
