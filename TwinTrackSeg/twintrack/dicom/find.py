"""Find the files of the one CT series that a folder or a file stands for."""

from __future__ import annotations

import logging
from pathlib import Path

from twintrack.dicom.headers import ENHANCED_CT_STORAGE, Header, read_header
from twintrack.errors import InputError

__all__ = ["find_series"]

logger = logging.getLogger(__name__)

DIRECTORY_STORAGE = "1.2.840.10008.1.3.10"
"""SOP class of a DICOMDIR file."""


def find_series(path: str | Path) -> list[Header]:
    """Return the headers of all images of the one CT series at `path`, in no particular order.

    Parameters
    ----------
    path : str or Path
        A folder that holds one image series (files of derived objects, DICOMDIR and files of other kinds are passed
        over), or one file, which picks its own series from its folder. Folders are not searched recursively.

    Raises
    ------
    InputError
        If there is no such path, no DICOM image, more than one series, another modality than CT, or a file is damaged.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    if path.is_dir():
        series = _only_series(path, _scan(path))
    else:
        picked = read_header(path)
        if picked is None:
            raise InputError(f"{path}: not a DICOM file; give a folder with a CT series, or one file of it")
        _check_ct(path, picked)
        series = [header for header in _scan(path.parent) if header.is_image and header.series_uid == picked.series_uid]
    for header in series:
        _check_ct(path, header)
        _check_grey_single_frame(header)
    return series


def _scan(folder: Path) -> list[Header]:
    """Return the headers of all DICOM files directly inside `folder`."""
    try:
        files = sorted(item for item in folder.iterdir() if item.is_file())
    except OSError as error:
        raise InputError(f"{folder}: cannot be listed; check the permissions of the folder") from error
    headers = [header for header in map(read_header, files) if header is not None]
    if len(headers) < len(files):
        logger.info("passed over %d of %d files that are not DICOM", len(files) - len(headers), len(files))
    return headers


def _only_series(folder: Path, headers: list[Header]) -> list[Header]:
    """Return the images among `headers` if they form exactly one series."""
    images = [header for header in headers if header.is_image]
    if not images:
        raise _no_images(folder, headers)
    series: dict[str, list[Header]] = {}
    for header in images:
        series.setdefault(header.series_uid, []).append(header)
    if len(series) > 1:
        names = "; ".join(_series_name(members) for members in series.values())
        raise InputError(
            f"{folder}: holds {len(series)} series ({names}); "
            "give one file of the series you mean, or a folder with that series alone"
        )
    if len(images) < len(headers):
        logger.info("passed over %d DICOM files that are not images", len(headers) - len(images))
    return images


def _no_images(folder: Path, headers: list[Header]) -> InputError:
    """Say what a folder without images holds instead."""
    if not headers:
        inside = any(item.is_dir() for item in folder.iterdir())
        hint = "give the subfolder that holds the CT series" if inside else "give a folder with a CT series"
        return InputError(f"{folder}: no DICOM files directly in this folder; {hint}")
    if all(header.sop_class_uid == DIRECTORY_STORAGE for header in headers):
        return InputError(f"{folder}: holds a DICOMDIR index but no images; give the folder with the CT series")
    kinds = sorted({header.text("Modality") or "unknown" for header in headers})
    return InputError(f"{folder}: holds no images, only DICOM of modality {', '.join(kinds)}; a CT series is needed")


def _series_name(members: list[Header]) -> str:
    """Name a series by what a user can look up; never by its patient."""
    first = members[0]
    description = first.text("SeriesDescription") or "no description"
    kind = first.text("Modality") or "unknown modality"
    return f"{first.series_uid or 'no UID'} '{description}', {kind}, {len(members)} file{'s' * (len(members) > 1)}"


def _check_ct(path: Path, header: Header) -> None:
    if header.sop_class_uid == DIRECTORY_STORAGE:
        raise InputError(f"{path}: a DICOMDIR is only an index; give the folder with the CT series, or one file of it")
    modality = header.text("Modality")
    if modality != "CT":
        raise InputError(f"{path}: the modality is {modality or 'not stated'}; a CT series is needed")
    if not header.is_image:
        raise InputError(f"{path}: a DICOM object without pixels; give a CT series")


def _check_grey_single_frame(header: Header) -> None:
    if header.sop_class_uid in ENHANCED_CT_STORAGE or int(header.dataset.get("NumberOfFrames") or 1) > 1:
        raise InputError(
            f"{header.path}: an enhanced (multi-frame) CT cannot be read; "
            "export the series as single-frame CT images or convert it to NIfTI"
        )
    if int(header.dataset.get("SamplesPerPixel") or 1) != 1:
        raise InputError(f"{header.path}: a colour picture, not a CT image; give the original series")
