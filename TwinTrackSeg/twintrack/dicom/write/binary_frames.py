"""Pack masks into the frames of a binary segmentation, one bit a voxel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["fill_frames", "held_frames"]


def held_frames(masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """Return frames of one pixel, (slice, 1, 1, segment), that say where `masks` (slice, y, x) hold anything."""
    held = np.stack([mask.any(axis=(1, 2)) for mask in masks], axis=-1)
    return held[:, None, None, :].astype(np.uint8)


def fill_frames(dataset: Dataset, masks: Sequence[NDArray[np.bool_]], slice_uids: Sequence[str]) -> None:
    """Give a segmentation that was built from `held_frames` its true size and pixels.

    Parameters
    ----------
    dataset : pydicom.dataset.Dataset
        The object; each of its frames names its segment and the slice that it was derived from.
    masks : sequence of numpy.ndarray
        One for each segment, (slice, y, x), in the order of their numbers.
    slice_uids : sequence of str
        SOPInstanceUID by which the frames name each slice.
    """
    rows, columns = masks[0].shape[1:]
    index_of = {str(uid): index for index, uid in enumerate(slice_uids)}
    planes = []
    for group in dataset.PerFrameFunctionalGroupsSequence:
        # What holds for all frames, such as an only segment, may stand in the shared group.
        own = group if "SegmentIdentificationSequence" in group else dataset.SharedFunctionalGroupsSequence[0]
        number = int(own.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        named = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        planes.append(masks[number - 1][index_of[str(named)]])
    content = b"".join(_bits(planes, rows * columns))
    dataset.Rows, dataset.Columns = rows, columns
    dataset.PixelData = content + bytes(len(content) % 2)
    if "SegmentsOverlap" in dataset:
        dataset.SegmentsOverlap = "YES" if _overlap(masks) else "NO"


def _bits(planes: Sequence[NDArray[np.bool_]], size: int) -> Iterator[bytes]:
    """Yield the bits of the frames, one frame after the other without a gap, first bit lowest."""
    step = 8 // int(np.gcd(size, 8))
    for start in range(0, len(planes), step):
        # As many frames as fill whole bytes.
        bits = np.concatenate([plane.ravel() for plane in planes[start : start + step]])
        yield np.packbits(bits, bitorder="little").tobytes()


def _overlap(masks: Sequence[NDArray[np.bool_]]) -> bool:
    """Whether any voxel belongs to two segments."""
    taken = np.zeros(masks[0].shape[1:], dtype=bool)
    for index in range(len(masks[0])):
        taken[:] = False
        for mask in masks:
            if np.any(taken & mask[index]):
                return True
            taken |= mask[index]
    return False
