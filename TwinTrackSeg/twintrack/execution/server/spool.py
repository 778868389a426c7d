"""What clients of the server speak to: takes CTs in, hands results out, and lets nothing lie when a client has left.

It lives in the scheduler's process. Clients call the functions of this module there through Dask; each run has a
private folder, and a run whose folder is gone is over: that is also how the worker learns that it was cancelled.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from twintrack.errors import InputError, TwinTrackError

__all__ = [
    "BEGUN",
    "CHUNK_BYTES",
    "ENDED",
    "PROBLEM",
    "SPOOL",
    "Spool",
    "about",
    "begin",
    "end",
    "fetch",
    "listing",
    "no_room",
    "process_died",
    "queue",
    "send",
]

SPOOL = "twintrack-spool"
"""Name of the scheduler's plugin that holds the spool."""

CHUNK_BYTES = 8 << 20
"""How much is sent at a time: little beside the memory of anybody, much beside the cost of a message."""

RESULT = "result"
"""The result's folder in a run's folder."""

BEGUN, ENDED = "begun", "end.json"
"""Files in a run's folder that say which process has begun with it, and how it ended."""

PROBLEM = "twintrack-problem"
"""Dask's topic for what the one who runs the server has to know."""

NO_WORKER_S = 180.0
"""A process that has died is replaced much sooner than this, if it can be; on a busy machine it takes a minute."""


@dataclass
class _Run:
    """A run that has not ended: whose it is, and whether it waits for a worker or has one."""

    client: str
    queued: bool = False


class Spool:
    """All that the server knows of its clients' runs.

    Parameters
    ----------
    root : path
        A private folder, for the runs' folders.
    about : dict
        What a client is told of the server: the bundle above all.
    """

    def __init__(self, root: Path, about: dict[str, Any]) -> None:
        self.about = about
        self._root = Path(root)
        self._runs: dict[str, _Run] = {}
        self._alone_since: float | None = None
        self._is_closed = False

    def close(self) -> None:
        """Note that the server is being stopped."""
        self._is_closed = True

    def count(self, workers: int) -> None:
        """Note how many worker processes there are."""
        if workers:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = time.monotonic()

    def check(self) -> None:
        """Make sure that there are worker processes, or were until just now.

        Raises
        ------
        InputError
            If the server is being stopped.
        TwinTrackError
            If the last one has died and no other came.
        """
        if self._is_closed:
            raise InputError("the server has been stopped; start the run again when it is back", code="server-stopped")
        if self._alone_since is not None and time.monotonic() - self._alone_since > NO_WORKER_S:
            raise TwinTrackError(
                "the server has no process that does the work, and cannot start one; tell whoever runs it",
                code="server-no-process",
            )

    def begin(self, client: str, run: str) -> str:
        """Make a run's folder; return its path."""
        for path in self._root.iterdir():  # of a worker that died after the client had left
            if path.is_dir() and path.name not in self._runs and not path.name.startswith("."):
                shutil.rmtree(path, ignore_errors=True)
        folder = self._root / run
        try:
            folder.mkdir(mode=0o700)
        except OSError as error:
            raise no_room(error) from error
        self._runs[run] = _Run(client)
        return str(folder)

    def send(self, run: str, name: str, offset: int, data: bytes) -> None:
        """Take in a part of a file; its parts come in order."""
        path = self._path(run, name)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with path.open("r+b" if offset else "xb") as stream:
                stream.seek(offset)
                stream.write(data)
        except OSError as error:
            raise no_room(error) from error

    def queue(self, run: str) -> int:
        """Note that the run is to be carried out; return how many others were here before and have not ended."""
        self._of(run).queued = True
        names = list(self._runs)
        return sum(self._runs[name].queued for name in names[: names.index(run)])

    def has_died(self, run: str, workers: Collection[str]) -> bool:
        """Whether a run was begun by a process that is none of `workers` any more, and had not ended."""
        self._of(run)
        with suppress(FileNotFoundError):
            process = (self._root / run / BEGUN).read_text(encoding="utf-8")  # empty in the moment of its writing
            return bool(process) and process not in workers and not (self._root / run / ENDED).exists()
        return False

    def listing(self, run: str) -> list[tuple[str, int]]:
        """Return names and sizes of the result's files."""
        self._of(run)
        folder = self._root / run / RESULT
        files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        return [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in files]

    def fetch(self, run: str, name: str, offset: int) -> bytes:
        """Hand out a part of a file of the result."""
        with self._path(run, f"{RESULT}/{name}").open("rb") as stream:
            stream.seek(offset)
            return stream.read(CHUNK_BYTES)

    def end(self, run: str) -> None:
        """Remove all that there is of a run."""
        if self._runs.pop(run, None) is not None:
            shutil.rmtree(self._root / run, ignore_errors=True)

    def leave(self, client: str) -> None:
        """Remove all runs of a client whose connection has ended."""
        for run in [name for name, found in self._runs.items() if found.client == client]:
            self.end(run)

    def _of(self, run: str) -> _Run:
        if run not in self._runs:
            raise InputError("the server no longer knows this run; start it again", code="run-unknown")
        return self._runs[run]

    def _path(self, run: str, name: str) -> Path:
        self._of(run)
        path = PurePosixPath(name)
        if path.is_absolute() or not path.parts or ".." in path.parts:
            raise InputError("a file's name leads out of its run's folder", code="file-outside-run")
        return self._root / run / path


def no_room(error: OSError) -> TwinTrackError:
    """Say that the server's disk is full, or cannot be written."""
    return TwinTrackError(
        f"the server cannot take the CT in ({error.strerror}); tell whoever runs it", code="server-no-room"
    )


def process_died() -> TwinTrackError:
    """Say that a run has ended with the process that was at it."""
    return TwinTrackError(
        "the server's process died in the middle of the run, most often for lack of memory; give a smaller region, or "
        "tell whoever runs it",
        code="server-process-died",
    )


def _spool(dask_scheduler: Any) -> Spool:
    try:
        return dask_scheduler.plugins[SPOOL].spool
    except KeyError:
        raise InputError(
            "what answers at this address is a Dask scheduler, not a server for readers; start it by `twintrack serve`",
            code="not-a-server",
        ) from None


def about(dask_scheduler: Any = None) -> dict[str, Any]:
    """Return what clients are told of the server."""
    return _spool(dask_scheduler).about


def begin(client: str, run: str, dask_scheduler: Any = None) -> str:
    """See `Spool.begin`."""
    return _spool(dask_scheduler).begin(client, run)


def send(run: str, name: str, offset: int, data: bytes, dask_scheduler: Any = None) -> None:
    """See `Spool.send`."""
    _spool(dask_scheduler).send(run, name, offset, data)


def queue(run: str, dask_scheduler: Any = None) -> int:
    """See `Spool.queue`; a run whose worker process has died, or that none will come for, is told so."""
    found = _spool(dask_scheduler)
    found.check()
    if found.has_died(run, dask_scheduler.workers):
        raise process_died()
    return found.queue(run)


def listing(run: str, dask_scheduler: Any = None) -> list[tuple[str, int]]:
    """See `Spool.listing`."""
    return _spool(dask_scheduler).listing(run)


def fetch(run: str, name: str, offset: int, dask_scheduler: Any = None) -> bytes:
    """See `Spool.fetch`."""
    return _spool(dask_scheduler).fetch(run, name, offset)


def end(run: str, dask_scheduler: Any = None) -> None:
    """See `Spool.end`."""
    _spool(dask_scheduler).end(run)
