"""Long steps in a process of their own, so that the page stays live: what one takes and gives goes through files.

The files lie in a private folder, and are read by the program that wrote them and the one that it started, alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twintrack.errors import InputError
from twintrack.system.private_folder import PrivateFolder
from TwinTrackSegLib.mrml.worker.Interpreter import workerEnvironment

__all__ = ["LongSteps", "carryOut"]

STEP, OUTCOME = "step", "outcome"
LAST_WORDS = 2000

logger = logging.getLogger(__name__)


class LongSteps:
    """Takes one step after another, each in a new process, which has its memory for that step alone."""

    def __init__(self) -> None:
        self._one = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def take(self, step: Callable[[], Any]) -> Any:
        """Take a step; return what it returned, or raise what it raised.

        Raises
        ------
        InputError
            If its process came to no end of its own.
        """
        async with self._one:
            with PrivateFolder() as folder:
                await asyncio.to_thread(_write, step, folder / STEP)  # a large CT takes its time
                self._process = process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    __name__,
                    str(folder),
                    env=workerEnvironment(sys.executable),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    **({"start_new_session": True} if os.name != "nt" else {}),  # Ctrl-C is for the viewer
                )
                try:
                    _out, words = await process.communicate()
                finally:
                    self.close()
                    self._process = None
                if words:
                    logger.info("long step: %s", words[-LAST_WORDS:].decode(errors="replace"))
                return _outcome(folder / OUTCOME, process.returncode)

    def close(self) -> None:
        """End the step that is going on, if there is one."""
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()


def carryOut(folder: Path) -> None:
    """Take the step that lies in a folder, and put there what came of it."""
    with (folder / STEP).open("rb") as file:
        step = pickle.load(file)
    (folder / STEP).unlink()
    try:
        outcome = (step(), None)
    except Exception as error:
        outcome = (None, error)
    _write(outcome, folder / f"{OUTCOME}.part")
    (folder / f"{OUTCOME}.part").rename(folder / OUTCOME)


def _write(content: Any, path: Path) -> None:
    with path.open("wb") as file:  # not by way of bytes: no second copy in memory
        pickle.dump(content, file, protocol=pickle.HIGHEST_PROTOCOL)


def _outcome(path: Path, code: int | None) -> Any:
    if not path.is_file():
        raise InputError(_lastWords(code or 0), code="step-ended")
    with path.open("rb") as file:
        made, error = pickle.load(file)
    if error is not None:
        raise error
    return made


def _lastWords(code: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        return (
            f"the step was ended by the system ({name}), most often for lack of memory; close other programs, try again"
        )
    return f"the step ended unexpectedly (exit code {code}); start twintrack view with -v, which shows its last words"


if __name__ == "__main__":
    carryOut(Path(sys.argv[1]))
