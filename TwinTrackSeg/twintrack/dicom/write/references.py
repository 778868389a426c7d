"""Name a slice while an object is built, and name its file and frame once the object is complete.

The library that builds objects takes single-frame images as their source. The frames of a multi-frame file pass as such
under identifiers of their own, which are replaced by the file's identifier and the frame's number at the end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from twintrack.dicom.read.series import DicomSeries

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

__all__ = ["refer_to_all", "refer_to_frames", "slice_uid", "source_uids"]


def source_uids(series: DicomSeries) -> tuple[str, str, str]:
    """Return the UIDs of study, series and frame of reference, made from what is left where they were emptied."""
    from pydicom.uid import generate_uid

    first = series.sop_instance_uids[0]
    # One per series: the frame of reference, or else the first slice, tells series apart.
    origin = series.frame_of_reference_uid or first
    return (
        series.study_uid or str(generate_uid(entropy_srcs=[origin, "study"])),
        series.series_uid or str(generate_uid(entropy_srcs=[first or origin, "series"])),
        series.frame_of_reference_uid or str(generate_uid(entropy_srcs=[origin, "frame"])),
    )


def slice_uid(series: DicomSeries, index: int) -> str:
    """Return the UID by which slice `index` is referred to while an object is built."""
    from pydicom.uid import generate_uid

    instance, frame = series.sop_instance_uids[index], series.frames[index]
    if instance and frame is None:
        return instance
    origin = instance or series.frame_of_reference_uid
    return str(generate_uid(entropy_srcs=[origin, "slice", str(index)]))


def refer_to_all(derived: Dataset, sources: Sequence[Dataset]) -> None:
    """Name every slice of the source series, also those that the object's frames leave out, so that viewers find it."""
    from pydicom.dataset import Dataset

    instances = []
    for source in sources:
        instance = Dataset()
        instance.ReferencedSOPClassUID = source.SOPClassUID
        instance.ReferencedSOPInstanceUID = source.SOPInstanceUID
        instances.append(instance)
    referenced = Dataset()
    referenced.SeriesInstanceUID = sources[0].SeriesInstanceUID
    referenced.ReferencedInstanceSequence = instances
    derived.ReferencedSeriesSequence = [referenced]


def refer_to_frames(derived: Dataset, series: DicomSeries) -> None:
    """Make references to the slices of a multi-frame file name the file and the frame, as the standard wants it."""
    if all(frame is None for frame in series.frames):
        return
    index_of = {slice_uid(series, index): index for index in range(len(series.files))}
    _rewrite(derived, series, index_of)


def _rewrite(dataset: Dataset, series: DicomSeries, index_of: Mapping[str, int]) -> None:
    """Rewrite every reference in `dataset`, whatever sequence it lies in."""
    for element in dataset:
        if element.VR != "SQ":
            continue
        referenced: set[str] = set()
        rewritten = []
        for item in element.value:
            index = index_of.get(str(item.get("ReferencedSOPInstanceUID", "")))
            if index is None:
                _rewrite(item, series, index_of)
                rewritten.append(item)
                continue
            item.ReferencedSOPClassUID = series.sop_class_uids[index]
            item.ReferencedSOPInstanceUID = series.sop_instance_uids[index]
            if element.keyword == "SourceImageSequence":
                item.ReferencedFrameNumber = series.frames[index]
                rewritten.append(item)
            elif series.sop_instance_uids[index] not in referenced:
                referenced.add(series.sop_instance_uids[index])
                rewritten.append(item)
        element.value = rewritten
