"""A server's worker that computes nothing: it carries runs to the workers of a Dask cluster, and what they made back.

To the server it is a worker like any other (`twintrack.execution.worker.offered`): a request ``load`` that names a
scheduler too, then a request a run, with paths on this machine. It is a process of its own because Dask's client
unpickles what the cluster sends. The machines of the cluster need neither the server's files nor the bundle's: both are
sent (`twintrack.execution.server.far_end`), the bundle once to each worker.

A worker that is lost takes its run with it to another one, once. A cluster that does not answer ends the run with one
sentence, after ``{"event": "gone"}``, and this process with it: the server starts another, which waits for the cluster.
"""

from __future__ import annotations

import asyncio
import os
import queue
import random
import shutil
import threading
import time
import uuid
from collections.abc import Coroutine, Iterable, Mapping
from concurrent.futures import CancelledError, wait
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import BundleError, Cancelled, OutputError, TwinTrackError
from twintrack.execution.answer import UNFORESEEN, Events, error_event
from twintrack.execution.cluster.client import GPU, cluster_client
from twintrack.execution.server.far_end import BUNDLE, RUN_LOST, ask_far_end
from twintrack.execution.server.file_parts import files_below, packed, write_parts
from twintrack.execution.worker.offered import LOAD, say_unforeseen
from twintrack.execution.worker.serve import Job, listen
from twintrack.progress.callbacks import CancelToken

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["forward"]

ANSWER_S = 15.0
"""A worker that has not answered by then is lost; it has some megabytes to take in, or waits for news for a third of
that time."""

SCHEDULER_S = 5.0
"""A scheduler that has not answered by then is lost."""

RELEASE_S = 1.5
"""How long the end of a run waits until the cluster has heard of it: who cancels is answered within 3 s."""

WORKERS_S = 30.0
"""How long a cluster may be without a worker that answers."""

FIRST_WORKER_S = 60.0
"""The same at the start: machines may be starting too."""

LOOK_S = 5.0
"""How often an idle process looks whether the cluster is there."""

PAUSE_S = 0.3
"""How often a run that waits looks for a free worker."""

ENDING_S = 5.0
"""How long a worker with the bundle is waited for that puts away the run before; another one loads it for longer."""

CANCEL_LOOK_S = 0.1
"""How often it is looked whether a run was cancelled."""

TRIES = 2
"""To how many workers a run is given before it fails, if one after the other is lost."""


class ClusterLostError(Exception):
    """The scheduler, or for too long every worker, does not answer."""


class WorkerLostError(Exception):
    """A worker does not answer, has forgotten the run, or, for a reason, cannot do it."""

    def __init__(self, reason: TwinTrackError | None = None) -> None:
        super().__init__()
        self.reason = reason


def forward(lines: Iterable[str], events: Events) -> int:
    """Carry out requests on a cluster until `lines` end; return the exit code."""
    jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    over = threading.Event()
    threading.Thread(target=listen, args=(lines, jobs, events, over), daemon=True).start()
    try:
        with ExitStack() as stack:
            return _answer_all(jobs, events, stack)
    except ClusterLostError:
        os._exit(UNFORESEEN)  # Dask's client would wait for a scheduler that hangs
    finally:
        over.set()


def _answer_all(jobs: queue.SimpleQueue[Job | None], events: Events, stack: ExitStack) -> int:
    """Load what the first job names and carry out the others; return the exit code."""
    first = jobs.get()
    if first is None:
        return 0
    try:
        cluster = _loaded(first.request, stack)
    except ClusterLostError:
        events.say(**error_event(_cluster_lost()))
        raise
    except Exception as error:
        events.say(**error_event(error))
        return 2
    events.say(event="loaded", bundle=cluster.about)
    first.ended.set()
    while (job := _next(jobs, cluster)) is not None:
        is_well = _carry_out(cluster, job, events)
        job.ended.set()
        if not is_well:
            return UNFORESEEN
    return 0


def _loaded(request: Any, stack: ExitStack) -> Cluster:
    """Connect to the cluster that a request names, and let one of its workers load the bundle."""
    with ExitStack() as files:
        bundle = files.enter_context(Bundle.open(request[LOAD]))
        if request["sha256"] not in (None, bundle.sha256):
            raise BundleError(
                "is another bundle than the server began with; start it again",
                code="bundle-changed",
                path=request[LOAD],
            )
        reached = cluster_client(request["scheduler"], insecure=request["insecure"], wait_s=FIRST_WORKER_S)
        cluster = Cluster(files.enter_context(reached), bundle, request)
        cluster.load_one()
        stack.push(files.pop_all())
    return cluster


def _next(jobs: queue.SimpleQueue[Job | None], cluster: Cluster) -> Job | None:
    """Return the next job; raise `ClusterLostError` if the cluster is lost meanwhile."""
    while True:
        try:
            return jobs.get(timeout=LOOK_S)
        except queue.Empty:
            cluster.look()


