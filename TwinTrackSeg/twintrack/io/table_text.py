"""The text of a CSV table as spreadsheets write it: encoding and separator are found out, its length is limited."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from twintrack.errors import InputError

__all__ = ["PackedTable", "pack_table"]

MAX_LINE_BYTES = 1_000_000
MAX_BYTES = 256 * 1024**2
"""Bytes of a row, as UTF-8, and of a table in all."""

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
"""Allowed separators; the first one is not worth a word."""

_SAID_SEPARATOR = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
"""First line by which Excel is told the separator."""

_WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""How the files of Excel and other spreadsheet programs begin."""


@dataclass(frozen=True)
class PackedTable:
    """A table whose text is kept compressed: a row takes kilobytes of memory, its compressed text some ten bytes.

    Attributes
    ----------
    path : Path
        The file, which is not looked at any more.
    separator : str
        One of `SEPARATORS`.
    assumed : tuple of str
        What was found out: how it was read, in words that follow "read".
    """

    path: Path
    separator: str
    assumed: tuple[str, ...]
    _text: bytes
    _before: int

    def rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield the cells of each row with the number of its last line, from the header on; nothing for empty rows.

        Raises
        ------
        InputError
            If a row is too long, or is no CSV.
        """
        lines = _Lines(self.path, gzip.GzipFile(fileobj=io.BytesIO(self._text)))
        try:
            for _ in range(self._before):
                next(lines)
            reader = csv.reader(lines, delimiter=self.separator, skipinitialspace=True)
            for number, cells in enumerate(reader):
                lines.row_ended()
                if number == 0 or any(cell.strip() for cell in cells):  # spreadsheets write empty rows at the end
                    yield self._before + reader.line_num, cells
        except (UnicodeDecodeError, csv.Error) as error:
            raise _unreadable(self.path, error) from error

    def spaced_header(self) -> list[str]:
        """Return the cells of the header with the spaces before and after them."""
        lines = _Lines(self.path, gzip.GzipFile(fileobj=io.BytesIO(self._text)))
        for _ in range(self._before):
            next(lines)
        return next(csv.reader(lines, delimiter=self.separator), [])


def pack_table(path: Path, is_header: Callable[[list[str]], bool]) -> PackedTable:
    """Read a table and find out its encoding and separator.

    Parameters
    ----------
    path : Path
        Text in UTF-8, UTF-16 with a byte order mark, or Latin-1 as Windows extends it.
    is_header : callable
        Whether the cells of the first row can be meant; of two separators the one is taken with which they can.

    Raises
    ------
    InputError
        If it is no such text, or too long.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a folder" if path.is_dir() else "not an ordinary file"
            raise InputError(
                f"cannot be read as a CSV manifest, because it is {kind}; give a CSV file with a line for each case",
                code="not-a-regular-file",
                path=path,
            )
        with path.open("rb") as stream:
            text, encoding = _as_utf8(stream, path)
    except FileNotFoundError:
        raise InputError("no such file", code="file-missing", path=path) from None
    except UnicodeError as error:
        raise _unreadable(path, error) from error
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read as a CSV manifest ({error})", code="file-unreadable", path=path) from error
    separator, before = _separator(path, text, is_header)
    said = f"with {SEPARATORS[separator]}" + (", as its first line says" if before else "")
    plain = separator == "," and not before
    assumed = tuple(word for word in ("" if plain else said, encoding) if word)
    return PackedTable(path, separator, assumed, text, before)


def _as_utf8(stream: BinaryIO, path: Path) -> tuple[bytes, str]:
    """Return the text in UTF-8, compressed, and how it was encoded, if that has to be said."""
    head = stream.read(4)
    if head in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
        raise InputError(
            "is a text in UTF-32; save it as CSV with the encoding UTF-8", code="table-encoding", path=path
        )
    if head in _WORKBOOKS:
        raise InputError(
            "is a workbook of a spreadsheet program; save it as CSV with the encoding UTF-8",
            code="table-encoding",
            path=path,
        )
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return _compressed(stream, path, "utf-16"), "as UTF-16"
    try:
        return _compressed(stream, path, "utf-8-sig"), ""
    except UnicodeDecodeError as error:
        if head[:3] == codecs.BOM_UTF8:
            raise
        refused = error
    try:
        return _compressed(stream, path, "cp1252"), "as Latin-1"
    except UnicodeDecodeError:  # a byte that stands for nothing there
        raise refused from None


def _compressed(stream: BinaryIO, path: Path, encoding: str) -> bytes:
    stream.seek(0)
    compressed, left = io.BytesIO(), MAX_BYTES
    # Lines may end as Windows, Unix or old Macs end them, Excel's "CSV (Macintosh)" among these, or be mixed.
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
    with gzip.GzipFile(fileobj=compressed, mode="wb", compresslevel=3) as packer:
        while chunk := stream.read(1 << 20):
            left -= len(chunk)
            if left < 0:
                raise InputError(
                    f"is larger than the {MAX_BYTES:,} bytes that a manifest may have",
                    code="table-too-large",
                    path=path,
                )
            packer.write(decoder.decode(chunk).encode("utf-8"))
        packer.write(decoder.decode(b"", final=True).encode("utf-8"))
    return compressed.getvalue()


def _separator(path: Path, text: bytes, is_header: Callable[[list[str]], bool]) -> tuple[str, int]:
    """Return what stands between cells, and the number of lines before the header."""
    try:
        first = next(_Lines(path, gzip.GzipFile(fileobj=io.BytesIO(text))), "").strip("\r\n")
    except csv.Error as error:
        raise _unreadable(path, error) from error
    if first.lower().lstrip('"').startswith("sep="):
        said = _SAID_SEPARATOR.match(first)
        if said is None or said.group(1) not in SEPARATORS:
            raise InputError(
                f"begins with {first[:20]!r}; save it with a comma, semicolon or tab between cells",
                code="table-separator",
                path=path,
            )
        return said.group(1), 1
    for separator in SEPARATORS:
        try:
            cells = next(csv.reader([first], delimiter=separator, skipinitialspace=True), [])
        except csv.Error:
            continue
        if is_header(cells):
            return separator, 0
    return max(SEPARATORS, key=first.count), 0


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(
        f"cannot be read as a CSV manifest ({error}); save it as CSV with the encoding UTF-8",
        code="table-encoding",
        path=path,
    )


class _Lines:
    """Lines of a table as text, each row of limited length, however many lines it has."""

    def __init__(self, path: Path, stream: gzip.GzipFile) -> None:
        self._path = path
        self._stream = stream
        self._first = True
        self._left = MAX_LINE_BYTES

    def row_ended(self) -> None:
        """Allow the next row its length."""
        self._left = MAX_LINE_BYTES

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._stream.readline(self._left + 1)
        if not line:
            raise StopIteration
        self._left -= len(line)
        if self._left < 0:
            raise InputError(
                f"has a row of more than the {MAX_LINE_BYTES:,} bytes that are allowed",
                code="table-too-large",
                path=self._path,
            )
        if b"\0" in line:
            raise csv.Error("it holds NUL, as a text in UTF-16 does" if self._first else "it holds NUL")
        self._first = False
        return line.decode("utf-8")
