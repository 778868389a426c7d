"""Find the slices of the one CT series that a folder, a ZIP archive or a file stands for."""

from __future__ import annotations

import filecmp
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from twintrack.dicom.archive import Unpacked, unpack
from twintrack.dicom.choose import choose_series
from twintrack.dicom.enhanced import frames_of, is_multi_frame
from twintrack.dicom.headers import Header, is_zip, read_header
from twintrack.errors import InputError
from twintrack.progress import CancelToken, Progress, no_progress, part

__all__ = ["Found", "find_series"]

logger = logging.getLogger(__name__)

DIRECTORY_STORAGE = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR file."""


@dataclass(frozen=True)
class Found:
    """The slices of one series, in no particular order.

    Attributes
    ----------
    slices : list of Header
        One header for each slice: a file, or a frame of a multi-frame file.
    unpacked : Unpacked, optional
        What keeps the files of a ZIP archive in place.
    """

    slices: list[Header]
    unpacked: Unpacked | None = None


def find_series(
    path: str | Path,
    *,
    series_uid: str | None = None,
    preferred_uid: str | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> Found:
    """Return the slices of the CT series `series_uid` at `path`, or of the one CT series there.

    Parameters
    ----------
    path : str or Path
        A folder or ZIP archive (scouts, dose reports, derived objects, DICOMDIR and files of other kinds are passed
        over), or one file, which picks its own series from its folder. Folders are not searched recursively.
    series_uid : str, optional
        SeriesInstanceUID, to choose among several.
    preferred_uid : str, optional
        The one to take where there are several and none is chosen.
    progress : callable
        Told the fraction of files looked at.
    cancel : CancelToken, optional
        Checked before each file.

    Raises
    ------
    InputError
        If there is no such path, no DICOM image, more than one series, another modality than CT, or a file is damaged.
    Cancelled
        If `cancel` was triggered.
    """
    path, cancel = Path(path), cancel or CancelToken()
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    unpacked = None
    if path.is_dir():
        series = _chosen(path, _scan(_files_in(path), progress, cancel), series_uid, preferred_uid)
    elif is_zip(path):
        unpacked = unpack(path, part(progress, 0.0, 0.5), cancel)
        headers = _scan(unpacked.files.items(), part(progress, 0.5, 1.0), cancel)
        series = _chosen(path, headers, series_uid, preferred_uid)
    else:
        series = _series_of_file(path, series_uid, progress, cancel)
    for header in series:
        _check_ct(path, header)
        if header.whole_number("SamplesPerPixel") > 1:
            raise InputError(f"{header.place}: a colour picture, not a CT image; give the original series")
    slices = [part for header in series for part in (frames_of(header) if is_multi_frame(header) else [header])]
    return Found(_without_copies(slices), unpacked)


def _series_of_file(path: Path, series_uid: str | None, progress: Progress, cancel: CancelToken) -> list[Header]:
    """Return the series that the file `path` belongs to, from its folder; a scout picks itself."""
    picked = read_header(path)
    if picked is None:
        raise InputError(f"{path}: not a DICOM file; give a folder with a CT series, or one file of it")
    _check_ct(path, picked)
    if series_uid not in (None, picked.series_uid):
        raise InputError(
            f"{path}: belongs to the series '{picked.series_uid}', not to '{series_uid}'; leave out one of the two"
        )
    headers = _scan(_files_in(path.parent), progress, cancel)
    return choose_series(path, [header for header in headers if header.is_image], picked.series_uid)


def _files_in(folder: Path) -> list[tuple[Path, None]]:
    """Return the files directly inside `folder`, which are called by their own path."""
    try:
        return [(item, None) for item in sorted(folder.iterdir()) if item.is_file()]
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed; check the permissions of the folder") from error


def _scan(files: Iterable[tuple[Path, Path | None]], progress: Progress, cancel: CancelToken) -> list[Header]:
    """Return the headers of all DICOM files among `files`, pairs of a file and what to call it."""
    listed = list(files)
    headers = []
    for number, (file, shown) in enumerate(listed):
        cancel.check()
        progress(number / len(listed), "looking for the series")
        header = read_header(file, shown)
        if header is not None:
            headers.append(header)
    if len(headers) < len(listed):
        logger.info("passed over %d of %d files that are not DICOM", len(listed) - len(headers), len(listed))
    return headers


def _chosen(place: Path, headers: list[Header], series_uid: str | None, preferred_uid: str | None) -> list[Header]:
    images = [header for header in headers if header.is_image]
    if not images:
        raise _no_images(place, headers)
    if len(images) < len(headers):
        logger.info("passed over %d DICOM files that are not images", len(headers) - len(images))
    return choose_series(place, images, series_uid, preferred_uid)


def _no_images(place: Path, headers: list[Header]) -> InputError:
    """Say what a folder or archive without images holds instead."""
    if not headers:
        if not place.is_dir():
            return InputError(f"{place}: no DICOM files in this ZIP archive; give one that holds a CT series")
        inside = any(item.is_dir() for item in place.iterdir())
        hint = "give the subfolder that holds the CT series" if inside else "give a folder with a CT series"
        return InputError(f"{place}: no DICOM files directly in this folder; {hint}")
    if all(header.sop_class_uid == DIRECTORY_STORAGE for header in headers):
        return InputError(f"{place}: holds a DICOMDIR index but no images; give the folder with the CT series")
    kinds = sorted({header.text("Modality") or "unknown" for header in headers})
    return InputError(f"{place}: holds no images, only DICOM of modality {', '.join(kinds)}; a CT series is needed")


def _check_ct(path: Path, header: Header) -> None:
    if header.sop_class_uid == DIRECTORY_STORAGE:
        raise InputError(f"{path}: a DICOMDIR is only an index; give the folder with the CT series, or one file of it")
    modality = header.text("Modality")
    if modality != "CT":
        raise InputError(f"{path}: the modality is {modality or 'not stated'}; a CT series is needed")
    if not header.is_image:
        raise InputError(f"{path}: a DICOM object without pixels; give a CT series")


def _without_copies(slices: list[Header]) -> list[Header]:
    """Leave out files that are copies, byte for byte, of another one."""
    first: dict[tuple[str, int | None], Header] = {}
    kept = []
    for header in slices:
        original = first.setdefault((header.sop_instance_uid, header.frame), header)
        # Without an instance UID, as after a strict de-identification, the whole files would all have to be compared.
        if original is header or not header.sop_instance_uid or not filecmp.cmp(original.path, header.path, False):
            kept.append(header)
    if len(kept) < len(slices):
        logger.info("passed over %d copies of slices", len(slices) - len(kept))
    return kept
