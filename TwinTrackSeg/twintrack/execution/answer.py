"""How a run in a worker is told: events on the way, exactly one at the end, and a hard end for one that hangs."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from twintrack.errors import Cancelled, TwinTrackError
from twintrack.progress.callbacks import Progress
from twintrack.progress.time_left import TimeLeft
from twintrack.system.capacity import NO_MEMORY, is_out_of_memory
from twintrack.system.terminal import one_line, printable, say_traceback

if TYPE_CHECKING:
    from twintrack.inference.loaded_model import LoadedModel
    from twintrack.inference.network_store import NetworkStore

__all__ = [
    "HARD_END_AFTER_S",
    "ORPHAN_ENDS_AFTER_S",
    "UNEXPECTED",
    "UNFORESEEN",
    "Events",
    "answer",
    "end_hard_unless",
    "error_event",
    "told_progress",
]

HARD_END_AFTER_S = 20.0
"""A cancelled request that has not ended by itself after this time is ended with the process (a step without a check
hangs)."""

ORPHAN_ENDS_AFTER_S = 4.0
"""The same for the end of standard input: nobody waits for the result any more."""

UNFORESEEN = 1
"""Exit code of a run that ended by an error that is not of ours; memory that was too little is among them."""

UNEXPECTED = "unexpected"
"""The code of an error that nobody foresaw."""


class Events:
    """Where events go: one JSON object a line.

    Parameters
    ----------
    stream : text file
        Open for writing.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def say(self, **event: object) -> None:
        """Write one event."""
        line = json.dumps(event) + "\n"
        with self._lock:
            self._stream.write(line)
            self._stream.flush()


def answer(work: Callable[[], Path], events: Events, model: LoadedModel | None = None) -> int:
    """Do the work of a request and say how it ended; return the exit code of the command line for it.

    Parameters
    ----------
    work : callable
        Returns the result folder.
    events : Events
        Told exactly one of ``done``, ``error`` and ``cancelled``.
    model : LoadedModel, optional
        Its networks are dropped after an error that nobody foresaw.
    """
    try:
        events.say(event="done", out=str(work()))
        return 0
    except (Cancelled, KeyboardInterrupt):
        events.say(event="cancelled")
        return 130
    except TwinTrackError as error:
        events.say(**error_event(error))
        return 2
    except Exception as error:
        say_traceback()
        said = error_event(error)
    if model is not None:
        model.drop()  # nobody knows what state its networks are in
    events.say(**said)
    return UNFORESEEN


def error_event(error: Exception) -> dict[str, Any]:
    """Return the event that says how a run failed: a sentence, and the fields that an error is made of again."""
    if isinstance(error, TwinTrackError):
        fields, sentence = error.fields(), str(error)
    elif is_out_of_memory(error):
        fields = {"kind": "MemoryError", "message": NO_MEMORY, "code": "no-memory"}
        sentence = NO_MEMORY
    else:
        fields = {"kind": type(error).__name__, "message": str(error), "code": UNEXPECTED}
        sentence = f"unexpected: {error}"
    fields["message"] = one_line(fields["message"])
    return {"event": "error", "kind": fields["kind"], "message": one_line(sentence), "fields": fields}


def told_progress(events: Events, store: NetworkStore | None) -> Progress:
    """Return what tells each step as an event, with the time that is left and, when it is new, where networks run."""
    left, where = TimeLeft(), _Whereabouts(store)

    def report(fraction: float, message: str) -> None:
        seconds = left.update(fraction)
        events.say(
            event="progress",
            fraction=round(fraction, 4),
            message=printable(message),
            remaining_s=None if seconds is None else round(seconds, 1),
            **where.news(),
        )

    return report


def end_hard_unless(ended: threading.Event, events: Events, after_s: float = HARD_END_AFTER_S) -> None:
    """Say that the run is cancelled and end the process some time from now, unless `ended` is set by then."""

    def end() -> None:
        if not ended.wait(after_s):
            with suppress(OSError):  # nobody listens any more
                events.say(event="cancelled")
            os._exit(130)

    threading.Thread(target=end, daemon=True).start()


class _Whereabouts:
    """Where the networks run, told when it is new.

    Parameters
    ----------
    store : NetworkStore or None
        The networks; without them nothing is told.
    """

    def __init__(self, store: NetworkStore | None) -> None:
        self._store = store
        self._told: list[str] = []

    def news(self) -> dict[str, Any]:
        """Return device and notes as fields of an event, if they are not those of the last call; else nothing."""
        from twintrack.inference import describe_processor

        if self._store is None or self._told == [self._store.device, *self._store.notes]:
            return {}
        self._told = [self._store.device, *self._store.notes]
        return {"device": describe_processor(self._told[0]).to_json(), "notes": self._told[1:]}
