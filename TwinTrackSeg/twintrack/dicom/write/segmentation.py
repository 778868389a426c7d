"""Write tumour, nested levels and vessels as a DICOM segmentation (DICOM-SEG) on the CT series' own slices."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twintrack.dicom.read.series import DicomSeries
from twintrack.dicom.write.binary_frames import fill_frames, held_frames
from twintrack.dicom.write.derived import Algorithm, MapMeaning, common_header, place_on, save_dataset
from twintrack.dicom.write.references import refer_to_all, refer_to_frames
from twintrack.dicom.write.remarks import NO_REMARKS, Remarks
from twintrack.dicom.write.segment_description import describe
from twintrack.dicom.write.segments import AlgorithmType, Segment, iso_segments, named_segments
from twintrack.dicom.write.source import blank_identity, restore_identity, source_images
from twintrack.errors import InputError, OutputError
from twintrack.volume import Volume

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription
    from pydicom.dataset import Dataset

__all__ = ["SegmentationKind", "build_segmentation", "write_segmentation"]

logger = logging.getLogger(__name__)


class SegmentationKind(str, Enum):
    """How a segmentation stores its segments."""

    BINARY = "binary"
    """One bit for each segment and voxel: segments may overlap, and every viewer of segmentations reads it."""

    LABELMAP = "labelmap"
    """One number for each voxel: small, but without overlap, and read by few viewers yet."""


SERIES = {
    SegmentationKind.BINARY: (900, "TwinTrackSeg segmentation (research use only)"),
    SegmentationKind.LABELMAP: (903, "TwinTrackSeg label map (research use only)"),
}
"""SeriesNumber, far from those that scanners give so that the new series sorts behind the source, and description."""


def write_segmentation(
    segments: Mapping[str, Volume],
    series: DicomSeries,
    path: str | Path,
    *,
    algorithm: Algorithm,
    threshold: float,
    meaning: MapMeaning = MapMeaning.MHR,
    raters: int | None = None,
    probability: Volume | None = None,
    kind: SegmentationKind = SegmentationKind.BINARY,
    drawn_by: Mapping[str, AlgorithmType] | None = None,
    remarked: Mapping[str, str] | None = None,
    remarks: Remarks = NO_REMARKS,
) -> Path:
    """Write a DICOM-SEG, explicit VR little endian, that refers to the source slices frame by frame.

    Parameters
    ----------
    segments : mapping of str to Volume
        Masks in (z, y, x) order, voxels other than 0 belong to the segment, on the grid of `series` or a permuted or
        flipped form of it. Names: ``"tumor"``, the vessels ``PORTA, SMV, AORTA, CELIAC, SMA``, or other vessels.
        Masks may overlap in a binary object. A segment without a voxel is left out, as are frames without one.
    series : DicomSeries
        The CT series that was segmented; its patient and study are taken over.
    path : str or Path
        The file to write; it appears only when it is complete.
    algorithm : Algorithm
        Stated as the algorithm identification of each segment.
    threshold : float
        Where the map was cut (0 to 1), stated in the tumour's label.
    meaning : MapMeaning
        What the map states, stated in the tumour's label.
    raters : int, optional
        Number of readers that the calibrator was fitted on, to tell levels as "at least 3 of 5 readers".
    probability : Volume, optional
        The map, (z, y, x) in [0, 1], whose nested levels `ISO_LEVELS` become further segments of a binary object.
    kind : SegmentationKind
        How segments are stored.
    drawn_by : mapping of str to AlgorithmType, optional
        Names of segments that the algorithm did not draw alone, such as an outline that was edited by hand.
    remarked : mapping of str to str, optional
        By a segment's name, what stands behind its label: who named the vessel.
    remarks : Remarks
        Stated in the descriptions of series, content and each segment.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If a mask or the map lies on another grid than the series, masks of a label map overlap, or a source file cannot
        be read again.
    OutputError
        If no segment holds a voxel (nothing is written then), or the file cannot be written.
    """
    path = Path(path)
    found = _on_slices(named_segments(segments, threshold, meaning, raters, drawn_by, remarked), series)
    if probability is not None and kind is SegmentationKind.BINARY:
        found += _levels_on_slices(probability, series, meaning, raters)
    if not found:
        raise OutputError(
            "not written, because no segment holds a voxel; lower the threshold or check the result",
            code="segments-empty",
            path=path,
        )
    number, text = SERIES[kind]
    header = common_header(series, algorithm, number=number, description=text, remarks=remarks)
    uid = header["series_instance_uid"]
    descriptions = [
        describe(place, segment, algorithm, remarks, uid) for place, (segment, _) in enumerate(found, start=1)
    ]
    masks = [mask for _, mask in found]
    stated: dict[str, Any] = {"header": header, "segmentation_type": kind.name}
    if kind is SegmentationKind.BINARY:
        dataset = build_segmentation(held_frames(masks), slice(None), series, descriptions, masks=masks, **stated)
    else:
        dataset = build_segmentation(*_label_frames(masks), series, descriptions, **stated)
    save_dataset(dataset, path)
    logger.info("wrote %d segments in %d frames", len(found), int(dataset.NumberOfFrames))
    return path


def build_segmentation(
    frames: NDArray[np.generic],
    slices: slice,
    series: DicomSeries,
    descriptions: Sequence[SegmentDescription],
    *,
    header: Mapping[str, Any],
    masks: Sequence[NDArray[np.bool_]] | None = None,
    **options: Any,
) -> Dataset:
    """Make the data set of a segmentation from `frames` (z, y, x) or (z, y, x, segment) on `slices` of the series.

    The library wants all masks of a binary object in one large array and goes over it several times. With `masks`
    (slice, y, x) it is given frames of one pixel (`held_frames`), and the frames that it lists are filled here.
    """
    import highdicom as hd
    from pydicom.config import disable_value_validation

    # What the source holds is passed on as it is, and warnings about it could quote a name.
    with disable_value_validation():
        sources = source_images(series)
        identity = blank_identity(sources)
        if masks is not None:
            for source in sources:
                source.Rows = source.Columns = 1
        dataset = hd.seg.Segmentation(
            source_images=sources[slices],
            pixel_array=frames,
            segment_descriptions=descriptions,
            omit_empty_frames=True,
            **header,
            **options,
        )
        if masks is not None:
            fill_frames(dataset, masks, [source.SOPInstanceUID for source in sources])
        restore_identity(dataset, identity)
        refer_to_all(dataset, sources)
        refer_to_frames(dataset, series)
    return dataset


def _on_slices(segments: Sequence[Segment], series: DicomSeries) -> list[tuple[Segment, NDArray[np.bool_]]]:
    """Return the segments that hold a voxel, each with its mask (slice, y, x)."""
    found = []
    for segment in segments:
        on_grid = place_on(segment.mask, series, f"segment '{segment.name}'").array != 0
        mask = series.on_slices(on_grid)
        if mask.any():
            found.append((segment, mask))
        else:
            logger.warning("segment '%s' holds no voxel and is left out of the DICOM-SEG", segment.name)
    return found


def _levels_on_slices(
    probability: Volume, series: DicomSeries, meaning: MapMeaning, raters: int | None
) -> list[tuple[Segment, NDArray[np.bool_]]]:
    """Return the nested levels of the map as it lies on the slices, as far as they hold a voxel."""
    on_grid = place_on(probability, series, "the probability map").array.astype(np.float32, copy=False)
    on_slices = series.on_slices(on_grid)
    levels = iso_segments(probability, meaning, raters)
    masks = [on_slices >= np.float32(segment.level or 0.0) for segment in levels]
    return [(segment, mask) for segment, mask in zip(levels, masks, strict=True) if mask.any()]


def _label_frames(masks: Sequence[NDArray[np.bool_]]) -> tuple[NDArray[np.uint8], slice]:
    """Return labels (z, y, x) numbered in the order of `masks`, on the slices that hold any."""
    used = np.flatnonzero(np.any([mask.any(axis=(1, 2)) for mask in masks], axis=0))
    slices = slice(int(used[0]), int(used[-1]) + 1)
    labels = np.zeros(masks[0][slices].shape, dtype=np.uint8)
    for number, mask in enumerate(masks, start=1):
        part = mask[slices]
        if labels[part].any():
            raise InputError(
                "segments overlap, which a label map cannot hold; write a binary segmentation", code="segments-overlap"
            )
        labels[part] = number
    return labels, slices
