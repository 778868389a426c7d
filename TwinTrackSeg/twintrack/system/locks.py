"""Locks that end with the process that holds them, however it ends."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["folder_lock", "try_lock"]

_HELD_ELSEWHERE = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
"""Error numbers of a lock that another process holds; any other one means that the file system has no locks."""

WINDOWS_LOCK = ".twintrack-lock"
"""Windows locks no folders, so that a file in it is locked there."""


def try_lock(path: Path) -> int:
    """Lock the file `path`, made when missing, and return its descriptor; closing that lets go.

    Raises
    ------
    BlockingIOError
        If another process, or another descriptor of this one, holds the lock.
    OSError
        If the file cannot be opened, or the file system has no locks.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(descriptor, wait=False)
    except BaseException as error:
        os.close(descriptor)
        if isinstance(error, OSError) and error.errno in _HELD_ELSEWHERE:
            raise BlockingIOError(errno.EAGAIN, "held by another process", str(path)) from error
        raise
    return descriptor


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Wait until no other process is in this context with `folder`; without effect where the system has no locks."""
    windows = sys.platform == "win32"
    descriptor = os.open(folder / WINDOWS_LOCK, os.O_RDWR | os.O_CREAT) if windows else os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a network folder without locks, or, on Windows, ten seconds of waiting
            _lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)
        if windows:
            with suppress(OSError):  # another process waits for it
                (folder / WINDOWS_LOCK).unlink()


def _lock(descriptor: int, *, wait: bool) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
