"""Results appear under their final names only when they are complete, whatever kills the run or the computer."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from twintrack.errors import OutputError
from twintrack.system.durable import force_to_disk
from twintrack.system.locks import folder_lock
from twintrack.system.private_folder import PrivateFolder
from twintrack.system.publish import finish_or_undo, publish

__all__ = ["STAGING_PREFIX", "atomic_folder", "atomic_path"]

STAGING_PREFIX = ".twintrack-partial-"
"""Start of the names of unfinished folders; what a killed run left behind is removed by the next one."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path of the same name; rename it to `path` on success, remove it on any failure.

    Raises
    ------
    OutputError
        If the file cannot be written there.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _staging(path.parent) as staging:
            partial = staging / path.name
            yield partial
            force_to_disk(partial)
            partial.replace(path)
            force_to_disk(path.parent, deep=False)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({_reason(error)}); {_remedy(error)}") from error


@contextmanager
def atomic_folder(out: str | Path, *, owned: tuple[str, ...], last: str) -> Iterator[Path]:
    """Yield a private folder inside `out`; on success move its content to `out`, on any error remove it.

    Of several runs at once with one `out`, the last to end leaves its files there, all of them, and none of the others.

    Parameters
    ----------
    out : path
        The result folder; made when missing. Files in it that are not named in `owned` are never touched.
    owned : tuple of str
        Names of all files and folders that a run may make: those of an earlier run which the new one does not make
        are removed, so that a folder never holds a mixture of two runs.
    last : str
        The file that is moved last; where it exists, the others are complete.

    Raises
    ------
    OutputError
        If the folder cannot be made or written to; what an earlier run left there is intact.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        staging = _staging(out)
    except OSError as error:
        raise OutputError(f"{out}: cannot be used as result folder ({_reason(error)}); choose another one") from error
    try:
        yield staging.path
        force_to_disk(staging.path)
        with folder_lock(out):
            staging.check()
            publish(staging.path, out, owned, last)
            force_to_disk(out, deep=False)
    except OSError as error:
        raise OutputError(f"{out}: results could not be written ({_reason(error)}); {_remedy(error)}") from error
    finally:
        staging.close()


def _staging(out: Path) -> PrivateFolder:
    """Make a private folder in `out`, after bringing into order what killed runs left there."""
    with folder_lock(out):
        return PrivateFolder(STAGING_PREFIX, out, rescue=lambda abandoned: finish_or_undo(abandoned, out))


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def _remedy(error: OSError) -> str:
    """Say what to do about an error of the file system."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return "free some space there or choose another place"
    if error.errno == errno.ENOENT:
        return "the folder was removed or renamed meanwhile; run again"
    return "choose a writable place with free space, and close programs that show these files"
