"""Temporary folders that only the user can read, and that do not outlive their run by more than one run."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from twintrack.system.locks import HELD_ELSEWHERE, try_lock

__all__ = ["LOCK", "PrivateFolder", "remove_abandoned"]

LOCK = ".lock"
"""File in a private folder that is locked as long as its run lives."""

CERTAINLY_ABANDONED_S = 86400.0
"""Age from which a folder is removed although the file system cannot say whether its run lives."""

ATTEMPTS = 20


class PrivateFolder:
    """A new folder with mode 0700.

    It is removed by `close`, at the end of the process, or, if that was killed, when the next folder with the same
    prefix is made.

    Parameters
    ----------
    prefix : str
        Start of its name; must name the program and the purpose, and nothing of the data.
    parent : path, optional
        Where it is made; the system's folder for temporary files by default.
    rescue : callable, optional
        Called with each abandoned folder before it is removed.

    Raises
    ------
    OSError
        If it cannot be made.
    """

    def __init__(
        self, prefix: str, parent: str | Path | None = None, *, rescue: Callable[[Path], None] | None = None
    ) -> None:
        parent = Path(tempfile.gettempdir() if parent is None else parent)
        remove_abandoned(prefix, parent, rescue)
        self.path, lock = _make(prefix, parent)
        self._finalizer = weakref.finalize(self, _remove, self.path, lock)

    def check(self) -> None:
        """Make sure that it is the folder that was made: one that was removed meanwhile can have been made anew.

        Raises
        ------
        FileNotFoundError
            If it was removed.
        """
        (self.path / LOCK).stat()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        self._finalizer()


def remove_abandoned(prefix: str, parent: Path, rescue: Callable[[Path], None] | None = None) -> None:
    """Remove the user's own folders with `prefix` in `parent` whose runs have ended."""
    with suppress(OSError):
        for path in sorted(parent.glob(f"{prefix}*")):
            if not path.is_symlink() and path.is_dir() and _is_mine(path):
                with suppress(OSError):  # held, or removed by another process at this moment
                    _remove_if_abandoned(path, rescue)


def _remove_if_abandoned(path: Path, rescue: Callable[[Path], None] | None) -> None:
    lock = None
    try:
        lock = try_lock(path / LOCK)
    except OSError as error:
        if error.errno in HELD_ELSEWHERE or time.time() - path.stat().st_mtime < CERTAINLY_ABANDONED_S:
            return
    try:
        if rescue is not None:
            rescue(path)
    finally:
        _remove(path, lock)


def _is_mine(path: Path) -> bool:
    """Whether the folder belongs to this user; others' are left alone."""
    return not hasattr(os, "geteuid") or path.stat().st_uid == os.geteuid()


def _make(prefix: str, parent: Path) -> tuple[Path, int | None]:
    """Make and lock a folder; anew if another process took it for an abandoned one before it was locked."""
    for _ in range(ATTEMPTS):
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            lock: int | None = try_lock(path / LOCK)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                shutil.rmtree(path, ignore_errors=True)
                raise
            if error.errno in HELD_ELSEWHERE:
                continue
            lock = None
        if path.exists():
            return path, lock
    raise OSError(errno.EAGAIN, "no folder of its own could be made", str(parent))


def _remove(path: Path, lock: int | None) -> None:
    """Remove a folder; on Windows an open file cannot be removed, so the lock goes first."""
    if lock is not None and os.name == "nt":
        os.close(lock)
    shutil.rmtree(path, ignore_errors=True)
    if lock is not None and os.name != "nt":
        os.close(lock)
