"""The folder of one case: it appears as a whole, together with a record that says what it holds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from twintrack.errors import OutputError
from twintrack.system.locks import folder_lock
from twintrack.system.ownership import RECORD as LISTED
from twintrack.system.private_folder import MARKER

__all__ = [
    "RECORD",
    "folder_name",
    "read_record",
    "write_record",
    "writing",
]

RECORD = "case.json"
"""The record's file name; a folder without it is no result."""

SCHEMA = 1
"""Version of the record."""

_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}(?<![.])")

_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])([.].*)?", re.IGNORECASE)
"""Names that Windows has taken, with any ending."""


def folder_name(case: str) -> str:
    """Return a name for a case's folder that every file system takes; that of a plain name is the name itself."""
    if _SAFE.fullmatch(case) and not _DEVICE.fullmatch(case):
        return case
    digest = hashlib.sha256(case.encode()).hexdigest()[:10]
    plain = re.sub(r"[^A-Za-z0-9_-]+", "_", case).strip("_")[:60]
    return f"{plain or 'case'}-{digest}"


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what the file system says within the block into one sentence about `folder`.

    Raises
    ------
    OutputError
        If something cannot be written.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(
            f"cannot be written ({reason}); check rights and free space", code="not-writable", path=folder
        ) from error


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a complete folder, with the size of every file in it."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in (MARKER, LISTED)]
    sizes = {path.relative_to(folder).as_posix(): path.stat().st_size for path in files}
    content = {"schema": SCHEMA, **record, "files": dict(sorted(sizes.items()))}
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    (folder / RECORD).write_text(text, encoding="utf-8")


def read_record(folder: Path, key: str | None = None) -> dict[str, Any] | None:
    """Return the record of a folder; None if it has none, it is not of `key`, or a file is missing, cut or longer.

    A folder whose files are just being exchanged for those of another run is looked at again when that is over: it
    holds the earlier result or the new one, and is never one without.
    """
    record = _read(folder, key)
    if record is None:
        with suppress(OSError), folder_lock(folder):  # no folder, or one that cannot be opened
            record = _read(folder, key)
    return record


def _read(folder: Path, key: str | None) -> dict[str, Any] | None:
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        valid = record["schema"] == SCHEMA and (key is None or record["key"] == key)
        if not valid or record["status"] not in ("done", "failed"):
            return None
        whole = all((folder / name).stat().st_size == size for name, size in record["files"].items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if whole else None
