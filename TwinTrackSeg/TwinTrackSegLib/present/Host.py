"""What a presenter asks of the application around it; each front end has one of its own.

Notes
-----
The scene is no part of it: presenters reach it through `TwinTrackSegLib.mrml`, the same for every front end. There,
the folder for temporary files and the DICOM database are asked for in one function each, with an answer outside Slicer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

__all__ = ["Host"]


class Host(Protocol):
    """The application, as far as presenters need it."""

    def showTable(self, table: Any) -> None:
        """Show a table node where the application shows tables."""

    def say(self, sentence: str, *, loud: bool = False) -> None:
        """Say in the panel's one line what was done or, loudly, what went wrong."""

    def guarded(self, told: Callable[[str], None] | None = None) -> AbstractContextManager[None]:
        """Show an error that comes up inside by its sentence, and give that to `told`; it ends there."""

    def busy(self) -> AbstractContextManager[None]:
        """Show that the user must wait."""

    def later(self, milliseconds: int, action: Callable[[], None]) -> Callable[[], None]:
        """Do `action` once after this time; return what calls it off."""

    def confirm(self, question: str) -> bool:
        """Ask the user a question that can be answered by yes and no."""

    def ensure(self, purpose: str, *packages: str) -> None:
        """See to it that the named Python packages are there, after asking; `purpose` begins the sentence.

        Raises
        ------
        twintrack.errors.TwinTrackError
            If one is still missing.
        """

    def missing(self, *packages: str) -> list[str]:
        """Return those of the named packages that are not installed."""
