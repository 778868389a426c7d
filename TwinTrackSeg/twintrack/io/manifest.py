"""The CSV list of cases that the cohort commands read."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from twintrack.errors import InputError, locating
from twintrack.io.masks import file_of, read_mask
from twintrack.io.table_text import PackedTable, pack_table
from twintrack.raters import MAX_NAME, MOST_RATERS, checked_name, look_alikes
from twintrack.system.paths import is_there
from twintrack.volume import Geometry, Volume

__all__ = [
    "ManifestInputs",
    "ManifestRow",
    "ManifestRows",
    "located",
    "read_annotations",
    "read_manifest",
    "reading_note",
    "scan_manifest",
]

ANNOTATION = "annotation_"
"""What the column of a rater's masks begins with; the rater's name follows."""

SERIES = "series"
"""Column with the SeriesInstanceUID or SeriesNumber that is meant where ``image`` holds several series."""

ACQUISITION = "acquisition"
"""Column with the AcquisitionNumber that is meant where that series holds several acquisitions."""

TEXTS = ("patient", "split", SERIES, ACQUISITION)
FILES = ("image", "score", "probability", "binary", "vessels", "predicted_vessels", "anatomy", "organ")
"""Columns in use beside ``case`` and those of the raters: of texts, and of files."""

MADE_BY = {
    "probability": "twintrack segment and cohort write such maps (probability.nii.gz)",
    "score": "twintrack segment --keep-score writes such files (score.nii.gz)",
}
"""Where the file of a column comes from, for who lacks it."""

MAX_COLUMNS = 1000
MAX_CELL = 4096
MAX_ROWS = 1_000_000
"""Limits of a manifest: columns, characters of a cell (the longest path) and rows."""

MAX_SHOWN = 150
"""Characters of a header or a column that a message shows."""

SPACES = "without spaces around names"
CAPITALS = "with small letters for column names"
BACKSLASHES = "with \\ as /"
BLANKS = "with n/a, NaN and the like as empty cells"
"""What may have been assumed about a manifest beside encoding and separator."""

NOTHING = frozenset(("n/a", "#n/a", "na", "nan", "none", "null"))
"""What programs write for a cell that holds nothing, in small letters."""

_WHOLE = re.compile(r"([0-9]{1,9})(?:[.,]0+)?")
"""A number without a sign; with the zero decimals that table programs write where a column has empty cells."""

_SURELY = re.compile(r"(?:annotation[ .-]*|(?:rater|reader)[ _.-]*(?=[0-9]+$))(.+)", re.IGNORECASE)
_NEARLY = re.compile(r"(?:annotation|rater|reader)(?!s?$)s?[ _.-]*(.+)", re.IGNORECASE)
"""Columns that were most likely meant as those of raters."""


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
        Path of each rater's mask by the rater's name; who did not read the case is missing.
    where : str
        Manifest and line, for messages.
    cells : dict
        Text of each column that names no file.
    backslashes : bool
        Whether paths were written with backslashes, as Windows does.
    blanks : bool
        Whether a word of `NOTHING` stood in a cell.
    """

    case: str
    files: dict[str, Path]
    annotations: dict[str, Path]
    where: str
    cells: dict[str, str] = field(default_factory=dict)
    backslashes: bool = False
    blanks: bool = False

    @property
    def series(self) -> str | None:
        """SeriesInstanceUID or SeriesNumber of the DICOM series that is meant, where the manifest says so."""
        cell = self.cells.get(SERIES)
        number = None if cell is None else _whole_number(cell)
        return cell if number is None else str(number)

    @property
    def acquisition(self) -> int | None:
        """AcquisitionNumber that is meant in the series, where the manifest says so."""
        cell = self.cells.get(ACQUISITION)
        return None if cell is None else _whole_number(cell)


