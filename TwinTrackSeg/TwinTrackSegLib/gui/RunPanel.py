"""Middle part of the panel: Segment turns into Cancel; progress, time, log, and where the model runs."""

import qt
import slicer.util

from TwinTrackSegLib.present.Running import RunPresenter

__all__ = ["RunPanel"]

PROGRESS_STEPS = 1000


class RunPanel:
    """Shows the state of a `RunPresenter`, and passes on what the user does.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    host : SlicerHost
        The application.
    logic : TwinTrackSegLogic
        Runs the model.
    asked, device : callable
        Return what is chosen now, and which processor.
    finished : callable
        Called with the result of a run that ended well.
    parent : QWidget
        The panel itself.

    Attributes
    ----------
    presenter : RunPresenter
        Starts, follows and ends runs.
    """

    def __init__(self, ui, host, logic, asked, device, finished, parent) -> None:
        self.ui, self._parent = ui, parent
        self._button, self._escape = None, None
        self.presenter = RunPresenter(host, logic, asked, device, finished, self.refresh)
        ui.progressBar.setRange(0, PROGRESS_STEPS)
        ui.segmentButton.connect("clicked()", self.presenter.press)
        ui.logButton.connect("toggled(bool)", self._onLog)
        ui.logText.visible = False
        self.refresh()

    def enter(self) -> None:
        """Let the Escape key cancel while the module is open."""
        if self._escape is None:
            self._escape = qt.QShortcut(slicer.util.mainWindow() or self._parent)
            self._escape.setKey(qt.QKeySequence("Esc"))
            self._escape.connect("activated()", self.presenter.cancel)
        self.refresh()

    def exit(self) -> None:
        """Give the Escape key back."""
        if self._escape is not None:
            self._escape.setEnabled(False)
            self._escape.deleteLater()
            self._escape = None

    def refresh(self) -> None:
        """Show the presenter's state as it is now."""
        ui, state = self.ui, self.presenter.state
        if state.button != self._button:
            self._button, button = state.button, ui.segmentButton
            button.text, button.toolTip, button.enabled = state.button.text, state.button.tip, state.button.enabled
            button.setShortcut(qt.QKeySequence("Alt+S"))  # a new text takes it away
        ui.progressBar.visible = state.running
        ui.progressBar.value, ui.progressBar.format = round(state.fraction * PROGRESS_STEPS), state.bar
        for widget in (ui.inputSelector, ui.caseCollapsibleButton, ui.setupBox):
            widget.enabled = not state.running
        ui.deviceLabel.text, ui.deviceLabel.visible = state.processor, bool(state.processor)
        ui.logButton.enabled = state.hasLog
        if ui.logButton.checked and state.log != ui.logText.plainText:  # else it can be read and copied
            ui.logText.setPlainText(state.log)
        if self._escape is not None:
            self._escape.setEnabled(state.running)

    def _onLog(self, shown: bool) -> None:
        self.ui.logText.visible = shown
        self.refresh()
