"""The engine in a process of its own, for the Slicer module: its window never freezes, a crash cannot take it down.

``python -m twintrack.execution.worker REQUEST.json`` carries out one request. ``python -m twintrack.execution.worker
--serve`` stays and takes request after request from standard input (see `twintrack.execution.worker.serve`), and
``--forward`` does so for a server that has a cluster (see `twintrack.execution.worker.forward`).

Standard output carries one JSON object a line: ``{"event": "progress", "fraction": 0.4, "message": "...",
"remaining_s": 12.5}`` any number of times (``remaining_s`` is null as long as it is too early to tell), then exactly
one of ``done`` (with ``out``), ``error`` (with ``kind`` and ``message``) or ``cancelled``. A line ``cancel`` on
standard input, or its end, cancels, so that a dying parent leaves no orphan. Exit codes are those of the command line.
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path

from twintrack.execution.answer import HARD_END_AFTER_S, ORPHAN_ENDS_AFTER_S, Events, end_hard_unless
from twintrack.execution.worker.run_request import answer_request
from twintrack.execution.worker.serve import MAX_LINE, limited_lines, serve
from twintrack.progress.callbacks import CancelToken
from twintrack.system.json_file import read_json
from twintrack.system.terminal import prepare_streams
from twintrack.system.threads import one_blas_thread

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the request whose file is the only argument, or serve; return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    events = _private_channel()
    prepare_streams()
    one_blas_thread()
    if arguments in (["--serve"], ["--forward"]):
        if hasattr(sys.stdin, "reconfigure"):
            sys.stdin.reconfigure(encoding="utf-8", errors="replace")  # whatever the locale
        if arguments == ["--serve"]:
            return serve(limited_lines(sys.stdin), events)
        from twintrack.execution.worker.forward import forward

        return forward(limited_lines(sys.stdin), events)
    cancel, ended = CancelToken(), threading.Event()
    threading.Thread(target=_listen, args=(cancel, ended, events), daemon=True).start()
    code = answer_request(_read_request(arguments), events, cancel)
    ended.set()
    return code


def _read_request(arguments: list[str]) -> object:
    try:
        if len(arguments) != 1:
            raise ValueError("the worker takes one argument, the request file, or --serve")
        return read_json(Path(arguments[0]), max_bytes=MAX_LINE)
    except (OSError, ValueError) as error:
        return error


def _private_channel() -> Events:
    """Keep the real standard output for events; whatever libraries print goes to standard error."""
    stream = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return Events(stream)


def _listen(cancel: CancelToken, ended: threading.Event, events: Events) -> None:
    """Wait for a line ``cancel`` or the end of standard input."""
    after_s = ORPHAN_ENDS_AFTER_S
    for line in limited_lines(sys.stdin):
        if line.strip() == "cancel":
            after_s = HARD_END_AFTER_S
            break
    cancel.cancel()
    end_hard_unless(ended, events, after_s)


if __name__ == "__main__":
    sys.exit(main())
