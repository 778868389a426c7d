"""Results appear under their final names only when they are complete, whatever kills the run or the computer.

This is the one place where the program replaces or removes files that a user can see. It touches what it can prove that
it wrote (see `twintrack.system.ownership`) and, where the user says so, what else lies at an output's place; never an
input.
"""

from __future__ import annotations

import errno
import hashlib
import itertools
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from twintrack.errors import OutputError, TwinTrackError
from twintrack.system.locks import folder_lock
from twintrack.system.marks import is_marked, place_mark
from twintrack.system.ownership import (
    RECORD,
    FolderRecord,
    Inputs,
    check_folder,
    check_inputs,
    in_the_way,
)
from twintrack.system.paths import file_sha256
from twintrack.system.private_folder import MARKER, PrivateFolder, remove_abandoned

__all__ = [
    "STAGING_PREFIX",
    "atomic_folder",
    "atomic_path",
    "atomic_paths",
    "check_output_files",
    "check_output_folder",
    "force_to_disk",
    "put_in_order",
]

STAGING_PREFIX = ".twintrack-partial-"
"""Start of the names of unfinished folders; what a killed run left behind is removed by the next one."""

REPLACING = ".replacing-"
"""Start of the name of a folder in the staging folder: earlier files on their way out. Found after a crash, they go
back. The name goes on with the digest of the name of the file that moves last."""

REPLACED = ".replaced-"
"""The same for all earlier files: found after a crash, the new files are complete and the rest of them moves in."""

DIGITS = 16
"""Of a digest in these names; the name itself may be as long as the file system allows."""

