"""One process of the engine as the server sees it: started, asked, watched and ended; its words are not believed.

The process reads what strangers sent. So what it says is taken for what it should be, and nothing more: a line that is
too long or not a JSON object ends it, and of an event only known fields of the right type go on.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from twintrack.errors import TwinTrackError
from twintrack.system.json_file import parse_json

__all__ = ["WorkerDiedError", "WorkerProcess", "memory_of"]

LONGEST_LINE = 1 << 20
"""Most bytes of an event; the longest have notes in words, some kilobytes."""

END_S = 4.0
"""How long a process that is idle may take to end by itself."""

_PROGRESS: Mapping[str, tuple[type, ...]] = {
    "fraction": (int, float),
    "message": (str,),
    "remaining_s": (int, float, type(None)),
    "device": (dict,),
    "notes": (list,),
}
"""What is passed on of a progress event, and as which type."""

_ERROR = ("kind", "message", "code", "path", "where")
"""What is passed on of an error."""


class WorkerDiedError(Exception):
    """The process has ended, or has been ended because it said what no worker says."""


class WorkerProcess:
    """A serving worker.

    Attributes
    ----------
    pid : int
        Of the process; it leads a process group of its own, so that its children end with it.
    gpus : int
        How many GPUs it sees; known once it has loaded.
    ordered : str or None
        Why it was ended on purpose, empty if nobody needs to be told; None as long as nobody wanted its end.
    """

    def __init__(self, process: asyncio.subprocess.Process, unforeseen: Callable[[str], None]) -> None:
        self._process, self._unforeseen = process, unforeseen
        self.pid, self.gpus = process.pid, 0
        self.ordered: str | None = None
        self._spent = self._cleared = False

    @classmethod
    async def start(
        cls, environment: Mapping[str, str], unforeseen: Callable[[str], None], option: str = "--serve"
    ) -> WorkerProcess:
        """Start a process with `environment`; `unforeseen` is told a sentence before one ends for such an error.

        Raises
        ------
        TwinTrackError
            If this computer cannot start one.
        """
        command = [sys.executable, "-m", "twintrack.execution.worker", option]
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,  # libraries quote there what they found in a patient's file
                limit=LONGEST_LINE,
                env={**os.environ, "PYTHONSAFEPATH": "1", **environment},
                start_new_session=True,  # the terminal's Ctrl-C is the server's to hear
            )
        except OSError as error:
            raise TwinTrackError(
                f"no process can be started for the work ({error.strerror}); free memory, or raise the limit of "
                "processes",
                code="worker-not-started",
            ) from error
        with suppress(OSError):  # not on Linux: then whoever is largest is ended first
            Path(f"/proc/{process.pid}/oom_score_adj").write_text("500")
        return cls(process, unforeseen)

    async def load(self, request: Mapping[str, Any]) -> dict[str, str]:
        """Load what a request names; return name, version and hash of the bundle.

        Raises
        ------
        TwinTrackError
            If it cannot be loaded there.
        WorkerDiedError
            If the process ends.
        """
        self._write(request)
        while True:
            event = await self._next()
            if event["event"] == "ready":
                self.gpus = event["gpus"]
            elif event["event"] == "loaded":
                return dict(event["bundle"])
            elif event["event"] == "error":
                raise TwinTrackError.of_fields(event["fields"])

    async def carry_out(self, request: Mapping[str, Any], tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Carry out one request, `tell` of progress, and return the last event: ``done``, ``error`` or ``cancelled``.

        Raises
        ------
        WorkerDiedError
            If the process ends in it.
        """
        self._write(request)
        while True:
            event = await self._next()
            if event["event"] == "progress":
                tell(event)
            elif event["event"] == "gone":
                self._spent = True
            elif event["event"] == "unforeseen":
                self._spent = True
                self._unforeseen(f"{event['kind']} at {event['where']}")
            elif event["event"] == "done":
                return {"event": "done", "out": str(request["out"])}
            elif event["event"] in ("error", "cancelled"):
                return event

    @property
    def usable(self) -> bool:
        """Whether it can be asked for something."""
        return not self._spent and self._process.returncode is None

    def ask_to_cancel(self) -> None:
        """Ask it to give up what it was asked for before; it stays."""
        self._write("cancel")

    async def ended(self) -> str:
        """Wait until the process has ended; return how, in words."""
        code = await self._process.wait()
        if not self._cleared:
            self._cleared = True
            self._kill_group()  # what it started and left behind
        if code >= 0:
            return f"exit code {code}"
        with suppress(ValueError):
            return f"signal {signal.Signals(-code).name}"
        return f"signal {-code}"

    async def end(self) -> None:
        """Let a process end, and cancel what it does; by force if it takes long."""
        self.ordered = self.ordered or ""
        if self._process.stdin is not None:
            self._process.stdin.close()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._process.wait(), END_S)
        self.kill()
        await self.ended()

    def kill(self, why: str | None = None) -> None:
        """End the process and its children at once; `why` makes it an end on purpose."""
        self._spent = True
        self.ordered = why if self.ordered is None else self.ordered
        if self._process.returncode is not None:
            return
        if sys.platform == "win32":
            children = _children(self.pid)
            with suppress(ProcessLookupError):
                self._process.kill()
            for child in children:
                with suppress(psutil.Error):
                    child.kill()
        else:  # `Process.kill` looks first whether it has ended, and takes its exit code away
            self._kill_group()

    def _kill_group(self) -> None:
        if sys.platform != "win32":
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    def _write(self, request: Mapping[str, Any] | str) -> None:
        line = request if isinstance(request, str) else json.dumps(request)
        assert self._process.stdin is not None
        with suppress(OSError, RuntimeError):  # it has ended: reading tells
            self._process.stdin.write(line.encode() + b"\n")

    async def _next(self) -> dict[str, Any]:
        """Return the next event, as far as it is known; end the process if it is none."""
        assert self._process.stdout is not None
        try:
            line = await self._process.stdout.readline()
            if line:
                return _known(parse_json(line))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.kill()
            raise WorkerDiedError from error
        self._spent = True
        raise WorkerDiedError


def _known(event: Any) -> dict[str, Any]:
    """Return an event with the fields that it has by rights; those of any other event are left out.

    Raises
    ------
    ValueError, KeyError, TypeError, AttributeError
        If it is none.
    """
    kind = event["event"]
    texts: tuple[str, ...] = ()
    known: dict[str, Any] = {"event": str(kind)[:100]}
    if kind == "progress":
        known |= {key: event[key] for key, types in _PROGRESS.items() if isinstance(event.get(key, ...), types)}
    elif kind == "ready":
        known["gpus"] = sum(str(found["device"]).startswith("cuda") for found in event["devices"])
    elif kind == "loaded":
        known["bundle"] = {name: str(event["bundle"][name]) for name in ("name", "version", "sha256")}
    elif kind == "error":
        texts = ("kind", "message")
        fields = event["fields"].items()
        known["fields"] = {name: str(value) for name, value in fields if name in _ERROR}
    elif kind == "unforeseen":
        texts = ("kind", "where")
    return known | {name: str(event[name]) for name in texts}


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []


def memory_of(pid: int) -> int:
    """Return how many bytes of main memory a process and its children hold; 0 if it has ended."""
    total = 0
    with suppress(psutil.Error):
        for process in (psutil.Process(pid), *_children(pid)):
            with suppress(psutil.Error):
                total += process.memory_info().rss
    return total
