"""The worker that stays between runs: started ahead or when it is first needed, and again if it has ended."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import twintrack
from TwinTrackSegLib.mrml.worker.WorkerProcess import WorkerProcess

__all__ = ["WorkerKeeper", "defaultWorkerCommand", "workerCommandOf", "workerEnvironment"]


class WorkerKeeper:
    """Keeps one worker, so that only the first run waits for imports and networks."""

    def __init__(self) -> None:
        self._worker: WorkerProcess | None = None
        self._how: tuple[tuple[str, ...], float] | None = None

    @property
    def worker(self) -> WorkerProcess | None:
        """The worker, if there is one and it has not ended."""
        return self._worker if self._worker is not None and self._worker.alive else None

    def take(self, command: Sequence[str], graceSec: float) -> WorkerProcess:
        """Return the worker, started now if there is none, or none of this command.

        Raises
        ------
        WorkerCrash
            If it cannot be started.
        """
        how = (tuple(command), graceSec)
        if self.worker is None or self._how != how:
            self.end()
            self._worker, self._how = WorkerProcess(command, workerEnvironment(), graceSec), how
        assert self._worker is not None
        return self._worker

    def end(self) -> None:
        """End the worker at once, with whatever it is doing."""
        if self._worker is not None:
            worker, self._worker = self._worker, None
            worker.kill()


def defaultWorkerCommand() -> list[str]:
    """Return the command of the engine's worker: Slicer's Python where there is one, else this interpreter."""
    return workerCommandOf(shutil.which("PythonSlicer") or sys.executable)


def workerCommandOf(python: str) -> list[str]:
    """Return the command of the engine's worker, run by the interpreter `python`."""
    return [python, "-m", "twintrack.execution.worker", "--serve"]


def workerEnvironment() -> dict[str, str]:
    """Return this process's environment, with the engine importable and plain UTF-8 pipes."""
    environment = dict(os.environ)
    root = str(Path(twintrack.__file__).resolve().parent.parent)
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([root, inherited]) if inherited else root
    environment["PYTHONUTF8"] = "1"
    environment["PYTHONUNBUFFERED"] = "1"
    return environment