CANNOT_FORCE = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""Error numbers of file systems that know no forcing, such as some network folders; nothing is lost by that alone."""

Proof = Callable[[Path], bool]
"""Says of a file whether the program wrote it and nobody changed it."""


@contextmanager
def atomic_path(path: str | Path, *, inputs: Inputs = (), overwrite: bool = False, mark: bool = True) -> Iterator[Path]:
    """Yield a temporary path of the same name; rename it to `path` on success, remove it on any failure.

    See `atomic_paths`.
    """
    with atomic_paths(path, inputs=inputs, overwrite=overwrite, mark=mark) as (partial,):
        yield partial


@contextmanager
def atomic_paths(
    *paths: str | Path,
    inputs: Inputs = (),
    overwrite: bool = False,
    proof: Proof = is_marked,
    folders: bool = False,
    mark: bool = True,
) -> Iterator[tuple[Path, ...]]:
    """Yield temporary paths of the same names; move all of them to their places on success, none on any failure.

    The files are marked where their format has room for a mark, so that a later run may replace them.

    Parameters
    ----------
    *paths : path
        The files, all in one folder, which is made when missing. The last one moves last. What lies at the place of
        one that is not made is removed, if there are several.
    inputs : Inputs
        What the run reads; never replaced.
    overwrite : bool
        Whether a file that the program cannot prove to be its own is replaced.
    proof : callable
        Says whether a file is the program's.
    folders : bool
        Whether they may be folders; otherwise a folder is not replaced by a file, whatever `overwrite` says.
    mark : bool
        Whether they get a mark; what is always replaced needs none.

    Raises
    ------
    OutputError
        If another file lies there, or the files cannot be written; what was there before is intact.
    """
    final = [Path(path) for path in paths]
    folder, last = final[-1].parent, final[-1].name
    check_output_files(*final, inputs=inputs, overwrite=overwrite, proof=proof, folders=folders)
    if any(part.startswith(STAGING_PREFIX) for part in folder.absolute().parts):
        with _inside_staging(final):
            yield tuple(final)
        return
    with _staged(folder, f"{final[-1]}: cannot be written") as (staging, missing):
        partials = tuple(staging.path / path.name for path in final)
        yield partials
        for partial in filter(os.path.lexists, partials):
            if mark:
                place_mark(partial)
            force_to_disk(partial)
        with folder_lock(folder):
            _check_files(final, inputs, overwrite, proof, folders)
            if len(partials) == 1 and not final[0].is_dir():
                partials[0].replace(final[0])
            else:
                _exchange(staging.path, folder, {path.name for path in final}, last)
        _force_names_to_disk(folder, missing)


def check_output_files(
    *paths: str | Path, inputs: Inputs = (), overwrite: bool = False, proof: Proof = is_marked, folders: bool = False
) -> None:
    """Refuse places for files that `atomic_paths` would refuse; to be asked before time is spent.

    What a killed run left half done there is finished or undone first: a file may be proved by another one.

    Raises
    ------
    OutputError
        Names what is in the way.
    """
    final = [Path(path) for path in paths]
    for folder in {path.parent for path in final}:
        put_in_order(folder)
    _check_files(final, inputs, overwrite, proof, folders)


def _check_files(final: Sequence[Path], inputs: Inputs, overwrite: bool, proof: Proof, folders: bool) -> None:
    check_inputs(final, inputs)
    for path in final:
        if not folders and path.is_dir() and not path.is_symlink():
            raise OutputError("is a folder; choose another name for the file", code="place-taken", path=path)
        if os.path.lexists(path) and not overwrite and not proof(path):
            raise in_the_way(path)


@contextmanager
def atomic_folder(
    out: str | Path,
    *,
    command: str,
    last: str,
    inputs: Inputs = (),
    overwrite: bool = False,
) -> Iterator[Path]:
    """Yield a private folder inside `out`; on success move its content to `out`, on any error remove it.

    A list in `out` keeps what was written, so that a later run of the same command replaces all of it: a folder never
    holds a mixture of two runs. Of several runs at once with one `out`, the last to end leaves its files there, all of
    them, and none of the others.

    Parameters
    ----------
    out : path
        The result folder; made when missing. Files in it that the program did not write are never touched.
    command : str
        What writes: of the earlier files, those of the same command are removed.
    last : str
        The file that is moved last; where it exists, the others are complete.
    inputs : Inputs
        What the run reads; never replaced or removed.
    overwrite : bool
        Whether entries of `out` that are in the way are replaced although the program did not write them.

    Raises
    ------
    OutputError
        If something else is in the way, or the folder cannot be made or written to; what was there is intact.
    """
    out = Path(out)
    with _staged(out, f"{out}: results cannot be written") as (staging, missing):
        yield staging.path
        made = {path.relative_to(staging.path).as_posix(): path for path in _made_files(staging.path)}
        hashes = {name: file_sha256(path) for name, path in made.items()}
        with folder_lock(out):
            staging.check()
            record = FolderRecord.read(out)
            taken = record.entries_of(command) | {name.split("/")[0] for name in made}
            check_folder(out, record, taken, inputs, overwrite=overwrite)
            record = record.with_run(taken, hashes, command, uuid.uuid4().hex)
            (staging.path / RECORD).write_text(json.dumps(record.to_json(), indent=1) + "\n", encoding="utf-8")
            force_to_disk(staging.path)
            _exchange(staging.path, out, {*taken, RECORD}, last)
            _force_names_to_disk(out, missing)


def check_output_folder(
    out: str | Path,
    entries: Iterable[str],
    *,
    command: str,
    inputs: Inputs = (),
    overwrite: bool = False,
) -> None:
    """Refuse a folder that `atomic_folder` would refuse in the end; to be asked before time is spent.

    Parameters
    ----------
    out, command, inputs, overwrite
        As there.
    entries : iterable of str
        Entries of `out` that the run may make.

    Raises
    ------
    OutputError
        Names what is in the way.
    """
    out = Path(out)
    put_in_order(out)
    record = FolderRecord.read(out)
    check_folder(out, record, {*entries, *record.entries_of(command)}, inputs, overwrite=overwrite)


def put_in_order(out: Path) -> None:
    """Finish or undo what a run that was killed left half done in a folder; a read-only one stays as it is."""
    with suppress(OSError):
        if any(out.glob(f"{STAGING_PREFIX}*")):
            with folder_lock(out):
                remove_abandoned(STAGING_PREFIX, out, lambda abandoned: _finish_or_undo(abandoned, out))


@contextmanager
def _staged(out: Path, sentence: str) -> Iterator[tuple[PrivateFolder, list[Path]]]:
    """Yield a private folder in `out`, and what was made for it; what killed runs left there is brought into order.

    Errors of the file system become one sentence that begins with `sentence`, and those of the block name files where
    the user would have found them. After an error nothing is left, but for what could not be put back.
    """
    missing = [path for path in (out, *out.parents) if not path.exists()]
    staging: PrivateFolder | None = None
    try:
        out.mkdir(parents=True, exist_ok=True)
        with folder_lock(out):
            staging = PrivateFolder(STAGING_PREFIX, out, rescue=lambda abandoned: _finish_or_undo(abandoned, out))
        yield staging, missing
    except BaseException as error:
        if staging is not None and _is_unfinished(staging.path):
            staging.leave()
        if isinstance(error, OSError):
            raise OutputError(f"{sentence} ({_reason(error)}); {_remedy(error)}", code="not-writable") from error
        if staging is not None and isinstance(error, TwinTrackError):
            error.rename(staging.path, out)
        raise
    finally:
        if staging is not None:
            staging.close()
        for folder in missing:  # leave no empty folder behind where there was none
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def _inside_staging(paths: Sequence[Path]) -> Iterator[None]:
    """Mark files that are written in the staging folder of a whole result, which needs no second one inside."""
    try:
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield
        for path in filter(os.path.lexists, paths):
            place_mark(path)
    except BaseException as error:
        for path in paths:
            with suppress(OSError):
                path.unlink()
        if isinstance(error, OSError):
            raise OutputError(
                f"cannot be written ({_reason(error)}); {_remedy(error)}", code="not-writable", path=path
            ) from error
        raise


def _exchange(staging: Path, out: Path, entries: Iterable[str], last: str) -> None:
    """Move what lies in `staging` to `out`, `last` at the end, in the place of `entries` there.

    Files are renamed and never copied, so that each is whole in its old or its new place. If one cannot be moved, `out`
    is as it was.
    """
    made, tag = _made(staging, _tag(last)), _tag(last)
    replacing, replaced = staging / f"{REPLACING}{tag}", staging / f"{REPLACED}{tag}"
    replacing.mkdir()
    try:
        for name in [last, *sorted({*entries, *made} - {last})]:
            if os.path.lexists(out / name):
                (out / name).rename(replacing / name)
        replacing.rename(replaced)
        _move_in(staging, out, tag)
    except BaseException:
        if replaced.is_dir():
            for name in reversed(made):
                if os.path.lexists(out / name) and not os.path.lexists(staging / name):
                    (out / name).rename(staging / name)
            replaced.rename(replacing)  # only now: killed before, the next run still moves all new files in
        _move_back(replacing, out, tag)
        raise


def _finish_or_undo(staging: Path, out: Path) -> None:
    """Bring `out` into order after a run that was killed while it exchanged files with `staging`.

    Raises
    ------
    OSError
        If a file cannot be moved; it is still in `staging`, for the next run to try again.
    """
    for earlier in staging.glob(f"{REPLACING}*"):
        _move_back(earlier, out, earlier.name.removeprefix(REPLACING))
        earlier.rmdir()
    for earlier in staging.glob(f"{REPLACED}*"):
        _move_in(staging, out, earlier.name.removeprefix(REPLACED))


def _tag(name: str) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:DIGITS]


def _made(staging: Path, tag: str) -> list[str]:
    """Return the names of the new entries in the order in which they move."""
    own = {MARKER, f"{REPLACING}{tag}", f"{REPLACED}{tag}"}
    return sorted({path.name for path in staging.iterdir()} - own, key=lambda name: (_tag(name) == tag, name))


def _made_files(staging: Path) -> Iterator[Path]:
    """Yield the new files; a record of a run inside this one is not one of them."""
    for path in sorted(staging.rglob("*")):
        if path.is_file() and path not in (staging / MARKER, staging / RECORD):
            yield path


def _move_in(staging: Path, out: Path, tag: str) -> None:
    for name in _made(staging, tag):
        _keep_aside(out / name)
        (staging / name).rename(out / name)


def _move_back(earlier: Path, out: Path, tag: str) -> None:
    """Put earlier files back, the last one at the end; one that cannot be moved does not keep the others away."""
    for path in sorted(earlier.iterdir(), key=lambda path: (_tag(path.name) == tag, path.name)):
        with suppress(OSError):
            _keep_aside(out / path.name)
            path.rename(out / path.name)


def _keep_aside(path: Path) -> None:
    """Give another name to what somebody put into a place that was empty a moment, or a crash, ago."""
    if os.path.lexists(path):
        free = (path.with_name(f"{path.name}.kept-{number}") for number in itertools.count(1))
        path.rename(next(name for name in free if not os.path.lexists(name)))


def _is_unfinished(staging: Path) -> bool:
    """Whether an exchange could be neither finished nor undone; the next run will try it again."""
    undone = all(not any(earlier.iterdir()) for earlier in staging.glob(f"{REPLACING}*"))
    return not undone or any(staging.glob(f"{REPLACED}*"))


def force_to_disk(path: Path, *, deep: bool = True) -> None:
    """Return when a file or folder has reached the disk, as far as the system can say.

    Parameters
    ----------
    path : Path
        The file or folder; a link is left alone.
    deep : bool
        Whether all that is in the folder is forced too, or its list of names alone.

    Raises
    ------
    OSError
        If it did not; some file systems find out only now that they are full.
    """
    if path.is_symlink():
        return
    if path.is_dir():
        for entry in sorted(path.iterdir()) if deep else ():
            if entry.name != MARKER:
                force_to_disk(entry)
        if os.name == "nt":  # Windows opens no folders
            return
    # Windows forces only what is open for writing; elsewhere files may be read-only, and folders always are.
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_FORCE:
            raise
    finally:
        os.close(descriptor)


def _force_names_to_disk(folder: Path, made: Iterable[Path]) -> None:
    """Return when the names in a folder have reached the disk, and those of the folders that were made for it."""
    for path in (folder, *(path.parent for path in made)):
        force_to_disk(path, deep=False)


def _reason(error: OSError) -> str:
    return error.strerror or str(error) or type(error).__name__


def _remedy(error: OSError) -> str:
    """Say what to do about an error of the file system."""
    if error.errno in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)):
        return "free some space there or choose another place"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "a file lies where a folder is needed; choose another place"
    if error.errno == errno.ENOENT:
        return "the folder was removed or renamed meanwhile; run again"
    return "choose a writable place with free space, and close programs that show these files"
