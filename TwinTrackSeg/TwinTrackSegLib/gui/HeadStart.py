"""Starting the model's process while the user still chooses."""

import contextlib

import qt

from twintrack.errors import TwinTrackError
from TwinTrackSegLib.gui.Dependencies import missingRequirements

__all__ = ["DELAY_MSEC", "HeadStart"]

DELAY_MSEC = 1500
"""How long after the user's last choice the process starts: the panel is drawn by then."""

WATCH_MSEC = 250
"""How often it is asked whether it is ready."""


class HeadStart:
    """Lets the logic prepare a worker once the user pauses, if nothing has to be asked or installed for that.

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

    def schedule(self, delayMsec: int = DELAY_MSEC) -> None:
        """Begin after the delay, counted from the last call."""
        self._timer.start(delayMsec)

    def drop(self) -> None:
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