@dataclass(frozen=True)
class _Columns:
    """What a manifest has to hold, and how its columns are read; see `read_manifest`."""

    needs: Sequence[str]
    annotated: bool
    texts: Sequence[str]
    optional: Sequence[str]

    def known(self, column: str) -> str:
        """Return the name of a column as it is known, whatever its case and the spaces around it.

        Raises
        ------
        InputError
            If it is one of a rater without a name.
        """
        name = column.replace("\ufeff", "").strip()
        small = name.lower()
        if small.startswith(ANNOTATION):
            return ANNOTATION + checked_name(name[len(ANNOTATION) :])
        return small if small in ("case", *TEXTS, *FILES, *self.needs, *self.texts, *self.optional) else name

    def header(self, path: Path, cells: Sequence[str]) -> tuple[str, ...]:
        """Return the names of the columns; refuse a header without one that is needed, or with one twice."""
        if len(cells) > MAX_COLUMNS:
            raise InputError(
                f"has {len(cells)} columns, more than the {MAX_COLUMNS} that are allowed",
                code="table-too-large",
                path=path,
            )
        header = []
        for cell in cells:
            try:
                header.append(self.known(cell))
            except InputError as error:
                raise InputError(
                    f"the column {cell[:MAX_NAME]!r}: {error}; rename it", code="rater-name", path=path
                ) from error
        missing = [column for column in ("case", *self.needs) if column not in header]
        raters = raters_of(header)
        if self.annotated:
            _check_nearly(path, header, has_raters=bool(raters))
        if self.annotated and not raters:
            missing.append(f"{ANNOTATION}<NAME>")
        if missing:
            made_by = "".join(f"; {MADE_BY[column]}" for column in missing if column in MADE_BY)
            raise InputError(
                f"needs the column {', '.join(missing)}{made_by}; it has {_shown(header)}",
                code="column-missing",
                path=path,
            )
        names: set[str] = set()
        for column in header:
            if column and column in names:
                raise InputError(f"has two columns {column[:MAX_SHOWN]}; keep one", code="column-twice", path=path)
            names.add(column)
        _check_raters(path, raters)
        return tuple(header)


def reading_note(path: str | Path, assumed: str) -> str:
    """Return one line about how a manifest was read; see `ManifestRows`."""
    name = str(path)
    return f"note: {name if len(name) <= MAX_SHOWN else f'...{name[-MAX_SHOWN:]}'}: read {assumed}"


def raters_of(header: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the raters in the order of their columns."""
    return tuple(column[len(ANNOTATION) :] for column in header if column.startswith(ANNOTATION))


def _check_nearly(path: Path, header: Sequence[str], *, has_raters: bool) -> None:
    """Refuse a header in which a column was meant as a rater's; beside real ones only what can be nothing else."""
    for column in header:
        if column.startswith(ANNOTATION):
            continue
        meant = (_SURELY if has_raters else _NEARLY).fullmatch(column)
        if meant is not None:
            right = f"{ANNOTATION}{meant.group(1)}"[:MAX_SHOWN]
            raise InputError(
                f"the column {column[:MAX_SHOWN]} names no rater; write {right}", code="column-unknown", path=path
            )


def _check_raters(path: Path, raters: Sequence[str]) -> None:
    """Refuse more raters than a calibration holds, and two that look like one."""
    if len(raters) > MOST_RATERS:
        raise InputError(
            f"has columns of {len(raters)} raters, more than the {MOST_RATERS} that are allowed",
            code="too-many-raters",
            path=path,
        )
    alike = look_alikes(raters)
    if alike is not None:
        one, other = (f"{ANNOTATION}{name}" for name in alike)
        raise InputError(
            f"the columns {one} and {other} differ only in case, spaces or leading zeros; leave one of them if "
            "they are one rater, else give the raters different names",
            code="raters-alike",
            path=path,
        )


def _shown(header: Sequence[str]) -> str:
    """Return the header for a message, its middle left out if it is long."""
    text = ", ".join(header) or "none"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]} ..."


