"""What the program can prove that it wrote: it replaces and removes nothing else, and never an input.

A result folder holds a list of the files that the program wrote there, with their hashes. A file that stands alone
carries a mark with the hash of its own content. What is neither listed nor marked, or was changed since, is the user's.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from twintrack.errors import OutputError
from twintrack.system.paths import file_sha256

__all__ = [
    "RECORD",
    "FolderRecord",
    "Inputs",
    "WrittenFile",
    "check_folder",
    "check_inputs",
    "in_the_way",
    "is_below",
    "is_litter",
    "is_same_place",
]

RECORD = ".twintrack-files.json"
"""In a result folder: the list of the files that the program wrote there."""

SCHEMA = 1

LITTER = frozenset({".ds_store", "thumbs.db", "ehthumbs.db", "desktop.ini", ".directory"})
"""Files that file managers leave in folders they show, in small letters; nobody misses them."""

APPLE_DOUBLE = "._"
"""What the names of files begin with in which macOS keeps its remarks on others, on disks and shares that are not its
own."""

LARGEST_RECORD_BYTES = 256 << 20
"""A longer list was not written by the program: that of a hundred thousand files has some 20 MB."""

_SHA256 = re.compile(r"[0-9a-f]{64}")

ABSENT = (-1, -1)
"""Identity of what does not exist."""

Inputs = Iterable[str | Path]
"""Paths that a run reads; gone through more than once, so no generator. There may be hundreds of thousands."""


@dataclass(frozen=True)
class WrittenFile:
    """A file that the program wrote.

    Attributes
    ----------
    sha256 : str
        Of its content.
    command : str
        What wrote it: a later run of the same command takes it away if it does not make it again.
    run : str
        Identity of the run.
    """

    sha256: str
    command: str
    run: str


@dataclass(frozen=True)
class FolderRecord:
    """The files in a folder that the program wrote.

    Attributes
    ----------
    files : mapping of str to WrittenFile
        By their POSIX path in the folder.
    """

    files: Mapping[str, WrittenFile] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> FolderRecord:
        """Return the record of a folder; an empty one where there is none, or none that the program wrote."""
        path = folder / RECORD
        try:
            if path.is_symlink() or not path.is_file() or path.stat().st_size > LARGEST_RECORD_BYTES:
                return cls()
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["program"] != "twintrack" or content["schema"] != SCHEMA:
                return cls()
            files = {name: WrittenFile(**entry) for name, entry in content["files"].items() if _is_inside(name)}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return cls()
        return cls({name: file for name, file in files.items() if _SHA256.fullmatch(str(file.sha256))})

    def to_json(self) -> dict[str, Any]:
        """Return the content of the file `RECORD`."""
        files = {name: asdict(file) for name, file in sorted(self.files.items())}
        return {"schema": SCHEMA, "program": "twintrack", "files": files}

    def with_run(self, taken: Iterable[str], made: Mapping[str, str], command: str, run: str) -> FolderRecord:
        """Return the record after a run.

        Parameters
        ----------
        taken : iterable of str
            Entries of the folder that the run takes away or replaces.
        made : mapping of str to str
            Hash of each file that it made.
        command, run : str
            See `WrittenFile`.
        """
        gone = set(taken)
        others = {name: file for name, file in self.files.items() if PurePosixPath(name).parts[0] not in gone}
        return FolderRecord(others | {name: WrittenFile(sha256, command, run) for name, sha256 in made.items()})

    def entries_of(self, command: str) -> set[str]:
        """Return the entries of the folder in which earlier runs of a command wrote."""
        return {PurePosixPath(name).parts[0] for name, file in self.files.items() if file.command == command}

    def stranger(self, folder: Path, entry: str) -> Path | None:
        """Return a file at or below an entry of the folder that the program did not write, or not as it is now."""
        for path in _files_below(folder / entry):
            known = self.files.get(path.relative_to(folder).as_posix())
            if known is None:
                if not is_litter(path.name) or path == folder / entry:
                    return path
            elif path.is_symlink() or not path.is_file() or file_sha256(path) != known.sha256:
                return path
        return None


def check_folder(out: Path, record: FolderRecord, entries: Iterable[str], inputs: Inputs, *, overwrite: bool) -> None:
    """Refuse a run that would replace or remove what is not the program's.

    Parameters
    ----------
    out : Path
        The result folder.
    record : FolderRecord
        Its record.
    entries : iterable of str
        Entries of `out` that the run replaces or removes.
    inputs : iterable of path
        What it reads.
    overwrite : bool
        Whether the user gives up what is not the program's; inputs stay all the same.

    Raises
    ------
    OutputError
        Names the file that is in the way.
    """
    places = [out / entry for entry in sorted(entries) if os.path.lexists(out / entry)]
    check_inputs(places, inputs)
    for place in places:
        stranger = None if overwrite else record.stranger(out, place.name)
        if stranger is not None:
            changed = stranger.relative_to(out).as_posix() in record.files
            what = "it" if stranger == place else f"the whole folder {place.name}"
            raise in_the_way(stranger, "was changed since it was written" if changed else None, what)


def in_the_way(path: Path, why: str | None = None, what: str = "it") -> OutputError:
    """Return the error for a file at an output's place that is the user's, and say what --overwrite would replace."""
    why = why or "is there already, and may be yours (another program, an earlier version, or changed since)"
    return OutputError(
        f"{why}; move it away, choose another place, or add --overwrite to replace {what}",
        code="place-taken",
        path=path,
    )


def check_inputs(places: Iterable[Path], inputs: Inputs) -> None:
    """Refuse an output's place that is an input or a folder above one; that cannot be overridden.

    Links and hard links are followed. A place where nothing lies is no input, so that a new folder costs nothing.

    Raises
    ------
    OutputError
        Names the place and the input.
    """
    there = [place for place in places if os.path.lexists(place)]
    if not there:
        return
    names = {name: place for place in there for name in (place.absolute(), _real(place))}
    identities = {identity: place for place in there if (identity := _identity(place)) is not None}
    real_parent = lru_cache(maxsize=4096)(_real)
    for path in map(Path, inputs):
        absolute, real = path.absolute(), real_parent(path.parent.absolute()) / path.name
        chain = (absolute, real, *absolute.parents, *real.parents)
        place = next((names[name] for name in chain if name in names), None) or identities.get(
            _identity(path) or ABSENT
        )
        if place is not None:
            same = _identity(path) == _identity(place) or absolute == place.absolute()
            what = "is an input" if same else f"holds the input {path}"
            raise OutputError(
                f"{what}, which is never replaced; choose another place for the output",
                code="place-of-input",
                path=place,
            )


def is_below(path: Path, folder: Path) -> bool:
    """Whether a path is a folder, or lies below it, also by way of links."""
    above = (folder.absolute(), _real(folder))
    return any(parent in above for place in (path.absolute(), _real(path)) for parent in (place, *place.parents))


def is_same_place(path: Path, other: Path) -> bool:
    """Whether two paths lead to the same file or folder."""
    identity = _identity(path)
    return path.absolute() == other.absolute() or (identity is not None and identity == _identity(other))


def is_litter(name: str) -> bool:
    """Whether a file of that name was left by a file manager."""
    return name.lower() in LITTER or name.startswith(APPLE_DOUBLE)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file or folder from every other, whatever it is called; None where nothing is."""
    try:
        stat = path.stat()
    except (OSError, ValueError):
        return None
    return stat.st_dev, stat.st_ino


def _real(path: Path) -> Path:
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return path.absolute()


def _is_inside(name: str) -> bool:
    """Whether a name of a record is a path inside the folder."""
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts and "\\" not in name


def _files_below(path: Path) -> Iterator[Path]:
    """Yield all that is no folder at or below a path, links unfollowed."""
    if path.is_symlink() or not path.is_dir():
        yield path
        return
    for entry in sorted(path.iterdir()):
        yield from _files_below(entry)
