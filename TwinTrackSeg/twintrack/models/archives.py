"""The few files of a model taken out of its archive: of a zip on this computer, or of one on a server without the rest.

A zip file lists its contents at its end. Of one on a server the end is fetched first, then, of what it lists, the bytes
of the files that are wanted; `PartialFile` shows those parts as the whole file to Python's `zipfile`, so that what lies
here and what lies there is read by the same code, with the same limits.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from twintrack.bundle.archive import FREE_BYTES, MAX_GROWTH, entry_target
from twintrack.errors import BundleError, InputError
from twintrack.models.download import writing
from twintrack.system.json_file import MAX_JSON_BYTES, parse_json
from twintrack.system.zip_directory import open_zip

__all__ = ["PartialFile", "Taken", "content_sha256", "entries_of", "listed_range", "opened", "take_out"]

MAX_FILES = 1000
"""Entries that an archive of a model may list: five folds have some thirty."""

MAX_MEMBER_BYTES = 4 << 30
"""Largest file that is taken out; a checkpoint of a large network has half a gigabyte."""

TAIL_BYTES = 1 << 18
"""Of a file on a server, what is fetched to read its list of contents."""

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Taken:
    """A file that was taken out.

    Attributes
    ----------
    path : Path
        Where it lies.
    bytes : int
        Its size.
    sha256 : str
        Its hash.
    """

    path: Path
    bytes: int
    sha256: str


class PartialFile(io.RawIOBase):
    """A file of which some parts are here: bytes, or files with them.

    Parameters
    ----------
    size : int
        Bytes of the whole file.
    parts : mapping of int to bytes or Path
        By their place in it.
    """

    def __init__(self, size: int, parts: Mapping[int, bytes | Path]) -> None:
        super().__init__()
        self._size, self._place = size, 0
        self._parts = dict(parts)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, as in any file."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def tell(self) -> int:
        """Return the place."""
        return self._place

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes.

        Raises
        ------
        zipfile.BadZipFile
            If they are not here.
        """
        stop = self._size if size is None or size < 0 else min(self._size, self._place + size)
        if stop <= self._place:
            return b""
        for start, part in self._parts.items():
            length = len(part) if isinstance(part, bytes) else part.stat().st_size
            if start <= self._place and stop <= start + length:
                first = self._place - start
                if isinstance(part, bytes):
                    content = part[first : stop - start]
                else:
                    with part.open("rb") as stream:
                        stream.seek(first)
                        content = stream.read(stop - self._place)
                self._place = stop
                return content
        raise zipfile.BadZipFile("it lists its contents at a place where they are not")


@contextmanager
def opened(archive: Path | PartialFile, name: str | Path) -> Iterator[zipfile.ZipFile]:
    """Open a zip file and close it in the end.

    Raises
    ------
    BundleError
        If it is damaged, or refused for what it holds.
    """
    try:
        with open_zip(cast("Path | BinaryIO", archive), max_files=MAX_FILES) as found:
            yield found
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        reason = f" ({error})" if isinstance(error, zipfile.BadZipFile) else ""
        raise BundleError(
            f"not a readable zip file; it may be damaged or incomplete{reason}", code="archive-damaged", path=name
        ) from error


def entries_of(archive: zipfile.ZipFile, name: str | Path, folder: str) -> dict[str, zipfile.ZipInfo]:
    """Return the entries of a results folder by their place in it.

    Parameters
    ----------
    archive : zipfile.ZipFile
        The archive.
    name : str or path
        What it is called in messages.
    folder : str
        The results folder as it is published, ``Dataset.../trainer__plans__configuration``; in an archive that somebody
        packed anew it may lie without the folder around it, or within others.

    Raises
    ------
    BundleError
        If the archive holds no such folder.
    """
    trainer = folder.rpartition("/")[2]
    plans = [e.filename for e in archive.infolist() if f"/{e.filename}".endswith(f"/{trainer}/plans.json")]
    if len(plans) != 1:
        raise BundleError(f"does not hold the model's folder {folder}", code="archive-of-another-model", path=name)
    prefix = plans[0].removesuffix("plans.json")
    return {e.filename.removeprefix(prefix): e for e in archive.infolist() if e.filename.startswith(prefix)}


def listed_range(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> tuple[int, int]:
    """Return the bytes of the archive that hold an entry: from its header to the next one's."""
    places = sorted(other.header_offset for other in archive.infolist())
    after = [place for place in places if place > entry.header_offset]
    return entry.header_offset, after[0] if after else archive.start_dir


def take_out(
    archive: zipfile.ZipFile,
    entry: zipfile.ZipInfo,
    target: Path,
    name: str | Path,
    told: Callable[[int], None] = lambda _bytes: None,
) -> Taken:
    """Unpack one file to `target`, counting the real bytes: the size in a zip's list may lie.

    A file that lies there already and has the listed size and checksum stays.

    Raises
    ------
    BundleError
        If it would hold too much, is no plain file, or does not have the size and the checksum that are listed.
    OutputError
        If the disk is full or cannot be written.
    """
    entry_target(Path(str(name)), entry)
    limit = min(entry.file_size, MAX_MEMBER_BYTES, FREE_BYTES + MAX_GROWTH * entry.compress_size)
    if limit < entry.file_size:
        raise BundleError(
            f"refused, because {entry.filename} would unpack to {entry.file_size:,} bytes",
            code="bundle-too-large",
            path=name,
        )
    there = _as_listed(target, entry)
    if there is not None:
        return there
    partial = target.with_name(f"{target.name}.partial")
    digest, written = hashlib.sha256(), 0
    with writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        sink = partial.open("wb")
    with sink, archive.open(entry) as source:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > limit:
                raise BundleError(
                    f"refused, because {entry.filename} unpacks to more than is listed",
                    code="bundle-too-large",
                    path=name,
                )
            digest.update(chunk)
            with writing(target.parent):
                sink.write(chunk)
            told(written)
        with writing(target.parent):
            sink.flush()
    if written != entry.file_size:
        raise BundleError(
            f"{entry.filename} in it is incomplete; get the archive again", code="archive-damaged", path=name
        )
    with writing(target.parent):
        partial.replace(target)
    return Taken(target, written, digest.hexdigest())


def _as_listed(path: Path, entry: zipfile.ZipInfo) -> Taken | None:
    """Return a file that is there from an earlier attempt, if it is what the archive lists."""
    if not path.is_file() or path.stat().st_size != entry.file_size:
        return None
    digest, checksum = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            checksum = zlib.crc32(chunk, checksum)
    return Taken(path, entry.file_size, digest.hexdigest()) if checksum == entry.CRC else None


def content_sha256(path: Path) -> str:
    """Return the hash of what a JSON file says, however it is written: of its values with sorted keys, without spaces.

    Raises
    ------
    InputError
        If it is no JSON.
    """
    try:
        with path.open("rb") as stream:
            content = parse_json(stream.read(MAX_JSON_BYTES))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read ({error})", code="json-unreadable", path=path) from error
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
