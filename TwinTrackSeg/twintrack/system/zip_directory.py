"""Opening a stranger's zip file: its list of contents is measured and counted before Python makes objects of it."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import BinaryIO

__all__ = ["TooManyFilesError", "open_zip"]

MOST_BYTES_A_FILE = 46 + 4096
"""Of the list of contents, with a name and extra fields that are longer than any real ones."""

LARGEST_LIST_BYTES = 64 << 20

_ENTRY, _END, _END_64, _LOCATOR_64 = b"PK\1\2", b"PK\5\6", b"PK\6\6", b"PK\6\7"
_ENTRY_BYTES, _END_BYTES, _END_64_BYTES, _LOCATOR_64_BYTES, _LOCAL_BYTES = 46, 22, 56, 20, 30

_TAIL_BYTES = _END_BYTES + 65535
"""The end record, and the longest comment after it."""

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Others unpack any number of bytes at once, or first ask for as much memory as they state."""


class TooManyFilesError(zipfile.BadZipFile):
    """The list of contents is longer than it may be."""


def open_zip(path: Path | BinaryIO, *, max_files: int, same_names: bool = False) -> zipfile.ZipFile:
    """Open a zip file of at most `max_files` entries, each stored or deflated, in a place of its own, with a name.

    Parameters
    ----------
    path : Path or file
        The file, or one that is open.
    max_files : int
        Entries that it may have, folders among them.
    same_names : bool
        Whether two entries may have the same name.

    Raises
    ------
    zipfile.BadZipFile
        If it is none, or is refused; the message says why in a few words.
    TooManyFilesError
        If it lists too much.
    OSError
        If it cannot be read.
    """
    if isinstance(path, Path):
        with path.open("rb") as file:
            _count(file, max_files)
    else:
        _count(path, max_files)
    archive = zipfile.ZipFile(path)
    try:
        _check_entries(archive.infolist(), archive.start_dir, same_names)
    except BaseException:
        archive.close()
        raise
    return archive


def _count(file: BinaryIO, max_files: int) -> None:
    """Count the entries of the list itself: the number that the file states can lie.

    References
    ----------
    PKWARE, "APPNOTE.TXT - .ZIP File Format Specification" 6.3.10, 4.3.12 to 4.3.16.
    """
    end, length = _list_place(file)
    if length > min(max_files * MOST_BYTES_A_FILE, LARGEST_LIST_BYTES):
        raise TooManyFilesError(f"its list of contents has {length:,} bytes, more than {max_files} files need")
    if length > end:
        raise zipfile.BadZipFile("its list of contents is longer than the file")
    file.seek(end - length)
    listed = file.read(length)
    place, count = 0, 0
    while listed[place : place + 4] == _ENTRY and len(listed) - place >= _ENTRY_BYTES:
        place += _ENTRY_BYTES + sum(struct.unpack_from("<HHH", listed, place + 28))
        count += 1
        if count > max_files:
            raise TooManyFilesError(f"it holds more than the {max_files} files that it may have")


def _list_place(file: BinaryIO) -> tuple[int, int]:
    """Return where the list of contents ends, and its bytes, as the file's end record says."""
    size = file.seek(0, 2)
    start = max(0, size - _TAIL_BYTES)
    file.seek(start)
    tail = file.read(_TAIL_BYTES)
    place = tail.rfind(_END)
    if place < 0 or len(tail) - place < _END_BYTES:
        raise zipfile.BadZipFile("it is not a zip file")
    (length,) = struct.unpack_from("<L", tail, place + 12)
    end = start + place
    if end >= _LOCATOR_64_BYTES + _END_64_BYTES:
        file.seek(end - _LOCATOR_64_BYTES - _END_64_BYTES)
        longer = file.read(_END_64_BYTES + _LOCATOR_64_BYTES)
        if longer[_END_64_BYTES : _END_64_BYTES + 4] == _LOCATOR_64 and longer[:4] == _END_64:
            (length,) = struct.unpack_from("<Q", longer, 40)
            end -= _LOCATOR_64_BYTES + _END_64_BYTES
    return end, int(length)


def _check_entries(entries: list[zipfile.ZipInfo], start_of_list: int, same_names: bool) -> None:
    if not all(entry.filename for entry in entries):
        raise zipfile.BadZipFile("it holds a file without a name")
    if not same_names and len({entry.filename for entry in entries}) < len(entries):
        raise zipfile.BadZipFile("it holds a name twice")
    end = 0
    for entry in sorted(entries, key=lambda entry: entry.header_offset):
        if entry.compress_type not in _METHODS:
            raise zipfile.BadZipFile(f"{entry.filename[:100]!r} is packed in another way than stored or deflated")
        if entry.flag_bits & 1:
            raise zipfile.BadZipFile(f"{entry.filename[:100]!r} is encrypted")
        if entry.header_offset < end:
            raise zipfile.BadZipFile(f"{entry.filename[:100]!r} shares its bytes with another file")
        end = entry.header_offset + _LOCAL_BYTES + entry.compress_size
    if end > start_of_list:
        raise zipfile.BadZipFile("a file shares its bytes with the list of contents")