@dataclass(frozen=True)
class ManifestRows:
    """Rows of a manifest that was checked, made anew from its packed text each time they are gone through.

    A row takes kilobytes of memory, its packed text some ten bytes. What happens to the file meanwhile has no effect.

    Attributes
    ----------
    path : Path
        The manifest.
    raters : tuple of str
        Names of the raters who have a column, in its order.
    assumed : str
        How it was read where that had to be found out, in words that follow "read"; empty for a plain CSV.
    """

    path: Path
    raters: tuple[str, ...]
    assumed: str
    _table: PackedTable
    _columns: _Columns
    _count: int

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[ManifestRow]:
        return _rows(self._table, self._columns, look=False)


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
                yield from map(file_of, row.files.values())
                yield from map(file_of, row.annotations.values())


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
        CSV file with a header, as any spreadsheet writes it; ``case`` is required and unique.
    needs : sequence of str
        Columns that every row must fill.
    annotated : bool
        Whether every row needs at least one annotation.
    texts : sequence of str
        Columns that hold text and name no file, beside `TEXTS`.
    optional : sequence of str
        Columns that may be empty, but whose files have to be there.

    Raises
    ------
    InputError
        If the file, a column, a cell or a named file is missing, or a case appears twice; the line is named.
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
    path, columns = Path(path), _Columns(needs, annotated, (*TEXTS, *texts), optional)
    table = pack_table(path, lambda cells: "case" in (cell.strip().lower() for cell in cells))
    _, written = next(table.rows(), (0, []))
    header = columns.header(path, written)
    names: set[str] = set()
    backslashes = blanks = False
    for row in _rows(table, columns, look=True):
        name = unicodedata.normalize("NFC", row.case)
        if name in names:
            raise InputError(
                f"case {row.case[:MAX_SHOWN]!r} appears twice; each case needs its own name",
                code="case-twice",
                where=row.where,
            )
        names.add(name)
        if len(names) > MAX_ROWS:
            raise InputError(
                f"holds more than the {MAX_ROWS:,} cases that are allowed", code="table-too-large", path=path
            )
        backslashes, blanks = backslashes or row.backslashes, blanks or row.blanks
    if not names:
        raise InputError("holds no case", code="no-cases", path=path)
    further = {
        SPACES: any(cell != cell.strip() for cell in table.spaced_header()),
        CAPITALS: any(cell.strip() != column for cell, column in zip(written, header, strict=True)),
        BACKSLASHES: backslashes,
        BLANKS: blanks,
    }
    assumed = ", ".join((*table.assumed, *(words for words, found in further.items() if found)))
    return ManifestRows(path, raters_of(header), assumed, table, columns, len(names))


def read_annotations(row: ManifestRow, grid: Geometry) -> tuple[dict[str, Volume], tuple[str, ...]]:
    """Read the raters' masks of one case onto its grid: uint8, 0 and 1; and what was done to them, in sentences.

    Raises
    ------
    InputError
        If a mask cannot be read, does not say which of its structures is meant, or lies elsewhere.
    """
    masks, notes = {}, []
    for rater, path in row.annotations.items():
        with locating(path=path, where=row.where):
            masks[rater], told = read_mask(path, grid, f"annotation_{rater}")
        notes += [f"{row.case}: {note}" for note in told]
    return masks, tuple(notes)


def located(row: ManifestRow, column: str) -> AbstractContextManager[None]:
    """Let errors of a block name the row, and the file in `column` unless they name one."""
    return locating(path=row.files[column], where=row.where)


def _rows(table: PackedTable, columns: _Columns, *, look: bool) -> Iterator[ManifestRow]:
    """Yield the rows one by one; with `look` only while the files that they need are there."""
    rows = table.rows()
    _, cells = next(rows, (0, []))
    header = columns.header(table.path, cells)
    for line, cells in rows:
        where = f"{table.path}, line {line}"
        if len(cells) > len(header) and not any(cell.strip() for cell in cells[len(header) :]):
            cells = cells[: len(header)]  # Excel ends rows so
        if len(cells) != len(header):
            raise InputError(
                f"has {len(cells)} cells and the header {len(header)}; complete the row, or put quotes around "
                "cells that hold the separator",
                code="row-cells",
                where=where,
            )
        yield _row(table.path, where, dict(zip(header, cells, strict=True)), columns, look)


