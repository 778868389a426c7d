"""Progress reporting and cancellation that every long step shares."""

from __future__ import annotations

import threading
from collections.abc import Callable

from twintrack.errors import Cancelled

__all__ = ["CancelToken", "Progress", "checked", "no_progress", "part"]

Progress = Callable[[float, str], None]
"""Called with the fraction done (0 to 1, never decreasing within a run) and a short present-tense message."""


def no_progress(fraction: float, message: str) -> None:
    """Report nothing; the default of every ``progress`` argument."""


def part(progress: Progress, start: float, stop: float) -> Progress:
    """Return a callback whose 0 to 1 is mapped to ``start`` to ``stop`` of `progress`."""

    def report(fraction: float, message: str) -> None:
        progress(start + (stop - start) * min(max(fraction, 0.0), 1.0), message)

    return report


class CancelToken:
    """A thread-safe flag, checked between tiles, members, stages and files."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def cancel(self) -> None:
        """Ask the run to stop at its next check."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Cancelled` if `cancel` was called."""
        if self._event.is_set():
            raise Cancelled("cancelled by the user")


def checked(progress: Progress, cancel: CancelToken) -> Progress:
    """Return a callback that raises `Cancelled` once `cancel` was triggered, and tells `progress` until then."""

    def report(fraction: float, message: str) -> None:
        cancel.check()
        progress(fraction, message)

    return report
