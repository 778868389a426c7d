"""One run on the server: its files as they come in, its state, and what is told of it."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twintrack.errors import InputError, TwinTrackError
from twintrack.execution.server.access import Client
from twintrack.execution.server.protocol import SERIES, State
from twintrack.execution.server.submission import Submission
from twintrack.system.paths import file_sha256

__all__ = ["Part", "Result", "Run", "error_told", "no_room"]

OUT = "result"
"""The result's folder in a run's folder."""


@dataclass(frozen=True)
class Result:
    """A file of a result."""

    path: Path
    bytes: int
    sha256: str


@dataclass(eq=False)
class Run:
    """A run.

    Attributes
    ----------
    name : str
        Random.
    client : Client
        Whose it is.
    submission : Submission
        What was asked for.
    folder : Path
        Its private folder.
    have : list of int
        Bytes of each file that are there for good.
    state, before, news, error, results
        What is told of it.
    seq : int
        Grows with each thing that is told.
    renewed, queued, began, ended : float
        When its client last asked for it, and when its states began, on the clock of `time.monotonic`.
    """

    name: str
    client: Client
    submission: Submission
    folder: Path
    have: list[int] = field(default_factory=list)
    state: State = State.UPLOADING
    before: int | None = None
    news: dict[str, Any] = field(default_factory=dict)
    error: dict[str, str] | None = None
    results: dict[str, Result] = field(default_factory=dict)
    bundle_sha256: str | None = None
    seq: int = 1
    renewed: float = 0.0
    queued: float = 0.0
    began: float = 0.0
    ended: float = 0.0
    part: dict[int, Part] = field(default_factory=dict)
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.have = [0] * len(self.submission.files)
        self.renew()

    def renew(self) -> None:
        """Note that the client is there."""
        self.renewed = time.monotonic()

    def tell(self, **changes: Any) -> None:
        """Change fields, and wake who waits for news."""
        for name, value in changes.items():
            setattr(self, name, value)
        self.seq += 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def later_than(self, seq: int, wait_s: float) -> None:
        """Wait until there is news after `seq`, or some seconds."""
        deadline = time.monotonic() + wait_s
        while self.seq <= seq and (left := deadline - time.monotonic()) > 0:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)

    def to_json(self) -> dict[str, Any]:
        """Return what the client is told."""
        told: dict[str, Any] = {"run": self.name, "state": self.state.value, "seq": self.seq}
        told |= {"before": self.before, "error": self.error}
        told |= {name: self.news.get(name) for name in ("fraction", "message", "remaining_s", "device", "notes")}
        if self.state is State.UPLOADING:
            told["have"] = list(self.have)
        if self.state is State.DONE:
            told["files"] = [
                {"name": name, "bytes": file.bytes, "sha256": file.sha256} for name, file in self.results.items()
            ]
        return told

    @property
    def missing_bytes(self) -> int:
        """How much of the upload is not there yet."""
        return self.submission.bytes - sum(self.have)

    @property
    def source(self) -> Path:
        """The CT."""
        return self.folder / self.submission.source

    @property
    def out(self) -> Path:
        """The result folder."""
        return self.folder / OUT

    def settings(self) -> dict[str, Any]:
        """Return the settings with the paths of the run's own files."""
        values = self.submission.settings
        return values | {key: str(self.folder / values[key]) for key in ("vessels", "calibrator") if key in values}

    def make_folder(self) -> None:
        """Make the folder, and in it what an empty upload leaves; raises ``OSError``."""
        self.folder.mkdir(mode=0o700)
        if self.submission.source == SERIES:
            (self.folder / SERIES).mkdir(mode=0o700)
        for file in self.submission.files:
            if not file.bytes:
                (self.folder / file.name).touch(mode=0o600)

    def drop_inputs(self) -> None:
        """Remove the CT and what came with it; the result stays."""
        for path in self.folder.iterdir():
            if path.name != OUT:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def list_results(self) -> dict[str, Result]:
        """Return the result's files by the names that a client asks for; what it asks for is never made a path."""
        found = {}
        for path in sorted(path for path in self.out.rglob("*") if path.is_file() and not path.name.startswith(".")):
            found[path.relative_to(self.out).as_posix()] = Result(path, path.stat().st_size, file_sha256(path))
        return found


class Part:
    """A part of a file that is coming in; it counts once its hash is right.

    Parameters
    ----------
    run : Run
        Still without all of its files.
    number : int
        Which file.
    offset : int
        Where the part begins, which must be where the file ends so far.
    length : int
        Its bytes.
    sha256 : str
        Its hash in hexadecimal.

    Raises
    ------
    InputError
        If the part cannot be taken now.
    OSError
        If the file cannot be written.
    """

    def __init__(self, run: Run, number: int, offset: int, length: int, sha256: str) -> None:
        if run.state is not State.UPLOADING:
            raise InputError("the run has begun, and takes in nothing more", code="upload-over")
        if offset != run.have[number]:
            raise InputError(f"the next part of this file begins at {run.have[number]}", code="part-offset")
        file = run.submission.files[number]
        if offset + length > file.bytes:
            raise InputError(f"the file was to have {file.bytes} bytes", code="request-malformed")
        self._run, self._number, self._end, self._sha256 = run, number, offset + length, sha256
        self._hash = hashlib.sha256()
        flags = os.O_WRONLY | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        self._descriptor = os.open(run.folder / file.name, flags, 0o600)
        run.part[number] = self  # one that hangs on a lost connection counts no more
        try:
            os.lseek(self._descriptor, offset, os.SEEK_SET)
        except OSError:
            self.close()
            raise

    def write(self, data: bytes) -> None:
        """Take in some of it; raises ``OSError``."""
        if self._run.part.get(self._number) is not self:
            return
        self._run.renew()
        self._hash.update(data)
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def finish(self) -> int:
        """Let the part count; return how much of the file is there.

        Raises
        ------
        InputError
            If its hash is wrong, or another connection has sent the same part meanwhile.
        """
        self.close()
        if self._run.state is not State.UPLOADING or self._run.part.get(self._number) is not self:
            raise InputError("another connection sends this file", code="part-offset")
        del self._run.part[self._number]
        if self._hash.hexdigest() != self._sha256:
            raise InputError("the part arrived damaged; send it again", code="part-hash")
        self._run.have[self._number] = self._end
        return self._end

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def no_room(reason: str) -> TwinTrackError:
    """Say that the server's disk is full, or cannot be written."""
    return TwinTrackError(
        f"the server cannot take the CT in ({reason}); try again later, or tell whoever runs it", code="server-no-room"
    )


def error_told(fields: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Return an error's fields for the client, in which files have their names in the run's folder.

    A path elsewhere on the server, of the bundle for one, is none of the client's business, and gets its last part.
    """
    told = {
        name: str(value).replace(f"{folder}{os.sep}", "").replace(str(folder), "") for name, value in fields.items()
    }
    if "path" in told and (path := Path(told["path"])).is_absolute():
        told = {name: value.replace(told["path"], path.name) for name, value in told.items()}
    return told