def _row(path: Path, where: str, line: dict[str, str], columns: _Columns, look: bool) -> ManifestRow:
    longest = max(map(len, line.values()))
    if longest > MAX_CELL:
        raise InputError(
            f"has a cell of {longest} characters, more than the {MAX_CELL} that are allowed",
            code="table-too-large",
            where=where,
        )
    case = line["case"].strip()
    if not case:
        raise InputError("the case has no name", code="case-unnamed", where=where)
    files: dict[str, Path] = {}
    annotations: dict[str, Path] = {}
    held = {column: cell.strip() for column, cell in line.items() if column and column != "case" and cell.strip()}
    filled = {column: cell for column, cell in held.items() if not _holds_nothing(path, column, cell, columns)}
    backslashes = False
    cells = {column: filled[column] for column in columns.texts if column in filled}
    for column, cell in filled.items():
        if column in columns.texts:
            continue
        file = _file_at(path, cell)
        of_rater = column.startswith(ANNOTATION)
        backslashes |= "\\" in cell and os.sep != "\\" and (of_rater or column in (*FILES, *columns.needs))
        if look and (column in columns.needs or column in columns.optional or of_rater) and not is_there(file_of(file)):
            raise InputError("no such file", code="file-missing", path=file, where=f"{where}: {column}")
        if of_rater:
            annotations[column[len(ANNOTATION) :]] = file
        else:
            files[column] = file
    empty = [column for column in columns.needs if column not in files and column not in cells]
    if empty or (columns.annotated and not annotations):
        raise InputError(
            f"case {case[:MAX_SHOWN]!r} needs {', '.join(empty) or 'at least one annotation'}",
            code="cell-empty",
            where=where,
        )
    if look:
        _check_own_files(where, annotations)
    row = ManifestRow(case, files, annotations, where, cells, backslashes, filled.keys() != held.keys())
    if ACQUISITION in cells and "image" in files and row.acquisition is None:
        raise InputError(
            f"acquisition {cells[ACQUISITION][:MAX_SHOWN]!r} is not an AcquisitionNumber; write a whole number, such "
            "as 2, or leave the cell empty",
            code="acquisition-malformed",
            where=where,
        )
    return row


def _holds_nothing(path: Path, column: str, cell: str, columns: _Columns) -> bool:
    """Whether a cell is a word for nothing, and not the name of a file that is there."""
    if cell.lower() not in NOTHING:
        return False
    return column in columns.texts or not is_there(path.parent / _with_slashes(cell))


def _whole_number(cell: str) -> int | None:
    """Read a cell that holds a whole number; None for anything else."""
    found = _WHOLE.fullmatch(cell)
    return None if found is None else int(found.group(1))


def _file_at(path: Path, cell: str) -> Path:
    """Return the file that a cell names; as Unix, Windows and Macs write letters with accents, whichever is there."""
    text = _with_slashes(cell)
    file = path.parent / text
    if text.isascii() or is_there(file_of(file)):
        return file
    others = (path.parent / unicodedata.normalize(form, text) for form in ("NFC", "NFD"))
    return next((other for other in others if is_there(file_of(other))), file)


def _with_slashes(cell: str) -> str:
    """Return a path as this system writes it, where Windows may have written it."""
    return cell if os.sep == "\\" else cell.replace("\\", "/")


def _check_own_files(where: str, annotations: dict[str, Path]) -> None:
    """Refuse one file for two raters, by whatever path or link."""
    whose: dict[object, str] = {}
    for rater, file in annotations.items():
        about = file_of(file).stat()
        part = file.name.removeprefix(file_of(file).name)  # two raters may be two segments of one file
        key = (about.st_dev, about.st_ino, part) if about.st_ino else (os.path.realpath(file_of(file)), part)
        if key in whose:
            raise InputError(
                f"{ANNOTATION}{whose[key]} and {ANNOTATION}{rater} are the same file, {file}; give the mask "
                "of each rater, and leave the cell empty of one who did not read the case",
                code="annotation-shared",
                where=where,
            )
        whose[key] = rater
