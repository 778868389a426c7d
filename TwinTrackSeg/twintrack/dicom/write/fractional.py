"""Write the probability map as a fractional DICOM segmentation: 8 bits a voxel, which only some viewers read."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from twintrack.dicom.read.series import DicomSeries
from twintrack.dicom.write.derived import Algorithm, MapMeaning, common_header, save_dataset
from twintrack.dicom.write.parametric_map import QUANTITIES, map_on_slices
from twintrack.dicom.write.remarks import NO_REMARKS, Remarks
from twintrack.dicom.write.segment_description import describe
from twintrack.dicom.write.segmentation import build_segmentation
from twintrack.dicom.write.segments import Segment
from twintrack.dicom.write.terminology import TUMOR
from twintrack.volume import Volume

__all__ = ["write_fractional"]

logger = logging.getLogger(__name__)

SERIES_NUMBER = 902
SERIES_DESCRIPTION = "TwinTrackSeg fractional (research use only), not for Slicer/OHIF"
READERS_NOTE = "Weasis and highdicom read it; 3D Slicer, dcmqi and OHIF do not."

FULL_SCALE = 255
"""Stored value of the fraction 1."""


def write_fractional(
    probability: Volume,
    series: DicomSeries,
    path: str | Path,
    *,
    algorithm: Algorithm,
    meaning: MapMeaning = MapMeaning.MHR,
    remarks: Remarks = NO_REMARKS,
) -> Path:
    """Write a fractional DICOM-SEG of one segment, the tumour, with the map as its fractions.

    Values are rounded to steps of 1/255. The parametric map holds them exactly and more viewers read it.

    Parameters
    ----------
    probability : Volume
        Values in [0, 1], (z, y, x) order, on the grid of `series` or a permuted or flipped form of it.
    series, path, algorithm, meaning, remarks
        As in `write_parametric_map`.

    Raises
    ------
    InputError
        If the map lies on another grid, holds values outside [0, 1], or a source file cannot be read again.
    OutputError
        If no value is above 0 (nothing is written then), or the file cannot be written.
    """
    path = Path(path)
    frames, slices = map_on_slices(probability, series, path)
    label = f"{TUMOR.label}: {QUANTITIES[meaning][1]}"
    segment = Segment("tumor-fraction", probability, replace(TUMOR, label=label))
    header = common_header(series, algorithm, number=SERIES_NUMBER, description=SERIES_DESCRIPTION, remarks=remarks)
    description = describe(1, segment, algorithm, remarks, header["series_instance_uid"])
    description.SegmentDescription = remarks.sentences(f"{label}. {READERS_NOTE}")
    dataset = build_segmentation(
        frames,
        slices,
        series,
        [description],
        header=header,
        segmentation_type="FRACTIONAL",
        fractional_type="PROBABILITY",
        max_fractional_value=FULL_SCALE,
    )
    save_dataset(dataset, path)
    logger.info("wrote fractions in %d frames", int(np.asarray(dataset.NumberOfFrames)))
    return path
