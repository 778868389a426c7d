"""A model for patients: what is offered, under which terms, and the process that fetches it or takes files up.

The process is one of its own, run by the Python that runs the model. Ended at any moment, it leaves what it fetched,
and the next one goes on there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twintrack.errors import OutputError, TwinTrackError
from twintrack.models.known import KnownModel, known_models, text_for_it
from twintrack.models.licence import terms
from twintrack.system.capacity import size_text
from TwinTrackSegLib.mrml.worker.Interpreter import workerEnvironment
from TwinTrackSegLib.mrml.worker.WorkerProcess import WorkerProcess
from TwinTrackSegLib.present.Host import FileQuestion, Host
from TwinTrackSegLib.present.Translation import tr as _

__all__ = ["GetModel", "buttonTitles", "filesQuestion", "textForIt"]

POLL_INTERVAL_MSEC = 100


@dataclass(frozen=True)
class Titles:
    """What the buttons say."""

    get: str
    files: str
    forIt: str


def buttonTitles(*, busy: bool) -> Titles:
    """Return what the buttons say; while a model is fetched, the first one ends that."""
    get = _("Stop") if busy else _("Get a model...")
    return Titles(get, _("I have the files..."), _("For IT..."))


def filesQuestion() -> FileQuestion:
    """Return what is asked for files that were brought, of which there may be several."""
    return FileQuestion(_("Choose a bundle, or all files of a public model"), _("Zip files"), (".zip",))


def textForIt() -> str:
    """Return what to tell whoever runs the network."""
    model = _offered()
    return text_for_it(model, model.first_folds)


class GetModel:
    """Fetches the offered model, or takes files up.

    Parameters
    ----------
    host : Host
        The application.
    python : callable
        Returns the program that runs the model, and whether it is another Python than the application's.
    installed : callable
        Called with the bundle's folder, once it is there.
    changed : callable
        Called when `busy` changes.
    """

    def __init__(
        self,
        host: Host,
        python: Callable[[], tuple[str, bool]],
        installed: Callable[[Path], None],
        changed: Callable[[], None],
    ) -> None:
        self._host, self._python, self._installed, self._changed = host, python, installed, changed
        self._process: WorkerProcess | None = None
        self._callOff: Callable[[], None] | None = None
        self._request: dict[str, Any] = {}
        self.source = ""
        """Address of a mirror; the publisher's own by default."""

    @property
    def busy(self) -> bool:
        """Whether a model is being got."""
        return self._process is not None

    def get(self) -> None:
        """Show terms, size and free space, and fetch the model once they were accepted; or end what goes on."""
        if self.busy:
            self.end()
            self._host.say(_("Stopped. What was fetched is kept; the next time goes on there."))
            return
        model = _offered()
        request = {"model": model.name, "accept": model.license["name"], "source": self.source}
        self._ask(_question(model, fetch=True), request)

    def add(self, paths: Sequence[str]) -> None:
        """Take files up that somebody brought: a bundle at once, a public model's once its terms were accepted."""
        if self.busy or not paths:
            return
        request: dict[str, Any] = {"add": list(paths)}
        if len(paths) == 1 and _isBundle(Path(paths[0])):
            self._ensured(request)
            return
        model = _offered()
        self._ask(_question(model, fetch=False), {**request, "model": model.name, "accept": model.license["name"]})

    def end(self) -> None:
        """End what goes on, at once."""
        if self._callOff is not None:
            self._callOff()
        process, self._process, self._callOff = self._process, None, None
        if process is not None:
            process.kill()
            self._changed()

    def _ask(self, question: str, request: dict[str, Any]) -> None:
        self._host.confirm(question, lambda: self._ensured(request))

    def _ensured(self, request: dict[str, Any]) -> None:
        """Begin, with the packages that are needed."""
        with self._host.guarded(self._failed):
            program, own = self._python()
            if not own:
                self._host.ensureModel()
            self._request = request
            command = [program, "-m", "twintrack.models", json.dumps(request)]
            self._process = WorkerProcess(command, workerEnvironment(program))
            self._changed()
            self._host.say(_("Getting the model..."))
            self._later()

    def _later(self) -> None:
        self._callOff = self._host.later(POLL_INTERVAL_MSEC, self._poll)

    def _poll(self) -> None:
        with self._host.guarded(self._failed):
            assert self._process is not None
            events, running = self._process.poll()
            if events:
                last = events[-1]
                self._host.say(f"{100 * last['fraction']:.0f} %: {last.get('message', '')}")
            if running:
                self._later()
                return
            process = self._process
            self.end()
            try:
                bundle = Path(process.outcome())
            except OutputError as error:
                if error.code != "model-installed":
                    raise
                question = _("A model of this name is installed: {name}. Replace it? Its calibrator goes with it.")
                again = {**self._request, "overwrite": True}
                self._host.confirm(question.format(name=error.path), lambda: self._ensured(again))
                return
            self._installed(bundle)
            self._host.say(_("Model installed. If it has no calibrator, its numbers are scores, not readers."))

    def _failed(self, sentence: str) -> None:
        self.end()
        self._host.say(sentence, loud=True)


def _offered() -> KnownModel:
    return known_models()[0]


def _isBundle(path: Path) -> bool:
    from twintrack.bundle.archive import read_bundle_document

    try:
        read_bundle_document(path)
    except TwinTrackError:
        return False
    return True


def _question(model: KnownModel, *, fetch: bool) -> str:
    """Return terms, sizes and what pressing OK means."""
    folds = model.first_folds
    sizes = _("Up to {disk} of the disk are needed meanwhile, in {folder}; {free} are free.").format(
        disk=size_text(model.disk_bytes(folds)), folder=_folder(), free=_free()
    )
    if fetch:
        sizes = (
            _("About {size} are fetched from {address}.").format(
                size=size_text(model.size(folds, packed=True)), address=model.published[0]
            )
            + " "
            + sizes
        )
    accept = _("OK: you accept {licence}, whose whole text is at creativecommons.org/licenses/by-nc/4.0/legalcode.")
    return "\n\n".join([terms(model), sizes, accept.format(licence=model.license["name"])])


def _folder() -> str:
    from twintrack.bundle.places import models_folder

    try:
        return str(models_folder())
    except ImportError:  # another Python runs the model, and Slicer's own lacks its packages
        return _("the folder of models")


def _free() -> str:
    from twintrack.models.store import room

    try:
        free = room()
    except ImportError:
        free = None
    return _("an unknown number of bytes") if free is None else size_text(free)
