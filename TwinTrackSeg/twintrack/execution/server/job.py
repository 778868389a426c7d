"""One client's CT on the server's worker: the bundle is loaded; progress and end are told as a local worker does."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twintrack.errors import InputError, TwinTrackError
from twintrack.execution.answer import (
    HARD_END_AFTER_S,
    UNFORESEEN,
    Events,
    answer,
    end_hard_unless,
    error_event,
    told_progress,
)
from twintrack.execution.server.spool import BEGUN, ENDED, PROBLEM, no_room, process_died
from twintrack.inference.loaded_model import LoadedModel, return_memory
from twintrack.io.volumes import check_single_file
from twintrack.progress.callbacks import CancelToken
from twintrack.settings import SegmentSettings

if TYPE_CHECKING:
    from distributed import Worker

__all__ = ["PROGRESS", "Job", "OfferedModel", "carry_out", "load_model", "loading_problem"]

PROGRESS = "twintrack-progress"
"""Dask's topic for the progress of all runs: one, because a scheduler never forgets a topic."""

LOOK_S = 0.2
"""How often the worker looks whether the client still wants the result."""

TOLD_S = 10.0
"""How long a process that is to end waits until the client has heard how the run ended."""


@dataclass(frozen=True)
class OfferedModel:
    """What a server offers.

    Attributes
    ----------
    bundle : str
        Its place on the server.
    sha256 : str
        Hash of the bundle.
    device, backend : str
        What runs the networks.
    """

    bundle: str
    sha256: str
    device: str = "auto"
    backend: str = "auto"


@dataclass(frozen=True)
class Job:
    """What a worker needs to know of a run; nothing in it tells whose CT it is.

    Attributes
    ----------
    folder : str
        The run's private folder on the server.
    source : str
        The CT in it.
    settings : dict
        `SegmentSettings` as JSON values, with paths in that folder.
    run : str
        A random name, by which clients find their own progress.
    """

    run: str
    folder: str
    source: str
    settings: dict[str, Any]


_offered: OfferedModel | None = None
_loaded: LoadedModel | None = None


def load_model(model: OfferedModel) -> None:
    """Import what a run needs, open the bundle and load its networks, once in this process.

    Raises
    ------
    BundleError, InputError
        If that cannot be done here; the next case tries again.
    """
    global _offered, _loaded
    _offered = model
    for name in ("matplotlib.figure", "matplotlib.font_manager"):  # slow, and otherwise the first client's to wait for
        importlib.import_module(name)
    loaded = LoadedModel.open(model.bundle, model.sha256, since="the server")
    assert loaded.bundle is not None
    loaded.store(SegmentSettings(device=model.device, backend=model.backend)).load_all(loaded.bundle)
    _loaded = loaded


def loading_problem(error: Exception) -> str:
    """Say that the bundle cannot be loaded, to clients and to the one who runs the server."""
    reason = str(error) if isinstance(error, TwinTrackError) else f"{type(error).__name__}: {error}"
    return f"the server cannot load its model ({reason}); tell whoever runs it"


def carry_out(case: Job) -> dict[str, Any]:
    """Segment a CT that was sent; return the last event of a worker: ``done``, ``error`` or ``cancelled``.

    Dask calls it again if the process has died; a run that was begun is not begun a second time, however.
    """
    from distributed import get_worker

    worker, folder = get_worker(), Path(case.folder)
    last = _earlier(folder, worker.address)
    if last is None:
        last = _model_missing(worker) or _segment(case, worker)
        with suppress(OSError):  # the client has left, or the disk is full
            (folder / ENDED).write_text(json.dumps(last), encoding="utf-8")
    if not Path(case.source).exists():
        shutil.rmtree(folder, ignore_errors=True)  # what was written after the spool had removed it
    return last


