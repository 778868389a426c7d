"""The node put together: takes series in, has them segmented, delivers the results, until it is stopped."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from twintrack.errors import OutputError
from twintrack.execution.node.complete import Arrivals, Waits
from twintrack.execution.node.ledger import Ledger
from twintrack.execution.node.run import Runner, Segmenter
from twintrack.execution.node.scp import Listening, listening
from twintrack.execution.node.send import Archive, Sender
from twintrack.execution.server.audit import Audit, place_of
from twintrack.settings import SegmentSettings
from twintrack.system.locks import try_lock

__all__ = ["running_node"]

logger = logging.getLogger(__name__)

LEDGER, LOCK = "ledger.sqlite", "lock"

PAUSE_S = 10.0
"""After something that nobody foresaw."""

STOP_S = 15.0
"""How long the end waits for what is being sent; it is sent again after the next start."""

LOOK_S = 1.0
"""How often is looked for what is complete, waiting or to be delivered."""


@contextmanager
def running_node(
    folder: Path,
    how: Listening,
    service: Segmenter,
    archive: Archive,
    *,
    settings: SegmentSettings,
    waits: Waits,
    look_s: float = LOOK_S,
) -> Iterator[int]:
    """Run a node while the block runs; give the port that it listens at.

    Parameters
    ----------
    folder : Path
        The node's own: what comes, results until they are delivered, ``ledger.sqlite`` and ``audit.jsonl``.
    how : Listening
        Where it listens, and to whom.
    service : Segmenter
        What segments.
    archive : Archive
        Where results go.
    settings : SegmentSettings
        Of every run.
    waits : Waits
        How long a series is waited for.

    Raises
    ------
    InputError
        If it cannot listen.
    OutputError
        If `folder` cannot be used, or another node uses it.
    """
    how.encryption()  # what is wrong with a certificate shows before anything is written
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise OutputError(
            "cannot be the node's folder; check its place and permissions", code="not-writable", path=folder
        ) from error
    with ExitStack() as held:
        held.enter_context(_alone(folder))
        ledger = Ledger(folder / LEDGER, Audit(folder / "audit.jsonl"))
        held.callback(ledger.close)
        arrivals = Arrivals(folder, ledger, waits)
        sender = Sender(folder, ledger, archive)
        runner = Runner(ledger, arrivals, sender, service, settings)
        stop = threading.Event()
        for look in (runner.look, sender.look):
            held.callback(_repeated(look, stop, look_s).join, STOP_S)
        held.callback(stop.set)
        intake = held.enter_context(listening(how, folder, arrivals))

        def look_at_arrivals() -> None:
            intake.look()
            arrivals.look()

        held.callback(_repeated(look_at_arrivals, stop, look_s).join, STOP_S)
        held.callback(stop.set)
        held.callback(service.stop)
        yield intake.port


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder, which must be empty or a node's: what no row of its ledger tells of is deleted in it."""
    try:
        others = [entry.name for entry in folder.iterdir() if entry.name != LOCK]
        if others and LEDGER not in others:
            raise OutputError(
                "holds files that are not a node's; give a new or empty folder", code="folder-not-empty", path=folder
            )
        lock = try_lock(folder / LOCK)
    except BlockingIOError as error:
        raise OutputError(
            "another node uses this folder; stop it, or give another one", code="folder-in-use", path=folder
        ) from error
    except OSError as error:
        raise OutputError(
            "cannot be the node's folder; check its place and permissions", code="not-writable", path=folder
        ) from error
    try:
        yield
    finally:
        os.close(lock)


def _repeated(look: Callable[[], object], stop: threading.Event, look_s: float) -> threading.Thread:
    """Look again and again in a thread; what goes wrong once must not end it, and what it says may name a patient."""

    def repeat() -> None:
        while not stop.wait(look_s):
            try:
                while look() and not stop.is_set():
                    pass
            except Exception as error:
                logger.error("unexpected: %s", place_of(error))
                stop.wait(PAUSE_S)

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    return thread
