"""Unpack a ZIP archive of DICOM files into a folder that lives as long as what was read from it."""

from __future__ import annotations

import logging
import shutil
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from twintrack.errors import InputError
from twintrack.progress import CancelToken, Progress
from twintrack.system.private_folder import PrivateFolder

__all__ = ["Unpacked", "unpack"]

logger = logging.getLogger(__name__)

LARGEST_BYTES = 16 * 1024**3
"""An archive whose content is larger than this is refused: no CT series is."""

MOST_FILES = 200_000
"""An archive with more entries than this is refused."""

ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError)
"""What the ZIP reader raises on a damaged, encrypted or unknown archive."""


@dataclass(frozen=True)
class Unpacked:
    """The files of an archive in a temporary folder, which is removed when this object is no longer used.

    Attributes
    ----------
    files : dict of Path to Path
        The unpacked files, with the place of each inside the archive (``scan.zip/CT/1.dcm``).
    """

    files: dict[Path, Path]
    _folder: PrivateFolder = field(repr=False)


def unpack(path: Path, progress: Progress, cancel: CancelToken) -> Unpacked:
    """Unpack all files of the ZIP archive `path`, whatever folders they lie in.

    Entries are written under numbers, never under the names in the archive, so that no name can lead out of the folder.

    Raises
    ------
    InputError
        If the archive is damaged, encrypted or too large, or there is no room for its files.
    Cancelled
        If `cancel` was triggered.
    """
    files: dict[Path, Path] = {}
    try:
        folder = PrivateFolder("twintrack-zip-")
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check_size(path, entries)
            for number, entry in enumerate(entries):
                cancel.check()
                progress(number / len(entries), "unpacking the ZIP archive")
                target = folder.path / f"{number:06d}" / _safe_name(entry.filename)
                target.parent.mkdir()
                with archive.open(entry) as source, target.open("wb") as sink:
                    shutil.copyfileobj(source, sink)
                files[target] = path / _inner_path(entry.filename)
    except ZIP_ERRORS as error:
        raise InputError(
            f"{path}: the ZIP archive is damaged, encrypted or of an unknown kind; unpack it and give the folder"
        ) from error
    except OSError as error:
        raise InputError(
            f"{path}: cannot be unpacked into the temporary folder ({error.strerror}); make room there"
        ) from error
    return Unpacked(files, folder)


def _check_size(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    if sum(entry.file_size for entry in entries) > LARGEST_BYTES or len(entries) > MOST_FILES:
        raise InputError(f"{path}: holds too much to be one CT study; give a ZIP archive of the series alone")


def _inner_path(name: str) -> Path:
    """Return the place of an entry as it is shown: relative, without steps upwards."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    return Path(*parts) if parts else Path("unnamed")


def _safe_name(name: str) -> str:
    """Return the last part of an entry's name, in letters that every file system takes."""
    last = _inner_path(name).name
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in last)[-80:] or "unnamed"