def _earlier(folder: Path, process: str) -> dict[str, Any] | None:
    """Return how a process that is no more left the run; None, and note that this one begins with it, if it is new."""
    with suppress(FileNotFoundError):
        return dict(json.loads((folder / ENDED).read_text(encoding="utf-8")))
    try:
        with (folder / BEGUN).open("x", encoding="utf-8") as stream:
            stream.write(process)
    except FileExistsError:
        return error_event(process_died())
    except FileNotFoundError:
        return {"event": "cancelled"}
    except OSError as error:
        return error_event(no_room(error))
    return None


def _model_missing(worker: Worker) -> dict[str, Any] | None:
    """Return None if the model is loaded, if need be now; it is not after a death whose cause has not been mended."""
    if _loaded is None:
        assert _offered is not None  # the server gives out its address only then
        try:
            load_model(_offered)
        except Exception as error:
            worker.log_event(PROBLEM, loading_problem(error))
            return error_event(TwinTrackError(loading_problem(error), code="server-model-unusable"))
    return None


def _segment(case: Job, worker: Worker) -> dict[str, Any]:
    """Let the loaded model work."""
    assert _loaded is not None
    try:
        for path in (case.source, case.settings.get("vessels")):
            if path:  # on a server, a header must not name other files as its voxels
                check_single_file(path)
    except InputError as error:
        return error_event(error)
    cancel, ended = CancelToken(), threading.Event()
    events = _Forwarded(lambda event: worker.log_event(PROGRESS, {**event, "run": case.run}))
    threading.Thread(target=_watch, args=(Path(case.source), cancel, ended, events), daemon=True).start()
    try:
        code = answer(lambda: _result(case, events, cancel), events, _loaded)
    finally:
        ended.set()
        return_memory()
    if code == UNFORESEEN and events.last["kind"] != "MemoryError":
        _end_process(worker, str(events.last["kind"]))
    return events.last


def _result(case: Job, events: Events, cancel: CancelToken) -> Path:
    """Segment with the server's device and backend; return the result folder."""
    from twintrack.results.folder import segment_file

    assert _loaded is not None
    assert _loaded.bundle is not None
    assert _offered is not None
    own = {"device": _offered.device, "backend": _offered.backend}
    settings = SegmentSettings.from_json({**case.settings, **own})
    cancel.check()
    store = _loaded.store(settings)
    store.start(settings.device, settings.backend)  # so that the first event tells this run's device
    out, progress = Path(case.folder) / "result", told_progress(events, store)
    return segment_file(case.source, _loaded.bundle, out, settings, store=store, progress=progress, cancel=cancel)


def _end_process(worker: Worker, kind: str) -> None:
    """End this process when the client has heard of an error that nobody foresaw; until then take no other case.

    Nobody knows what state it is in: after an error on a GPU, for one, nothing works there any more in this process.
    It is started anew, and cases that wait here are carried out then, or by another worker.
    """
    from distributed.core import Status

    key, paused = worker.get_current_task(), threading.Event()
    worker.log_event(PROBLEM, f"a run met an error that nobody foresaw ({kind}); its process is started anew")

    def pause() -> None:
        worker.status = Status.paused
        paused.set()

    def end() -> None:
        deadline = time.monotonic() + TOLD_S
        while key in worker.state.tasks and time.monotonic() < deadline:
            time.sleep(LOOK_S)
        os._exit(1)

    worker.loop.add_callback(pause)
    paused.wait(TOLD_S)
    threading.Thread(target=end, daemon=True).start()


class _Forwarded(Events):
    """Events that go to the client; the last one is kept."""

    def __init__(self, tell: Callable[[dict[str, object]], None]) -> None:
        self._tell = tell
        self.last: dict[str, Any] = {}

    def say(self, **event: object) -> None:
        """Tell of progress; keep the end."""
        if event["event"] == "progress":
            self._tell(event)
        else:
            self.last = event


def _watch(source: Path, cancel: CancelToken, ended: threading.Event, events: Events) -> None:
    """Cancel the run when its CT is gone; end the process if a step hangs then: it is started anew."""
    while not ended.wait(LOOK_S):
        if not source.exists():
            cancel.cancel()
            end_hard_unless(ended, events, HARD_END_AFTER_S)
            return
