"""Slicer, as far as presenters ask for it: the status line, errors, the wait cursor, timers, questions, packages."""

import contextlib

import qt
import slicer.util

from TwinTrackSegLib.gui.Feedback import sayStatus, shownErrors
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

    def guarded(self, told=None):
        """Show errors in a box."""
        return shownErrors(told)

    @contextlib.contextmanager
    def busy(self):
        """Show the wait cursor."""
        with slicer.util.WaitCursor():
            yield

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

    def confirm(self, question: str) -> bool:
        """Ask with OK and Cancel."""
        return slicer.util.confirmOkCancelDisplay(question, "TwinTrackSeg")

    def ensure(self, purpose: str, *packages: str) -> None:
        """Install what is missing after asking."""
        self._packages.ensure(purpose, *packages)

    def missing(self, *packages: str) -> list[str]:
        """Return what is not installed."""
        return self._packages.missing(*packages)
