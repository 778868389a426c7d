"""The CSV list of cases that the cohort commands read."""

from __future__ import annotations

import csv
import gzip
import io
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from twintrack.errors import InputError
from twintrack.io.volumes import read_volume
from twintrack.system.paths import is_there
from twintrack.volume import Geometry, Volume

__all__ = [
    "ManifestInputs",
    "ManifestRow",
    "ManifestRows",
    "located",
    "read_annotations",
    "read_manifest",
    "scan_manifest",
]

ANNOTATION = re.compile(r"annotation_([0-9]{1,3})")
ANY_ANNOTATION = re.compile(r"annotation_\d+")

MAX_RATER = 100
"""Largest number of a rater; a calibration takes memory for each number up to it."""

MAX_COLUMNS = 1000
MAX_CELL = 4096
MAX_LINE_BYTES = 1_000_000
MAX_BYTES = 256 * 1024**2
MAX_ROWS = 1_000_000
"""Limits of a manifest: columns, characters of a cell (the longest path), bytes of a row, bytes and rows in all."""

SERIES = "series"
"""Column with the SeriesInstanceUID that is meant where ``image`` is a folder or archive with several series."""


@dataclass(frozen=True)
class ManifestRow:
    """One case of a manifest.

    Attributes
    ----------
    case : str
        Its unique name.
    files : dict
        Path of each filled column but the annotations.
    annotations : dict
        Path of each rater's mask by the rater's number; raters may be missing.
    where : str
        Manifest and line, for messages.
    cells : dict
        Text of each column that names no file.
    """

    case: str
    files: dict[str, Path]
    annotations: dict[int, Path]
    where: str
    cells: dict[str, str] = field(default_factory=dict)

    @property
    def series(self) -> str | None:
        """SeriesInstanceUID of the DICOM series that is meant, where the manifest says so."""
        return self.cells.get(SERIES)


@dataclass(frozen=True)
class _Columns:
    """What a manifest has to hold, and how its columns are read; see `read_manifest`."""

    needs: Sequence[str]
    annotated: bool
    texts: Sequence[str]
    optional: Sequence[str]

    def check(self, path: Path, header: Sequence[str]) -> None:
        """Refuse a header without a column that is needed, or with one twice."""
        if len(header) > MAX_COLUMNS:
            raise InputError(f"{path}: has {len(header)} columns, more than the {MAX_COLUMNS} that are allowed")
        missing = [column for column in ("case", *self.needs) if column not in header]
        if self.annotated and not any(ANNOTATION.fullmatch(column) for column in header):
            missing.append("annotation_1")
        if missing:
            raise InputError(f"{path}: needs the column {', '.join(missing)}; it has {', '.join(header) or 'none'}")
        names: set[str] = set()
        for column in header:
            if column and column in names:
                raise InputError(f"{path}: has two columns {column}; leave one")
            names.add(column)
            found = ANNOTATION.fullmatch(column)
            if ANY_ANNOTATION.fullmatch(column) and (found is None or int(found.group(1)) > MAX_RATER):
                raise InputError(
                    f"{path}: the number in the column {column[:40]} must be at most {MAX_RATER}, in the digits 0 to 9"
                )


@dataclass(frozen=True)
class ManifestRows:
    """Rows of a manifest that was checked, made anew from its packed text each time they are gone through.

    A row takes kilobytes of memory, its packed text some ten bytes. What happens to the file meanwhile has no effect.

    Attributes
    ----------
    path : Path
        The manifest.
    """

    path: Path
    _compressed: bytes
    _columns: _Columns
    _count: int

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[ManifestRow]:
        return _rows(self.path, self._compressed, self._columns, look=False)


@dataclass(frozen=True)
class ManifestInputs:
    """The paths of manifests and of all files that they name, made anew each time they are gone through.

    Attributes
    ----------
    manifests : tuple of ManifestRows
        The manifests.
    further : tuple of Path
        Other files that the run reads.
    """

    manifests: tuple[ManifestRows, ...]
    further: tuple[Path, ...] = ()

    def __iter__(self) -> Iterator[Path]:
        yield from self.further
        for rows in self.manifests:
            yield rows.path
            for row in rows:
                yield from row.files.values()
                yield from row.annotations.values()


