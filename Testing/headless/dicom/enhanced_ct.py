"""Enhanced (multi-frame) CTs made of the slices of a series."""

from __future__ import annotations

import copy
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, generate_uid

ENHANCED_CT = UID("1.2.840.10008.5.1.4.1.1.2.1")
TOP_LEVEL = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept")


def item(**elements) -> Sequence:
    """Return a sequence of one item."""
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return Sequence([made])


def enhance(folder: Path, path: Path, order: list[int] | None = None, per_frame_rescale: bool = False) -> Path:
    """Pack the slices of `folder` into one enhanced CT, in an `order` that need not follow space."""
    slices = [pydicom.dcmread(item) for item in sorted(folder.iterdir())]
    slices = [slices[index] for index in order or range(len(slices))]
    enhanced = copy.deepcopy(slices[0])
    enhanced.SOPClassUID = enhanced.file_meta.MediaStorageSOPClassUID = ENHANCED_CT
    enhanced.SOPInstanceUID = enhanced.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    for keyword in TOP_LEVEL:
        delattr(enhanced, keyword)
    shared = Dataset()
    shared.PixelMeasuresSequence = item(PixelSpacing=slices[0].PixelSpacing, SliceThickness="2.5")
    shared.PlaneOrientationSequence = item(ImageOrientationPatient=slices[0].ImageOrientationPatient)
    shared.PixelValueTransformationSequence = item(RescaleSlope="1", RescaleIntercept="0", RescaleType="HU")
    frames = []
    for number, source in enumerate(slices):
        frame = Dataset()
        frame.PlanePositionSequence = item(ImagePositionPatient=source.ImagePositionPatient)
        if per_frame_rescale:
            rescale = item(RescaleSlope="2", RescaleIntercept=str(number), RescaleType="HU")
            frame.PixelValueTransformationSequence = rescale
        frames.append(frame)
    enhanced.SharedFunctionalGroupsSequence = Sequence([shared])
    enhanced.PerFrameFunctionalGroupsSequence = Sequence(frames)
    enhanced.NumberOfFrames = len(frames)
    enhanced.PixelData = b"".join(source.PixelData for source in slices)
    path.parent.mkdir(exist_ok=True)
    enhanced.save_as(path)
    return path
