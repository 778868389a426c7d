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
"""

from __future__ import annotations

import gc
import logging
import os
import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TextIO

from twintrack.progress import CancelToken
from twintrack.system.json_file import parse_json
from twintrack.worker_run import Events, KeptNetworks, answer

__all__ = ["MAX_LINE", "ORPHAN_PATIENCE_S", "PATIENCE_S", "end_hard_unless", "limited_lines", "return_memory", "serve"]

PATIENCE_S = 20.0
"""A cancelled request that has not ended by itself after this time is ended with the process (a step without a check
hangs)."""

ORPHAN_PATIENCE_S = 4.0
"""The same for the end of standard input: nobody waits for the result any more."""

MAX_LINE = 1_000_000
"""Most characters of a request; one with paths of the greatest length has some ten thousand."""

IDLE_S = 900.0
"""After this time without a request the networks' memory is given back; packages stay imported."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    """A request, or the exception that reading it gave."""

    request: object
    cancel: CancelToken = field(default_factory=CancelToken)
    ended: threading.Event = field(default_factory=threading.Event)


def serve(lines: Iterable[str], events: Events) -> int:
    """Answer requests until `lines` end; return the exit code."""
    jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
    over = threading.Event()
    threading.Thread(target=_listen, args=(lines, jobs, events, over), daemon=True).start()
    _import_ahead()
    events.say(event="ready", devices=_devices())
    try:
        return _answer_all(jobs, events)
    finally:
        over.set()


def _answer_all(jobs: queue.SimpleQueue[_Job | None], events: Events) -> int:
    """Answer jobs until there are no more."""
    kept = KeptNetworks()
    while True:
        try:
            job = jobs.get(timeout=IDLE_S)
        except queue.Empty:
            kept.drop()
            return_memory()
            job = jobs.get()
        if job is None:
            return 0
        answer(job.request, events, job.cancel, kept)
        job.ended.set()
        return_memory()


def end_hard_unless(ended: threading.Event, events: Events, patience_s: float = PATIENCE_S) -> None:
    """Say that the run is cancelled and end the process some time from now, unless `ended` is set by then."""

    def end() -> None:
        if not ended.wait(patience_s):
            with suppress(OSError):  # nobody listens any more
                events.say(event="cancelled")
            os._exit(130)

    threading.Thread(target=end, daemon=True).start()


def _listen(lines: Iterable[str], jobs: queue.SimpleQueue[_Job | None], events: Events, over: threading.Event) -> None:
    """Turn lines into jobs, and cancel at once; at the end of the lines cancel what is left, and see that it ends."""
    open_jobs: list[_Job] = []
    for line in lines:
        request = _read(line)
        if request is None:
            continue
        if request == "cancel" or (isinstance(request, dict) and request.get("cancel") is True):
            _cancel(open_jobs, events)
            continue
        open_jobs = [job for job in open_jobs if not job.ended.is_set()]
        open_jobs.append(_Job(request))
        jobs.put(open_jobs[-1])
    _cancel(open_jobs, events)
    jobs.put(None)
    end_hard_unless(over, events, ORPHAN_PATIENCE_S)


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


def _cancel(jobs: list[_Job], events: Events) -> None:
    for job in jobs:
        if not job.ended.is_set():
            job.cancel.cancel()
            end_hard_unless(job.ended, events)


def _import_ahead() -> None:
    """Import what the networks need; what is missing shows when a request needs it."""
    from twintrack.inference import import_ahead

    try:
        import_ahead()
    except ImportError as error:
        _log.warning("a package of the engine is missing: %s", error)


def _devices() -> list[dict[str, Any]]:
    """Return the processors with their memory; none where torch is missing."""
    from twintrack.inference import find_processors

    try:
        return [processor.to_json() for processor in find_processors()]
    except ImportError:
        return []


def return_memory() -> None:
    """Give back what the last run needed and the next one need not have."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        import ctypes

        with suppress(AttributeError, OSError):  # a C library other than GNU's
            ctypes.CDLL(None).malloc_trim(0)
