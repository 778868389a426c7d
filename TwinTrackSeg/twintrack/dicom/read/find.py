"""Find the slices of the one CT series that a folder, a ZIP archive or a file stands for."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from twintrack.dicom.read.acquisitions import check_one_patient, one_acquisition
from twintrack.dicom.read.archive import unpack
from twintrack.dicom.read.choose import choose_series, list_series
from twintrack.dicom.read.copies import without_copies
from twintrack.dicom.read.enhanced import frames_of, is_multi_frame
from twintrack.dicom.read.headers import DIRECTORY_STORAGE, HEADER_LIMITS, Header, TooMuchError, is_zip, read_header
from twintrack.errors import InputError
from twintrack.progress.callbacks import CancelToken, Progress, no_progress, part
from twintrack.system.paths import is_there

__all__ = ["MOST_FILES", "files_below", "find_series", "is_plain", "series_files"]

logger = logging.getLogger(__name__)

MOST_FILES = 200_000
"""A folder with more files than this is refused: no CT series has as many."""

MOST_ELEMENTS = 30_000_000
"""Elements that are walked through in all files of a folder; 20,000 slices have some three million."""

LONGEST_S = 1800.0
"""Time for all headers of a folder; 20,000 slices take a minute, on a slow network some ten."""


def find_series(
    path: str | Path,
    folder: Path,
    *,
    series_uid: str | None = None,
    preferred_uid: str | None = None,
    acquisition: int | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> tuple[list[Header], tuple[str, ...]]:
    """Return the slices of the CT series `series_uid` at `path`, or of the one CT series there, in no special order.

    There is one header for each slice: a file, or a frame of a multi-frame file. With them comes what a user must be
    told about how they were found.

    Parameters
    ----------
    path : str or Path
        A folder or ZIP archive (scouts, dose reports, derived objects, DICOMDIR and files of other kinds are passed
        over), or one file, which picks its own series from its folder. Folders are searched with all below them.
    folder : Path
        An empty folder, where a ZIP archive is unpacked, and for the files that decoders need.
    series_uid : str, optional
        SeriesInstanceUID, to choose among several.
    preferred_uid : str, optional
        The one to take where there are several and none is chosen.
    acquisition : int, optional
        AcquisitionNumber, to choose among several phases or passes of the series.
    progress : callable
        Told the fraction of files looked at.
    cancel : CancelToken, optional
        Checked before each file.

    Raises
    ------
    InputError
        If there is no such path, no DICOM image, more than one series, patient or acquisition, another modality than
        CT, two versions of a slice, or a file is damaged.
    Cancelled
        If `cancel` was triggered.
    """
    path, cancel = Path(path), cancel or CancelToken()
    series = _series_at(path, folder, series_uid, preferred_uid, progress, cancel)
    slices = [part for header in series for part in (frames_of(header) if is_multi_frame(header) else [header])]
    check_one_patient(path, slices)
    slices, notes = without_copies(slices, folder, cancel)
    return one_acquisition(path, slices, acquisition), notes


def series_files(
    path: str | Path, folder: Path, *, series_uid: str | None = None, cancel: CancelToken | None = None
) -> list[tuple[Path, str]]:
    """Return the files of the one CT series at `path`, copies of slices and all acquisitions included.

    With each comes what to call it in a message. Parameters and errors are those of `find_series`.
    """
    series = _series_at(Path(path), folder, series_uid, None, no_progress, cancel or CancelToken())
    return sorted({header.path: str(header.shown or header.path) for header in series}.items())


def _series_at(
    path: Path,
    folder: Path,
    series_uid: str | None,
    preferred_uid: str | None,
    progress: Progress,
    cancel: CancelToken,
) -> list[Header]:
    """Return the headers of all files of the series that is meant, checked for being images of a CT."""
    if not is_there(path):
        raise InputError("no such file or folder", code="file-missing", path=path)
    if path.is_dir():
        series = _chosen(path, _scan(path, _files_in(path), progress, cancel), series_uid, preferred_uid)
    elif not path.is_file():
        raise InputError(
            "neither a regular file nor a folder; give a folder with a CT series, or one file of it",
            code="not-a-regular-file",
            path=path,
        )
    elif is_zip(path):
        unpacked = unpack(path, folder, part(progress, 0.0, 0.5), cancel)
        headers = _scan(path, unpacked.items(), part(progress, 0.5, 1.0), cancel)
        series = _chosen(path, headers, series_uid, preferred_uid)
    else:
        series = _series_of_file(path, series_uid, progress, cancel)
    for header in series:
        _check_ct(path, header)
        if header.whole_number("SamplesPerPixel") > 1:
            raise InputError(
                "a color picture, not a CT image; give the original series", code="not-a-ct", path=header.place
            )
    return series


def _series_of_file(path: Path, series_uid: str | None, progress: Progress, cancel: CancelToken) -> list[Header]:
    """Return the series that the file `path` belongs to, from its folder; a scout picks itself."""
    picked = read_header(path)
    if picked is None:
        raise InputError(
            "not a DICOM file; give a folder with a CT series, or one file of it", code="not-dicom", path=path
        )
    _check_ct(path, picked)
    if series_uid not in (None, picked.series_uid, picked.text("SeriesNumber")):
        raise InputError(
            f"belongs to the series '{picked.series_uid}', not to '{series_uid}'; leave out one of the two",
            code="series-unknown",
            path=path,
        )
    found = _scan(path.parent, _files_in(path.parent), progress, cancel)
    images = [header for header in found.headers if header.is_image]
    own = (uid for uid, members in list_series(images).items() if any(header.path == path for header in members))
    chosen = choose_series(path, images, next(own, picked.series_uid))
    _refuse_too_much(found, chosen)
    return chosen


def files_below(folder: Path) -> list[Path]:
    """Return the plain files in `folder` and below it; hidden folders and links to folders are passed over.

    Raises
    ------
    InputError
        If there are too many, or a folder cannot be listed.
    """
    files: list[Path] = []
    folders = [folder]
    while folders:
        place = folders.pop()
        try:
            with os.scandir(place) as entries:
                for entry in entries:
                    if is_plain(entry):
                        files.append(place / entry.name)
                    elif entry.is_dir(follow_symlinks=False) and not entry.name.startswith((".", "__MACOSX")):
                        folders.append(place / entry.name)
                    if len(files) + len(folders) > MOST_FILES:
                        raise InputError(
                            f"holds more than {MOST_FILES} files; give a folder of the series alone",
                            code="too-many-files",
                            path=folder,
                        )
        except OSError as error:
            raise InputError(
                "cannot be listed; check the permissions of the folder", code="folder-unreadable", path=place
            ) from error
    return sorted(files)


def _files_in(folder: Path) -> list[tuple[Path, None]]:
    """Return the plain files of `folder`, which are called by their own path."""
    return [(file, None) for file in files_below(folder)]


def is_plain(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is a file, or a link to one."""
    try:
        return entry.is_file()
    except OSError:  # a link in a circle
        return False


