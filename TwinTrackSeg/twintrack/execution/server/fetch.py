"""The result of a run on a server, file by file: only what results have, no more than was announced, with its hash."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO

from twintrack.errors import InputError, OutputError
from twintrack.execution.server.connection import Connection, Said
from twintrack.execution.server.protocol import PART_BYTES, RESULT
from twintrack.progress.callbacks import Progress
from twintrack.results.folder import RESULT_FILES

if TYPE_CHECKING:
    from requests import Response

__all__ = ["ResultFile", "fetch_all", "listed_files"]

MOST_FILES = 1000
"""Files of a result; one with DICOM objects and maps of ten readers has some thirty."""

LARGEST_BYTES = 16 << 30
"""Size of a result."""

ATTEMPTS = 3
"""So often a file may arrive damaged before the run is given up."""

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)?")
"""A file of a result, in it or in one folder of it; a name for any system."""

HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class ResultFile:
    """A file that a server offers.

    Attributes
    ----------
    name : str
        Its place in the result folder.
    size : int
        Its bytes.
    sha256 : str
        Its hash.
    """

    name: str
    size: int
    sha256: str


def listed_files(news: Said) -> list[ResultFile]:
    """Return the files of the result that a server lists.

    Raises
    ------
    InputError
        If a file is named that no result has, wherever it would go, or there is more than results have.
    """
    files = [
        ResultFile(
            _checked(str(file.get("name", str))), file.count("bytes", LARGEST_BYTES), str(file.get("sha256", str))
        )
        for file in news.parts("files", MOST_FILES)
    ]
    names = {file.name.casefold() for file in files}
    if len(names) < len(files) or sum(file.size for file in files) > LARGEST_BYTES:
        raise _unexpected()
    if not all(HASH.fullmatch(file.sha256) for file in files):
        raise _unexpected()
    return files


def _checked(name: str) -> str:
    if not NAME.fullmatch(name) or PurePosixPath(name).parts[0] not in RESULT_FILES:
        raise _unexpected()
    return name


def _unexpected() -> InputError:
    return InputError("the server sends a file that no result has; tell whoever runs it", code="server-unexpected-file")


def fetch_all(
    server: Connection, run: str, files: list[ResultFile], staging: Path, out: Path, progress: Progress
) -> None:
    """Write the result's files into a private folder.

    Parameters
    ----------
    server, run
        Where they are.
    files : list of ResultFile
        As `listed_files` gave them.
    staging : Path
        The private folder.
    out : Path
        Where they will lie, for messages.
    progress : callable
        Told how much is here.

    Raises
    ------
    InputError
        If the connection is lost, or a file does not arrive as it is.
    OutputError
        If a file cannot be written.
    """
    whole, got = max(sum(file.size for file in files), 1), 0
    for file in files:
        path = staging / file.name

        def told(here: int, before: int = got) -> None:
            progress((before + here) / whole, "fetching the result")

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("w+b") as stream:
                _fetch(server, run, file, stream, out, told)
        except OSError as error:
            raise OutputError(f"cannot be written ({error.strerror})", code="not-writable", path=out) from error
        got += file.size


def _fetch(
    server: Connection, run: str, file: ResultFile, stream: BinaryIO, out: Path, told: Callable[[int], None]
) -> None:
    """Write one file, in parts that are asked for one by one: what a broken connection took is asked for again."""
    for _attempt in range(ATTEMPTS):
        stream.seek(0)
        stream.truncate()
        digest, here = hashlib.sha256(), 0
        told(here)
        while here < file.size:
            data = _part(server, run, file, here)
            if not data:
                raise InputError(
                    f"the server's {file.name} ends too early; start the run again", code="transfer-cut-off", path=out
                )
            stream.write(data)
            digest.update(data)
            here += len(data)
            told(here)
        if digest.hexdigest() == file.sha256:
            return
    raise InputError(
        f"the server's {file.name} does not arrive as it is; check the network, and try again",
        code="transfer-damaged",
        path=out,
    )


def _part(server: Connection, run: str, file: ResultFile, start: int) -> bytes:
    """Return the file's next part."""
    length = min(PART_BYTES, file.size - start)

    def take(response: Response) -> bytes:
        began = response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if not began and (response.status_code == 206 or start > 0):
            raise _unexpected()
        content = b"".join(_limited(response, length))
        if len(content) > length:
            raise _unexpected()
        return content

    headers = {"Range": f"bytes={start}-{start + length - 1}", "Accept": "application/octet-stream"}
    data: bytes = server.ask(RESULT, run=run, name=file.name, headers=headers, take=take)
    return data


def _limited(response: Response, length: int) -> Iterator[bytes]:
    """Yield a body, but no more than a little beyond the bytes that were asked for."""
    got = 0
    for piece in response.raw.stream(1 << 18, decode_content=False):
        yield piece
        got += len(piece)
        if got > length:
            return
