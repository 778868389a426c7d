"""What the tumour segment holds, to tell an edit by hand from what the module wrote itself."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import vtk.util.numpy_support
from numpy.typing import NDArray

import slicer
from TwinTrackSegLib.mrml.Boxes import boundingBox
from TwinTrackSegLib.mrml.result.ResultSegmentation import BINARY, TUMOR_SEGMENT_ID
from TwinTrackSegLib.mrml.result.ThresholdPart import ThresholdPart
from TwinTrackSegLib.mrml.VolumeConversion import ijkToRas, segmentMask

__all__ = ["contentTime", "digestOf", "holdsLevel"]


def contentTime(segmentationNode: Any) -> int:
    """Return a number that grows with every change of the tumour's voxels; 0 if there is no tumour segment."""
    segment = segmentationNode.GetSegmentation().GetSegment(TUMOR_SEGMENT_ID)
    labelmap = segment.GetRepresentation(BINARY) if segment is not None else None
    return int(labelmap.GetMTime()) if labelmap is not None else 0


def digestOf(mask: NDArray[np.bool_]) -> str:
    """Return what tells a mask (z, y, x) from any other on the same grid."""
    box = boundingBox(mask)
    if box is None:
        return "empty"
    place = ",".join(f"{side.start}-{side.stop}" for side in box)
    return hashlib.sha256(place.encode("ascii") + np.packbits(mask[box]).tobytes()).hexdigest()


def holdsLevel(segmentationNode: Any, mhrNode: Any, part: ThresholdPart, level: float) -> bool:
    """Whether the tumour segment is what the map is from `level` on."""
    if segmentationNode.GetSegmentation().GetSegment(TUMOR_SEGMENT_ID) is None:
        return False
    wanted = part.voxels >= np.float32(level)
    found = _onPart(segmentationNode, mhrNode, part)
    if found is None:  # drawn on another grid
        whole = segmentMask(segmentationNode, TUMOR_SEGMENT_ID, mhrNode)
        if np.count_nonzero(whole) != np.count_nonzero(wanted):
            return False
        found = whole[part.box]
    return bool(np.array_equal(found, wanted))


def _onPart(segmentationNode: Any, mhrNode: Any, part: ThresholdPart) -> NDArray[np.bool_] | None:
    """Return the segment's voxels in the part's box, or None if they lie on another grid or reach beyond the box.

    The usual case: without it, a large CT is gone over for every comparison.
    """
    image = slicer.vtkOrientedImageData()
    segmentationNode.GetBinaryLabelmapRepresentation(TUMOR_SEGMENT_ID, image)
    found = np.zeros(part.voxels.shape, dtype=bool)
    if image.IsEmpty():
        return found
    matrix = vtk.vtkMatrix4x4()
    image.GetImageToWorldMatrix(matrix)
    pair = [slicer.util.arrayFromVTKMatrix(each) for each in (matrix, ijkToRas(mhrNode))]
    if not np.allclose(*pair, atol=1e-6):
        return None
    scalars = vtk.util.numpy_support.vtk_to_numpy(image.GetPointData().GetScalars())
    voxels = scalars.reshape(tuple(reversed(image.GetDimensions()))) > 0
    box = boundingBox(voxels)
    if box is None:
        return found
    x0, _x1, y0, _y1, z0, _z1 = image.GetExtent()
    shifts = [first - side.start for first, side in zip((z0, y0, x0), part.box, strict=True)]
    z, y, x = (slice(side.start + shift, side.stop + shift) for side, shift in zip(box, shifts, strict=True))
    if any(side.start < 0 or side.stop > size for side, size in zip((z, y, x), found.shape, strict=True)):
        return None
    found[z, y, x] = voxels[box]
    return found
