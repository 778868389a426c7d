"""Middle part of the panel: Segment turns into Cancel; progress, time, log; the model's process is prepared."""

import contextlib
import time

import qt
import slicer.util

from twintrack.errors import Cancelled, TwinTrackError
from TwinTrackSegLib.gui.Dependencies import missingRequirements
from TwinTrackSegLib.gui.Feedback import sayStatus, shownErrors
from TwinTrackSegLib.present import Run

__all__ = ["DELAY_MSEC", "RunPanel", "WorkerPreparation"]

POLL_INTERVAL_MSEC = 100
PROGRESS_STEPS = 1000

DELAY_MSEC = 1500
"""How long after the user's last choice the process starts: the panel is drawn by then."""

WATCH_MSEC = 250
"""How often it is asked whether it is ready."""


class RunPanel:
    """Starts, shows and ends a run.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    logic : TwinTrackSegLogic
        Runs the model.
    begin : callable
        Starts a run with the panel's choices; may raise.
    finished : callable
        Called with the result of a run that ended well.
    parent : QWidget
        The panel itself.
    processor : ProcessorLine
        Says where the model runs.
    """

    def __init__(self, ui, logic, begin, finished, parent, processor) -> None:
        self.ui, self.logic, self._begin, self._finished, self._parent = ui, logic, begin, finished, parent
        self._processor = processor
        self._startedAt = 0.0
        self._ready = False
        self._escape = None
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_INTERVAL_MSEC)
        self._timer.connect("timeout()", self.onPoll)
        ui.progressBar.setRange(0, PROGRESS_STEPS)
        ui.segmentButton.connect("clicked()", self.onSegmentOrCancel)
        ui.logButton.connect("toggled(bool)", self._onLog)
        ui.logText.visible = False
        ui.logButton.enabled = False
        self._showRunning(False)

    def setReady(self, ready: bool) -> None:
        """Whether there is something to segment."""
        self._ready = ready
        if not self.logic.running:
            self._showButton()

    def enter(self) -> None:
        """Let the Escape key cancel while the module is open."""
        if self._escape is None:
            self._escape = qt.QShortcut(slicer.util.mainWindow() or self._parent)
            self._escape.setKey(qt.QKeySequence("Esc"))
            self._escape.connect("activated()", self.onEscape)
        self._escape.setEnabled(self.logic.running)

    def exit(self) -> None:
        """Give the Escape key back."""
        if self._escape is not None:
            self._escape.setEnabled(False)
            self._escape.deleteLater()
            self._escape = None

    def onEscape(self) -> None:
        """Cancel the run that is going on."""
        if self.logic.running and self.ui.segmentButton.enabled:
            self.onSegmentOrCancel()

    def onSegmentOrCancel(self) -> None:
        """Start a run, or cancel the one that is going on."""
        if self.logic.running:
            sayStatus(self.ui, Run.cancelling())
            self.ui.segmentButton.enabled = False
            self.logic.cancel()
            return
        with shownErrors(self._onFailure):
            self._begin(self.onProgress)
            self._startedAt = time.monotonic()
            sayStatus(self.ui, Run.starting())
            self.ui.logButton.enabled = True
            self._showRunning(True)
            self._timer.start()

    def onProgress(self, fraction: float, message: str) -> None:
        """Show how far the model is."""
        self.ui.progressBar.value = round(fraction * PROGRESS_STEPS)
        sayStatus(self.ui, Run.withTimeLeft(message, self.logic.remainingSec))

    def onPoll(self) -> None:
        """Ask the logic for news; called by the timer during a run."""
        status, quiet = "", False
        with shownErrors(self._onFailure):
            try:
                if self.logic.poll():
                    self._showElapsed()
                    return
                self._finished(self.logic.result)
                status, quiet = Run.doneText(self.logic.result), Run.isUneventful(self.logic.result)
            except Cancelled:
                status = Run.cancelled()
        self._timer.stop()
        self._showRunning(False)
        self._showLog()
        if status:
            sayStatus(self.ui, status)
            self.ui.statusLabel.visible = not quiet

    def end(self) -> None:
        """End the run, if there is one, and the model's process."""
        wasRunning = self.logic.running
        self.logic.close()
        self._timer.stop()
        if wasRunning:
            self._showRunning(False)
            sayStatus(self.ui, Run.cancelled())

    def _onFailure(self, sentence: str) -> None:
        """Keep the sentence in the panel: a box is closed quickly and forgotten."""
        sayStatus(self.ui, Run.failed(sentence), failed=True)

    def _showRunning(self, running: bool) -> None:
        self._showButton(running)
        self.ui.progressBar.visible = running
        self.ui.progressBar.value = 0
        for widget in (self.ui.inputSelector, self.ui.caseCollapsibleButton, self.ui.setupBox):
            widget.enabled = not running
        self._processor.update()
        if self._escape is not None:
            self._escape.setEnabled(running)

    def _showButton(self, running: bool = False) -> None:
        button = Run.runButton(running=running, ready=self._ready)
        widget = self.ui.segmentButton
        widget.text, widget.toolTip, widget.enabled = button.text, button.tip, button.enabled
        widget.setShortcut(qt.QKeySequence("Alt+S"))  # a new text takes it away

    def _showElapsed(self) -> None:
        self._processor.update()
        self.ui.progressBar.format = Run.elapsedFormat(time.monotonic() - self._startedAt)
        self._showLog()

    def _onLog(self, shown: bool) -> None:
        self.ui.logText.visible = shown
        self._showLog()

    def _showLog(self) -> None:
        """Show the log, if it is asked for; the same text is left alone, so that it can be read and copied."""
        if self.ui.logButton.checked:
            text = Run.logText(self.logic.log)
            if text != self.ui.logText.plainText:
                self.ui.logText.setPlainText(text)


class WorkerPreparation:
    """Starts the model's process while the user still chooses.

    It lets the logic prepare a worker once the user pauses, if nothing has to be asked or installed for that.

    Parameters
    ----------
    logic : TwinTrackSegLogic
        Whose worker.
    requirements : str
        Path of the list of packages that the worker needs.
    ready : callable
        Called, without arguments, when the worker has said that it is ready.
    """

    def __init__(self, logic, requirements: str, ready) -> None:
        self._logic = logic
        self._requirements = requirements
        self._ready = ready
        self._watch = qt.QTimer()
        self._watch.setInterval(WATCH_MSEC)
        self._watch.connect("timeout()", self._look)
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self._begin)

    def startLater(self, delayMsec: int = DELAY_MSEC) -> None:
        """Begin after the delay, counted from the last call."""
        self._timer.start(delayMsec)

    def cancel(self) -> None:
        """Begin no more, and tell nobody."""
        self._timer.stop()
        self._watch.stop()

    def _begin(self) -> None:
        with contextlib.suppress(TwinTrackError):  # shown when the user presses Segment
            if not missingRequirements(self._requirements):
                self._logic.prepare()
                self._watch.start()

    def _look(self) -> None:
        if self._logic.running or not self._logic.waiting:
            self._watch.stop()
        elif self._logic.prepared:
            self._watch.stop()
            self._ready()
