"""Slices that are there twice: sent again by an archive, or copied from folder to folder.

A copy has the SOPInstanceUID of its original, the same place and the same voxels. Whether its other elements, its
transfer syntax or its bytes differ makes no difference.
"""

from __future__ import annotations

import filecmp
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from twintrack.dicom.read.headers import Header
from twintrack.dicom.read.hounsfield import to_hu
from twintrack.dicom.read.pixels import read_pixels
from twintrack.errors import InputError
from twintrack.progress.callbacks import CancelToken

__all__ = ["without_copies"]

logger = logging.getLogger(__name__)

SAME_PLACE_MM = 0.01
"""Slices whose first pixels are closer than this lie at the same place."""


def without_copies(
    slices: Sequence[Header], scratch: Path, cancel: CancelToken
) -> tuple[list[Header], tuple[str, ...]]:
    """Leave out copies of slices.

    Slices without an instance UID, and those of one instance UID at different places, are told apart by their place
    alone: a faulty anonymisation leaves them so.

    Parameters
    ----------
    slices : sequence of Header
        Of one series.
    scratch : Path
        A folder for the files that decoders need.
    cancel : CancelToken
        Checked before each copy.

    Returns
    -------
    slices : list of Header
        The first of each.
    notes : tuple of str
        What a user must be told about it.

    Raises
    ------
    InputError
        If two slices of one instance UID lie at one place and differ, or a copy is damaged.
    """
    first: dict[tuple[str, int | None], list[Header]] = {}
    originals = []
    for header in slices:
        # Without an instance UID, as after a strict de-identification, all slices would have to be compared.
        alike = first.setdefault((header.sop_instance_uid, header.frame), []) if header.sop_instance_uid else []
        original = next((other for other in alike if _same_place(other, header)), None)
        if original is None:
            alike.append(header)
            originals.append(header)
            continue
        cancel.check()
        if not filecmp.cmp(original.path, header.path, shallow=False) and not _same_voxels(original, header, scratch):
            raise InputError(
                f"{original.name} and {header.name} have one SOPInstanceUID and lie at one place, but differ in "
                "their voxels; remove the one that is not meant, or export the series again",
                code="instance-differs",
                path=header.folder,
            )
    copies = len(slices) - len(originals)
    if not copies:
        return originals, ()
    logger.info("passed over %d copies of slices", copies)
    return originals, (
        f"{copies} {'slices are' if copies > 1 else 'slice is'} there more than once, with the same SOPInstanceUID and "
        "the same voxels (sent or copied again); each was read once.",
    )


def _same_place(one: Header, other: Header) -> bool:
    """Whether two slices have their first pixels at one place, as far as they state it."""
    try:
        positions = np.array([header.numbers("ImagePositionPatient", 3) for header in (one, other)])
    except InputError:
        return one.dataset.get("ImagePositionPatient") == other.dataset.get("ImagePositionPatient")
    return bool(np.abs(positions[0] - positions[1]).max() < SAME_PLACE_MM)


def _same_voxels(one: Header, other: Header, scratch: Path) -> bool:
    """Whether two slices at one place have the same pixels in HU, of the same size and direction."""
    if one.size != other.size:
        return False
    for keyword, count in (("ImageOrientationPatient", 6), ("PixelSpacing", 2)):
        if one.numbers(keyword, count) != other.numbers(keyword, count):
            return False
    first, second = (to_hu(read_pixels(header, scratch)[(header.frame or 1) - 1], header) for header in (one, other))
    return np.array_equal(first, second)