def read_manifest(
    path: str | Path,
    *,
    needs: Sequence[str] = (),
    annotated: bool = False,
    texts: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> tuple[ManifestRow, ...]:
    """Read a manifest; paths in it are relative to its folder.

    Parameters
    ----------
    path : path
        CSV file with a header; ``case`` is required and unique.
    needs : sequence of str
        Columns that every row must fill.
    annotated : bool
        Whether every row needs at least one annotation.
    texts : sequence of str
        Columns that hold text and name no file, beside `SERIES`.
    optional : sequence of str
        Columns that may be empty, but whose files have to be there.

    Raises
    ------
    InputError
        If the file, a column, a cell or a named file is missing, or a case stands twice; the line is named.
    """
    return tuple(scan_manifest(path, needs=needs, annotated=annotated, texts=texts, optional=optional))


def scan_manifest(
    path: str | Path,
    *,
    needs: Sequence[str] = (),
    annotated: bool = False,
    texts: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> ManifestRows:
    """Check a manifest as `read_manifest` does, and return its rows without holding them all in memory."""
    path, columns = Path(path), _Columns(needs, annotated, (SERIES, *texts), optional)
    compressed = io.BytesIO()
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise InputError(f"{path}: cannot be read as a CSV manifest, because it is not an ordinary file")
        with path.open("rb") as stream, gzip.GzipFile(fileobj=compressed, mode="wb", compresslevel=3) as packer:
            _copy(stream, packer, path)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a CSV manifest ({error})") from error
    names: set[str] = set()
    for row in _rows(path, compressed.getvalue(), columns, look=True):
        if row.case in names:
            raise InputError(f"{row.where}: case {row.case!r} stands twice; each case needs an own name")
        names.add(row.case)
        if len(names) > MAX_ROWS:
            raise InputError(f"{path}: holds more than the {MAX_ROWS:,} cases that are allowed")
    if not names:
        raise InputError(f"{path}: holds no case")
    return ManifestRows(path, compressed.getvalue(), columns, len(names))


def read_annotations(row: ManifestRow, grid: Geometry) -> dict[int, Volume]:
    """Read the raters' masks of one case.

    Raises
    ------
    InputError
        If a mask lies on another grid than `grid` or holds values other than 0 and 1.
    """
    masks = {}
    for rater, path in row.annotations.items():
        mask = read_volume(path)
        if not mask.geometry.same_grid(grid):
            problem = "lies on another grid than the case's other volumes"
            raise InputError(f"{row.where}: {path}: annotation_{rater} {problem}")
        if not ((mask.array == 0) | (mask.array == 1)).all():
            raise InputError(f"{row.where}: {path}: annotation_{rater} holds values other than 0 and 1")
        masks[rater] = mask
    return masks


@contextmanager
def located(row: ManifestRow, column: str) -> Iterator[None]:
    """Add the row and the file to the message of an `InputError`, which may begin with the column it is about."""
    try:
        yield
    except InputError as error:
        about = str(error).split(" ", 1)[0]
        file = row.files.get(about) or row.files[column]
        message = str(error).removeprefix(f"{file}: ")
        raise InputError(f"{row.where}: {file}: {message}") from error


def _rows(path: Path, compressed: bytes, columns: _Columns, *, look: bool) -> Iterator[ManifestRow]:
    """Yield the rows one by one; with `look` only while the files that they need are there."""
    lines = _Lines(path, gzip.GzipFile(fileobj=io.BytesIO(compressed)))
    try:
        reader = csv.reader(lines)
        header = next(reader, [])
        columns.check(path, header)
        for cells in reader:
            lines.row_ended()
            if not cells:  # an empty line
                continue
            where = f"{path}, line {reader.line_num}"
            if len(cells) != len(header):
                raise InputError(f"{where}: has more or fewer cells than the header")
            yield _row(path, where, dict(zip(header, cells, strict=True)), columns, look)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: cannot be read as a CSV manifest ({error}); save it as CSV with the encoding UTF-8"
        ) from error


class _Lines:
    """Lines of a manifest as text, each row of limited length, however many lines it has."""

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
            raise InputError(f"{self._path}: has a row of more than the {MAX_LINE_BYTES:,} bytes that are allowed")
        if b"\0" in line:
            raise csv.Error("it holds NUL, as a text in UTF-16 does" if self._first else "it holds NUL")
        text = line.decode("utf-8-sig" if self._first else "utf-8")
        self._first = False
        return text


def _copy(stream: BinaryIO, packer: gzip.GzipFile, path: Path) -> None:
    left = MAX_BYTES
    while chunk := stream.read(1 << 20):
        left -= len(chunk)
        if left < 0:
            raise InputError(f"{path}: is larger than the {MAX_BYTES:,} bytes that a manifest may have")
        packer.write(chunk)


def _row(path: Path, where: str, line: dict[str, str], columns: _Columns, look: bool) -> ManifestRow:
    longest = max(map(len, line.values()))
    if longest > MAX_CELL:
        raise InputError(f"{where}: has a cell of {longest} characters, more than the {MAX_CELL} that are allowed")
    case = line["case"].strip()
    if not case:
        raise InputError(f"{where}: the case has no name")
    files: dict[str, Path] = {}
    annotations: dict[int, Path] = {}
    cells = {column: line[column].strip() for column in columns.texts if line.get(column, "").strip()}
    for column, cell in line.items():
        if column == "case" or column in columns.texts or not cell.strip():
            continue
        file = path.parent / cell.strip()
        rater = ANNOTATION.fullmatch(column)
        if look and (column in columns.needs or column in columns.optional or rater) and not is_there(file):
            raise InputError(f"{where}: {column}: {file}: no such file")
        if rater:
            annotations[int(rater.group(1))] = file
        else:
            files[column] = file
    empty = [column for column in columns.needs if column not in files and column not in cells]
    if empty or (columns.annotated and not annotations):
        raise InputError(f"{where}: case {case!r} needs {', '.join(empty) or 'at least one annotation'}")
    return ManifestRow(case, files, annotations, where, cells)
