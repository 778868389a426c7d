"""The CSV list of cases that the cohort commands read."""

from __future__ import annotations

import csv
import gzip
import io
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

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

ANNOTATION = re.compile(r"annotation_(\d+)")

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
        missing = [column for column in ("case", *self.needs) if column not in header]
        if self.annotated and not any(ANNOTATION.fullmatch(column) for column in header):
            missing.append("annotation_1")
        if missing:
            raise InputError(f"{path}: needs the column {', '.join(missing)}; it has {', '.join(header) or 'none'}")
        twice = next((column for column in header if column and header.count(column) > 1), None)
        if twice is not None:
            raise InputError(f"{path}: has two columns {twice}; leave one")


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
    _packed: bytes
    _columns: _Columns
    _count: int

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[ManifestRow]:
        return _rows(self.path, self._packed, self._columns, look=False)


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
    packed = io.BytesIO()
    try:
        with path.open("rb") as stream, gzip.GzipFile(fileobj=packed, mode="wb", compresslevel=3) as packer:
            shutil.copyfileobj(stream, packer)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a CSV manifest ({error})") from error
    seen: set[str] = set()
    for row in _rows(path, packed.getvalue(), columns, look=True):
        if row.case in seen:
            raise InputError(f"{row.where}: case {row.case!r} stands twice; each case needs an own name")
        seen.add(row.case)
    if not seen:
        raise InputError(f"{path}: holds no case")
    return ManifestRows(path, packed.getvalue(), columns, len(seen))


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


def _rows(path: Path, packed: bytes, columns: _Columns, *, look: bool) -> Iterator[ManifestRow]:
    """Yield the rows one by one; with `look` only while the files that they need are there."""
    text = io.TextIOWrapper(gzip.GzipFile(fileobj=io.BytesIO(packed)), encoding="utf-8-sig", newline="")
    try:
        reader = csv.DictReader(text)
        columns.check(path, list(reader.fieldnames or []))
        for line in reader:
            yield _row(path, reader.line_num, line, columns, look)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a CSV manifest ({error})") from error


def _row(path: Path, number: int, line: dict[str, str], columns: _Columns, look: bool) -> ManifestRow:
    where = f"{path}, line {number}"
    if None in line or None in line.values():
        raise InputError(f"{where}: has more or fewer cells than the header")
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
