"""Read a CT series from DICOM files into a `Volume` in HU."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.dicom.read.find import files_below, find_series
from twintrack.dicom.read.grid import Grid, find_grid
from twintrack.dicom.read.headers import Header, is_zip
from twintrack.dicom.read.hounsfield import AIR_HU, stack_hu, to_hu
from twintrack.dicom.read.layout import SliceLayout
from twintrack.dicom.read.phase import phase_notes
from twintrack.dicom.read.pixels import StoredPixels, read_pixels
from twintrack.dicom.read.stack import Stack, stack_slices
from twintrack.errors import InputError
from twintrack.progress.callbacks import CancelToken, Progress, checked, no_progress, part
from twintrack.system.capacity import WORK_BYTES, check_memory
from twintrack.system.private_folder import PrivateFolder
from twintrack.system.reading_child import read_in_child
from twintrack.volume import Volume

__all__ = ["DicomSeries", "iso_date", "read_series", "read_series_here", "whole_number"]

logger = logging.getLogger(__name__)

UNPACKED_RATIO = 4
"""So many times its size a ZIP archive counts as input."""

Point = tuple[float, float, float]


@dataclass(frozen=True)
class DicomSeries:
    """A CT series: its voxels, and what a derived object must refer to.

    Attributes
    ----------
    volume : Volume
        HU in (z, y, x) order; int16 where every value is whole and fits, else float32. Grid index k runs by ascending
        position along row direction x column direction.
    files : tuple of Path
        The file of each slice by ascending position. Slice k is ``volume.array[k]`` unless there is a `layout`.
    sop_instance_uids : tuple of str
        SOPInstanceUID of each slice, in the same order.
    series_uid, study_uid, frame_of_reference_uid : str
        Empty where a de-identification removed them.
    modality : str
        Always ``CT``.
    description : str
        SeriesDescription, may be empty.
    frames : tuple of int or None
        Number of each slice's frame in its file, from 1; None for single-frame files.
    sop_class_uids : tuple of str
        SOPClassUID of each slice.
    positions_mm : tuple of tuple of float
        LPS position of the first pixel of each slice, as its header states it.
    layout : SliceLayout or None
        Where the slices lie on the grid, if they were resampled onto it.
    notes : tuple of str
        What a user must be told about the way from the files to the volume.
    unpacked : PrivateFolder or None
        Keeps the files of a ZIP archive in place as long as the series is in use.
    number : int or None
        SeriesNumber.
    acquisition : int or None
        Number of the acquisition that was chosen.
    study_date : str or None
        StudyDate as YYYY-MM-DD; None where it is missing, removed or no date.
    """

    volume: Volume
    files: tuple[Path, ...]
    sop_instance_uids: tuple[str, ...]
    series_uid: str
    study_uid: str
    frame_of_reference_uid: str
    modality: str
    description: str
    frames: tuple[int | None, ...]
    sop_class_uids: tuple[str, ...]
    positions_mm: tuple[Point, ...]
    layout: SliceLayout | None = None
    notes: tuple[str, ...] = ()
    unpacked: PrivateFolder | None = None
    number: int | None = None
    study_date: str | None = None
    acquisition: int | None = None

    @property
    def slice_size(self) -> tuple[int, int]:
        """(columns, rows) of a slice."""
        return self.layout.size if self.layout is not None else self.volume.geometry.size[:2]

    def check_instances(self) -> None:
        """Refuse to be referred to where slices share an instance UID.

        Raises
        ------
        InputError
            Names the folder and the remedy.
        """
        known = [pair for pair in zip(self.sop_instance_uids, self.frames, strict=True) if pair[0]]
        if len(set(known)) < len(known):
            raise InputError(
                f"{_shared(known)}, so that no DICOM object can refer to them; anonymize the "
                "original series anew, or leave out the export to DICOM",
                code="instance-uids-shared",
                path=self.files[0].parent,
            )

    def on_slices(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return what lies on the volume's grid (z, y, x) as it lies on the slices: (slice, y, x).

        Where slices were resampled, values are interpolated linearly; a mask (bool) holds where its interpolated value
        is at least one half.
        """
        if self.layout is None:
            return array
        on_slices = self.layout.to_slices(array)
        return on_slices >= np.float32(0.5) if array.dtype == bool else on_slices.astype(array.dtype)


