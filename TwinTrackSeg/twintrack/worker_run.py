"""One request of a worker: carried out, and its end said in the worker's language."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from twintrack.errors import Cancelled, InputError, TwinTrackError
from twintrack.progress import CancelToken, Progress
from twintrack.system.capacity import NO_MEMORY, is_out_of_memory
from twintrack.system.paths import is_utf8
from twintrack.system.terminal import one_line, printable, say, say_traceback
from twintrack.time_left import TimeLeft

if TYPE_CHECKING:
    from twintrack.bundle import Bundle
    from twintrack.inference import NetworkStore
    from twintrack.settings import SegmentSettings

__all__ = ["Events", "KeptNetworks", "answer"]


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


class KeptNetworks:
    """The networks that stay in memory from one request to the next."""

    def __init__(self) -> None:
        self._store: NetworkStore | None = None

    def store(self, settings: SegmentSettings) -> NetworkStore:
        """Return the store, made at the first request.

        Raises
        ------
        InputError
            If the device or the backend cannot be used.
        """
        from twintrack.inference import NetworkStore

        if self._store is None:
            self._store = NetworkStore(settings.device, settings.backend)
        else:
            self._store.start(settings.device, settings.backend)
        return self._store

    def bundle(self, path: str) -> str | Bundle:
        """Return the bundle at `path`, to be opened by the run or opened already."""
        return path

    def drop(self) -> None:
        """Let go of all networks."""
        self._store = None


def answer(request: object, events: Events, cancel: CancelToken, kept: KeptNetworks | None = None) -> int:
    """Carry out a request and say how it ended; return the exit code of the command line for it.

    Parameters
    ----------
    request : object
        The request's JSON value, or an exception that reading it gave.
    events : Events
        Told of progress, and of exactly one of ``done``, ``error`` and ``cancelled``.
    cancel : CancelToken
        Checked on the way.
    kept : KeptNetworks, optional
        Networks of earlier requests; those of this one are left there.
    """
    try:
        out = _run(request, events, cancel, kept)
        events.say(event="done", out=str(out))
        return 0
    except (Cancelled, KeyboardInterrupt):
        events.say(event="cancelled")
        return 130
    except TwinTrackError as error:
        events.say(event="error", kind=type(error).__name__, message=one_line(str(error)))
        return 2
    except Exception as error:
        say_traceback()
        if is_out_of_memory(error):
            trouble = ("MemoryError", NO_MEMORY)
        else:
            trouble = (type(error).__name__, one_line(f"unexpected: {error}"))
    if kept is not None:
        kept.drop()  # nobody knows what state they are in
    kind, message = trouble
    events.say(event="error", kind=kind, message=message)
    return 1


def _run(request: object, events: Events, cancel: CancelToken, kept: KeptNetworks | None) -> Path:
    """Segment as `request` says."""
    from twintrack.results import segment_file
    from twintrack.settings import SegmentSettings

    if isinstance(request, Exception):
        raise InputError(f"the request cannot be read ({request}); write it as one JSON object") from request
    if not isinstance(request, dict):
        raise InputError(f"a request is a JSON object, got {type(request).__name__}")
    values: dict[str, Any] = dict(request)
    if values.pop("schema", None) != 1:
        raise InputError("the worker understands requests of schema 1; module and engine have different versions")
    try:
        source, bundle, out = (values.pop(key) for key in ("input", "bundle", "out"))
    except KeyError as error:
        raise InputError(f"the request lacks {error}") from error
    address, certificates = values.pop("run_on", None), values.pop("tls", None)
    if not all(text is None or isinstance(text, str) for text in (address, certificates)):
        raise InputError("'run_on' and 'tls' of a request must be an address and a folder")
    paths = (source, bundle or source, out) if address else (source, bundle, out)
    if not all(isinstance(path, str) and path and "\0" not in path and is_utf8(path) for path in paths):
        raise InputError("'input', 'bundle' and 'out' of a request must be paths, in UTF-8")
    settings = SegmentSettings.from_json(values)
    cancel.check()
    left = TimeLeft()
    store = None if kept is None or address else kept.store(settings)
    where = _Whereabouts(store)

    def report(fraction: float, message: str) -> None:
        seconds = left.update(fraction)
        events.say(
            event="progress",
            fraction=round(fraction, 4),
            message=printable(message),
            remaining_s=None if seconds is None else round(seconds, 1),
            **where.news(),
        )

    if address:
        return _segment_there(source, bundle, out, settings, address, certificates, report, cancel)
    opened = bundle if kept is None else kept.bundle(bundle)
    return segment_file(source, opened, out, settings, store=store, progress=report, cancel=cancel)


def _segment_there(
    source: str,
    bundle: str | None,
    out: str,
    settings: SegmentSettings,
    address: str,
    certificates: str | None,
    progress: Progress,
    cancel: CancelToken,
) -> Path:
    """Let a server do it, and note which bundle it has in what the worker writes beside its events."""
    from twintrack.service.client import segment_there

    def note(line: str) -> None:
        say(line, err=True)

    return segment_there(
        source,
        bundle,
        out,
        settings,
        address=address,
        certificates=certificates or None,
        announce=note,
        progress=progress,
        cancel=cancel,
    )


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

        if self._store is None or self._told == [str(self._store.device), *self._store.notes]:
            return {}
        self._told = [str(self._store.device), *self._store.notes]
        return {"device": describe_processor(self._told[0]).to_json(), "notes": self._told[1:]}
