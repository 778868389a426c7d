"""Read a CT series from DICOM files into a `Volume` in HU."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from twintrack.dicom.find import find_series
from twintrack.dicom.headers import Header
from twintrack.dicom.stack import stack_slices
from twintrack.errors import InputError
from twintrack.progress import CancelToken, Progress, no_progress
from twintrack.volume import Volume

__all__ = ["DicomSeries", "read_series"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class DicomSeries:
    """A CT series: its voxels, and what a derived object must refer to.

    Attributes
    ----------
    volume : Volume
        HU in (z, y, x) order; int16 where every value is whole and fits, else float32. Grid index k follows the slices
        by ascending position along row direction x column direction.
    files : tuple of Path
        The slices' files; ``files[k]`` holds ``volume.array[k]``.
    sop_instance_uids : tuple of str
        SOPInstanceUID of each slice, in the same order.
    series_uid, study_uid, frame_of_reference_uid : str
        Empty where a de-identification removed them.
    modality : str
        Always ``CT``.
    description : str
        SeriesDescription, may be empty.
    """

    volume: Volume
    files: tuple[Path, ...]
    sop_instance_uids: tuple[str, ...]
    series_uid: str
    study_uid: str
    frame_of_reference_uid: str
    modality: str
    description: str


def read_series(
    path: str | Path, *, progress: Progress = no_progress, cancel: CancelToken | None = None
) -> DicomSeries:
    """Read the CT series in a folder, or the one that a file belongs to.

    The grid comes from the slices' positions and orientation alone. Compressed series are decoded by the GDCM library
    inside SimpleITK: JPEG (lossless too), JPEG-LS, JPEG 2000 and RLE.

    Parameters
    ----------
    path : str or Path
        A folder with one series, or one file, which picks its own series from its folder.
    progress : callable
        Told the fraction of slices read.
    cancel : CancelToken, optional
        Checked before each slice.

    Returns
    -------
    DicomSeries
        Voxels in HU on the series' own grid (LPS mm).

    Raises
    ------
    InputError
        If there is nothing to read there, if it is not exactly one CT series, if the slices do not form a complete,
        regular, unsheared stack, or if a file is damaged. The sentence names the file or folder and the remedy.
    Cancelled
        If `cancel` was triggered.
    """
    ordered, geometry = stack_slices(find_series(path))
    slices = []
    for index, header in enumerate(ordered):
        if cancel is not None:
            cancel.check()
        progress(index / len(ordered), "reading DICOM")
        slices.append(_read_hu(header))
    progress(1.0, "reading DICOM")
    if any(header.dataset.get("RescaleIntercept") is None for header in ordered):
        logger.warning("the series states no RescaleIntercept; its stored values are taken as HU")
    first = ordered[0]
    return DicomSeries(
        volume=Volume(_stack_hu(slices), geometry),
        files=tuple(header.path for header in ordered),
        sop_instance_uids=tuple(header.sop_instance_uid for header in ordered),
        series_uid=first.series_uid,
        study_uid=first.text("StudyInstanceUID"),
        frame_of_reference_uid=first.text("FrameOfReferenceUID"),
        modality=first.text("Modality"),
        description=first.text("SeriesDescription"),
    )


def _read_hu(header: Header) -> NDArray[np.generic]:
    """Decode one slice, (y, x), with its own rescale slope and intercept applied."""
    import SimpleITK as sitk

    try:
        image = sitk.ReadImage(str(header.path), imageIO="GDCMImageIO")
    except RuntimeError as error:
        raise _undecodable(header) from error
    array: NDArray[np.generic] = sitk.GetArrayFromImage(image)
    columns, rows = header.size
    if array.size != rows * columns:
        raise _undecodable(header)
    return array.reshape(rows, columns)


def _undecodable(header: Header) -> InputError:
    """Tell a damaged file from an encoding that the decoder does not know."""
    from pydicom.uid import (
        UID,
        AllTransferSyntaxes,
        JPEG2000TransferSyntaxes,
        JPEGLSTransferSyntaxes,
        JPEGTransferSyntaxes,
        RLELossless,
    )

    syntax = UID(header.transfer_syntax_uid)
    compressed = [*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes, RLELossless]
    if syntax in AllTransferSyntaxes and syntax.is_compressed and not syntax.is_deflated and syntax not in compressed:
        return InputError(f"{header.path}: encoded as {syntax.name}, which cannot be decoded; export it uncompressed")
    return InputError(f"{header.path}: the pixels cannot be read, the file is cut off or damaged; export it again")


def _stack_hu(slices: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Stack slices to (z, y, x): int16 where this loses nothing, else float32."""
    limits = np.iinfo(np.int16)
    whole = all(item.dtype.kind in "iu" for item in slices)
    fits = whole and all(int(item.min()) >= limits.min and int(item.max()) <= limits.max for item in slices)
    kind = np.int16 if fits else np.float32
    stacked: NDArray[np.generic] = np.stack([item.astype(kind, copy=False) for item in slices])
    return stacked
