"""Unpacking a stranger's zip file without leaving the folder it is unpacked to."""

from __future__ import annotations

import errno
import stat
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from twintrack.bundle.schema import MAX_FILES
from twintrack.errors import BundleError, OutputError
from twintrack.system.json_file import MAX_JSON_BYTES, read_limited
from twintrack.system.private_folder import PrivateFolder
from twintrack.system.zip_directory import open_zip

__all__ = [
    "FREE_BYTES",
    "MAX_BYTES",
    "MAX_FILES",
    "MAX_GROWTH",
    "UNPACKED",
    "entry_target",
    "extract_bundle_zip",
    "read_bundle_document",
    "unpack_bundle_zip",
]

MAX_BYTES = 16 * 1024**3
"""Largest unpacked size of a zipped bundle; ten full-size members take about 1.5 GB."""

DOCUMENT = "bundle.json"

UNPACKED = "bundle"
"""Name of the folder with the bundle's files inside its private folder."""

LITTER_FILES = 1000
"""Folders, and files of file managers, that a zip may hold beside the bundle's."""

FREE_BYTES, MAX_GROWTH = 64 * 1024**2, 8
"""A zip may unpack to `FREE_BYTES`, and beyond that to `MAX_GROWTH` times its own size: weights shrink by 7 %."""

MAX_NAME, MAX_FOLDERS = 255, 8
"""Longest name, and most folders above a file."""

_CHUNK = 1 << 20


def unpack_bundle_zip(path: Path) -> PrivateFolder:
    """Unpack a zipped bundle into a private folder, below `UNPACKED`.

    Raises
    ------
    BundleError
        As `extract_bundle_zip`.
    OutputError
        If there is no room for it.
    """
    unpacked = None
    try:
        unpacked = PrivateFolder()
        (unpacked.path / UNPACKED).mkdir()
        extract_bundle_zip(path, unpacked.path / UNPACKED)
    except BaseException as error:
        if unpacked is not None:
            unpacked.close()
        if isinstance(error, OSError):
            reason = f"cannot be unpacked into the temporary folder ({error.strerror}); make room there"
            raise OutputError(f"{reason}", code="no-temporary-folder", path=path) from error
        raise
    return unpacked


def read_bundle_document(path: Path) -> bytes:
    """Return the ``bundle.json`` of a bundle folder or ZIP file, as bytes; nothing else of it is read.

    Raises
    ------
    BundleError
        If there is none, or the file is not a sound ZIP file.
    """
    try:
        if path.is_dir():
            return read_limited(path / DOCUMENT, MAX_JSON_BYTES)
        if not path.is_file():  # a pipe would be waited for
            raise FileNotFoundError(path)
        with open_zip(path, max_files=MAX_FILES + LITTER_FILES) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.rsplit("/", 1)[-1] == DOCUMENT]
            if entries:
                with archive.open(min(entries, key=lambda entry: entry.filename.count("/"))) as stream:
                    content = stream.read(MAX_JSON_BYTES + 1)
                if len(content) <= MAX_JSON_BYTES:
                    return content
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, OSError) as error:
        raise BundleError(
            f"not a model bundle; choose a bundle folder (with {DOCUMENT}) or its ZIP", code="not-a-bundle", path=path
        ) from error
    raise BundleError(
        f"has no {DOCUMENT}, or one of absurd size; choose a ZIP file of a bundle folder",
        code="not-a-bundle",
        path=path,
    )


def extract_bundle_zip(path: Path, folder: Path, *, max_files: int = MAX_FILES, max_bytes: int = MAX_BYTES) -> None:
    """Unpack a zipped bundle into the empty folder `folder`.

    A single folder around the bundle's files, as file managers add it, is taken off.

    Raises
    ------
    BundleError
        If the file is not a sound zip, holds too much, or an entry would land outside `folder` or is not a plain file.
    """
    try:
        with open_zip(path, max_files=max_files + LITTER_FILES) as archive:
            entries = [e for e in archive.infolist() if not e.is_dir() and not e.filename.startswith("__MACOSX/")]
            if len(entries) > max_files:
                raise BundleError(
                    f"holds {len(entries)} files, more than the {max_files} a bundle may have",
                    code="bundle-too-large",
                    path=path,
                )
            targets = [entry_target(path, entry) for entry in entries]
            _refuse_duplicates(path, targets)
            prefix = _common_folder(targets)
            left = min(max_bytes, FREE_BYTES + MAX_GROWTH * path.stat().st_size)
            for entry, target in zip(entries, targets, strict=True):
                left -= _extract(archive, entry, folder / target.relative_to(prefix), left, path)
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, NotImplementedError, RuntimeError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # a place before the start of the file
            raise
        reason = f" ({error})" if isinstance(error, zipfile.BadZipFile) else ""
        raise BundleError(
            f"neither a bundle folder nor a readable zip of one; it may be damaged, encrypted or incomplete{reason}",
            code="archive-damaged",
            path=path,
        ) from error


def entry_target(path: Path, entry: zipfile.ZipInfo) -> PurePosixPath:
    """Return where an entry goes, below the folder that an archive is unpacked to.

    Raises
    ------
    BundleError
        If that is not below it, or the entry is no plain file.
    """
    name = entry.filename
    target = PurePosixPath(name)
    if not name.isprintable() or len(name) > MAX_NAME or len(target.parts) > MAX_FOLDERS:
        raise BundleError(
            f"refused, because the name {name[:MAX_NAME]!r} of an entry is too long, in too many folders, or "
            "not printable",
            code="archive-entry-refused",
            path=path,
        )
    mode = entry.external_attr >> 16
    if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
        raise BundleError(
            f"refused, because the entry {name!r} is a link or another special file",
            code="archive-entry-refused",
            path=path,
        )
    unsafe = target.is_absolute() or ".." in target.parts or any(c in name for c in "\\:\0")
    if unsafe or not target.parts:
        raise BundleError(
            f"refused, because the entry {name!r} would be written outside the bundle's folder",
            code="archive-entry-refused",
            path=path,
        )
    return target


def _refuse_duplicates(path: Path, targets: list[PurePosixPath]) -> None:
    names: set[str] = set()
    for target in targets:
        if str(target).casefold() in names:
            raise BundleError(
                f"refused, because it holds {str(target)!r} twice", code="archive-entry-refused", path=path
            )
        names.add(str(target).casefold())


def _common_folder(targets: list[PurePosixPath]) -> PurePosixPath:
    first = {target.parts[0] for target in targets}
    wrapped = len(first) == 1 and all(len(target.parts) > 1 for target in targets)
    return PurePosixPath(first.pop()) if wrapped else PurePosixPath()


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, target: Path, limit: int, path: Path) -> int:
    """Copy one entry, counting the real bytes: the size in a zip's directory may lie."""
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with archive.open(entry) as source, target.open("xb") as sink:
        while chunk := source.read(_CHUNK):
            written += len(chunk)
            if written > limit:
                raise BundleError(
                    "refused, because it unpacks to more than a bundle may hold", code="bundle-too-large", path=path
                )
            sink.write(chunk)
    return written
