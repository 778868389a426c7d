"""What is written down: a line for each run that ended, and the log. Both are JSON, and neither knows a patient.

A line holds nothing that came out of a file or out of a client's message: the client's name in the server's own list,
the run's random name, numbers, and words of this program.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from twintrack.errors import OutputError

__all__ = ["Audit", "Log", "place_of"]


def _line(event: str, fields: dict[str, Any]) -> str:
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
    return json.dumps({"t": stamp, "event": event, **fields}) + "\n"


class Audit:
    """Who had what done, when, and how it ended.

    Parameters
    ----------
    path : path or None
        Where lines are added; None for nowhere.

    Raises
    ------
    OutputError
        If it cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stream: TextIO | None = None
        self.open()

    def open(self) -> None:
        """Open the file, anew after a rotation; the one that is open stays if that fails."""
        if self._path is None:
            return
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        except OSError as error:
            raise OutputError(
                f"the audit cannot be written ({error.strerror}); choose another place",
                code="not-writable",
                path=self._path,
            ) from error
        self.close()
        self._stream = os.fdopen(descriptor, "a", encoding="utf-8", buffering=1)

    def close(self) -> None:
        """Close the file."""
        stream, self._stream = self._stream, None
        if stream is not None:
            with suppress(OSError):  # of a full disk, which has been told
                stream.close()

    def write(self, event: str, **fields: Any) -> None:
        """Add a line; ``OSError`` if the disk is full."""
        if self._stream is not None:
            self._stream.write(_line(event, fields))


class Log:
    """What happens to the service, for whoever looks after it; a line each.

    Parameters
    ----------
    stream : text file, optional
        Standard error by default, which systemd and containers keep.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream

    def write(self, event: str, **fields: Any) -> None:
        """Write a line; a log that nobody takes any more stops nothing."""
        stream = self._stream or sys.stderr
        try:
            stream.write(_line(event, fields))
            stream.flush()
        except (OSError, ValueError):
            return


def place_of(error: BaseException) -> str:
    """Return type and place in the code of an error that nobody foresaw; its text might hold what a client sent."""
    frames = traceback.extract_tb(error.__traceback__)
    last = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{last}"
