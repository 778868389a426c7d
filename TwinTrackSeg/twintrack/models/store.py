"""The folder of installed models: what lies in it, who works in it, and whether there is room."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twintrack.bundle.places import BUNDLE, DEMO, FOLDER_VARIABLE, MODEL_NAME, installed_models, models_folder
from twintrack.errors import InputError, OutputError
from twintrack.system.atomic import atomic_paths
from twintrack.system.capacity import check_room, free_bytes
from twintrack.system.json_file import read_json, save_json
from twintrack.system.locks import try_lock

__all__ = [
    "RECORD",
    "Installed",
    "check_free_name",
    "check_name",
    "install",
    "installed",
    "remove",
    "room",
    "working_folder",
]

RECORD = "record.json"
"""Beside the bundle: where it is from, the hashes of what was fetched, and the acceptance of its licence."""

WORK = ".getting"
"""Folder with what is being fetched, by the name that it will have."""


@dataclass(frozen=True)
class Installed:
    """An installed model.

    Attributes
    ----------
    name : str
        Its name.
    bundle : Path
        Folder of its bundle.
    record : mapping
        What is known of where it is from; empty where that cannot be read.
    """

    name: str
    bundle: Path
    record: dict[str, Any]

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(path.stat().st_size for path in self.bundle.parent.rglob("*") if path.is_file())


def installed() -> list[Installed]:
    """Return the installed models in the order of their names."""
    return [Installed(name, bundle, _record(bundle.parent / RECORD)) for name, bundle in installed_models().items()]


def _record(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def check_name(name: str) -> str:
    """Return a name that an installed model can have.

    Raises
    ------
    InputError
        If it cannot be one.
    """
    if not MODEL_NAME.fullmatch(name) or name == DEMO:
        raise InputError(
            "cannot be the name of a model; take up to 64 small letters, digits, '-', '_' and '.', and not demo",
            code="model-name",
            where=name,
        )
    return name


def check_free_name(name: str, *, overwrite: bool) -> None:
    """Refuse the name of an installed model that is not to be replaced.

    Raises
    ------
    OutputError
        If there is one.
    """
    if name in installed_models() and not overwrite:
        raise OutputError(
            "is installed already; give another --name, or add --overwrite to replace it",
            code="model-installed",
            path=name,
        )


def room() -> int | None:
    """Return how many bytes are free where models are installed; None if nobody knows."""
    return free_bytes(models_folder())


@contextmanager
def working_folder(name: str, *, needed: int) -> Iterator[Path]:
    """Yield the folder in which a model is made, locked; what an earlier attempt left there is still there.

    It is removed when the block succeeds.

    Parameters
    ----------
    name : str
        What the model will be called.
    needed : int
        Bytes that it takes in all, with what may be there already.

    Raises
    ------
    InputError
        If another program is getting that model.
    OutputError
        If the folder cannot be written, or the disk has no room.
    """
    work = models_folder() / WORK / name
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = _lock(work.with_name(f"{name}.lock"))
    except BlockingIOError as error:
        raise InputError(
            "another program is getting this model right now; wait for it, or end it", code="model-busy", where=name
        ) from error
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror}); name another folder with {FOLDER_VARIABLE}",
            code="not-writable",
            path=models_folder(),
        ) from error
    try:
        there = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
        check_room(work, needed - there, f"getting {name}")
        yield work
        shutil.rmtree(work, ignore_errors=True)
    finally:
        if lock is not None:
            os.close(lock)


def _lock(path: Path) -> int | None:
    """Lock a file; None where the file system has no locks, as some network folders have not."""
    try:
        return try_lock(path)
    except BlockingIOError:
        raise
    except OSError:
        if not os.access(path.parent, os.W_OK):
            raise
        return None


def install(name: str, ready: Path, record: dict[str, Any], *, overwrite: bool) -> Path:
    """Put a folder with a finished bundle in it, and its record, to its place at once; return the bundle's folder.

    Raises
    ------
    OutputError
        If a model of that name is there and is not to be replaced, or the place cannot be written.
    """
    place = models_folder() / name
    save_json(ready / RECORD, record)
    with atomic_paths(place, overwrite=overwrite, proof=_never, folders=True, mark=False) as (partial,):
        ready.rename(partial)
    return place / BUNDLE


def _never(path: Path) -> bool:  # noqa: ARG001
    """Say that a model is replaced only when the user says so."""
    return False


def remove(name: str) -> int:
    """Remove an installed model, or what was fetched of one; return the bytes that are free again.

    Raises
    ------
    InputError
        If there is none of that name, or it is being got.
    OutputError
        If it cannot be removed.
    """
    check_name(name)
    there = installed_models()
    work = models_folder() / WORK / name
    if name not in there and not work.is_dir():
        raise InputError(
            f"no installed model; there are: {', '.join(there) or 'none'}", code="model-not-installed", where=name
        )
    folders = [path for path in (work, models_folder() / name) if path.is_dir()]
    size = sum(path.stat().st_size for folder in folders for path in folder.rglob("*") if path.is_file())
    with working_folder(name, needed=0):
        try:
            if name in there:
                shutil.rmtree(models_folder() / name)
        except OSError as error:
            raise OutputError(
                f"cannot be removed ({error.strerror})", code="not-writable", path=models_folder() / name
            ) from error
    return size
