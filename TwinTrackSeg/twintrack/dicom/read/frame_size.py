"""Check what an encoded frame states about itself, before a decoder asks for memory of that size.

References
----------
ITU-T T.81, B.2 (JPEG markers, also used by JPEG-LS); ITU-T T.800, A.5.1 (JPEG 2000 image and tile size); DICOM PS3.5, G
(RLE).
"""

from __future__ import annotations

import struct

__all__ = ["check_frame"]

SEARCHED_BYTES = 64 * 1024
"""A JPEG 2000 code stream starts within so many bytes, also inside of a JP2 file."""

MOST_TILES = 4096
"""Tiles of one slice; a decoder keeps accounts of each."""

MOST_RLE_SEGMENTS = 4
"""Bytes of one grey value."""

JPEG, JPEG_2000 = b"\xff\xd8\xff", b"\xff\x4f\xff\x51"
NO_SIZE = frozenset((0xC4, 0xC8, 0xCC))
"""Markers between those that state a size."""

SIZES = frozenset((*range(0xC0, 0xD0), 0xF7)) - NO_SIZE


def check_frame(frame: bytes, size: tuple[int, int]) -> None:
    """Make sure that an encoded frame holds grey values of `size` (columns, rows).

    Raises
    ------
    ValueError
        If it states another size, more than one component or too many tiles, or nothing that is understood.
    """
    start = frame.lstrip(b"\xff")
    if frame[:3] == JPEG or (frame[:1] == b"\xff" and start[:2] == b"\xd8\xff"):
        stated = _jpeg_size(frame)
    elif (place := frame.find(JPEG_2000, 0, SEARCHED_BYTES)) >= 0:
        stated = _jpeg_2000_size(frame, place + 4)
    else:
        _check_rle(frame)
        return
    if stated != size:
        raise ValueError(f"an encoded frame of {stated} where {size} are stated")


def _jpeg_size(frame: bytes) -> tuple[int, int]:
    """Return (columns, rows) of a JPEG or JPEG-LS frame."""
    place = frame.find(b"\xd8") + 1
    found = None
    while place + 4 <= len(frame):
        if frame[place] != 0xFF:
            break
        marker = frame[place + 1]
        if marker == 0xFF:  # filling
            place += 1
            continue
        (length,) = struct.unpack_from(">H", frame, place + 2)
        if marker in SIZES:
            if place + 10 > len(frame) or frame[place + 9] != 1:
                break
            rows, columns = struct.unpack_from(">HH", frame, place + 5)
            if found not in (None, (columns, rows)):
                break
            found = (columns, rows)
        if marker == 0xDA:  # what follows are the values
            if found is None:
                break
            return found
        place += 2 + max(length, 2)
    raise ValueError("a JPEG frame without one size and one component")


def _jpeg_2000_size(frame: bytes, place: int) -> tuple[int, int]:
    """Return (columns, rows) of a JPEG 2000 frame."""
    right, bottom, left, top, width, height, tiles_left, tiles_top, components = struct.unpack_from(
        ">8LH", frame, place + 4
    )
    if components != 1 or not width or not height:
        raise ValueError("a JPEG 2000 frame of several components or without tiles")
    across, down = -(-(right - tiles_left) // width), -(-(bottom - tiles_top) // height)
    if across * down > MOST_TILES:
        raise ValueError(f"a JPEG 2000 frame of {across * down} tiles")
    return right - left, bottom - top


def _check_rle(frame: bytes) -> None:
    """Check the number of segments; each holds one byte of all values, so that the header's size is its size."""
    if len(frame) < 64 or not 1 <= int.from_bytes(frame[:4], "little") <= MOST_RLE_SEGMENTS:
        raise ValueError("an encoded frame of no known kind")