def _carry_out(cluster: Cluster, job: Job, events: Events) -> bool:
    """Carry out a job and say how it ended; return whether this process can take another one."""
    try:
        events.say(**cluster.carry_out(job.request, events, job.cancel))
    except Cancelled:
        events.say(event="cancelled")
    except TwinTrackError as error:
        events.say(**error_event(error))
    except ClusterLostError:
        events.say(event="gone")
        events.say(**error_event(_cluster_lost()))
        raise
    except Exception as error:
        say_unforeseen(error, events)
        events.say(**error_event(error))
        return False
    return True


def _cluster_lost() -> TwinTrackError:
    return TwinTrackError(
        "the cluster that does the server's work does not answer; try again later, or tell whoever runs the server",
        code="cluster-lost",
    )


@dataclass(frozen=True)
class _Claimed:
    """A worker that is a run's now, if one was free; whether any has loaded the bundle, and is putting a run away."""

    worker: str | None
    has_some: bool
    is_ending: bool


class Cluster:
    """A Dask cluster, as one of a server's places sees it.

    Parameters
    ----------
    client : distributed.Client
        Connected.
    bundle : Bundle
        What workers load.
    offered : mapping
        Device, backend and limits, for the workers.

    Attributes
    ----------
    about : dict
        Name, version and hash of the bundle.
    """

    def __init__(self, client: Client, bundle: Bundle, offered: Mapping[str, Any]) -> None:
        self._client, self._bundle = client, bundle
        self._loop = client.loop.asyncio_loop  # type: ignore[union-attr]
        self._offered = {name: offered[name] for name in ("device", "backend", "memory_bytes", "run_s")}
        self._alone_since: float | None = None
        self.about = {"name": bundle.name, "version": bundle.version, "sha256": bundle.sha256}

    def load_one(self) -> None:
        """Let a worker load the bundle that has not; return when it has, or when all that are free had it already.

        Raises
        ------
        TwinTrackError
            If it cannot be loaded there.
        ClusterLostError
            If no worker answers.
        """
        run, cancel = uuid.uuid4().hex, CancelToken()
        while True:
            found = self._claim(run, False, cancel)
            if (worker := found.worker) is None:
                if found.has_some:
                    return
                time.sleep(PAUSE_S)
                continue
            try:
                self._load(worker, run, cancel)
                return
            except WorkerLostError as lost:
                if lost.reason is not None:
                    raise lost.reason from lost
            finally:
                self._release(worker, run)

    def carry_out(self, request: Any, events: Events, cancel: CancelToken) -> dict[str, Any]:
        """Carry out a run on one of the workers; return its last event.

        Raises
        ------
        Cancelled
            If it was cancelled.
        TwinTrackError
            If one worker after the other is lost, or the result cannot be written here.
        ClusterLostError
            If no worker answers.
        """
        reason: TwinTrackError | None = None
        for _ in range(TRIES):
            run = uuid.uuid4().hex
            worker, has_bundle = self._wait_for_worker(run, events, cancel)
            try:
                if not has_bundle:
                    _tell(events, "a worker of the cluster loads the model")
                    self._load(worker, run, cancel)
                return self._run_on(worker, run, request, events, cancel)
            except WorkerLostError as lost:
                reason = lost.reason
                shutil.rmtree(request["out"], ignore_errors=True)
            finally:
                self._release(worker, run)
        raise reason or TwinTrackError(
            "two workers of the cluster were lost in the middle of the run; try again, or tell whoever runs the server",
            code="cluster-worker-lost",
        )

    def look(self) -> None:
        """Raise `ClusterLostError` if the scheduler does not answer, or for too long there was no worker."""
        self._note_workers(bool(self._workers()))

    def _wait_for_worker(self, run: str, events: Events, cancel: CancelToken) -> tuple[str, bool]:
        """Return a worker that is free, and now this run's, and whether it has loaded the bundle."""
        has_told, began = False, time.monotonic()
        while True:
            for loaded in (True, False):
                found = self._claim(run, loaded, cancel)
                if found.worker is not None:
                    return found.worker, loaded
                if found.is_ending and time.monotonic() < began + ENDING_S:
                    break
            if not has_told:
                has_told = True
                _tell(events, "waiting for a worker of the cluster")
            time.sleep(PAUSE_S)

    def _claim(self, run: str, loaded: bool, cancel: CancelToken) -> _Claimed:
        """Ask for a free worker that has, or has not, loaded the bundle."""
        workers, has_some, is_ending, has_answer = self._workers(), False, False, False
        random.shuffle(workers)
        for worker in workers:
            try:
                answer = self._ask(worker, cancel, "claim", run, self.about["sha256"], loaded)
            except WorkerLostError:
                continue
            except Cancelled:
                self._release(worker, run)  # it may have said yes meanwhile
                raise
            has_answer, has_some = True, has_some or answer["loaded"]
            is_ending = is_ending or (answer["loaded"] and answer["ending"])
            if answer["free"]:
                return _Claimed(worker, has_some, is_ending)
        self._note_workers(has_answer)
        return _Claimed(None, has_some, is_ending)

    def _note_workers(self, has_some: bool) -> None:
        """Take note whether there are workers."""
        now = time.monotonic()
        self._alone_since = None if has_some else self._alone_since or now
        if self._alone_since is not None and now - self._alone_since > WORKERS_S:
            raise ClusterLostError

    def _load(self, worker: str, run: str, cancel: CancelToken) -> None:
        """Send the bundle to a worker, and have it loaded."""
        for parts in packed(files_below(self._bundle.path, ".")):
            self._ask(worker, cancel, "put", run, BUNDLE, parts)
        self._ask(worker, cancel, "load", run, self.about["sha256"], self._offered)
        last = self._follow(worker, run, cancel)
        if last["event"] == "error":
            raise WorkerLostError(TwinTrackError.of_fields(last["fields"]))

    def _run_on(
        self, worker: str, run: str, request: Mapping[str, Any], events: Events, cancel: CancelToken
    ) -> dict[str, Any]:
        """Send a run's files to a worker, follow the work, and fetch the result."""
        out = Path(request["out"])
        settings = {name: value for name, value in request.items() if name not in ("schema", "input", "out")}
        source, files = _named(request["input"], out.parent)
        for name in ("vessels", "calibrator"):
            if settings.get(name):
                settings[name], more = _named(settings[name], out.parent)
                files |= more
        _tell(events, "sending the CT to a worker of the cluster")
        for parts in packed(files):
            self._ask(worker, cancel, "put", run, "", parts)
        self._ask(worker, cancel, "begin", run, source, settings)
        last = self._follow(worker, run, cancel, events)
        if last["event"] == "done":
            self._fetch(worker, run, out, cancel)
        return last

    def _follow(self, worker: str, run: str, cancel: CancelToken, events: Events | None = None) -> dict[str, Any]:
        """Pass on how it goes; return the event that says how it ended."""
        heard = 0
        while True:
            for event in self._ask(worker, cancel, "news", run, heard)["events"]:
                heard += 1
                if event["event"] != "progress":
                    return dict(event)
                if events is not None:
                    events.say(**event)

    def _fetch(self, worker: str, run: str, out: Path, cancel: CancelToken) -> None:
        try:
            out.mkdir(parents=True)
            while parts := self._ask(worker, cancel, "get", run)["parts"]:
                write_parts(out, parts)
        except OSError as error:
            raise OutputError(
                f"the result cannot be written ({error.strerror}); tell whoever runs the server", code="not-writable"
            ) from error

    def _release(self, worker: str, run: str) -> None:
        """Tell a worker that the run has ended; one that does not hear it notices by itself."""
        with suppress(OSError):
            self._call(worker, CancelToken(), RELEASE_S, "release", run)

    def _ask(self, worker: str, cancel: CancelToken, what: str, *arguments: object) -> dict[str, Any]:
        """Ask a worker for something.

        Raises
        ------
        WorkerLostError, ClusterLostError
            If it does not answer, or cannot do it.
        """
        try:
            answer = self._call(worker, cancel, ANSWER_S, what, *arguments)
        except OSError as error:
            self._workers()
            raise WorkerLostError from error
        if answer.get("event") == "error":
            reason = TwinTrackError.of_fields(answer["fields"])
            raise WorkerLostError(None if reason.code == RUN_LOST else reason)
        return answer

    def _call(self, worker: str, cancel: CancelToken, within_s: float, what: str, *arguments: object) -> dict[str, Any]:
        asked = self._client.run(ask_far_end, what, *arguments, workers=[worker], asynchronous=True)
        answers: dict[str, dict[str, Any]] = self._awaited(asked, within_s, cancel)
        return answers[worker]

    def _workers(self) -> list[str]:
        """Return the workers that run networks; raise `ClusterLostError` if the scheduler does not say."""
        assert self._client.scheduler is not None
        try:
            found = self._awaited(self._client.scheduler.identity(n_workers=-1), SCHEDULER_S, CancelToken())
        except OSError as error:
            raise ClusterLostError from error
        return [worker for worker, info in found["workers"].items() if GPU in (info.get("resources") or {})]

    def _awaited(self, asked: Coroutine[Any, Any, Any], within_s: float, cancel: CancelToken) -> Any:
        """Return what a coroutine of Dask gives; raise ``OSError`` for whatever it meets on the way."""
        future = asyncio.run_coroutine_threadsafe(asked, self._loop)
        deadline = time.monotonic() + within_s
        try:
            while not wait([future], CANCEL_LOOK_S).done:
                cancel.check()
                if time.monotonic() > deadline:
                    raise OSError("no answer")
            return future.result()
        except (CancelledError, asyncio.TimeoutError, RuntimeError) as error:
            raise OSError(str(error)) from error
        finally:
            future.cancel()


def _named(place: str, root: Path) -> tuple[str, dict[str, Path]]:
    """Return what a file or folder is called at the worker, as it is below the run's folder, and its files so."""
    path = Path(place)
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name
    return name, files_below(path, name)


def _tell(events: Events, message: str) -> None:
    events.say(event="progress", fraction=0.0, message=message, remaining_s=None)
