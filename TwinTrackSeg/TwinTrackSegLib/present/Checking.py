"""Whether the model's packages work: a check that can be given up, and an offer to install again what is broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from TwinTrackSegLib.present import Installing
from TwinTrackSegLib.present.Host import Host
from TwinTrackSegLib.present.Run import failed

__all__ = ["Check", "CheckPresenter"]

POLL_MSEC = 100


class Check(Protocol):
    """A check that goes on: `poll` until it returns False, then read `broken`.

    Attributes
    ----------
    broken : list of str
        The packages that could not be imported.
    current : str
        The package that is being imported.
    number, count : int
        Which of how many it is.
    """

    broken: list[str]
    current: str
    number: int
    count: int

    def poll(self) -> bool:
        """Take in what was found since the last call; return whether the check goes on."""

    def cancel(self) -> None:
        """End the check at once."""


class CheckPresenter:
    """Checks, says how far that is, and offers a repair once.

    Parameters
    ----------
    host : Host
        The application.
    begin : callable
        Starts a check; may raise.
    repair : callable
        Installs the named packages again; may raise.
    ownPython : callable
        Whether the Python is the user's own, in which nothing is installed from here.
    changed : callable
        Called without arguments when a check begins or ends.
    """

    def __init__(
        self,
        host: Host,
        begin: Callable[[], Check],
        repair: Callable[[list[str]], None],
        ownPython: Callable[[], bool],
        changed: Callable[[], None],
    ) -> None:
        self._host, self._beginCheck, self._repair = host, begin, repair
        self._ownPython, self._changed = ownPython, changed
        self._repaired = False
        self._polling: Callable[[], None] | None = None
        self.check: Check | None = None

    @property
    def button(self) -> str:
        """Text of the button that begins a check, or gives one up."""
        return Installing.beginCheck() if self.check is None else Installing.cancelCheck()

    def press(self) -> None:
        """Begin a check, or give up the one that goes on."""
        if self.check is not None:
            self.end()
            self._host.say(Installing.checkCancelled())
            return
        self._repaired = False
        self._begin()

    def end(self) -> None:
        """Give up a check that goes on."""
        if self._polling is not None:
            self._polling()
            self._polling = None
        if self.check is not None:
            self.check.cancel()
            self.check = None
        self._changed()

    def _begin(self) -> None:
        with self._host.guarded(self._failed):
            self.check = self._beginCheck()
            self._changed()
            self._goOn()

    def _goOn(self) -> None:
        check = self.check
        if check is not None:
            self._host.say(Installing.checkProgress(check.number, check.count, check.current))
            self._polling = self._host.later(POLL_MSEC, self._poll)

    def _poll(self) -> None:
        check = self.check
        with self._host.guarded(self._failed):
            if check is None:
                return
            if check.poll():
                self._goOn()
                return
            self.end()
            self._checked(check.broken)

    def _checked(self, broken: list[str]) -> None:
        """Say what was found; offer to install again what does not work, once."""
        text, loud, offer = Installing.checked(broken, repaired=self._repaired, external=self._ownPython())
        self._host.say(text, loud=loud)
        if offer:
            self._host.confirm(Installing.reinstallQuestion(broken), lambda: self._repairAndCheck(broken))

    def _repairAndCheck(self, broken: list[str]) -> None:
        with self._host.guarded(self._failed):
            self._repair(broken)
            self._repaired = True
            self._begin()

    def _failed(self, sentence: str) -> None:
        self.end()
        self._host.say(failed(sentence), loud=True)
