"""Results appear under their final names only when they are complete, whatever kills the run."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from twintrack.errors import OutputError

__all__ = ["STAGING_PREFIX", "atomic_folder", "atomic_path"]

STAGING_PREFIX = ".twintrack-partial-"
"""Start of the names of unfinished folders; what a killed run left behind is removed by the next one."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; rename it to `path` on success, remove it on any failure.

    The temporary name keeps the ending, because writers choose the format by it.

    Raises
    ------
    OutputError
        If the file cannot be written there.
    """
    path = Path(path)
    partial = path.with_name(f".partial-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OutputError(f"{path}: cannot be written ({reason}); choose a writable place with free space") from error
    finally:
        with suppress(OSError):  # already renamed, or the folder is the reason of the failure
            partial.unlink()


@contextmanager
def atomic_folder(out: str | Path, *, owned: tuple[str, ...], last: str) -> Iterator[Path]:
    """Yield a private folder inside `out`; on success move its content to `out`, on any error remove it.

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
        If the folder cannot be made or written to.
    """
    out = Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
        for left_over in out.glob(f"{STAGING_PREFIX}*"):
            shutil.rmtree(left_over, ignore_errors=True)
        staging = Path(tempfile.mkdtemp(prefix=STAGING_PREFIX, dir=out))
    except OSError as error:
        raise OutputError(f"{out}: cannot be used as result folder ({error.strerror}); choose another one") from error
    try:
        yield staging
        _publish(staging, out, owned, last)
    except OSError as error:
        raise OutputError(f"{out}: results could not be written ({error.strerror}); check the free space") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _publish(staging: Path, out: Path, owned: tuple[str, ...], last: str) -> None:
    """Replace what an earlier run left in `out` by the content of `staging`, `last` at the end."""
    _remove(out / last)
    for name in owned:
        _remove(out / name)
    made = sorted(path.name for path in staging.iterdir())
    for name in [name for name in made if name != last] + [last]:
        _remove(out / name)
        (staging / name).replace(out / name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