@dataclass
class _Scan:
    """What the files of a folder are: headers, and what was given up before all of the header was read."""

    headers: list[Header] = field(default_factory=list)
    too_much: list[TooMuchError] = field(default_factory=list)


def _scan(place: Path, files: Iterable[tuple[Path, Path | None]], progress: Progress, cancel: CancelToken) -> _Scan:
    """Read the headers of all DICOM files among `files`, pairs of a file and what to call it."""
    listed = list(files)
    found = _Scan()
    walked, until_s = 0, time.monotonic() + LONGEST_S
    for number, (file, shown) in enumerate(listed):
        cancel.check()
        progress(number / len(listed), "looking for the series")
        try:
            header = read_header(file, shown)
        except TooMuchError as error:
            found.too_much.append(error)
            walked += HEADER_LIMITS.elements
            header = None
        if header is not None:
            found.headers.append(header)
            walked += header.walked
        if walked > MOST_ELEMENTS or time.monotonic() > until_s:
            raise InputError(
                "the headers of its files are larger than those of any CT study; give a folder with the series alone",
                code="headers-too-large",
                path=place,
            )
    passed_over = len(listed) - len(found.headers) - len(found.too_much)
    if passed_over:
        logger.info("passed over %d of %d files that are not DICOM", passed_over, len(listed))
    return found


def _refuse_too_much(found: _Scan, chosen: list[Header]) -> None:
    """Refuse a file that goes beyond a limit and may be a slice of the chosen series; pass over others, and say so."""
    for error in found.too_much:
        if error.may_belong_to(chosen[0].series_uid):
            raise error
        logger.warning("passed over a file of another series: %s", error)


def _chosen(place: Path, found: _Scan, series_uid: str | None, preferred_uid: str | None) -> list[Header]:
    images = [header for header in found.headers if header.is_image]
    if not images:
        if found.too_much:
            raise found.too_much[0]
        raise _no_images(place, found.headers)
    if len(images) < len(found.headers):
        logger.info("passed over %d DICOM files that are not images", len(found.headers) - len(images))
    chosen = choose_series(place, images, series_uid, preferred_uid)
    _refuse_too_much(found, chosen)
    return chosen


def _no_images(place: Path, headers: list[Header]) -> InputError:
    """Say what a folder or archive without images holds instead."""
    if not headers:
        if not place.is_dir():
            return InputError(
                "no DICOM files in this ZIP archive; give one that holds a CT series", code="no-dicom-files", path=place
            )
        return InputError(
            "no DICOM files in this folder or below it; give a folder with a CT series",
            code="no-dicom-files",
            path=place,
        )
    if all(header.sop_class_uid == DIRECTORY_STORAGE for header in headers):
        return InputError(
            "holds a DICOMDIR index but no images; give the folder with the CT series", code="dicomdir-only", path=place
        )
    kinds = sorted({header.text("Modality") or "unknown" for header in headers})
    return InputError(
        f"holds no images, only DICOM of modality {', '.join(kinds)}; a CT series is needed",
        code="not-a-ct",
        path=place,
    )


def _check_ct(path: Path, header: Header) -> None:
    if header.sop_class_uid == DIRECTORY_STORAGE:
        raise InputError(
            "a DICOMDIR is only an index; give the folder with the CT series, or one file of it",
            code="dicomdir-only",
            path=path,
        )
    modality = header.text("Modality")
    if modality != "CT":
        raise InputError(
            f"the modality is {modality or 'not stated'}; a CT series is needed", code="not-a-ct", path=path
        )
    if not header.is_image:
        raise InputError("a DICOM object without pixels; give a CT series", code="no-pixels", path=path)
