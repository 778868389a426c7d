"""Take the slices of an enhanced (multi-frame) CT apart, so that all that follows sees single slices.

References
----------
DICOM PS3.3, C.7.6.16 (multi-frame functional groups) and A.38 (enhanced CT).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from twintrack.dicom.read.headers import ENHANCED_CT_STORAGE, GROUPS, Header
from twintrack.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["frames_of", "is_multi_frame"]


def is_multi_frame(header: Header) -> bool:
    """Whether the file holds its slices as frames."""
    return header.sop_class_uid in ENHANCED_CT_STORAGE or header.frames > 1


def frames_of(header: Header) -> list[Header]:
    """Return one header for each frame of a multi-frame file, as if it were a file of its own; scouts are left out.

    Raises
    ------
    InputError
        If the file does not describe its frames.
    """
    shared = _items(header, "SharedFunctionalGroupsSequence")
    per_frame = _items(header, "PerFrameFunctionalGroupsSequence")
    if not per_frame or len(per_frame) != header.frames:
        raise InputError(
            f"the multi-frame file states {header.frames} frames but describes {len(per_frame)}, so "
            "that its slices cannot be placed in space; export the series as single-frame CT images",
            code="frames-undescribed",
            path=header.place,
        )
    common = shared[0] if shared else None
    found = [_frame(header, number, own, common) for number, own in enumerate(per_frame, start=1)]
    images = [frame for frame in found if not frame.is_side_image]
    return images or found


def _items(header: Header, keyword: str) -> list[Dataset]:
    """Return the items of a sequence; none where the element is absent or no sequence."""
    value: Any = header.dataset.get(keyword)
    try:
        return [item for item in value or [] if hasattr(item, "get")]
    except TypeError:
        return []


def _frame(header: Header, number: int, own: Dataset, shared: Dataset | None) -> Header:
    """Return the header of frame `number`, with what its own group states before what all share."""
    from pydicom.dataset import Dataset

    flat = Dataset()
    for element in header.dataset:
        if element.VR != "SQ":
            flat[element.tag] = element
    for sequence, keywords in GROUPS.items():
        group = _group(own, sequence) or _group(shared, sequence)
        for keyword in keywords:
            if group is None or keyword not in group:
                continue
            if keyword == "FrameType":
                flat.ImageType = group.FrameType
            elif keyword == "FrameAcquisitionNumber":
                flat.AcquisitionNumber = group.FrameAcquisitionNumber
            else:
                flat[keyword] = group[keyword]
    return replace(header, dataset=flat, frame=number)


def _group(groups: Dataset | None, sequence: str) -> Dataset | None:
    """Return the one item of a functional group, if it is there."""
    value: Any = None if groups is None else groups.get(sequence)
    try:
        return value[0] if value else None
    except (TypeError, KeyError, IndexError):
        return None
