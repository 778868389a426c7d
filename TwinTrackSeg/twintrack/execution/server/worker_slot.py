"""The place of a server's worker process: one after the other lives in it, each with the bundle loaded."""

from __future__ import annotations

import asyncio
import os
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twintrack.errors import TwinTrackError
from twintrack.execution.server.worker_process import WorkerDiedError, WorkerProcess
from twintrack.system.capacity import usable_cores

__all__ = ["Offered", "Run", "Slot", "WorkerLimits", "environment_of"]

LONGEST_PAUSE_S = 60.0
"""Longest time between two attempts to start a process."""

DEATHS, DEATHS_S = 5, 600.0
"""A process that has ended so often in such a time, with no run that ended well in between, counts as broken."""

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable with the GPUs that a process may use, by number or name."""


@dataclass(frozen=True)
class Offered:
    """What a server offers.

    Attributes
    ----------
    bundle : Path
        Folder or zip.
    device, backend : str
        What runs the networks.
    scheduler : str, optional
        Address of a Dask cluster whose workers do the work; this machine if not given.
    insecure : bool
        Whether a scheduler on another computer may be spoken to without TLS.
    """

    bundle: Path
    device: str = "auto"
    backend: str = "auto"
    scheduler: str | None = None
    insecure: bool = False


@dataclass(frozen=True)
class WorkerLimits:
    """What one run may take; a process that goes beyond is ended, and the run fails with a sentence.

    Attributes
    ----------
    memory_bytes : int, optional
        Main memory of a process with its children, the loaded networks included. If not given, four fifths of what is
        free when the pool is made, a container's limit included, are divided among the processes.
    run_s : float
        Time from the beginning of the work.
    load_s : float
        Time that loading the bundle may take.
    """

    memory_bytes: int | None = None
    run_s: float = 1800.0
    load_s: float = 600.0


def environment_of(number: int, workers: int, gpus: int) -> dict[str, str]:
    """Return what the environment of a worker adds: how many threads it takes, and a GPU of its own.

    Parameters
    ----------
    number : int
        Of the worker, from 0; one that is started again keeps it.
    workers : int
        How many share the computer.
    gpus : int
        How many GPUs they share, 0 for one worker, or where each finds its processor itself. Of those that
        `VISIBLE` leaves us, if it is set.
    """
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(usable_cores() // workers, 1))
    added = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads)
    if gpus:
        listed = [name.strip() for name in os.environ.get(VISIBLE, "").split(",") if name.strip()]
        listed = listed or [str(gpu) for gpu in range(gpus)]
        added[VISIBLE] = listed[number % len(listed)]
    return added


class Run:
    """A run that has been asked for and has not ended.

    Attributes
    ----------
    slot : Slot or None
        Where it is carried out.
    cancelled : bool
        Whether somebody cancelled it.
    ended_for : TwinTrackError or None
        Why its process was ended on purpose.
    """

    def __init__(self) -> None:
        self.slot: Slot | None = None
        self.cancelled = False
        self.ended_for: TwinTrackError | None = None

    def end(self, why: str, error: TwinTrackError | None = None) -> None:
        """End the process that carries it out; `why` is for the one who runs the server, `error` for the client."""
        if self.slot is not None and self.slot.process is not None:
            self.ended_for = self.ended_for or error
            self.slot.process.kill(why)


class Slot:
    """Keeps one process alive that has loaded what is offered.

    Parameters
    ----------
    offered : Offered
        Bundle and device.
    limits : WorkerLimits
        What loading, and on a cluster a run, may take.
    environment : callable
        Returns what the environment of the next process adds.
    on_free : callable
        Called when a process has loaded the bundle.
    on_lost : callable
        Called with a sentence when a process has ended, or could not be started, and will be replaced.
    warn : callable
        Told of an error that nobody foresaw.

    Attributes
    ----------
    process : WorkerProcess or None
        The one that lives there now.
    loaded : bool
        Whether it has loaded the bundle.
    broken : bool
        Whether processes end there all the time; then one is started now and then only.
    run : Run or None
        What it does.
    """

    def __init__(
        self,
        offered: Offered,
        limits: WorkerLimits,
        *,
        environment: Callable[[], dict[str, str]],
        on_free: Callable[[], None],
        on_lost: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self.offered, self._limits, self._environment = offered, limits, environment
        self._on_free, self._on_lost, self._warn = on_free, on_lost, warn
        self.process: WorkerProcess | None = None
        self.run: Run | None = None
        self.loaded = self.broken = self._retired = False
        self._task: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._failures = 0  # attempts to load in a row that failed
        self._deaths: deque[float] = deque(maxlen=DEATHS)

    @property
    def free(self) -> bool:
        """Whether a run could begin now."""
        return self.loaded and not self._retired and self.run is None

    def keep(self, sha256: str) -> None:
        """From now on see that a process with the bundle of this hash lives here."""
        self._task = asyncio.create_task(self._keep(sha256))

    async def retire(self) -> None:
        """End the process, after its run if there is one, and start no other."""
        self._retired = True
        if self.run is None:
            await self.end()

    async def end(self) -> None:
        """End the process, and its run with it, and start no other."""
        self._retired = True
        process = self.process
        if process is not None and self.loaded:
            await process.end()
        if self._task is not None:
            self._task.cancel()  # in a pause, or while a process loads
            await asyncio.gather(self._task, return_exceptions=True)
        if self.process is not None:  # it was still loading
            self.process.kill()
            await self.process.ended()
        self.process, self.loaded = None, False

    async def let_go(self) -> None:
        """Take note that the run has ended, however it did; the process is free, or is ended and replaced."""
        process = self.process
        try:
            if process is not None and not process.usable:
                self.loaded = False
                process.kill()
                await process.ended()
        finally:
            self.run = None
        if self._retired:
            self._ending = asyncio.create_task(self.end())  # the run's end need not wait for it
        elif self.loaded:
            self._on_free()

    def went_well(self) -> None:
        """Take note that a run ended well here: whatever ended processes before is not this place's fault."""
        self._deaths.clear()
        self.broken = False

    async def bring_up(self, sha256: str | None = None) -> dict[str, str]:
        """Start a process and load the bundle; return its name, version and hash.

        Raises
        ------
        TwinTrackError
            If that fails.
        """
        option = "--serve" if self.offered.scheduler is None else "--forward"
        process = self.process = await WorkerProcess.start(self._environment(), self._say_unforeseen, option)
        load_s = self._limits.load_s
        try:
            about = await asyncio.wait_for(process.load(self._load_request(sha256)), load_s)
        except (WorkerDiedError, TwinTrackError, asyncio.TimeoutError) as error:
            process.kill()
            how, self.process = await process.ended(), None
            if isinstance(error, TwinTrackError):
                raise
            reason = process.ordered or (how if isinstance(error, WorkerDiedError) else f"longer than {load_s:.0f} s")
            raise TwinTrackError(f"its process ended while it loaded ({reason})", code="worker-died") from error
        except BaseException:
            process.kill()
            raise
        self.loaded = True
        return about

    def _load_request(self, sha256: str | None) -> dict[str, Any]:
        offered = self.offered
        request: dict[str, Any] = {"load": str(offered.bundle.absolute()), "sha256": sha256}
        request |= {"device": offered.device, "backend": offered.backend}
        if offered.scheduler is not None:
            request |= {"scheduler": offered.scheduler, "insecure": offered.insecure}
            request |= {"memory_bytes": self._limits.memory_bytes, "run_s": self._limits.run_s}
        return request

    async def _keep(self, sha256: str) -> None:
        while not self._retired:
            if self.process is None and not await self._try_again(sha256):
                continue
            process = self.process
            assert process is not None
            how = await process.ended()
            self.process, self.loaded = None, False
            if process.ordered is None:
                self._died(f"a process that does the work has ended ({how})")
            elif process.ordered:
                self._on_lost(f"{process.ordered}; its process was ended")

    async def _try_again(self, sha256: str) -> bool:
        """Start a process after a pause; return whether it has loaded the bundle."""
        await asyncio.sleep(self._pause_s())
        try:
            await self.bring_up(sha256)
        except TwinTrackError as error:
            self._failures += 1
            self._died(f"the server cannot load its model ({error})")
            return False
        self._failures, self.broken = 0, False
        self._on_free()
        return True

    def _died(self, sentence: str) -> None:
        """Take note of an end that nobody ordered."""
        now = time.monotonic()
        self._deaths.append(now)
        self.broken = len(self._deaths) == DEATHS and now - self._deaths[0] < DEATHS_S
        pause = self._pause_s()
        self._on_lost(f"{sentence}; another one is started" + (f" in {pause:.0f} s" if pause else ""))

    def _pause_s(self) -> float:
        """Return how long to wait before the next process."""
        if self.broken:
            return LONGEST_PAUSE_S
        return min(2.0 ** (self._failures - 1), LONGEST_PAUSE_S) if self._failures else 0.0

    def _say_unforeseen(self, what: str) -> None:
        self._warn(f"a run met an error that nobody foresaw ({what})")
