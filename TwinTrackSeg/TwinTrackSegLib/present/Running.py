"""Starting, following and ending a run of the model; its process gets ready while the user still chooses."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass

from twintrack.errors import Cancelled, TwinTrackError
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.present import Run
from TwinTrackSegLib.present.Host import Host
from TwinTrackSegLib.present.ModelChoice import Asked

__all__ = ["PREPARE_MSEC", "RunPresenter", "RunState"]

POLL_MSEC = 100

PREPARE_MSEC = 1500
"""How long after the user's last choice the process starts: the panel is drawn by then."""

WATCH_MSEC = 250
"""How often it is asked whether it is ready."""


@dataclass(frozen=True)
class RunState:
    """What a front end shows of a run.

    Attributes
    ----------
    button : RunButton
        Starts and ends it.
    running : bool
        Whether one is going on: a bar shows how far, and nothing that was chosen for it can be changed.
    fraction : float
        How far it is, 0 to 1.
    bar : str
        The same in words, with the time since it began; empty without a run.
    log : str
        What the model's process wrote.
    hasLog : bool
        Whether there was a run to look into.
    processor : str
        Where the model will run, runs or gave way; empty while nothing is known.
    """

    button: Run.RunButton
    running: bool
    fraction: float
    bar: str
    log: str
    hasLog: bool
    processor: str


class RunPresenter:
    """Runs the model on what is asked for, one run at a time.

    Parameters
    ----------
    host : Host
        The application.
    logic : TwinTrackSegLogic
        Runs the model.
    asked : callable
        Returns what is chosen now.
    device : callable
        Returns which processor is chosen now.
    finished : callable
        Called with the result of a run that ended well.
    changed : callable
        Called without arguments whenever `state` is another.
    """

    def __init__(
        self,
        host: Host,
        logic: TwinTrackSegLogic,
        asked: Callable[[], Asked],
        device: Callable[[], str],
        finished: Callable[[SceneResult], None],
        changed: Callable[[], None],
    ) -> None:
        self._host, self._logic, self._asked, self._device = host, logic, asked, device
        self._finished, self._changed = finished, changed
        self._ready = self._cancelling = self._hasLog = False
        self._beganAt = self._fraction = 0.0
        self._polling: Callable[[], None] | None = None
        self._preparing: Callable[[], None] | None = None

    @property
    def state(self) -> RunState:
        """What is to be shown now."""
        logic, running = self._logic, self._logic.running
        button = Run.runButton(running=running, ready=self._ready)
        if self._cancelling:
            button = Run.RunButton(button.text, button.tip, enabled=False)
        return RunState(
            button=button,
            running=running,
            fraction=self._fraction if running else 0.0,
            bar=Run.progressText(self._fraction, time.monotonic() - self._beganAt) if running else "",
            log=Run.logText(logic.log),
            hasLog=self._hasLog,
            processor=self._processor(),
        )

    def setReady(self, ready: bool) -> None:
        """Say whether there is a CT to segment."""
        self._ready = ready
        self._changed()

    def press(self) -> None:
        """Start a run, or cancel the one that is going on."""
        if self._logic.running:
            self.cancel()
            return
        with self._host.guarded(self._failed):
            self._start()
            self._beganAt, self._fraction, self._hasLog = time.monotonic(), 0.0, True
            self._host.say(Run.starting())
            self._pollLater()
        self._changed()

    def cancel(self) -> None:
        """Cancel the run that is going on, if there is one that is not cancelled already."""
        if self._logic.running and not self._cancelling:
            self._cancelling = True
            self._host.say(Run.cancelling())
            self._logic.cancel()
            self._changed()

    def end(self) -> None:
        """End the run, if there is one, and the model's process: the scene closes, or the front end does."""
        was = self._logic.running
        self.prepareNot()
        self._logic.close()
        self._stop()
        if was:
            self._host.say(Run.cancelled())

    def prepareSoon(self, milliseconds: int = PREPARE_MSEC) -> None:
        """Start the model's process once the user pauses, if nothing has to be asked or installed for that."""
        self.prepareNot()
        if not self._logic.running:
            self._preparing = self._host.later(milliseconds, self._prepare)

    def prepareNot(self) -> None:
        """Begin no more, and tell nobody."""
        if self._preparing is not None:
            self._preparing()
            self._preparing = None

    def _start(self) -> None:
        self.prepareNot()
        asked = self._asked()
        if asked.needsPackages:
            self._host.ensureModel()
        self._logic.start(asked.inputVolume, asked.settings(), self._onProgress, asked.vessels)

    def _onProgress(self, fraction: float, message: str) -> None:
        self._fraction = fraction
        self._host.say(Run.withTimeLeft(message, self._logic.remainingSec))

    def _pollLater(self) -> None:
        self._polling = self._host.later(POLL_MSEC, self._poll)

    def _poll(self) -> None:
        """Ask the logic for news."""
        with self._host.guarded(self._failed):
            try:
                if self._logic.poll():
                    self._pollLater()
                    self._changed()
                    return
                result = self._logic.result
                if result is not None:
                    self._finished(result)
                    self._host.say(Run.doneText(result))
            except Cancelled:
                self._host.say(Run.cancelled())
        self._stop()

    def _stop(self) -> None:
        if self._polling is not None:
            self._polling()
            self._polling = None
        self._cancelling = False
        self._changed()

    def _failed(self, sentence: str) -> None:
        """Keep the sentence in the panel: a box is closed quickly and forgotten."""
        self._host.say(Run.failed(sentence), loud=True)

    def _prepare(self) -> None:
        self._preparing = None
        with contextlib.suppress(TwinTrackError):  # shown when the user presses Segment
            if self._host.canRunModel():
                self._logic.prepare()
                self._watch()

    def _watch(self) -> None:
        """Look whether the process is ready: it then says where the model will run."""
        self._preparing = None
        if self._logic.running or not self._logic.waiting:
            return
        if self._logic.prepared:
            self._changed()
        else:
            self._preparing = self._host.later(WATCH_MSEC, self._watch)

    def _processor(self) -> str:
        logic = self._logic
        running = logic.processor if logic.running else None
        return Run.processorLine(logic.processors, self._device(), running, logic.notes)
