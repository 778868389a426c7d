"""Starting the model's process while the user still chooses."""

import contextlib

import qt

from twintrack.errors import TwinTrackError
from TwinTrackSegLib.gui.Dependencies import missingRequirements

__all__ = ["DELAY_MSEC", "HeadStart"]

DELAY_MSEC = 1500
"""How long after the user's last choice the process starts: the panel is drawn by then."""


class HeadStart:
    """Lets the logic prepare a worker once the user pauses, if nothing has to be asked or installed for that.

    Parameters
    ----------
    logic : TwinTrackSegLogic
        Whose worker.
    requirements : str
        Path of the list of packages that the worker needs.
    """

    def __init__(self, logic, requirements: str) -> None:
        self._logic = logic
        self._requirements = requirements
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self._begin)

    def schedule(self, delayMsec: int = DELAY_MSEC) -> None:
        """Begin after the delay, counted from the last call."""
        self._timer.start(delayMsec)

    def drop(self) -> None:
        """Begin no more."""
        self._timer.stop()

    def _begin(self) -> None:
        with contextlib.suppress(TwinTrackError):  # shown when the user presses Segment
            if not missingRequirements(self._requirements):
                self._logic.prepare()
