"""One request of a worker, read and carried out: here, or on a server."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from twintrack.errors import InputError
from twintrack.execution.answer import Events, answer, told_progress
from twintrack.progress.callbacks import CancelToken
from twintrack.system.paths import is_utf8
from twintrack.system.terminal import say

if TYPE_CHECKING:
    from twintrack.inference.loaded_model import LoadedModel

__all__ = ["answer_request"]


def answer_request(request: object, events: Events, cancel: CancelToken, model: LoadedModel | None = None) -> int:
    """Carry out a request and say how it ended; return the exit code of the command line for it.

    Parameters
    ----------
    request : object
        The request's JSON value, or an exception that reading it gave.
    events : Events
        Told of progress, and of exactly one of ``done``, ``error`` and ``cancelled``.
    cancel : CancelToken
        Checked on the way.
    model : LoadedModel, optional
        Networks of earlier requests; those of this one stay there.
    """
    return answer(lambda: _run(request, events, cancel, model), events, model)


def _run(request: object, events: Events, cancel: CancelToken, model: LoadedModel | None) -> Path:
    """Segment as `request` says."""
    from twintrack.results.folder import segment_file
    from twintrack.settings import SegmentSettings

    if isinstance(request, Exception):
        raise InputError(
            f"the request cannot be read ({request}); write it as one JSON object", code="request-malformed"
        ) from request
    if not isinstance(request, dict):
        raise InputError(f"a request is a JSON object, got {type(request).__name__}", code="request-malformed")
    values: dict[str, Any] = dict(request)
    if values.pop("schema", None) != 1:
        raise InputError(
            "the worker understands requests of schema 1; module and engine have different versions",
            code="request-schema",
        )
    try:
        source, bundle, out = (values.pop(key) for key in ("input", "bundle", "out"))
    except KeyError as error:
        raise InputError(f"the request lacks {error}", code="request-malformed") from error
    address, *access = (values.pop(key, None) for key in ("run_on", "tls", "token_file"))
    if not all(text is None or (isinstance(text, str) and "\0" not in text) for text in (address, *access)):
        raise InputError(
            "'run_on', 'tls' and 'token_file' of a request must be an address, a folder and a file",
            code="request-malformed",
        )
    paths = (source, bundle or source, out) if address else (source, bundle, out)
    if not all(isinstance(path, str) and path and "\0" not in path and is_utf8(path) for path in paths):
        raise InputError("'input', 'bundle' and 'out' of a request must be paths, in UTF-8", code="request-malformed")
    settings = SegmentSettings.from_json(values)
    cancel.check()
    store = None if model is None or address else model.store(settings)
    if store is not None:
        store.start(settings.device, settings.backend)  # so that the first event tells this run's device
    report = told_progress(events, store)
    if address:
        from twintrack.execution.server.client import segment_there

        def note(line: str) -> None:
            say(line, err=True)

        folder, token_file = (text or None for text in access)
        there = {"address": address, "certificates": folder, "token_file": token_file, "announce": note}
        return segment_there(source, bundle, out, settings, progress=report, cancel=cancel, **there)
    opened = bundle if model is None or model.bundle is None else model.bundle
    return segment_file(source, opened, out, settings, store=store, progress=report, cancel=cancel)
