"""Slicer, as far as presenters ask for it: status line, errors, wait cursor, timers, questions, settings, packages."""

import contextlib

import qt
import slicer.util

from TwinTrackSegLib.gui.Feedback import sayStatus, shownErrors
from TwinTrackSegLib.gui.Parameters import recall, remember
from TwinTrackSegLib.gui.Paths import askSaveName
from TwinTrackSegLib.mrml.display.Views import showTable

__all__ = ["SlicerHost"]


class SlicerHost:
    """See `TwinTrackSegLib.present.Host`.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    packages : Packages
        Sees to the Python packages.
    """

    def __init__(self, ui, packages) -> None:
        self._ui, self._packages = ui, packages
        self._timers = []

    def showTable(self, table) -> None:
        """Show a table node in the views for tables."""
        showTable(table)

    def say(self, sentence: str, *, loud: bool = False) -> None:
        """Say it in the panel's status line."""
        sayStatus(self._ui, sentence, failed=loud)

    def warn(self, text: str) -> None:
        """Show it in a box."""
        slicer.util.warningDisplay(text, "TwinTrackSeg")

    def guarded(self, told=None):
        """Show errors in a box."""
        return shownErrors(told)

    @contextlib.contextmanager
    def busy(self):
        """Show the wait cursor."""
        with slicer.util.WaitCursor():
            yield

    def aside(self, step, done, told=None) -> None:
        """Take it at once, with the wait cursor."""
        with shownErrors(told):
            with slicer.util.WaitCursor():
                made = step()
            done(made)

    def later(self, milliseconds: int, action):
        """Do `action` once after this time."""
        timer = qt.QTimer()
        self._timers.append(timer)  # nobody else holds it

        def callOff() -> None:
            timer.stop()
            if timer in self._timers:
                self._timers.remove(timer)
                timer.deleteLater()

        def act() -> None:
            callOff()
            action()

        timer.setSingleShot(True)
        timer.connect("timeout()", act)
        timer.start(milliseconds)
        return callOff

    def confirm(self, question: str, agreed) -> None:
        """Ask with OK and Cancel."""
        if slicer.util.confirmOkCancelDisplay(question, "TwinTrackSeg"):
            agreed()

    def askSave(self, question, beside, chosen) -> None:
        """Ask with Qt's dialog."""
        path = askSaveName(question, beside)
        if path:
            chosen(path)

    def seriesOf(self, _ct) -> None:
        """Leave it to Slicer's DICOM database."""

    def remember(self, name: str, value: str) -> None:
        """Keep it in Slicer's settings."""
        remember(name, value)

    def recall(self, name: str) -> str:
        """Return what Slicer's settings keep."""
        return recall(name)

    def ensure(self, purpose: str, *packages: str) -> None:
        """Install what is missing after asking."""
        self._packages.ensure(purpose, *packages)

    def missing(self, *packages: str) -> list[str]:
        """Return what is not installed."""
        return self._packages.missing(*packages)

    def ensureModel(self) -> None:
        """Install what the model needs after asking."""
        self._packages.ensureModel()

    def canRunModel(self) -> bool:
        """Whether nothing of it is missing."""
        return self._packages.canRunModel()
