"""Write tumour and vessels as a binary DICOM segmentation (DICOM-SEG) on the CT series' own grid."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from twintrack.dicom.derived import (
    RESEARCH_NOTE,
    TEXT_LIMIT,
    Algorithm,
    MapMeaning,
    common_header,
    place_on,
    save_dataset,
)
from twintrack.dicom.series import DicomSeries
from twintrack.dicom.source import give_identity, source_images, take_identity
from twintrack.dicom.terminology import TUMOR, SnomedCode, structure_of
from twintrack.errors import OutputError
from twintrack.volume import Volume

if TYPE_CHECKING:
    from highdicom.color import CIELabColor
    from highdicom.seg import SegmentDescription
    from pydicom.dataset import Dataset

__all__ = ["segments_from_labels", "tumor_label", "write_segmentation"]

logger = logging.getLogger(__name__)

SERIES_DESCRIPTION = "TwinTrackSeg segmentation (research use only)"
SERIES_NUMBER = 900
"""Far from the numbers that scanners give, so that the new series sorts behind the source."""


def segments_from_labels(segmentation: Volume, labels: Mapping[str, int]) -> dict[str, Volume]:
    """Split a label volume (z, y, x) into one boolean mask volume for each name of `labels`."""
    return {name: segmentation.with_array(segmentation.array == value) for name, value in labels.items()}


def tumor_label(threshold: float, meaning: MapMeaning = MapMeaning.MHR) -> str:
    """Say in words what the tumour segment of a map of this meaning, cut at `threshold` (0 to 1), shows."""
    if meaning is MapMeaning.MHR:
        return f"{TUMOR.label}, at least {100 * threshold:.4g} % of readers"
    kind = "uncalibrated score" if meaning is MapMeaning.SCORE else "calibrated probability"
    return f"{TUMOR.label}, {kind} at least {threshold:.4g}"


def write_segmentation(
    segments: Mapping[str, Volume],
    series: DicomSeries,
    path: str | Path,
    *,
    algorithm: Algorithm,
    threshold: float,
    meaning: MapMeaning = MapMeaning.MHR,
) -> Path:
    """Write a binary DICOM-SEG, explicit VR little endian, that refers to the source slices frame by frame.

    Parameters
    ----------
    segments : mapping of str to Volume
        Masks in (z, y, x) order, voxels other than 0 belong to the segment, on the grid of `series` or a permuted or
        flipped form of it. Names: ``"tumor"``, the vessels ``PORTA, SMV, AORTA, CELIAC, SMA``, or other vessels.
        Masks may overlap. A segment without a voxel is left out, as are frames without one.
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

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If a mask lies on another grid than the series, or a source file cannot be read again.
    OutputError
        If no segment holds a voxel (nothing is written then), or the file cannot be written.
    """
    path = Path(path)
    masks = _masks_on_series(segments, series)
    if not masks:
        raise OutputError(
            f"{path}: not written, because no segment holds a voxel; lower the threshold or check the result"
        )
    label = tumor_label(threshold, meaning)
    descriptions = [_describe(number, name, label, algorithm) for number, name in enumerate(masks, start=1)]
    dataset = _build(masks, series, descriptions)
    save_dataset(dataset, path)
    logger.info("wrote %d segments in %d frames", len(masks), int(dataset.NumberOfFrames))
    return path


def _masks_on_series(segments: Mapping[str, Volume], series: DicomSeries) -> dict[str, NDArray[np.bool_]]:
    """Return the masks that hold a voxel, (z, y, x) on the grid of `series`."""
    masks: dict[str, NDArray[np.bool_]] = {}
    for name, volume in segments.items():
        mask = place_on(volume, series, f"segment '{name}'").array != 0
        if mask.any():
            masks[name] = mask
        else:
            logger.warning("segment '%s' holds no voxel and is left out of the DICOM-SEG", name)
    return masks


def _describe(number: int, name: str, tumor_text: str, algorithm: Algorithm) -> SegmentDescription:
    """Return the description of segment `number`: codes, label, colour, tracking and algorithm."""
    import highdicom as hd
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    def code(item: SnomedCode) -> Code:
        return Code(item.value, "SCT", item.meaning)

    structure = structure_of(name)
    label = tumor_text if structure is TUMOR else structure.label
    identification = hd.AlgorithmIdentificationSequence(
        name=algorithm.name[:TEXT_LIMIT],
        family=codes.DCM.ArtificialIntelligence,
        version=algorithm.version[:TEXT_LIMIT],
        source="TwinTrackSeg",
        parameters={"bundle_sha256": algorithm.bundle_sha256, **algorithm.parameters},
    )
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=label[:TEXT_LIMIT],
        segmented_property_category=code(structure.category),
        segmented_property_type=code(structure.type),
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=identification,
        tracking_uid=hd.UID(),
        tracking_id=name[:TEXT_LIMIT],
        anatomic_regions=None if structure.region is None else [code(structure.region)],
        display_color=_cielab(structure.color),
    )
    description.SegmentDescription = f"{label}. {RESEARCH_NOTE}"
    return description


def _cielab(color: tuple[int, int, int]) -> CIELabColor:
    """Convert an sRGB colour (0 to 255) to the form of RecommendedDisplayCIELabValue."""
    from highdicom.color import CIELabColor
    from skimage.color import rgb2lab

    lightness, a, b = rgb2lab(np.asarray(color, dtype=float) / 255.0)
    return CIELabColor(float(lightness), float(a), float(b))


def _frames(masks: Mapping[str, NDArray[np.bool_]]) -> NDArray[np.uint8]:
    """Return labels (z, y, x) numbered in the order of `masks`, or stacked masks (z, y, x, segment) if they overlap."""
    arrays = list(masks.values())
    labels = np.zeros(arrays[0].shape, dtype=np.uint8)
    for number, mask in enumerate(arrays, start=1):
        if labels[mask].any():
            return np.stack(arrays, axis=-1).astype(np.uint8)
        labels[mask] = number
    return labels


def _build(
    masks: Mapping[str, NDArray[np.bool_]], series: DicomSeries, descriptions: Sequence[SegmentDescription]
) -> Dataset:
    """Make the data set of the whole object."""
    import highdicom as hd
    from pydicom.config import disable_value_validation

    # What the source holds is passed on as it is, and warnings about it could quote a name.
    with disable_value_validation():
        sources = source_images(series)
        identity = take_identity(sources)
        dataset = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=_frames(masks),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=descriptions,
            omit_empty_frames=True,
            **common_header(series, number=SERIES_NUMBER, description=SERIES_DESCRIPTION),
        )
        give_identity(dataset, identity)
    return dataset
