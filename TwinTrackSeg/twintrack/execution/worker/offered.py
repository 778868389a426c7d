"""A worker of a server: it loads one bundle before anything else, and segments what strangers sent with that one only.

A line ``{"load": BUNDLE, "sha256": HASH or null, "device": "auto", "backend": "auto"}`` makes a serving worker one; it
answers ``{"event": "loaded", "bundle": {"name", "version", "sha256"}}``, or ``error`` and ends. Every request that
follows names ``input`` and ``out``, both in the run's own folder, and has the settings of a run; it is answered as by
any worker. An error that nobody foresaw is preceded by ``{"event": "unforeseen", "kind", "where"}``, for the one who
runs the server, and ends the process: after an error on a GPU, for one, nothing works there any more.
"""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twintrack.errors import Cancelled, InputError, TwinTrackError
from twintrack.execution.answer import UNFORESEEN, Events, answer, error_event, told_progress
from twintrack.progress.callbacks import CancelToken
from twintrack.system.capacity import is_out_of_memory

if TYPE_CHECKING:
    from twintrack.inference.loaded_model import LoadedModel

__all__ = ["LOAD", "OfferedModel", "load_offered", "say_unforeseen"]

LOAD = "load"
"""The key by which a request to load is known; its value is the bundle's path."""


class OfferedModel:
    """A bundle that a server offers, loaded in this process.

    Parameters
    ----------
    model : LoadedModel
        Of an opened bundle, with all networks.
    device, backend : str
        What runs the networks; no request can say otherwise.
    """

    def __init__(self, model: LoadedModel, device: str, backend: str) -> None:
        self._model, self._own = model, {"device": device, "backend": backend}
        self._short_of_memory = False

    def answer(self, request: Mapping[str, Any], events: Events, cancel: CancelToken) -> bool:
        """Carry out a request and say how it ended; return whether this process can take another one."""
        code = answer(lambda: self._watched(request, events, cancel), events, self._model)
        return code != UNFORESEEN or self._short_of_memory

    def _watched(self, request: Mapping[str, Any], events: Events, cancel: CancelToken) -> Path:
        """Segment; say where an error that nobody foresaw arose, without its words, which may quote a file."""
        self._short_of_memory = False
        try:
            return self._segment(request, events, cancel)
        except (Cancelled, TwinTrackError):
            raise
        except Exception as error:
            self._short_of_memory = is_out_of_memory(error)
            if not self._short_of_memory:
                say_unforeseen(error, events)
            raise

    def _segment(self, request: Mapping[str, Any], events: Events, cancel: CancelToken) -> Path:
        from twintrack.io.volumes import check_single_file
        from twintrack.results.folder import segment_file
        from twintrack.settings import SegmentSettings

        values = {key: value for key, value in request.items() if key not in ("schema", "bundle")}
        try:
            source, out = values.pop("input"), values.pop("out")
        except KeyError as error:
            raise InputError(f"the request lacks {error}", code="request-malformed") from error
        settings = SegmentSettings.from_json({**values, **self._own})
        for path in (source, settings.vessels):
            if path:  # on a server, a header must not name other files as its voxels
                check_single_file(path)
        cancel.check()
        store = self._model.store(settings)
        store.start(settings.device, settings.backend)  # so that the first event tells this run's device
        assert self._model.bundle is not None
        progress = told_progress(events, store)
        return segment_file(source, self._model.bundle, out, settings, store=store, progress=progress, cancel=cancel)


def say_unforeseen(error: Exception, events: Events) -> None:
    """Say for the one who runs the server where an error arose, without its words, which may quote a file."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    events.say(event="unforeseen", kind=type(error).__name__, where=f"{Path(frame.filename).name}:{frame.lineno}")


def load_offered(request: Mapping[str, Any], events: Events) -> OfferedModel | None:
    """Load what a server offers, with what a run needs, and say so; None, with the reason said, if that fails."""
    from twintrack.settings import SegmentSettings

    _keep_no_core()
    try:
        for name in ("matplotlib.figure", "matplotlib.font_manager"):  # slow, and else the first client waits for it
            importlib.import_module(name)
        model = _opened(request)
        assert model.bundle is not None
        settings = SegmentSettings(device=request.get("device", "auto"), backend=request.get("backend", "auto"))
        model.store(settings).load_all(model.bundle)
    except Exception as error:
        events.say(**error_event(error))
        return None
    known = {"name": model.bundle.name, "version": model.bundle.version, "sha256": model.bundle.sha256}
    events.say(event="loaded", bundle=known)
    return OfferedModel(model, settings.device, settings.backend)


def _opened(request: Mapping[str, Any]) -> LoadedModel:
    from twintrack.bundle.model_bundle import Bundle
    from twintrack.inference.loaded_model import LoadedModel

    path, sha256 = request[LOAD], request.get("sha256")
    if sha256 is None:
        return LoadedModel(Bundle.open(path))
    return LoadedModel.open(path, sha256, since="the server")


def _keep_no_core() -> None:
    """Let a crash of this process leave no image of its memory, which has patients' voxels, on the disk."""
    if sys.platform != "win32":
        import resource

        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
