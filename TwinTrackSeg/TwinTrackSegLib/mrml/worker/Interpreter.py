"""Which Python runs the model, by which command, and in which environment."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import slicer
import twintrack

__all__ = ["defaultWorkerCommand", "slicerPython", "workerCommandOf", "workerEnvironment"]


def slicerPython() -> str:
    """Return the program that runs Slicer's Python; outside Slicer, this interpreter."""
    return shutil.which("PythonSlicer") or sys.executable


def defaultWorkerCommand() -> list[str]:
    """Return the command of the engine's worker, run by Slicer's Python."""
    return workerCommandOf(slicerPython())


def workerCommandOf(python: str) -> list[str]:
    """Return the command of the engine's worker, run by the interpreter `python`."""
    return [python, "-m", "twintrack.execution.worker", "--serve"]


def workerEnvironment(python: str) -> dict[str, str]:
    """Return the environment for the interpreter `python`, with the engine importable and plain UTF-8 pipes.

    Slicer's launcher tells all that it starts where Slicer's Python has its home, packages and libraries. Slicer's own
    Python needs that; another one looks for its library there and ends at once ("No module named 'encodings'").
    """
    environment = dict(os.environ) if _same(python, slicerPython()) else _environmentBeforeSlicer()
    root = str(Path(twintrack.__file__).resolve().parent.parent)
    inherited = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = os.pathsep.join([root, inherited]) if inherited else root
    environment["PYTHONUTF8"] = "1"
    environment["PYTHONUNBUFFERED"] = "1"
    return environment


def _environmentBeforeSlicer() -> dict[str, str]:
    """Return the environment that Slicer itself was started in."""
    outside = getattr(slicer, "app", None) is None
    environment = dict(os.environ) if outside else dict(slicer.util.startupEnvironment())
    environment.pop("PYTHONHOME", None)  # Slicer may have been started without its launcher; nobody else needs one
    return environment


def _same(one: str, other: str) -> bool:
    """Whether two paths name the same program; links are not followed, since a virtual environment is one."""
    return os.path.normcase(Path(one).absolute()) == os.path.normcase(Path(other).absolute())
