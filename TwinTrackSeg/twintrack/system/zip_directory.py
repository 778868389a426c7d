"""Opening a stranger's zip file: its list of contents is measured before Python reads it into memory."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

__all__ = ["open_zip"]

_ENTRY_BYTES = 46 + 4096
"""Size of an entry of the list, with a name and extra fields that are longer than any real ones."""

_TAIL = 22 + 65535
"""The end record, and the longest comment after it."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def open_zip(path: Path, *, max_files: int) -> zipfile.ZipFile:
    """Open a zip file of at most `max_files` files, each stored or deflated, in a place of its own, and named once.

    Raises
    ------
    zipfile.BadZipFile
        If it is none, or is refused; the message says why in a few words.
    OSError
        If it cannot be read.
    """
    size = _list_bytes(path)
    if size > max_files * _ENTRY_BYTES:
        raise zipfile.BadZipFile(f"its list of contents has {size:,} bytes, more than {max_files} files need")
    archive = zipfile.ZipFile(path)
    try:
        _check_entries(archive.infolist(), max_files)
    except BaseException:
        archive.close()
        raise
    return archive


def _check_entries(entries: list[zipfile.ZipInfo], max_files: int) -> None:
    if len(entries) > max_files:
        raise zipfile.BadZipFile(f"it holds {len(entries)} files, more than the {max_files} it may have")
    if not all(entry.filename for entry in entries):
        raise zipfile.BadZipFile("it holds a file without a name")
    if len({entry.filename for entry in entries}) < len(entries):
        raise zipfile.BadZipFile("it holds a name twice")
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.compress_type not in _METHODS:
            raise zipfile.BadZipFile(f"{entry.filename!r} is packed in another way than stored or deflated")
        if entry.flag_bits & 1:
            raise zipfile.BadZipFile(f"{entry.filename!r} is encrypted")
        if entry.header_offset < end:
            raise zipfile.BadZipFile(f"{entry.filename!r} shares its bytes with another file")
        end = entry.header_offset + 30 + entry.compress_size


def _list_bytes(path: Path) -> int:
    """Return the size of the list of contents that the file's end record tells.

    References
    ----------
    PKWARE, "APPNOTE.TXT - .ZIP File Format Specification", 4.3.14 to 4.3.16.
    """
    with path.open("rb") as stream:
        length = stream.seek(0, 2)
        stream.seek(max(0, length - _TAIL - 20))
        tail = stream.read()
        place = tail.rfind(b"PK\x05\x06")
        if place < 0 or place + 22 > len(tail):
            raise zipfile.BadZipFile("it is not a zip file")
        (size,) = struct.unpack_from("<L", tail, place + 12)
        locator = tail[max(0, place - 20) : place]
        if size == 0xFFFFFFFF or locator[:4] == b"PK\x06\x07":
            if len(locator) < 20 or locator[:4] != b"PK\x06\x07":
                raise zipfile.BadZipFile("its end record is damaged")
            (record,) = struct.unpack_from("<Q", locator, 8)
            if record + 56 > length:
                raise zipfile.BadZipFile("its end record is damaged")
            stream.seek(record)
            head = stream.read(56)
            if len(head) < 56 or head[:4] != b"PK\x06\x06":
                raise zipfile.BadZipFile("its end record is damaged")
            (size,) = struct.unpack_from("<Q", head, 40)
    return int(size)
