"""What is written down: a line for each run that ended, and the log. Both are JSON, and neither knows a patient.

A line holds nothing that came out of a file or out of a client's message: the client's name in the server's own list,
the run's random name, numbers, and words of this program.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

from twintrack.errors import OutputError

__all__ = ["AUDIT_BYTES", "Audit", "Log", "Spared", "place_of"]

AUDIT_BYTES = 100_000_000
"""Size at which an audit is begun anew, and becomes the one of before: some 300,000 lines. Whoever wants to keep more
moves it away sooner."""

MOST_LINES, LINES_S = 300, 3600.0
"""Lines of one kind that a log gets in such a time."""


def _line(event: str, fields: dict[str, Any]) -> str:
    now = time.time()
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
    return json.dumps({"t": stamp, "event": event, **fields}) + "\n"


LINE_START = b'{"t": "'
"""How every line of an audit begins."""


def _may_go(earlier: Path) -> bool:
    """Whether nothing lies where a full audit is put, or an audit: a file of somebody else's stays."""
    if not os.path.lexists(earlier):
        return True
    if earlier.is_symlink() or not earlier.is_file():
        return False
    with earlier.open("rb") as stream:
        return stream.read(len(LINE_START)) == LINE_START


class Spared:
    """Counts lines, so that nobody who repeats something fills a disk with them."""

    def __init__(self) -> None:
        self._since = time.monotonic()
        self._lines: Counter[str] = Counter()

    def left_out(self, kind: str) -> int | None:
        """Return how many of this kind have been left out, to be told with the line; None if it is left out too."""
        now = time.monotonic()
        if now - self._since > LINES_S:
            left, self._since = self._lines[kind] - MOST_LINES, now
            self._lines.clear()
            self._lines[kind] = 1
            return max(left, 0)
        self._lines[kind] += 1
        return 0 if self._lines[kind] <= MOST_LINES else None


class Audit:
    """Who had what done, when, and how it ended; at most twice `AUDIT_BYTES`.

    Parameters
    ----------
    path : path or None
        Where lines are added; None for nowhere. What was full before has ``.1`` behind its name.

    Raises
    ------
    OutputError
        If it cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._lock = path, threading.RLock()
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
        with self._lock:
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
        with self._lock:
            if self._stream is None or self._path is None:
                return
            if os.fstat(self._stream.fileno()).st_size >= AUDIT_BYTES:
                earlier = self._path.with_name(f"{self._path.name}.1")
                with suppress(OSError, OutputError):  # it goes on where it is
                    if _may_go(earlier):
                        self._path.replace(earlier)
                        self.open()
            self._stream.write(_line(event, fields))


class Log:
    """What happens to the service, for whoever looks after it; a line each.

    Parameters
    ----------
    stream : text file, optional
        Standard error by default, which systemd and containers keep.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream, self._spared = stream, Spared()

    def write(self, event: str, **fields: Any) -> None:
        """Write a line, unless there were very many of its kind; a log that nobody takes any more stops nothing."""
        left_out = self._spared.left_out(event)
        if left_out is None:
            return
        if left_out:
            fields["left_out"] = left_out
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
