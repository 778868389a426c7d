"""One reader's CT on the server's worker: the bundle is loaded; progress and end are told as a local worker does."""

from __future__ import annotations

import importlib
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twintrack.bundle import Bundle
from twintrack.errors import BundleError
from twintrack.progress import CancelToken
from twintrack.settings import SegmentSettings
from twintrack.worker_run import Events, KeptNetworks, answer
from twintrack.worker_server import PATIENCE_S, end_hard_unless, return_memory

__all__ = ["PROGRESS", "Model", "ServedCase", "carry_out", "load_model"]

PROGRESS = "twintrack-progress"
"""Dask's topic for the progress of all runs: one, because a scheduler never forgets a topic."""

LOOK_S = 0.2
"""How often the worker looks whether the reader still wants the result."""


@dataclass(frozen=True)
class Model:
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
class ServedCase:
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
        A random name, by which readers find their own progress.
    """

    run: str
    folder: str
    source: str
    settings: dict[str, Any]


class _Loaded(KeptNetworks):
    """The server's bundle, opened once; networks that had to be dropped are loaded again when they are needed."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self._bundle = Bundle.open(model.bundle)
        if self._bundle.sha256 != model.sha256:
            raise BundleError(f"{model.bundle}: is another bundle than the server began with; start it again")

    def bundle(self, path: str) -> Bundle:  # noqa: ARG002
        return self._bundle


_loaded: _Loaded | None = None


def load_model(model: Model) -> None:
    """Import what a run needs, open the bundle and load its networks, once in this process.

    Raises
    ------
    BundleError, InputError
        If that cannot be done here.
    """
    global _loaded
    for name in ("matplotlib.figure", "matplotlib.font_manager"):  # slow, and otherwise the first reader's to wait for
        importlib.import_module(name)
    loaded = _Loaded(model)
    loaded.store(SegmentSettings(device=model.device, backend=model.backend)).load_all(loaded.bundle(model.bundle))
    _loaded = loaded


def carry_out(case: ServedCase) -> dict[str, Any]:
    """Segment a CT that was sent; return the last event of a worker: ``done``, ``error`` or ``cancelled``."""
    assert _loaded is not None  # the server gives out its address only then
    cancel, ended, folder = CancelToken(), threading.Event(), Path(case.folder)
    events = _Forwarded(_teller(case.run))
    threading.Thread(target=_watch, args=(Path(case.source), cancel, ended, events), daemon=True).start()
    model = _loaded.model
    request = {
        **case.settings,
        "schema": 1,
        "input": case.source,
        "bundle": model.bundle,
        "out": str(folder / "result"),
        "device": model.device,
        "backend": model.backend,
    }
    try:
        answer(request, events, cancel, _loaded)
    finally:
        ended.set()
        if not Path(case.source).exists():
            shutil.rmtree(folder, ignore_errors=True)  # what was written after the desk had removed it
        return_memory()
    return events.last


class _Forwarded(Events):
    """Events that go to the reader; the last one is kept."""

    def __init__(self, tell: Callable[[dict[str, object]], None]) -> None:
        self._tell = tell
        self.last: dict[str, Any] = {}

    def say(self, **event: object) -> None:
        """Tell of progress; keep the end."""
        if event["event"] == "progress":
            self._tell(event)
        else:
            self.last = event


def _teller(run: str) -> Callable[[dict[str, object]], None]:
    from distributed import get_worker

    worker = get_worker()  # known to the task's own thread only
    return lambda event: worker.log_event(PROGRESS, {**event, "run": run})


def _watch(source: Path, cancel: CancelToken, ended: threading.Event, events: Events) -> None:
    """Cancel the run when its CT is gone; end the process if a step hangs then: it is started anew."""
    while not ended.wait(LOOK_S):
        if not source.exists():
            cancel.cancel()
            end_hard_unless(ended, events, PATIENCE_S)
            return
