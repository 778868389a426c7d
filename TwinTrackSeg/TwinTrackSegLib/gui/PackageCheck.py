"""Whether the model's packages can be imported: tried in a process of their own, one after the other."""

import pathlib

from TwinTrackSegLib.gui.Dependencies import readRequirements
from TwinTrackSegLib.mrml.worker.Interpreter import workerEnvironment
from TwinTrackSegLib.mrml.worker.WorkerProcess import WorkerCrash, WorkerProcess
from TwinTrackSegLib.present.Installing import DependencyError, unusablePython

__all__ = ["PackageCheck"]

IMPORT_NAMES = {"scikit-learn": "sklearn", "scikit-image": "skimage"}
"""What is imported of packages whose module has another name."""

TRY_IMPORTS = """
import importlib, json, sys

def say(**event):
    print(json.dumps(event), flush=True)

broken = []
for name in sys.argv[1:]:
    say(event="progress", fraction=0, message=name, broken=broken)
    try:
        if importlib.import_module(name).__file__ is None:
            raise ImportError("an empty folder is all that is left")
    except BaseException:
        broken.append(name)
say(event="progress", fraction=1, message="", broken=broken)
say(event="done", out="")
"""
"""Half-installed packages are often empty folders, which Python imports without a word."""


class PackageCheck:
    """Starts the check; `poll` until it returns False, then read `broken`.

    A damaged package may take its interpreter down: it counts as broken, and another process goes on after it.

    Parameters
    ----------
    python : str
        The interpreter.
    requirements : str or path
        The requirements file with the packages.

    Raises
    ------
    DependencyError
        If the interpreter cannot be run.

    Attributes
    ----------
    broken : list of str
        The packages that could not be imported, as the file names them.
    current : str
        The package that is being imported.
    number, count : int
        Which of how many it is.
    """

    def __init__(self, python: str, requirements: str | pathlib.Path) -> None:
        names = [requirement.name for requirement in readRequirements(requirements)]
        self._titles = {IMPORT_NAMES.get(name, name): name for name in names}
        self._python = python
        self._left = list(self._titles)
        self._before: list[str] = []
        self.broken: list[str] = []
        self.current, self.number, self.count = "", 0, len(names)
        self._begin()

    def poll(self) -> bool:
        """Take in what was found since the last call; return whether the check goes on.

        Raises
        ------
        DependencyError
            If the interpreter ended without a word.
        """
        events, running = self._process.poll()
        for event in events:
            name = event.get("message", "")
            self.current = self._titles.get(name, "")
            self.broken = [*self._before, *(self._titles[broken] for broken in event["broken"])]
            if name in self._left:
                self._left = self._left[self._left.index(name) + 1 :]
                self.number = self.count - len(self._left)
        if running:
            return True
        try:
            self._process.outcome()
        except WorkerCrash as error:
            if not self.current:
                raise self._unusable() from error
            self.broken.append(self.current)
            self._before, self.current = self.broken, ""
            if self._left:
                self._begin()
                return True
        return False

    def cancel(self) -> None:
        """End the check at once."""
        self._process.kill()

    def _begin(self) -> None:
        command = [self._python, "-c", TRY_IMPORTS, *self._left]
        try:
            self._process = WorkerProcess(command, workerEnvironment(self._python))
        except WorkerCrash as error:
            raise self._unusable() from error

    def _unusable(self) -> DependencyError:
        return unusablePython(self._python)
