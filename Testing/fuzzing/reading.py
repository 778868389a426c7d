"""The reading child of an input's process, forked instead of started: it reads the same, and is there at once."""

from __future__ import annotations

import atexit
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from typing import Any


class _Forked:
    """What `subprocess.Popen` is for a started process, as far as it is used."""

    def __init__(self, pid: int) -> None:
        self.pid, self.returncode = pid, None

    def kill(self) -> None:
        """End the process, if it is still there."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)

    def poll(self) -> int | None:
        """Return its exit code, None while it runs."""
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end and return its exit code."""
        until = None if timeout is None else time.monotonic() + timeout
        while (code := self.poll()) is None:
            if until is not None and time.monotonic() > until:
                raise subprocess.TimeoutExpired("reading child", timeout or 0.0)
            time.sleep(0.001)
        return code


def _forget_what_the_parent_cleans_up() -> None:
    """Drop what was to be done at this process's end: it is the parent's, such as the removal of all inputs."""
    atexit._clear()
    weakref.finalize._registry.clear()


def fork_reading_children() -> None:
    """Let this process fork its reading child: 2,000 starts of Python and ITK would take most of the time."""
    if importlib.util.find_spec("twintrack.system.reading_child") is None:
        return
    from twintrack.system import reading_child

    def spawn(command: list[str], environment: dict[str, str]) -> tuple[Any, Any]:
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            try:
                _forget_what_the_parent_cleans_up()
                ours.close()
                os.dup2(theirs.fileno(), 0)
                reading_child.serve()
            finally:
                os._exit(1)
        theirs.close()
        return _Forked(pid), reading_child._Socket(ours)

    reading_child._spawn = spawn


def end_reading_child() -> None:
    """End this process's reading child, so that its time counts as the input's."""
    module = sys.modules.get("twintrack.system.reading_child")
    own = getattr(module, "_own", None)
    if own is not None and own[0] == os.getpid():
        own[1].close()
