"""Putting the files of a run in the place of an earlier run's: all of them, or none."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from twintrack.system.private_folder import LOCK

__all__ = ["finish_or_undo", "publish"]

REPLACING = ".replacing"
"""In the staging folder: earlier files on their way out. Found after a crash, they go back."""

REPLACED = ".replaced-"
"""In the staging folder: all earlier files; the name goes on with that of the last new file. Found after a crash, the
new files are complete and the rest of them moves in."""


def publish(staging: Path, out: Path, owned: Iterable[str], last: str) -> None:
    """Move what lies in `staging` to `out`, `last` at the end, in the place of everything that is `owned` there.

    Files are renamed and never copied, so that each is whole in its old or its new place. If one cannot be moved, `out`
    is as it was.

    Raises
    ------
    OSError
        If a file cannot be moved.
    """
    made = _made(staging, last)
    earlier = staging / REPLACING
    earlier.mkdir()
    names = [last, *sorted({*owned, *made} - {last})]
    try:
        for name in names:
            if os.path.lexists(out / name):
                (out / name).rename(earlier / name)
        earlier = earlier.rename(staging / f"{REPLACED}{last}")
        _move_in(staging, out, last)
    except BaseException:
        for name in made:
            if os.path.lexists(out / name) and not os.path.lexists(staging / name):
                with suppress(OSError):
                    (out / name).rename(staging / name)
        _move_back(earlier, out, last)
        raise


def finish_or_undo(staging: Path, out: Path) -> None:
    """Bring `out` into order after a run that was killed while it published `staging`.

    Raises
    ------
    OSError
        If a file cannot be moved.
    """
    if (staging / REPLACING).is_dir():
        _move_back(staging / REPLACING, out, "")
    for earlier in staging.glob(f"{REPLACED}*"):
        _move_in(staging, out, earlier.name.removeprefix(REPLACED))


def _made(staging: Path, last: str) -> list[str]:
    """Return the names of the new files in the order in which they move."""
    names = {path.name for path in staging.iterdir()} - {LOCK, REPLACING, f"{REPLACED}{last}"}
    return sorted(names - {last}) + [last] * (last in names)


def _move_in(staging: Path, out: Path, last: str) -> None:
    for name in _made(staging, last):
        if (out / name).is_dir() and not (out / name).is_symlink():
            shutil.rmtree(out / name)  # only after a crash: a folder that was not there then
        (staging / name).replace(out / name)


def _move_back(earlier: Path, out: Path, last: str) -> None:
    """Put earlier files back, `last` at the end; one that cannot be moved does not keep the others away."""
    if not earlier.is_dir():
        return
    for path in sorted(earlier.iterdir(), key=lambda path: (path.name == last, path.name)):
        with suppress(OSError):
            path.rename(out / path.name)
