"""What a presenter asks of the application around it; each front end has one of its own.

Notes
-----
The scene is no part of it: presenters reach it through `TwinTrackSegLib.mrml`, the same for every front end. There,
the folder for temporary files and the DICOM database are asked for in one function each, with an answer outside Slicer.

Questions take what is to be done with the answer, since a page in a browser cannot stand still until the user answers.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

__all__ = ["FileQuestion", "Host"]

T = TypeVar("T")


@dataclass(frozen=True)
class FileQuestion:
    """What is asked of a user who chooses a file.

    Attributes
    ----------
    title : str
        Of the dialog.
    kind : str
        What kind of file it is, for people.
    endings : tuple of str
        With which a file of that kind ends, such as ``.nii.gz``; the usual one first.
    name : str
        To begin with; empty for a file that is there.
    """

    title: str
    kind: str
    endings: tuple[str, ...]
    name: str = ""


class Host(Protocol):
    """The application, as far as presenters need it."""

    def showTable(self, table: Any) -> None:
        """Show a table node where the application shows tables."""

    def say(self, sentence: str, *, loud: bool = False) -> None:
        """Say in the panel's one line what was done or, loudly, what went wrong."""

    def warn(self, text: str) -> None:
        """Show what somebody must have read; it stays until they close it."""

    def guarded(self, told: Callable[[str], None] | None = None) -> AbstractContextManager[None]:
        """Show an error that comes up inside by its sentence, and give that to `told`; it ends there."""

    def busy(self) -> AbstractContextManager[None]:
        """Show that the user must wait."""

    def aside(
        self, step: Callable[[], T], done: Callable[[T], None], told: Callable[[str], None] | None = None
    ) -> None:
        """Take a long step that uses nothing of the scene, then call `done` with what it returned.

        What the step is made of can be pickled, and so can what it returns: an application can have it taken by
        another process, and stay live meanwhile. Errors of both come up as in `guarded`.
        """

    def later(self, milliseconds: int, action: Callable[[], None]) -> Callable[[], None]:
        """Do `action` once after this time; return what calls it off."""

    def confirm(self, question: str, agreed: Callable[[], None]) -> None:
        """Ask the user a question that can be answered by yes and no; do `agreed` after a yes."""

    def askSave(self, question: FileQuestion, beside: Any, chosen: Callable[[str], None]) -> None:
        """Ask where a file is to be written; call `chosen` with its path, or not at all.

        `beside` is the CT, whose folder is a good place to begin.
        """

    def seriesOf(self, ct: Any) -> Path | None:
        """Return folder or file of the DICOM series of a CT; None where Slicer's database is to be asked for it."""

    def remember(self, name: str, value: str) -> None:
        """Keep a choice of this machine's, no scene's, for the next start."""

    def recall(self, name: str) -> str:
        """Return what was kept under the name; empty if nothing was."""

    def ensure(self, purpose: str, *packages: str) -> None:
        """See to it that the named Python packages are there, after asking; `purpose` begins the sentence.

        Raises
        ------
        twintrack.errors.TwinTrackError
            If one is still missing.
        """

    def missing(self, *packages: str) -> list[str]:
        """Return those of the named packages that are not installed."""

    def ensureModel(self) -> None:
        """See to it that all packages are there that the model needs in the application's own Python, after asking.

        Raises
        ------
        twintrack.errors.TwinTrackError
            If one is still missing.
        """

    def canRunModel(self) -> bool:
        """Whether they are there; asks nobody and installs nothing."""
