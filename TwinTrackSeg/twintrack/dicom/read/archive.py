"""Unpack a ZIP archive of DICOM files, within stated limits.

An archive can claim anything about itself: the number of its entries, their sizes, where they lie. It is looked at from
the outside in: how many entries it lists, before that is read into memory (`twintrack.system.zip_directory`); what they
claim to be, before any is opened; how many bytes come out, while they are written.

References
----------
DICOM PS3.12, V (ZIP of DICOM files).
"""

from __future__ import annotations

import logging
import shutil
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from twintrack.errors import InputError
from twintrack.progress.callbacks import CancelToken, Progress
from twintrack.system.zip_directory import TooManyFilesError, open_zip

__all__ = ["unpack"]

logger = logging.getLogger(__name__)

LARGEST_BYTES = 16 * 1024**3
"""An archive whose content is larger than this is refused: no CT series is."""

MOST_FILES = 20_000
"""An archive with more entries than this is refused."""

FREE_BYTES, LARGEST_RATIO = 256 * 1024**2, 200
"""Unpacked, an archive may have the first, or so many times its own size; CT slices shrink to a half or a third."""

SHOWN_PARTS, SHOWN_LETTERS = 6, 80
"""How much of an entry's place in the archive is shown."""

CHUNK_BYTES = 1 << 20

ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError)
"""What the ZIP reader raises on a damaged, encrypted or unknown archive."""


def unpack(path: Path, folder: Path, progress: Progress, cancel: CancelToken) -> dict[Path, Path]:
    """Unpack all files of the ZIP archive `path`, whatever folders they lie in, into the empty folder `folder`.

    Entries are written under numbers, never under the names in the archive, so that no name can lead out of the folder.
    Links and other special entries are passed over.

    Returns
    -------
    dict of Path to Path
        The unpacked files, with the place of each inside the archive (``scan.zip/CT/1.dcm``).

    Raises
    ------
    InputError
        If the archive is damaged, encrypted or too large, or there is no room for its files.
    Cancelled
        If `cancel` was triggered.
    """
    files: dict[Path, Path] = {}
    try:
        with open_zip(path, max_files=MOST_FILES, same_names=True) as archive:
            entries = [entry for entry in archive.infolist() if not entry.is_dir()]
            _check_sizes(path, entries)
            entries = [entry for entry in entries if _is_plain(entry)]
            _check_room(path, sum(entry.file_size for entry in entries), folder)
            for number, entry in enumerate(entries):
                cancel.check()
                progress(number / len(entries), "unpacking the ZIP archive")
                target = folder / f"{number:06d}" / _safe_name(entry.filename)
                target.parent.mkdir()
                _extract(archive, entry, target, cancel)
                files[target] = path / _inner_path(entry.filename)
    except TooManyFilesError as error:
        raise _too_much(path) from error
    except ZIP_ERRORS as error:
        reason = f" ({error})" if isinstance(error, zipfile.BadZipFile) else ""
        raise InputError(
            f"the ZIP archive is damaged, encrypted or of an unknown kind{reason}; unpack it and give the folder",
            code="archive-damaged",
            path=path,
        ) from error
    except OSError as error:
        raise InputError(
            f"cannot be unpacked into the temporary folder ({error.strerror}); make room there",
            code="no-temporary-folder",
            path=path,
        ) from error
    return files


def _too_much(path: Path) -> InputError:
    return InputError(
        "holds too much to be one CT study; give a ZIP archive of the series alone", code="archive-too-large", path=path
    )


def _check_sizes(path: Path, entries: list[zipfile.ZipInfo]) -> None:
    """Refuse an archive by what it states about the sizes of its entries."""
    total = sum(entry.file_size for entry in entries)
    compressed = sum(entry.compress_size for entry in entries)
    if total > LARGEST_BYTES or total > max(FREE_BYTES, LARGEST_RATIO * compressed):
        raise _too_much(path)


def _is_plain(entry: zipfile.ZipInfo) -> bool:
    """Whether an entry is a file, not a link or device."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    return kind in (0, stat.S_IFREG)


def _check_room(path: Path, needed: int, folder: Path) -> None:
    if needed > shutil.disk_usage(folder).free:
        raise InputError(
            f"cannot be unpacked into the temporary folder, which has no room for {needed / 1e6:.0f} MB; "
            "make room there",
            code="no-disk-space",
            path=path,
        )


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, cancel: CancelToken) -> None:
    """Write one entry, and no more of it than it states."""
    written = 0
    with archive.open(entry) as source, target.open("wb") as sink:
        while chunk := source.read(CHUNK_BYTES):
            cancel.check()
            written += len(chunk)
            if written > entry.file_size:
                break
            sink.write(chunk)
    if written != entry.file_size:
        raise zipfile.BadZipFile("an entry of another size than stated")


def _inner_path(name: str) -> Path:
    """Return the place of an entry as it is shown: relative, short, without steps upwards and control characters."""
    parts = [part for part in PurePosixPath(name.replace("\\", "/")).parts if part not in ("/", "..", ".")]
    shown = ["".join(letter if letter.isprintable() else "?" for letter in part) for part in parts]
    if len(shown) > SHOWN_PARTS:
        shown = ["...", *shown[-SHOWN_PARTS:]]
    return Path(*(part[-SHOWN_LETTERS:] for part in shown)) if shown else Path("unnamed")


def _safe_name(name: str) -> str:
    """Return the last part of an entry's name, in letters that every file system takes."""
    last = _inner_path(name).name
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in last)[-80:] or "unnamed"
