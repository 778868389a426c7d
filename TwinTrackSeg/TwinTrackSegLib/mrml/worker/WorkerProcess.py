"""The worker process, one for all runs: started and supervised, requests and events as JSON lines, cancel and kill."""

from __future__ import annotations

import json
import logging
import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import IO, Any

from twintrack import errors
from TwinTrackSegLib.mrml.worker.Interpreter import workerEnvironment
from TwinTrackSegLib.mrml.worker.WorkerEvents import Processor, errorOf, parseEvent, processorsOf

__all__ = ["WorkerCrash", "WorkerProcess", "WorkerSupervisor"]

logger = logging.getLogger(__name__)

LOG_LINES = 200
LONGEST_LINE = 65536
"""No event has more letters; of a longer line the rest is dropped."""
PIPE_GRACE_SEC = 2.0
"""How long to wait for the pipes to close once the process is gone (a grandchild may hold them open)."""


class WorkerCrash(errors.TwinTrackError):
    """The model process ended without saying how."""


class WorkerProcess:
    """A child process that speaks the line protocol of ``twintrack.execution.worker --serve``, one run at a time.

    Two threads only move lines from its pipes into a queue; everything else happens in `poll`, on the caller's thread.

    Parameters
    ----------
    command : sequence of str
        Program and arguments.
    environment : dict
        The child's whole environment.
    graceSec : float
        Seconds between asking the child to cancel and killing it with all its children.
    """

    def __init__(self, command: Sequence[str], environment: dict[str, str], graceSec: float = 5.0) -> None:
        self.log: deque[str] = deque(maxlen=LOG_LINES)
        self._graceSec = graceSec
        self._killAt: float | None = None
        self._goneAt: float | None = None
        self._final: dict[str, Any] | None = None
        self._cancelled = False
        self._ready = False
        self._processors: tuple[Processor, ...] = ()
        self._lines: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._process = _start(command, environment)
        self._pumps = [
            threading.Thread(target=_pump, args=(stream, name, self._lines), daemon=True)
            for stream, name in ((self._process.stdout, "stdout"), (self._process.stderr, "stderr"))
        ]
        for pump in self._pumps:
            pump.start()

    @property
    def pid(self) -> int:
        """The process id of the child."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the child can take a request."""
        return self._process.poll() is None

    @property
    def ready(self) -> bool:
        """Whether the child said that it has imported what the model needs."""
        self._drain()
        return self._ready

    @property
    def processors(self) -> tuple[Processor, ...]:
        """What the child found to run on, in the order in which ``auto`` tries them; known after `ready` or `poll`."""
        return self._processors

    def submit(self, request: dict[str, Any]) -> None:
        """Begin a run; the one before must have ended. A child that is gone shows in `poll` and `outcome`."""
        self._drain()
        self._final, self._killAt, self._cancelled = None, None, False
        self.log.clear()
        self._say(json.dumps(request))

    def poll(self) -> tuple[list[dict[str, Any]], bool]:
        """Return the progress events since the last call, and whether the run is still going on."""
        if self._killAt is not None and time.monotonic() > self._killAt:
            self.kill()
        gone = self._ended()
        events = self._drain()
        if gone:
            self._close()
        if gone or self._final is not None:
            self._killAt = None
            return events, False
        return events, True

    def cancel(self) -> None:
        """Ask the child to stop the run; after the grace time, `poll` kills it."""
        if self._cancelled:
            return
        self._cancelled = True
        self._killAt = time.monotonic() + self._graceSec
        self._say("cancel")

    def kill(self) -> None:
        """End the child and all its children at once and wait until it is gone."""
        self._killAt = None
        _killTree(self._process)
        self._process.wait()
        for pump in self._pumps:
            pump.join(PIPE_GRACE_SEC)
        self._close()

    def outcome(self) -> str:
        """Return the result folder of an ended run.

        Raises
        ------
        twintrack.errors.Cancelled
            If the run was cancelled.
        twintrack.errors.TwinTrackError
            With the worker's own sentence and kind, or `WorkerCrash` if it ended without a word.
        """
        final = self._final or {}
        if final.get("event") == "done" and not self._cancelled:
            return str(final.get("out", ""))
        if self._cancelled or final.get("event") == "cancelled":
            raise errors.Cancelled("cancelled by the user")
        if final.get("event") == "error":
            raise errorOf(final)
        raise WorkerCrash(_crashSentence(self._process.returncode), code="worker-crashed")

    def _ended(self) -> bool:
        """Whether the process is gone and everything it wrote has been read."""
        if self._process.poll() is None:
            return False
        self._goneAt = self._goneAt or time.monotonic()
        if any(pump.is_alive() for pump in self._pumps):
            if time.monotonic() - self._goneAt < PIPE_GRACE_SEC:
                return False
            _killTree(self._process)  # a grandchild holds the pipes
        return True

    def _drain(self) -> list[dict[str, Any]]:
        """Sort the lines that have arrived into progress events, the final event and the log."""
        events = []
        while not self._lines.empty():
            name, line = self._lines.get()
            event = parseEvent(line) if name == "stdout" else None
            if event is None:
                self.log.append(line)
                logger.debug("worker %s: %s", name, line)
            elif event["event"] == "progress":
                events.append(event)
            elif event["event"] == "ready":
                self._ready = True
                self._processors = processorsOf(event.get("devices"))
            else:
                self._final = event
        return events

    def _say(self, line: str) -> None:
        try:
            if self._process.stdin is not None:
                self._process.stdin.write(line + "\n")
                self._process.stdin.flush()
        except (OSError, ValueError):
            logger.debug("the worker had closed its input already")

    def _close(self) -> None:
        if self._process.stdin is not None and not self._process.stdin.closed:
            try:
                self._process.stdin.close()
            except OSError:
                logger.debug("the worker's input was closed already")
        if not any(pump.is_alive() for pump in self._pumps):
            for stream in (self._process.stdout, self._process.stderr):
                if stream is not None:
                    stream.close()


