"""A worker that stays: requests as JSON lines, one after the other, on networks that are loaded once.

Standard input carries one request a line, the same JSON as in a request file. A line ``cancel`` or ``{"cancel": true}``
cancels the requests that came before it and have not ended; the worker stays. The end of standard input ends the
worker, and a request that is being carried out with it.

Once the packages that the networks need are imported, ``ready`` is said, with the processors that ``auto`` would try,
in that order: ``{"event": "ready", "devices": [{"device": "cuda:0", "title": "...", "total_bytes": ..., "free_bytes":
...}, ...]}`` (see `twintrack.inference.Processor`). Requests may come before that. Each request is answered, in order,
as a worker for one request does: ``progress`` events, then exactly one of ``done``, ``error`` and ``cancelled``.
Whichever it is, the worker is ready for the next one. The first ``progress`` has also ``device``, the processor that
was taken, and ``notes``; so has the next one after a smaller step had to be taken for lack of memory, and ``notes``
then says in words every such step.

A request ``load`` makes the worker one of a server (see `twintrack.execution.worker.offered`).
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TextIO

from twintrack.errors import InputError
from twintrack.execution.answer import ORPHAN_ENDS_AFTER_S, UNFORESEEN, Events, end_hard_unless, error_event
from twintrack.execution.worker.offered import LOAD, OfferedModel, load_offered
from twintrack.execution.worker.run_request import answer_request
from twintrack.progress.callbacks import CancelToken
from twintrack.system.json_file import parse_json

if TYPE_CHECKING:
    from twintrack.inference.loaded_model import LoadedModel

__all__ = ["MAX_LINE", "Job", "limited_lines", "listen", "serve"]

MAX_LINE = 1_000_000
"""Most characters of a request; one with paths of the greatest length has some ten thousand."""

IDLE_S = 900.0
"""After this time without a request the networks' memory is given back; packages stay imported."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """A request, or the exception that reading it gave."""

    request: object
    cancel: CancelToken = field(default_factory=CancelToken)
    ended: threading.Event = field(default_factory=threading.Event)


def serve(lines: Iterable[str], events: Events) -> int:
    """Answer requests until `lines` end; return the exit code."""
    jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    over = threading.Event()
    threading.Thread(target=listen, args=(lines, jobs, events, over), daemon=True).start()
    _import_packages()
    events.say(event="ready", devices=_devices())
    try:
        return _answer_all(jobs, events)
    finally:
        over.set()


def _answer_all(jobs: queue.SimpleQueue[Job | None], events: Events) -> int:
    """Answer jobs until there are no more; return the exit code."""
    from twintrack.inference.loaded_model import LoadedModel, return_memory

    model, offered = LoadedModel(), None
    while (job := _next(jobs, model if offered is None else None)) is not None:
        if offered is not None:
            if not _answer_offered(offered, job, events):
                return UNFORESEEN
        elif isinstance(job.request, dict) and LOAD in job.request:
            offered = load_offered(job.request, events)
            if offered is None:
                return 2
        else:
            answer_request(job.request, events, job.cancel, model)
        job.ended.set()
        return_memory()
    return 0


def _next(jobs: queue.SimpleQueue[Job | None], model: LoadedModel | None) -> Job | None:
    """Return the next job; give back the memory of a model that nobody uses for a while."""
    from twintrack.inference.loaded_model import return_memory

    if model is None:
        return jobs.get()
    try:
        return jobs.get(timeout=IDLE_S)
    except queue.Empty:
        model.drop()
        return_memory()
        return jobs.get()


def _answer_offered(offered: OfferedModel, job: Job, events: Events) -> bool:
    """Carry out a job with a server's model; return whether this process can take another one."""
    if not isinstance(job.request, dict):
        events.say(**error_event(InputError("a request is one JSON object", code="request-malformed")))
        return True
    return offered.answer(job.request, events, job.cancel)


def listen(lines: Iterable[str], jobs: queue.SimpleQueue[Job | None], events: Events, over: threading.Event) -> None:
    """Turn lines into jobs, and cancel at once; at the end of the lines cancel what is left, and see that it ends."""
    open_jobs: list[Job] = []
    for line in lines:
        request = _read(line)
        if request is None:
            continue
        if request == "cancel" or (isinstance(request, dict) and request.get("cancel") is True):
            _cancel(open_jobs, events)
            continue
        open_jobs = [job for job in open_jobs if not job.ended.is_set()]
        open_jobs.append(Job(request))
        jobs.put(open_jobs[-1])
    _cancel(open_jobs, events)
    jobs.put(None)
    end_hard_unless(over, events, ORPHAN_ENDS_AFTER_S)


def limited_lines(stream: TextIO) -> Iterator[str]:
    """Yield the lines of a stream, of one that is longer than `MAX_LINE` only so much that this can be seen."""
    while line := stream.readline(MAX_LINE + 1):
        yield line
        while len(line) > MAX_LINE and not line.endswith("\n"):
            line = stream.readline(MAX_LINE + 1)
            if not line:
                return


def _read(line: str) -> object:
    """Return a line's request, the word ``cancel``, an exception, or None for an empty line."""
    if len(line) > MAX_LINE:
        return ValueError(f"it is longer than the {MAX_LINE:,} characters that are allowed")
    text = line.strip()
    if text in ("", "cancel"):
        return text or None
    try:
        return parse_json(text)
    except ValueError as error:
        return error


def _cancel(jobs: list[Job], events: Events) -> None:
    for job in jobs:
        if not job.ended.is_set():
            job.cancel.cancel()
            end_hard_unless(job.ended, events)


def _import_packages() -> None:
    """Import what the networks need; what is missing shows when a request needs it."""
    from twintrack.inference import import_packages

    try:
        import_packages()
    except ImportError as error:
        _log.warning("a package of the engine is missing: %s", error)


def _devices() -> list[dict[str, Any]]:
    """Return the processors with their memory; none where torch is missing."""
    from twintrack.inference import find_processors

    try:
        return [processor.to_json() for processor in find_processors()]
    except ImportError:
        return []
