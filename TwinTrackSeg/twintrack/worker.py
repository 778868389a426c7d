"""One segmentation in a process of its own: ``python -m twintrack.worker REQUEST.json``.

The Slicer module runs the engine this way, so that its window never freezes, Cancel works at once and a crash of the
model cannot take Slicer down. Standard output carries one JSON object a line: ``{"event": "progress", "fraction": 0.4,
"message": "..."}`` any number of times, then exactly one of ``done`` (with ``out``), ``error`` (with ``kind`` and
``message``) or ``cancelled``. A line ``cancel`` on standard input, or its end, cancels, so that a dying parent leaves
no orphan. Exit codes are those of the command line.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any, TextIO

from twintrack.errors import Cancelled, InputError, TwinTrackError
from twintrack.progress import CancelToken

__all__ = ["main"]

PATIENCE_S = 20.0
"""A cancelled run that has not ended by itself after this time is ended hard (a step without a check hangs)."""


def main(arguments: list[str] | None = None) -> int:
    """Run the request whose file is the only argument; return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    channel = _private_channel()
    cancel = CancelToken()
    threading.Thread(target=_listen, args=(cancel,), daemon=True).start()
    try:
        if len(arguments) != 1:
            raise InputError("the worker takes one argument, the request file")
        out = run(json.loads(Path(arguments[0]).read_text(encoding="utf-8")), channel, cancel)
        _say(channel, event="done", out=str(out))
        return 0
    except (Cancelled, KeyboardInterrupt):
        _say(channel, event="cancelled")
        return 130
    except TwinTrackError as error:
        _say(channel, event="error", kind=type(error).__name__, message=str(error))
        return 2
    except MemoryError:
        _say(
            channel,
            event="error",
            kind="MemoryError",
            message="not enough memory; close other programs, or give an ROI",
        )
        return 1
    except Exception as error:
        import traceback

        traceback.print_exc()
        _say(channel, event="error", kind=type(error).__name__, message=f"unexpected: {error}")
        return 1


def run(request: dict[str, Any], channel: TextIO, cancel: CancelToken) -> Path:
    """Segment as `request` says.

    Raises
    ------
    InputError
        If the request is not of schema 1.
    """
    from twintrack.results import segment_file
    from twintrack.settings import SegmentSettings

    values = dict(request)
    if values.pop("schema", None) != 1:
        raise InputError("the worker understands requests of schema 1; module and engine have different versions")
    try:
        source, bundle, out = (values.pop(key) for key in ("input", "bundle", "out"))
    except KeyError as error:
        raise InputError(f"the request lacks {error}") from error

    def report(fraction: float, message: str) -> None:
        _say(channel, event="progress", fraction=round(fraction, 4), message=message)

    return segment_file(source, bundle, out, SegmentSettings.from_json(values), progress=report, cancel=cancel)


def _private_channel() -> TextIO:
    """Keep the real standard output for events; whatever libraries print goes to standard error."""
    channel = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return channel


def _listen(cancel: CancelToken) -> None:
    """Wait for a line ``cancel`` or the end of standard input."""
    for line in sys.stdin:
        if line.strip() == "cancel":
            break
    cancel.cancel()
    hard_end = threading.Timer(PATIENCE_S, lambda: os._exit(130))
    hard_end.daemon = True
    hard_end.start()


def _say(channel: TextIO, **event: object) -> None:
    channel.write(json.dumps(event) + "\n")
    channel.flush()


if __name__ == "__main__":
    sys.exit(main())
