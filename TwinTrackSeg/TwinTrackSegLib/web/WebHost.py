"""The page, as far as presenters ask for it; long steps have a process, and the views go on meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.metadata
import logging
import secrets
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from twintrack.errors import TwinTrackError
from twintrack.system.private_folder import PrivateFolder
from TwinTrackSegLib.mrml.display.Views import showTable
from TwinTrackSegLib.present.Host import FileQuestion
from TwinTrackSegLib.present.Installing import stillMissing
from TwinTrackSegLib.present.Run import unexpected
from TwinTrackSegLib.web.LongSteps import LongSteps

__all__ = ["WebHost"]

MODEL_NEEDS = ("torch", "nnunetv2")
"""Of the engine's packages, those that one may well leave out of an environment that only shows results."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class WebHost:
    """See `TwinTrackSegLib.present.Host`.

    Parameters
    ----------
    changed : callable
        Called without arguments when something is to be shown anew.

    Attributes
    ----------
    status : tuple of (str, bool)
        The line that says what was done, and whether it is loud.
    error, question : str
        What stands in a box of the page; empty for none.
    saved : tuple of (str, str) or None
        Under which name the last export is asked for, and its file's name.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = changed
        self._steps = LongSteps()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing: tuple[Path, str] | None = None
        self._agreed: Callable[[], None] | None = None
        self._folder: PrivateFolder | None = None
        self._files: dict[str, Path] = {}
        self._kept: dict[str, str] = {}
        self.status: tuple[str, bool] = ("", False)
        self.saved: tuple[str, str] | None = None
        self.error = self.question = ""

    @property
    def working(self) -> bool:
        """Whether a long step is going on."""
        return bool(self._tasks)

    def showTable(self, table: Any) -> None:
        """Show a table node in the views for tables."""
        showTable(table)

    def say(self, sentence: str, *, loud: bool = False) -> None:
        """Say it in the page's status line."""
        self.status = (sentence, loud)
        self._changed()

    def warn(self, text: str) -> None:
        """Show it in a box of the page."""
        self._show(text, None)

    @contextlib.contextmanager
    def guarded(self, told: Callable[[str], None] | None = None) -> Iterator[None]:
        """Show errors in a box of the page."""
        try:
            yield
        except TwinTrackError as error:
            logger.info("%s: %s", type(error).__name__, error)
            self._show(str(error), told)
        except Exception as error:
            logger.exception("unexpected error in the viewer")
            self._show(unexpected(error), told)

    def busy(self) -> contextlib.AbstractContextManager[None]:
        """Nothing: what takes long is taken aside, and the page shows that."""
        return contextlib.nullcontext()

    def aside(
        self, step: Callable[[], T], done: Callable[[T], None], told: Callable[[str], None] | None = None
    ) -> None:
        """Have another process take it; the page and its views go on meanwhile."""
        task = self._loop.create_task(self._aside(step, done, told))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        self._changed()

    async def _aside(
        self, step: Callable[[], T], done: Callable[[T], None], told: Callable[[str], None] | None
    ) -> None:
        with self.guarded(told):
            done(await self._steps.take(step))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not self._tasks:
            self._offer()
        self._changed()

    def later(self, milliseconds: int, action: Callable[[], None]) -> Callable[[], None]:
        """Do `action` once after this time."""
        return self._loop.call_later(milliseconds / 1000, action).cancel

    def confirm(self, question: str, agreed: Callable[[], None]) -> None:
        """Ask in a box of the page."""
        self.question, self._agreed = question, agreed
        self._changed()

    def answer(self, *, yes: bool) -> None:
        """Take the answer to the question, or that an error was read; do what is to be done after a yes."""
        agreed, self._agreed = self._agreed if yes and not self.error else None, None
        self.error = self.question = ""
        if agreed is not None:
            agreed()

    def askSave(self, question: FileQuestion, _beside: Any, chosen: Callable[[str], None]) -> None:
        """Let it be written into a new private folder, from where the browser saves it: that asks where to."""
        if self._folder is None:
            self._folder = PrivateFolder()
        place = Path(tempfile.mkdtemp(dir=self._folder.path))
        self._writing = (place, question.name)
        chosen(str(place / question.name))
        if not self.working:
            self._offer()

    def _offer(self) -> None:
        """Offer what was written to the browser."""
        if self._writing is None:
            return
        (place, name), self._writing = self._writing, None
        files = sorted(place.iterdir())
        if not files:
            return
        if len(files) > 1:
            files = [_zipped(files, name)]
        key = secrets.token_urlsafe()
        self._files[key] = files[0]
        self.saved = (key, files[0].name)

    def fileOf(self, name: str) -> Path | None:
        """Return what was exported under a name; None where there is nothing."""
        return self._files.get(name)

    def seriesOf(self, _ct: Any) -> Path | None:
        """Leave it to the files that were opened, which are asked for as Slicer's database is."""

    def remember(self, name: str, value: str) -> None:
        """Keep it as long as the viewer runs."""
        self._kept[name] = value

    def recall(self, name: str) -> str:
        """Return what was kept."""
        return self._kept.get(name, "")

    def ensure(self, _purpose: str, *packages: str) -> None:
        """Refuse where packages are missing: an environment is its owner's to change.

        Raises
        ------
        DependencyError
            If one is missing.
        """
        missing = self.missing(*packages)
        if missing:
            raise stillMissing(missing)

    def missing(self, *packages: str) -> list[str]:
        """Return what is not installed."""
        return [name for name in packages if not _isInstalled(name)]

    def ensureModel(self) -> None:
        """Refuse where what the model needs is missing.

        Raises
        ------
        DependencyError
            If something is missing.
        """
        self.ensure("", *MODEL_NEEDS)

    def canRunModel(self) -> bool:
        """Whether nothing of it is missing."""
        return not self.missing(*MODEL_NEEDS)

    async def close(self) -> None:
        """End a long step, and remove what was exported."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._folder is not None:
            self._folder.close()

    def _show(self, sentence: str, told: Callable[[str], None] | None) -> None:
        self.error = sentence
        if told is not None:
            told(sentence)
        self._changed()


def _isInstalled(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _zipped(files: list[Path], name: str) -> Path:
    """Put files into an archive beside them: a browser saves one file at a time."""
    path = files[0].parent / f"{Path(name.removesuffix('.gz')).stem}.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.write(file, file.name)
    return path
