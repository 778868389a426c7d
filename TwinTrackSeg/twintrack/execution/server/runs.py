"""All runs of a server: who may begin one, whose turn it is, and that nothing of one stays behind."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections import Counter, defaultdict
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from twintrack.errors import InputError, TwinTrackError
from twintrack.execution.answer import error_event
from twintrack.execution.server.access import Client
from twintrack.execution.server.audit import Audit, Log, place_of
from twintrack.execution.server.metrics import Histogram
from twintrack.execution.server.pool import Pool, Work
from twintrack.execution.server.protocol import LEASE_S, RESULT_KEPT_S, Limits, State
from twintrack.execution.server.run import Run, error_told, no_room
from twintrack.execution.server.submission import Submission

__all__ = ["RESERVE_BYTES", "Runs"]

RESERVE_BYTES = 2 << 30
"""What has to stay free on the disk, for other programs and for what a run needs besides."""

COPIES = 3
"""How much room a run needs, in sizes of its upload: itself, what it is unpacked to, and the result."""

LOOK_S = 1.0
"""How often leases are looked at."""


class Runs:
    """The table of runs.

    Parameters
    ----------
    pool : Pool
        Carries them out.
    root : path
        A private folder, for the runs' folders.
    limits : Limits
        What each client may take.
    audit, log : Audit, Log
        Told of each run that ended, and of what nobody foresaw.
    reserve_bytes : int
        What stays free on the disk.

    Attributes
    ----------
    ended : Counter
        Runs by the state in which they ended.
    seconds : Histogram
        Wall seconds of work of runs.
    received_bytes : int
        Of all parts.
    """

    def __init__(
        self,
        pool: Pool,
        root: Path,
        *,
        limits: Limits,
        audit: Audit,
        log: Log,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        self.limits = limits
        self.ended: Counter[str] = Counter()
        self.seconds = Histogram()
        self.received_bytes = 0
        self._pool, self._root, self._audit, self._log = pool, root, audit, log
        self._reserve_bytes = reserve_bytes
        self._runs: dict[str, Run] = {}
        self._turns: dict[str, int] = defaultdict(int)  # of each client, the number of its last run's turn
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._will_schedule = False
        pool.on_free(self.schedule_soon)
        self._sweeper = self._do(self._sweep())

    async def close(self) -> None:
        """End all runs."""
        self._sweeper.cancel()
        for run in list(self._runs.values()):
            self._end(run, State.CANCELLED)
        tasks = [task for task in self._tasks if task is not self._sweeper]
        if tasks:
            await asyncio.wait(tasks, timeout=10.0)

    def states(self) -> Counter[str]:
        """Return how many runs are in which state."""
        return Counter(run.state.value for run in self._runs.values())

    @property
    def free_bytes(self) -> int:
        """What is free on the disk now."""
        return shutil.disk_usage(self._root).free

    def of(self, client: Client, name: str) -> Run | None:
        """Return a client's own run; None for another's, as for one that is not there."""
        run = self._runs.get(name)
        return run if run is not None and run.client == client else None

    def submit(self, client: Client, submission: Submission) -> tuple[Run, bool]:
        """Take in a new run; return it, and whether it is new: the same key of the same client is the same run.

        Raises
        ------
        InputError, TwinTrackError
            If the client has too many, the disk is too full, or the server cannot carry out anything.
        """
        mine = [run for run in self._runs.values() if run.client == client]
        for run in mine:
            if run.submission.key == submission.key:
                run.renew()
                return run, False
        self._check_new(submission, [run for run in mine if not run.state.is_end])
        name = secrets.token_hex(16)
        run = Run(name, client, submission, self._root / name)
        try:
            run.make_folder()
        except OSError as error:
            shutil.rmtree(run.folder, ignore_errors=True)
            raise no_room(str(error.strerror)) from error
        self._runs[name] = run
        for old in [run for run in mine if run.state.is_end][: -self.limits.runs]:
            self._forget(old)
        return run, True

    def _check_new(self, submission: Submission, open_runs: list[Run]) -> None:
        if not self._pool.ready:
            raise TwinTrackError(
                "the server has no process with a loaded model at the moment; try again in a minute",
                code="server-not-ready",
            )
        self._check_bundle(submission)
        if len(open_runs) >= self.limits.runs:
            raise TwinTrackError(
                f"a client has at most {self.limits.runs} runs at a time; wait until one has ended", code="server-quota"
            )
        try:
            free = self.free_bytes
        except OSError as error:
            raise no_room(str(error.strerror)) from error
        promised = sum(
            (COPIES - 1) * run.submission.bytes + run.missing_bytes
            for run in self._runs.values()
            if not run.state.is_end
        )
        if free - promised - COPIES * submission.bytes < self._reserve_bytes:
            raise no_room("its disk is too full for another one")

    def _check_bundle(self, submission: Submission) -> None:
        offered, wanted = self._pool.about, submission.bundle_sha256
        if wanted is not None and wanted != offered["sha256"]:
            raise InputError(
                f"the server offers {offered['name']} {offered['version']} (sha256 {offered['sha256'][:12]}), not the "
                f"bundle that is expected (sha256 {wanted[:12]}); give none to use it, or choose another server",
                code="bundles-differ",
            )

    def fail(self, run: Run, error: TwinTrackError) -> None:
        """End a run whose files cannot be taken in any more."""
        run.error = error_told(error.fields(), run.folder)
        self._end(run, State.FAILED)

    def begin(self, run: Run) -> None:
        """Put a run into the queue; nothing happens if it is there already.

        Raises
        ------
        InputError
            If files are missing.
        """
        if run.state is not State.UPLOADING:
            return
        if run.missing_bytes:
            raise InputError(f"{run.missing_bytes} bytes of the upload are missing", code="upload-incomplete")
        run.queued = time.monotonic()
        run.tell(state=State.QUEUED)
        self.schedule_soon()

    def drop(self, run: Run) -> None:
        """End a run if it has not ended, and forget it."""
        self._end(run, State.CANCELLED)
        self._forget(run)

    def keep_only(self, clients: dict[str, Client]) -> None:
        """Drop the runs of all clients that are not, or no longer as they were, among `clients`."""
        for run in list(self._runs.values()):
            if clients.get(run.client.name) != run.client:
                self.drop(run)

    def schedule_soon(self) -> None:
        """Begin what can be begun, when what was begun before has taken its process."""
        if not self._will_schedule:
            self._will_schedule = True
            asyncio.get_running_loop().call_soon(self._schedule)

    def _schedule(self) -> None:
        self._will_schedule = False
        waiting = self._in_order()
        for run in waiting[: self._pool.free]:
            self._turn += 1
            self._turns[run.client.name] = self._turn
            run.began = time.monotonic()
            run.tell(state=State.RUNNING, before=None)
            self._do(self._carry_out(run))
        for before, run in enumerate(self._in_order()):
            if run.before != before:
                run.tell(before=before)

    def _in_order(self) -> list[Run]:
        """Return the runs that wait in the order of their turns.

        People come before machines, each client gets one run a round, and first whoever had none for the longest time.
        """
        queues: dict[str, list[Run]] = defaultdict(list)
        for run in sorted(self._runs.values(), key=lambda run: run.queued):
            if run.state is State.QUEUED:
                queues[run.client.name].append(run)
        places = [
            ((run.client.is_machine, rank, self._turns[name], run.queued), run)
            for name, queue in queues.items()
            for rank, run in enumerate(queue)
        ]
        return [run for _, run in sorted(places, key=lambda place: place[0])]

    async def _carry_out(self, run: Run) -> None:
        """Let the pool do the work, and take what it says at the end."""

        def tell(event: dict[str, Any]) -> None:
            if run.state is State.RUNNING and event.get("event") == "progress":
                run.tell(news=run.news | {name: value for name, value in event.items() if name != "event"})

        try:
            self._check_bundle(run.submission)  # it may have been exchanged meanwhile
            run.bundle_sha256 = self._pool.about["sha256"]
            last = await self._pool.carry_out(Work(run.name, run.source, run.out, run.settings()), tell)
            if last["event"] == "done" and run.state is State.RUNNING:
                run.results = await asyncio.to_thread(run.list_results)
                await asyncio.to_thread(run.drop_inputs)
        except Exception as error:
            if not isinstance(error, TwinTrackError):
                self._log.write("unforeseen", where=place_of(error))
            last = error_event(error)
        if run.state is not State.RUNNING:  # dropped, or its lease has ended
            await self._remove(run)
        elif last["event"] == "done":
            self._end(run, State.DONE)
        elif last["event"] == "cancelled":
            self._end(run, State.CANCELLED)
        else:
            run.error = error_told(last["fields"], run.folder)
            self._end(run, State.FAILED)
        self.schedule_soon()

    def _end(self, run: Run, state: State) -> None:
        """Let a run end if it has not, and remove its files if there is no result."""
        if run.state.is_end:
            return
        was, run.ended = run.state, time.monotonic()
        self._write_down(run, state)
        run.tell(state=state, before=None)
        if was is State.RUNNING and state in (State.CANCELLED, State.EXPIRED):
            self._do(self._pool.cancel(run.name))
        if state is not State.DONE:
            self._do(self._remove(run))
        if was is State.QUEUED:
            self.schedule_soon()

    def _write_down(self, run: Run, state: State) -> None:
        self.ended[state.value] += 1
        ran_s = run.ended - run.began if run.began else 0.0
        if run.began:
            self.seconds.add(ran_s)
        waited_s = (run.began or run.ended) - run.queued if run.queued else 0.0
        asked = run.submission
        fields = {"who": run.client.name, "run": run.name, "kind": asked.kind, "files": len(asked.files)}
        fields |= {"bytes": asked.bytes, "end": state.value, "code": (run.error or {}).get("code")}
        fields |= {"waited_s": round(waited_s, 2), "ran_s": round(ran_s, 2), "bundle_sha256": run.bundle_sha256}
        try:
            self._audit.write("run", **fields)
        except OSError as error:
            self._log.write("audit-not-written", reason=error.strerror)

    def _forget(self, run: Run) -> None:
        if self._runs.pop(run.name, None) is not None and run.state is State.DONE:
            self._do(self._remove(run))

    async def _remove(self, run: Run) -> None:
        await asyncio.to_thread(shutil.rmtree, run.folder, ignore_errors=True)

    async def _sweep(self) -> None:
        """End the runs whose clients have gone, and forget the old."""
        while True:
            await asyncio.sleep(LOOK_S)
            now = time.monotonic()
            for run in list(self._runs.values()):
                if not run.state.is_end and now > run.renewed + LEASE_S:
                    self._end(run, State.EXPIRED)
                elif run.state.is_end and now > max(run.ended + RESULT_KEPT_S, run.renewed + LEASE_S):
                    self._forget(run)

    def _do(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._is_done)
        return task

    def _is_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.write("unforeseen", where=place_of(error))