class WorkerSupervisor:
    """Holds one worker for all runs, so that only the first waits for imports and networks; replaces one that ended."""

    def __init__(self) -> None:
        self._worker: WorkerProcess | None = None
        self._how: tuple[tuple[str, ...], float] | None = None

    @property
    def worker(self) -> WorkerProcess | None:
        """The worker, if there is one and it has not ended."""
        return self._worker if self._worker is not None and self._worker.alive else None

    def ensure(self, command: Sequence[str], graceSec: float) -> WorkerProcess:
        """Return the worker, started now if there is none, or none of this command.

        Raises
        ------
        WorkerCrash
            If it cannot be started.
        """
        how = (tuple(command), graceSec)
        if self.worker is None or self._how != how:
            self.end()
            self._worker, self._how = WorkerProcess(command, workerEnvironment(command[0]), graceSec), how
        assert self._worker is not None
        return self._worker

    def end(self) -> None:
        """End the worker at once, with whatever it is doing."""
        if self._worker is not None:
            worker, self._worker = self._worker, None
            worker.kill()


def _start(command: Sequence[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start the child in a process group of its own, so that its whole tree can be ended."""
    group: dict[str, Any] = {"start_new_session": True}
    if os.name == "nt":
        group = {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    try:
        return subprocess.Popen(
            list(command),
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            bufsize=1,
            **group,
        )
    except OSError as error:
        raise WorkerCrash(
            f"the model process cannot be started ({error.strerror})", code="worker-not-started", path=command[0]
        ) from error


def _pump(stream: IO[str], name: str, lines: queue.SimpleQueue[tuple[str, str]]) -> None:
    """Pass on lines; of one that is longer than any event, its start."""
    while line := stream.readline(LONGEST_LINE):
        rest = line
        while rest and not rest.endswith("\n"):
            rest = stream.readline(LONGEST_LINE)
        lines.put((name, line.rstrip("\r\n")))


def _crashSentence(code: int | None) -> str:
    if code is not None and code < 0:
        try:
            reason = signal.Signals(-code).name
        except ValueError:
            reason = f"signal {-code}"
        return (
            f"the model process was ended by the system ({reason}), most often for lack of memory; "
            "close other programs or use a machine with more memory, and try again"
        )
    return f"the model process ended unexpectedly (exit code {code}); see the log for its last words"


def _killTree(process: subprocess.Popen[str]) -> None:
    if os.name == "nt":
        subprocess.run(
            ["taskkill", "/F", "/T", "/PID", str(process.pid)],
            capture_output=True,
            check=False,
            creationflags=subprocess.CREATE_NO_WINDOW,
        )
        return
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        logger.debug("the worker's process group %d is gone already", process.pid)
