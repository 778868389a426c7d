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
from numpy.typing import NDArray

from twintrack.dicom.read.headers import Header
from twintrack.dicom.read.hounsfield import to_hu
from twintrack.dicom.read.pixels import StoredPixels, read_pixels
from twintrack.errors import InputError
from twintrack.progress.callbacks import CancelToken

__all__ = ["without_copies"]

logger = logging.getLogger(__name__)

PLACE_DECIMALS = 2
"""Slices whose first pixels agree in so many decimals, in mm, lie at the same place."""


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
    first: dict[tuple[str, int | None, object], Header] = {}
    originals, decoded = [], _Decoded(scratch)
    for header in slices:
        original = first.setdefault((header.sop_instance_uid, header.frame, _place(header)), header)
        # Without an instance UID, as after a strict de-identification, all slices would have to be compared.
        if original is header or not header.sop_instance_uid:
            originals.append(header)
            continue
        cancel.check()
        if not filecmp.cmp(original.path, header.path, shallow=False) and not _same_voxels(original, header, decoded):
            raise InputError(
                f"has the SOPInstanceUID and the place of {original.place}, but other voxels; remove the one that is "
                "not meant, or export the series again",
                code="instance-differs",
                path=header.place,
            )
    copies = len(slices) - len(originals)
    if not copies:
        return originals, ()
    logger.info("passed over %d copies of slices", copies)
    return originals, (
        f"{copies} {'slices are' if copies > 1 else 'slice is'} there more than once, with the same SOPInstanceUID and "
        "the same voxels (sent or copied again); each was read once.",
    )


def _place(header: Header) -> object:
    """Return where the first pixel of a slice lies, as far as it states that."""
    try:
        return tuple(round(value, PLACE_DECIMALS) for value in header.numbers("ImagePositionPatient", 3))
    except InputError:
        return header.text("ImagePositionPatient")


class _Decoded:
    """The pixels of the two files that are compared, each decoded once however many frames it has."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._held: dict[Path, StoredPixels] = {}

    def hu(self, header: Header) -> NDArray[np.generic]:
        """Return a slice in HU, (y, x)."""
        if header.path not in self._held:
            if len(self._held) > 1:
                self._held.clear()
            self._held[header.path] = read_pixels(header, self._scratch)
        return to_hu(self._held[header.path][(header.frame or 1) - 1], header)


def _same_voxels(one: Header, other: Header, decoded: _Decoded) -> bool:
    """Whether two slices at one place have the same pixels in HU, of the same size and direction."""
    if one.size != other.size:
        return False
    for keyword, count in (("ImageOrientationPatient", 6), ("PixelSpacing", 2)):
        if one.numbers(keyword, count) != other.numbers(keyword, count):
            return False
    return np.array_equal(decoded.hu(one), decoded.hu(other))
