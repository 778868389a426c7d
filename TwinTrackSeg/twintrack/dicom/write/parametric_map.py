"""Write the probability map as a DICOM parametric map (float32) on the CT series' own grid."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from twintrack.dicom.read.series import DicomSeries
from twintrack.dicom.write.derived import Algorithm, MapMeaning, common_header, place_on, save_dataset
from twintrack.dicom.write.references import refer_to_all, refer_to_frames
from twintrack.dicom.write.remarks import NO_REMARKS, Remarks
from twintrack.dicom.write.segment_description import as_code, code_item
from twintrack.dicom.write.source import blank_identity, restore_identity, source_images
from twintrack.dicom.write.terminology import CODING_SCHEME, PANCREAS
from twintrack.errors import InputError, OutputError
from twintrack.volume import Volume

if TYPE_CHECKING:
    from highdicom.pm import RealWorldValueMapping
    from pydicom.dataset import Dataset

__all__ = ["QUANTITIES", "map_on_slices", "write_parametric_map"]

logger = logging.getLogger(__name__)

SERIES_NUMBER = 901
SERIES_DESCRIPTION = "TwinTrackSeg map (research use only)"

QUANTITIES = {
    MapMeaning.MHR: ("MHR", "Fraction of readers marking tumour"),
    MapMeaning.SINGLE_RATER: ("PROB-RATER", "Probability that one reader marks tumour"),
    MapMeaning.HARD_LABEL: ("PROB-LABEL", "Probability of the tumour label"),
    MapMeaning.SCORE: ("SCORE", "Uncalibrated tumour score"),
}
"""Private codes (scheme 99TWINTRACK) of the quantities a map may hold; no standard code says "fraction of readers"."""


def write_parametric_map(
    probability: Volume,
    series: DicomSeries,
    path: str | Path,
    *,
    algorithm: Algorithm,
    meaning: MapMeaning = MapMeaning.MHR,
    remarks: Remarks = NO_REMARKS,
) -> Path:
    """Write a float32 parametric map, explicit VR little endian, that refers to the source slices frame by frame.

    Parameters
    ----------
    probability : Volume
        Values in [0, 1], (z, y, x) order, on the grid of `series` or a permuted or flipped form of it. Slices before
        the first and behind the last one that holds a value above 0 are left out of the file.
    series : DicomSeries
        The CT series that was segmented; its patient and study are taken over.
    path : str or Path
        The file to write; it appears only when it is complete.
    algorithm : Algorithm
        Stated in the derivation description.
    meaning : MapMeaning
        What the values state.
    remarks : Remarks
        Stated in the descriptions of series, content and derivation.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        If the map lies on another grid, holds values outside [0, 1], or a source file cannot be read again.
    OutputError
        If no value is above 0 (nothing is written then), or the file cannot be written.
    """
    path = Path(path)
    frames, slices = map_on_slices(probability, series, path)
    dataset = _build(frames, series, slices, algorithm, meaning, remarks)
    dataset.DerivationDescription = remarks.sentences(
        f"{algorithm.name} {algorithm.version}, bundle_sha256={algorithm.bundle_sha256}."
    )
    save_dataset(dataset, path)
    logger.info("wrote a map of %d frames", int(dataset.NumberOfFrames))
    return path


def map_on_slices(probability: Volume, series: DicomSeries, path: Path) -> tuple[NDArray[np.float32], slice]:
    """Return the map (slice, y, x) from the first to the last slice that holds a value above 0, and which these are.

    Raises
    ------
    InputError
        If it lies on another grid or holds values outside [0, 1].
    OutputError
        If no value is above 0, so that there is nothing to write to `path`.
    """
    array = place_on(probability, series, "the probability map").array.astype(np.float32)
    if not np.all(np.isfinite(array)) or array.min() < 0 or array.max() > 1:
        raise InputError("a probability map must hold values from 0 to 1 only", code="probability-range")
    on_slices = series.on_slices(array)
    used = np.flatnonzero(on_slices.any(axis=(1, 2)))
    if used.size == 0:
        raise OutputError("not written, because the map is 0 everywhere; check the result", code="map-empty", path=path)
    slices = slice(int(used[0]), int(used[-1]) + 1)
    return on_slices[slices], slices


def _mapping(meaning: MapMeaning) -> RealWorldValueMapping:
    """Say what the stored values are: a fraction without unit."""
    import highdicom as hd
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    value, text = QUANTITIES[meaning]
    return hd.pm.RealWorldValueMapping(
        lut_label=value,
        lut_explanation=text,
        unit=codes.UCUM.NoUnits,
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=Code(value, CODING_SCHEME, text),
    )


def _build(
    frames: NDArray[np.float32],
    series: DicomSeries,
    slices: slice,
    algorithm: Algorithm,
    meaning: MapMeaning,
    remarks: Remarks,
) -> Dataset:
    """Make the data set of the whole object from `frames` (z, y, x), which lie on `slices` of the series."""
    import highdicom as hd
    from pydicom.config import disable_value_validation

    # What the source holds is passed on as it is, and warnings about it could quote a name.
    with disable_value_validation():
        every = source_images(series)
        identity = blank_identity(every)
        sources = every[slices]
        dataset = hd.pm.ParametricMap(
            source_images=sources,
            pixel_array=frames,
            contains_recognizable_visual_features=False,
            real_world_value_mappings=[_mapping(meaning)],
            **_window(),
            **common_header(series, algorithm, number=SERIES_NUMBER, description=SERIES_DESCRIPTION, remarks=remarks),
        )
        restore_identity(dataset, identity)
    _add_frame_anatomy(dataset)
    _sort_frames_upwards(dataset, frames, series.volume.geometry.direction_matrix[:, 2])
    for group, source in zip(dataset.PerFrameFunctionalGroupsSequence, sources, strict=True):
        group.DerivationImageSequence = [_derived_from(source)]
    refer_to_all(dataset, every)
    refer_to_frames(dataset, series)
    return dataset


def _window() -> dict[str, Any]:
    """Return the display window 0 to 1 in the form that this version of the library takes."""
    import inspect

    import highdicom as hd

    if "voi_lut_transformations" not in inspect.signature(hd.pm.ParametricMap).parameters:
        return {"window_center": 0.5, "window_width": 1.0}
    return {"voi_lut_transformations": [hd.VOILUTTransformation(window_center=0.5, window_width=1.0)]}


def _add_frame_anatomy(dataset: Dataset) -> None:
    """State the pancreas as the anatomy of all frames; dcmqi and Slicer cannot read a map without it."""
    from pydicom.dataset import Dataset

    anatomy = Dataset()
    anatomy.AnatomicRegionSequence = [code_item(as_code(PANCREAS))]
    anatomy.FrameLaterality = "U"
    dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy]


def _derived_from(source: Dataset) -> Dataset:
    """Refer a frame to the slice that it was computed from; not every version of the library does."""
    from pydicom.dataset import Dataset
    from pydicom.sr.codedict import codes

    image = Dataset()
    image.ReferencedSOPClassUID = source.SOPClassUID
    image.ReferencedSOPInstanceUID = source.SOPInstanceUID
    image.SpatialLocationsPreserved = "YES"
    image.PurposeOfReferenceCodeSequence = [code_item(codes.DCM.SourceImageForImageProcessingOperation)]
    derivation = Dataset()
    derivation.SourceImageSequence = [image]
    derivation.DerivationCodeSequence = [code_item(codes.DCM.UnspecifiedMethodOfCalculation)]
    return derivation


def _sort_frames_upwards(dataset: Dataset, frames: NDArray[np.float32], normal: NDArray[np.float64]) -> None:
    """Put the frames in the order of `frames`, upwards along `normal`, as dcmqi takes for granted."""

    def place_mm(group: Dataset) -> float:
        return float(np.dot(np.array(group.PlanePositionSequence[0].ImagePositionPatient, dtype=float), normal))

    groups = sorted(dataset.PerFrameFunctionalGroupsSequence, key=place_mm)
    for rank, group in enumerate(groups, start=1):
        # The position is the only dimension of a map.
        group.FrameContentSequence[0].DimensionIndexValues = rank
    dataset.PerFrameFunctionalGroupsSequence = groups
    dataset.FloatPixelData = frames.astype("<f4").tobytes()
