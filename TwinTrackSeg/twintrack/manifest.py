"""The CSV list of cases that the cohort commands read."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from twintrack.errors import InputError
from twintrack.volume import Geometry, Volume, read_volume

__all__ = ["ManifestRow", "located", "read_annotations", "read_manifest"]

ANNOTATION = re.compile(r"annotation_(\d+)")


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


def read_manifest(
    path: str | Path, *, needs: Sequence[str] = (), annotated: bool = False, texts: Sequence[str] = ()
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
        Columns that hold text and name no file.

    Raises
    ------
    InputError
        If the file, a column, a cell or a named file is missing, or a case stands twice; the line is named.
    """
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            header, lines = list(reader.fieldnames or []), list(reader)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a CSV manifest ({error})") from error
    missing = [column for column in ("case", *needs) if column not in header]
    if annotated and not any(ANNOTATION.fullmatch(column) for column in header):
        missing.append("annotation_1")
    if missing:
        raise InputError(f"{path}: needs the column {', '.join(missing)}; it has {', '.join(header) or 'none'}")
    if not lines:
        raise InputError(f"{path}: holds no case")
    rows = tuple(_row(path, number, line, needs, annotated, texts) for number, line in enumerate(lines, start=2))
    seen: dict[str, str] = {}
    for row in rows:
        if row.case in seen:
            raise InputError(f"{row.where}: case {row.case!r} stands twice; each case needs an own name")
        seen[row.case] = row.where
    return rows


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


def _row(
    path: Path, number: int, line: dict[str, str], needs: Sequence[str], annotated: bool, texts: Sequence[str]
) -> ManifestRow:
    where = f"{path}, line {number}"
    if None in line or None in line.values():
        raise InputError(f"{where}: has more or fewer cells than the header")
    case = line["case"].strip()
    if not case:
        raise InputError(f"{where}: the case has no name")
    files: dict[str, Path] = {}
    annotations: dict[int, Path] = {}
    cells = {column: line[column].strip() for column in texts if line.get(column, "").strip()}
    for column, cell in line.items():
        if column == "case" or column in texts or not cell.strip():
            continue
        file = path.parent / cell.strip()
        rater = ANNOTATION.fullmatch(column)
        if (column in needs or rater) and not file.exists():
            raise InputError(f"{where}: {column}: {file}: no such file")
        if rater:
            annotations[int(rater.group(1))] = file
        else:
            files[column] = file
    empty = [column for column in needs if column not in files and column not in cells]
    if empty or (annotated and not annotations):
        raise InputError(f"{where}: case {case!r} needs {', '.join(empty) or 'at least one annotation'}")
    return ManifestRow(case, files, annotations, where, cells)
