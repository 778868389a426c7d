"""The processes that do a server's work: kept loaded, watched, replaced, and exchanged for those of another bundle.

Everything here runs in one event loop, the HTTP service's, and nothing that reads an image or a network is imported:
what strangers send is opened in the processes alone. A run that ends its process, by a crash of a native reader or by
taking more memory or time than it may, fails alone; the process is started anew and has loaded the bundle before the
next run gets it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from twintrack.errors import TwinTrackError
from twintrack.execution.answer import error_event
from twintrack.execution.server.worker_process import WorkerDiedError, memory_of
from twintrack.execution.server.worker_slot import Offered, Run, Slot, WorkerLimits, environment_of
from twintrack.system.capacity import available_memory, total_memory

__all__ = ["Offered", "Pool", "Work", "WorkerLimits"]

CANCEL_S = 3.0
"""A run that has not ended by itself this long after it was cancelled is ended with its process."""

LOOK_S = 0.25
"""How often the memory of processes is looked at; a reader of a bad file takes some hundred megabytes in that time."""


@dataclass(frozen=True)
class Work:
    """One run.

    Attributes
    ----------
    run : str
        Its random name.
    source : Path
        The CT, in the run's own folder: a file, or a folder with DICOM files.
    out : Path
        The result folder that is to be written.
    settings : dict
        `twintrack.settings.SegmentSettings` as JSON values, with paths in the run's folder. Device and backend are the
        server's, whatever stands there.
    """

    run: str
    source: Path
    out: Path
    settings: dict[str, Any]


class Pool:
    """Worker processes with a loaded bundle.

    Parameters
    ----------
    offered : Offered
        What they load.
    workers : int
        How many; with several and device ``auto`` or ``cuda``, each gets one GPU, and they share them if need be.
    limits : WorkerLimits
        What one run may take.
    warn : callable
        Told, in a sentence without anything of a patient, what the one who runs the server should know.

    Attributes
    ----------
    deaths : int
        How many processes have ended before their time or could not be started.
    """

    def __init__(self, offered: Offered, *, workers: int, limits: WorkerLimits, warn: Callable[[str], None]) -> None:
        self._offered, self._workers, self._limits, self._warn = offered, workers, limits, warn
        self._memory_bytes = limits.memory_bytes or _free_memory() * 4 // 5 // workers
        self._about: dict[str, str] = {}
        self._slots: list[Slot] = []  # of the bundle that is offered
        self._leaving: set[Slot] = set()  # of one that was
        self._runs: dict[str, Run] = {}
        self._listeners: list[Callable[[], None]] = []
        self._changed = asyncio.Event()  # a process is free, or a run that waits is cancelled
        self._exchanging = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._gpus = 0
        self._stopped = False
        self.deaths = 0

    @property
    def ready(self) -> bool:
        """Whether a run that is asked for now will be carried out."""
        return any(slot.loaded and not slot.broken for slot in self._slots)

    @property
    def free(self) -> int:
        """How many runs could begin now."""
        return sum(slot.free for slot in self._slots)

    @property
    def about(self) -> dict[str, str]:
        """Name, version and sha256 of the bundle that new runs get."""
        return dict(self._about)

    def on_free(self, callback: Callable[[], None]) -> None:
        """Have `callback` called whenever a process becomes free."""
        self._listeners.append(callback)

    async def start(self) -> None:
        """Start the processes; return when the first has loaded the bundle, the others follow.

        Raises
        ------
        TwinTrackError
            If it cannot be loaded.
        """
        self._do(self._watch())
        try:
            self._slots, self._about = await self._generation(self._offered)
        except BaseException:
            await self.stop()
            raise
        self._tell_free()

    async def stop(self) -> None:
        """Cancel all runs and end all processes."""
        self._stopped = True
        for run in list(self._runs):
            await self.cancel(run)
        slots, self._slots = [*self._slots, *self._leaving], []
        await asyncio.gather(*(slot.end() for slot in slots))
        for task in self._tasks:
            task.cancel()

    async def carry_out(self, work: Work, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Carry out a run as soon as a process is free; return its last event: ``done``, ``error`` or ``cancelled``.

        Parameters
        ----------
        work : Work
            The run; none with its name may be under way.
        tell : callable
            Told of each ``progress`` event.
        """
        run = self._runs[work.run] = Run()
        try:
            slot = await self._free_slot(run)
            last = None if slot is None else await self._on(slot, run, work, tell)
        finally:
            del self._runs[work.run]
        return {"event": "cancelled"} if last is None or run.cancelled else last

    async def cancel(self, run: str) -> None:
        """Have a run end; return at once. `carry_out` ends when the process has let go of the run's folder."""
        found = self._runs.get(run)
        if found is None or found.cancelled:
            return
        found.cancelled = True
        self._changed.set()
        if found.slot is not None and found.slot.process is not None:
            found.slot.process.ask_to_cancel()
            hangs = "a run did not end when it was cancelled"
            asyncio.get_running_loop().call_later(CANCEL_S, found.end, hangs)

    async def exchange(self, bundle: Path) -> None:
        """Offer another bundle: new runs go to new processes once one has loaded it, the old ones end after their run.

        Both are in memory for a while.

        Raises
        ------
        TwinTrackError
            If it cannot be loaded; what was offered before still is.
        """
        async with self._exchanging:
            offered = replace(self._offered, bundle=bundle)
            slots, about = await self._generation(offered)
            old, self._slots, self._about, self._offered = self._slots, slots, about, offered
            self._leaving.update(old)
            for slot in old:
                self._do(slot.retire())
        if self._stopped:
            await self.stop()
        self._tell_free()

    async def _generation(self, offered: Offered) -> tuple[list[Slot], dict[str, str]]:
        """Start the processes for a bundle; return when the first has loaded it."""
        slots = [self._slot(number, offered) for number in range(self._workers)]
        about = await slots[0].bring_up()
        assert slots[0].process is not None
        if self._workers > 1 and offered.device in ("auto", "cuda"):
            self._gpus = self._gpus or slots[0].process.gpus
        for slot in slots:
            slot.keep(about["sha256"])
        return slots, about

    def _slot(self, number: int, offered: Offered) -> Slot:
        def environment() -> dict[str, str]:
            return environment_of(number, self._workers, self._gpus)

        return Slot(
            offered,
            self._limits,
            environment=environment,
            on_free=self._tell_free,
            on_lost=self._lost,
            warn=self._warn,
        )

    def _lost(self, sentence: str) -> None:
        self.deaths += 1
        self._warn(sentence)

    def _tell_free(self) -> None:
        self._changed.set()
        for listener in self._listeners:
            listener()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something beside everything else, and keep it from being forgotten by the event loop."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _free_slot(self, run: Run) -> Slot | None:
        """Wait for a free process and give it to the run; None if the run is cancelled before."""
        while not run.cancelled:
            for slot in self._slots:
                if slot.free:
                    slot.run, run.slot = run, slot
                    return slot
            self._changed.clear()
            await self._changed.wait()
        return None

    async def _on(self, slot: Slot, run: Run, work: Work, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """Carry out a run on the slot's process."""
        process = slot.process
        assert process is not None
        request = {**work.settings, "schema": 1, "input": str(work.source), "out": str(work.out)}
        limit = asyncio.get_running_loop().call_later(self._limits.run_s, self._end_long, run)
        try:
            last = await process.carry_out(request, tell)
        except WorkerDiedError:
            last = error_event(run.ended_for or _process_died())
        except BaseException:  # whoever waited for the run has given up
            process.kill("a run was given up")
            raise
        finally:
            limit.cancel()
            run.slot = None
            await slot.let_go()
        if last["event"] == "done":
            slot.went_well()
        return last

    def _end_long(self, run: Run) -> None:
        text = f"{self._limits.run_s / 60:.0f} minutes" if self._limits.run_s >= 120 else f"{self._limits.run_s:.0f} s"
        run.end(
            "a run took too long",
            TwinTrackError(
                f"the run took longer than the {text} that the server gives to one; give a smaller region, or tell "
                "whoever runs it",
                code="run-too-long",
            ),
        )

    async def _watch(self) -> None:
        """End processes that take more memory than they may."""
        while True:
            await asyncio.sleep(LOOK_S)
            slots = [*self._slots, *self._leaving]
            working = [(slot, slot.process) for slot in slots if slot.process and (slot.run or not slot.loaded)]
            self._leaving = {slot for slot in self._leaving if slot.process is not None}
            if not working:
                continue
            pids = [process.pid for _, process in working]
            try:
                taken = await asyncio.to_thread(_memory_of_all, pids)
            except RuntimeError:  # no thread can be started: then nothing matters more
                taken = _memory_of_all(pids)
            for (slot, process), number in zip(working, taken, strict=True):
                if number > self._memory_bytes and slot.process is process:
                    self._end_large(slot)

    def _end_large(self, slot: Slot) -> None:
        if slot.run is None:
            assert slot.process is not None
            slot.process.kill("it took more memory than a run may have")
            return
        slot.run.end(
            "a run took more memory than it may",
            TwinTrackError(
                f"the run needs more than the {self._memory_bytes / 1e9:.1f} GB of memory that the server gives to "
                "one; give a smaller region, or tell whoever runs it",
                code="run-too-large",
            ),
        )


def _free_memory() -> int:
    """Return how many bytes can be taken without swap; a large number if that is not known."""
    return min((known for known in (total_memory(), available_memory()) if known), default=1 << 62)


def _memory_of_all(pids: list[int]) -> list[int]:
    return [memory_of(pid) for pid in pids]


def _process_died() -> TwinTrackError:
    return TwinTrackError(
        "the server's process died in the middle of the run, most often for lack of memory; give a smaller region, or "
        "tell whoever runs it",
        code="server-process-died",
    )
