"""Temporary folders that only the user can read, and that do not outlive their run by more than one run."""

from __future__ import annotations

import errno
import glob
import json
import os
import shutil
import socket
import tempfile
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twintrack.system.locks import try_lock

__all__ = ["MARKER", "SCRATCH_PREFIX", "PrivateFolder", "remove_abandoned"]

MARKER = ".twintrack-temporary"
"""File in a private folder that says that the program made it, and is locked as long as its run lives."""

SCRATCH_PREFIX = ".twintrack-scratch-"
"""Start of the names of folders for temporary files, whatever for: each run removes what any killed one left."""

LARGEST_MARKER_BYTES = 4096

ATTEMPTS = 20


class PrivateFolder:
    """A new folder with mode 0700.

    It is removed by `close`, at the end of the process, or, if that was killed, when the next folder with the same
    prefix is made. A folder without the program's marker is never removed, whatever its name.

    Parameters
    ----------
    prefix : str
        Start of its name; must name the program and nothing of the data, and begin with a dot: with such a name also
        an empty folder is taken for one that was killed before it was marked.
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
        self,
        prefix: str = SCRATCH_PREFIX,
        parent: str | Path | None = None,
        *,
        rescue: Callable[[Path], None] | None = None,
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
        (self.path / MARKER).stat()

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the folder with all that is in it."""
        self._finalizer()

    def leave(self) -> None:
        """Let go of the folder without removing it; the next run takes it for that of a run that was killed."""
        detached = self._finalizer.detach()
        if detached is not None:
            _, _, (_, lock), _ = detached
            if lock is not None:
                os.close(lock)


def remove_abandoned(
    prefix: str = SCRATCH_PREFIX,
    parent: str | Path | None = None,
    rescue: Callable[[Path], None] | None = None,
) -> None:
    """Remove the program's own folders with `prefix` in `parent` whose runs have ended.

    Parameters
    ----------
    prefix, parent
        As for `PrivateFolder`.
    rescue : callable, optional
        Called with each before it is removed; it stays if that raises `OSError`.
    """
    with suppress(OSError):
        for path in sorted(Path(tempfile.gettempdir() if parent is None else parent).glob(f"{glob.escape(prefix)}*")):
            if not path.is_symlink() and path.is_dir() and _is_mine(path):
                with suppress(OSError):  # held, or removed by another process at this moment
                    _remove_if_abandoned(path, rescue)


def _remove_if_abandoned(path: Path, rescue: Callable[[Path], None] | None) -> None:
    maker = _read_marker(path)
    if maker is None:
        if path.name.startswith("."):
            path.rmdir()  # made and not yet marked when the run was killed; raises if it holds anything
        return
    lock = None
    try:
        lock = try_lock(path / MARKER)
    except OSError as error:
        if isinstance(error, BlockingIOError) or _may_live(maker):
            return
    try:
        if rescue is not None:
            rescue(path)
    except OSError:
        if lock is not None:
            os.close(lock)
        raise
    _remove(path, lock)


def _write_marker(path: Path, lock: int | None) -> None:
    content = {"program": "twintrack", "folder": path.name, "host": socket.gethostname(), "process": os.getpid()}
    data = json.dumps(content).encode("utf-8")
    if lock is None:
        (path / MARKER).write_bytes(data)
    else:
        os.write(lock, data)


def _read_marker(path: Path) -> dict[str, Any] | None:
    """Return what the marker of a folder says; None if the program did not make it, or under another name."""
    marker = path / MARKER
    try:
        if marker.is_symlink() or not marker.is_file() or marker.stat().st_size > LARGEST_MARKER_BYTES:
            return None
        if marker.stat().st_size == 0 and len(list(path.iterdir())) == 1:
            return {}  # killed between its making and its writing
        content = json.loads(marker.read_text(encoding="utf-8"))
        made_here = content["program"] == "twintrack" and content["folder"] == path.name
        return content if made_here else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _may_live(maker: dict[str, Any]) -> bool:
    """Whether the run may live, where the file system has no locks to ask: no clock is, which may jump."""
    if maker.get("host") != socket.gethostname() or os.name == "nt":
        return True
    try:
        os.kill(int(maker["process"]), 0)
    except ProcessLookupError:
        return False
    except (OSError, KeyError, TypeError, ValueError, OverflowError):
        return True
    return True


def _is_mine(path: Path) -> bool:
    """Whether the folder belongs to this user; others' are left alone."""
    return not hasattr(os, "geteuid") or path.stat().st_uid == os.geteuid()


def _make(prefix: str, parent: Path) -> tuple[Path, int | None]:
    """Make and lock a folder; anew if another process took it for an abandoned one before it was locked."""
    for _ in range(ATTEMPTS):
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        try:
            lock: int | None = try_lock(path / MARKER)
        except FileNotFoundError:
            continue
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
                shutil.rmtree(path, ignore_errors=True)
                raise
            if isinstance(error, BlockingIOError):
                continue
            lock = None
        except BaseException:  # interrupted
            shutil.rmtree(path, ignore_errors=True)
            raise
        if path.exists():
            try:
                _write_marker(path, lock)
            except BaseException:
                _remove(path, lock)
                raise
            return path, lock
    raise OSError(errno.EAGAIN, "no folder of its own could be made", str(parent))


def _remove(path: Path, lock: int | None) -> None:
    """Remove a folder, its marker last; on Windows an open file cannot be removed, so the lock goes first."""
    if lock is not None and os.name == "nt":
        os.close(lock)
    with suppress(OSError):
        for entry in path.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry, ignore_errors=True)
            elif entry.name != MARKER:
                with suppress(OSError):
                    entry.unlink()
    shutil.rmtree(path, ignore_errors=True)
    if lock is not None and os.name != "nt":
        os.close(lock)
