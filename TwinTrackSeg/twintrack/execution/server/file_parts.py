"""Files on their way between computers that share none: packed into parts of bounded size, and written again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from twintrack.errors import InputError

__all__ = ["PART_BYTES", "FilePart", "files_below", "packed", "write_parts"]

PART_BYTES = 8 << 20
"""Bytes of files in one message; what is sent, and its copies on the way, are in memory at the same time."""

FilePart = tuple[str, int, bytes]
"""Name of a file, with ``/`` between folders, where the bytes begin in it, and the bytes."""


def files_below(path: Path, name: str) -> dict[str, Path]:
    """Return a file by `name`, or all files below a folder by the names that begin with it."""
    if not path.is_dir():
        return {name: path}
    found = (each for each in sorted(path.rglob("*")) if each.is_file() and not each.is_symlink())
    return {(PurePosixPath(name) / each.relative_to(path).as_posix()).as_posix(): each for each in found}


def packed(files: Mapping[str, Path]) -> Iterator[list[FilePart]]:
    """Yield files in messages of at most `PART_BYTES`, each file in order, an empty one too.

    Raises
    ------
    OSError
        If one cannot be read.
    """
    message: list[FilePart] = []
    room = PART_BYTES
    for name, path in files.items():
        with path.open("rb") as stream:
            offset = 0
            while (data := stream.read(room)) or not offset:
                message.append((name, offset, data))
                offset, room = offset + len(data), room - len(data)
                if not data:
                    break
                if not room:
                    yield message
                    message, room = [], PART_BYTES
    if message:
        yield message


def write_parts(folder: Path, parts: Iterable[FilePart]) -> None:
    """Write parts of files below `folder`; the parts of a file come in order, and a file is written once.

    Raises
    ------
    InputError
        If a name leads out of the folder, or a part does not follow the last one.
    OSError
        If they cannot be written.
    """
    for name, offset, data in parts:
        place = PurePosixPath(name)
        if place.is_absolute() or ".." in place.parts or "\\" in name or ":" in name or not place.parts:
            raise InputError("a file on its way has a name that leads elsewhere", code="part-name")
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab" if offset else "xb") as stream:
            if stream.tell() != offset:
                raise InputError("a part of a file is missing on the way", code="part-offset")
            stream.write(data)