def read_series(
    path: str | Path,
    *,
    series_uid: str | None = None,
    preferred_uid: str | None = None,
    acquisition: int | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> DicomSeries:
    """Read the CT series in a folder or ZIP archive, or the one that a file belongs to.

    The grid comes from the slices' positions and orientation alone. Slices at uneven distances or sheared by a tilted
    gantry are resampled onto a regular grid where that is sound, and the series says so in its `notes`.

    Parameters
    ----------
    path : str or Path
        A folder or ZIP archive, or one file, which picks its own series from its folder. Slices may be files or frames
        of an enhanced CT.
    series_uid : str, optional
        SeriesInstanceUID, or SeriesNumber where one series alone has it, to choose among several series.
    preferred_uid : str, optional
        The series to take where there are several and none is chosen.
    acquisition : int, optional
        AcquisitionNumber, to choose among several phases or passes over the patient in the series.
    progress : callable
        Told the fraction done.
    cancel : CancelToken, optional
        Checked before each file.

    Returns
    -------
    DicomSeries
        Voxels in HU on the series' own grid (LPS mm).

    Raises
    ------
    InputError
        If there is nothing to read there, if it is not exactly one CT series, if no sound grid can be made of the
        slices, or if a file is damaged. The sentence names the file or folder and the remedy.
    Cancelled
        If `cancel` was triggered.
    """
    cancel = cancel or CancelToken()
    cancel.check()
    folder = _scratch(path)
    try:
        series: DicomSeries = read_in_child(
            "twintrack.dicom.read.series:read_series_here",
            Path(path),
            folder.path,
            series_uid=series_uid,
            preferred_uid=preferred_uid,
            acquisition=acquisition,
            named=path,
            input_bytes=_input_bytes(Path(path)),
            progress=checked(progress, cancel),
            cancel=cancel,
        )
    except BaseException:
        folder.close()
        raise
    if any(file.is_relative_to(folder.path) for file in series.files):
        return replace(series, unpacked=folder)
    folder.close()
    return series


def read_series_here(
    path: Path,
    folder: Path,
    *,
    series_uid: str | None = None,
    preferred_uid: str | None = None,
    acquisition: int | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> DicomSeries:
    """Do what `read_series` does in this process, where a decoder that fails may end it.

    Parameters
    ----------
    path, series_uid, preferred_uid, acquisition, progress, cancel
        As there.
    folder : Path
        An empty folder: a ZIP archive is unpacked there, and decoders use it. It must stay as long as the series does.

    Raises
    ------
    InputError, Cancelled
        As there.
    """
    cancel = cancel or CancelToken()
    slices, found_notes = find_series(
        path,
        folder,
        series_uid=series_uid,
        preferred_uid=preferred_uid,
        acquisition=acquisition,
        progress=part(progress, 0.0, 0.3),
        cancel=cancel,
    )
    stack = stack_slices(slices)
    grid = find_grid(stack)
    check_memory(grid.geometry.size, WORK_BYTES, f"{path}: the series")
    array = stack_hu(_read_slices(stack.slices, folder, part(progress, 0.3, 1.0), cancel))
    if grid.layout is not None:
        array = _resampled(array, grid.layout)
    progress(1.0, "reading DICOM")
    return _series(stack, grid, array, found_notes, acquisition)


def _scratch(path: str | Path) -> PrivateFolder:
    try:
        return PrivateFolder()
    except OSError as error:
        raise InputError(
            f"needs a temporary folder to be read ({error.strerror}); make room there",
            code="no-temporary-folder",
            path=path,
        ) from error


def _input_bytes(path: Path) -> int:
    """Return how much there is to read, about: what limits the time."""
    with suppress(OSError, InputError):
        if path.is_dir() or not is_zip(path):
            return sum(file.stat().st_size for file in files_below(path if path.is_dir() else path.parent))
        return UNPACKED_RATIO * path.stat().st_size
    return 0


def _series(
    stack: Stack, grid: Grid, array: NDArray[np.generic], found_notes: Sequence[str], acquisition: int | None
) -> DicomSeries:
    first, slices = stack.slices[0], stack.slices
    notes = (*found_notes, *grid.notes, *_number_notes(slices), *_rescale_notes(slices), *_reference_notes(slices))
    notes += tuple(phase_notes(first))
    for note in notes:
        logger.warning("%s", note)
    return DicomSeries(
        volume=Volume(array, grid.geometry),
        files=tuple(header.path for header in stack.slices),
        sop_instance_uids=tuple(header.sop_instance_uid for header in stack.slices),
        series_uid=first.series_uid,
        study_uid=first.text("StudyInstanceUID"),
        frame_of_reference_uid=first.text("FrameOfReferenceUID"),
        modality=first.text("Modality"),
        description=first.text("SeriesDescription"),
        frames=tuple(header.frame for header in stack.slices),
        sop_class_uids=tuple(header.sop_class_uid for header in stack.slices),
        positions_mm=tuple((float(x), float(y), float(z)) for x, y, z in stack.positions_mm),
        layout=grid.layout,
        notes=notes,
        number=whole_number(first.text("SeriesNumber")),
        study_date=iso_date(first.text("StudyDate")),
        acquisition=acquisition,
    )


def whole_number(text: str) -> int | None:
    """Read a value of the kind IS: a whole number of at most 12 characters; None for anything else."""
    plain = text.strip().removeprefix("+")
    digits = plain.removeprefix("-")
    return int(plain) if digits.isascii() and digits.isdecimal() and len(plain) <= 12 else None


def iso_date(text: str) -> str | None:
    """Read a value of the kind DA, YYYYMMDD, as YYYY-MM-DD; None for anything else."""
    digits = text.strip()
    if len(digits) != 8 or not digits.isascii() or not digits.isdecimal():
        return None
    with suppress(ValueError):
        return date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).isoformat()
    return None


def _number_notes(slices: Sequence[Header]) -> list[str]:
    """Say where numbers are written as DICOM does not allow."""
    if not any(header.has_decimal_commas for header in slices):
        return []
    return ["The series writes numbers with decimal commas, which DICOM does not allow; they were read as points."]


def _rescale_notes(slices: list[Header]) -> list[str]:
    """Say where the files do not state that their values are HU."""
    notes = []
    if any(header.dataset.get("RescaleIntercept") is None for header in slices):
        notes.append("The series states no RescaleIntercept; its stored values are taken as HU.")
    other = {header.text("RescaleType") for header in slices} - {"", "HU", "US"}
    if other:
        notes.append(f"The series states its values as {', '.join(sorted(other))}, not as HU; they are taken as HU.")
    return notes


def _reference_notes(slices: list[Header]) -> list[str]:
    """Say where slices cannot be referred to one by one, or do not say in which space they lie."""
    notes = []
    known = [(header.sop_instance_uid, header.frame) for header in slices if header.sop_instance_uid]
    if len(set(known)) < len(known):
        notes.append(f"{_shared(known)}, so that no DICOM object can refer to them.")
    elif not slices[0].text("FrameOfReferenceUID"):
        notes.append(
            "The series states no FrameOfReferenceUID; DICOM objects that are made of it get one of their own, and a "
            "viewer that compares it may not lay them over the CT."
        )
    return notes


def _shared(known: Sequence[tuple[str, int | None]]) -> str:
    count = len(set(known))
    return f"{len(known)} slices have {count} SOPInstanceUID{'s' * (count > 1)} (a faulty anonymization)"


def _read_slices(
    slices: list[Header], scratch: Path, progress: Progress, cancel: CancelToken
) -> list[NDArray[np.generic]]:
    """Return the HU of each slice, (y, x); a multi-frame file is decoded once."""
    read = {}
    multi: dict[Path, StoredPixels] = {}
    # Frames of a file follow each other here, so that only one such file is held decoded.
    order = sorted(range(len(slices)), key=lambda index: (str(slices[index].path), slices[index].frame or 0))
    for number, index in enumerate(order):
        cancel.check()
        progress(number / len(order), "reading DICOM")
        header = slices[index]
        if header.path not in multi:
            multi = {header.path: read_pixels(header, scratch)}
        read[index] = to_hu(multi[header.path][(header.frame or 1) - 1], header)
    return [read[index] for index in range(len(slices))]


def _resampled(slices: NDArray[np.generic], layout: SliceLayout) -> NDArray[np.generic]:
    """Return the slices on the grid, in their own type; whole HU stay whole."""
    grid = layout.to_grid(slices, float(AIR_HU))
    return np.rint(grid).astype(slices.dtype) if slices.dtype.kind == "i" else grid
