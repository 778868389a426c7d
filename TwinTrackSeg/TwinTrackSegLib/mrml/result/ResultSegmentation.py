"""The segmentation node of a result: the tumour at the threshold and the vessels, with the engine's names and codes.

The codes are the engine's own, so that the segments in the scene and in an exported DICOM-SEG say the same. What the
tumour's segment holds tells an edit by hand from what the module wrote itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import vtk
import vtk.util.numpy_support
from numpy.typing import NDArray

import slicer
from twintrack.dicom.write.terminology import TUMOR, Concept, structure_of
from TwinTrackSegLib.mrml.VolumeConversion import ijkToRas, segmentMask
from TwinTrackSegLib.mrml.VolumeParts import Box, Part, ThresholdPart, boundingBox

__all__ = [
    "BINARY",
    "SURFACE",
    "TUMOR_SEGMENT_ID",
    "UNNAMED_PREFIX",
    "SegmentMeaning",
    "addSegment",
    "addUnnamed",
    "addVessels",
    "contentTime",
    "digestOf",
    "ensureTumor",
    "holdsLevel",
    "meaningOf",
    "newSegmentation",
    "setTumorMask",
    "setTumorSurface",
    "unnamedMeaning",
]

TUMOR_SEGMENT_ID = "tumor"
UNNAMED_PREFIX = "unnamed-"
"""How the identifiers of segments begin that are arteries or veins without a name: nothing is measured of them."""

BINARY = "Binary labelmap"
SURFACE = "Closed surface"

CONTEXT_TYPES = "Segmentation category and type - DICOM master list"
CONTEXT_REGIONS = "Anatomic codes - DICOM master list"

TUMOR_COLOR = (0.0, 0.85, 0.85)
"""Cyan: the only hue that neither the MHR colours nor the white contours nor the vessels use."""


class SegmentMeaning(NamedTuple):
    """Name for people, colour (RGB, 0 to 1), and the segment tag that holds the codes."""

    name: str
    color: tuple[float, float, float]
    terminologyEntry: str


def meaningOf(label: str) -> SegmentMeaning:
    """Return what the engine's label name means: ``"tumor"``, a vessel such as ``"SMA"``, or another vessel."""
    structure = structure_of(label)
    red, green, blue = (channel / 255 for channel in structure.color)
    # Seven parts: context of types, category, type, type modifier, context of regions, region, region modifier.
    codes = [_code(structure.category), _code(structure.type), _code(None)]
    region = [_code(structure.region), _code(None)]
    return SegmentMeaning(
        name=structure.label,
        color=TUMOR_COLOR if structure is TUMOR else (red, green, blue),
        terminologyEntry="~".join([CONTEXT_TYPES, *codes, CONTEXT_REGIONS, *region]),
    )


def unnamedMeaning(piece: str, *, artery: bool) -> SegmentMeaning:
    """Return what a segment without a name means: an artery or a vein, and what anatomy took it for."""
    meaning = meaningOf("ARTERIES" if artery else "VEINS")
    found = "" if piece in ("ARTERIES", "VEINS") else f" (found as {meaningOf(piece).name})"
    return meaning._replace(name=f"{meaning.name} without a name{found}")


def newSegmentation(volumeNode: Any, name: str) -> Any:
    """Add a segmentation node on the CT's grid with an empty tumour segment."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    node.GetSegmentation().SetSourceRepresentationName(BINARY)
    _addSegment(node, TUMOR_SEGMENT_ID, meaningOf("tumor"), _emptyLabelmap(volumeNode))
    display = node.GetDisplayNode()
    display.SetVisibility2DFill(False)  # outlines only: the CT and the overlay show the inside
    display.SetSliceIntersectionThickness(2)
    display.SetPreferredDisplayRepresentationName2D(SURFACE)  # smooth, between voxels, as the iso-contours
    display.SetSegmentVisibility3D(TUMOR_SEGMENT_ID, False)  # the iso-surfaces show it in 3D
    return node


def ensureTumor(node: Any, volumeNode: Any) -> None:
    """Add an empty tumour segment if the user removed it."""
    if node.GetSegmentation().GetSegment(TUMOR_SEGMENT_ID) is None:
        _addSegment(node, TUMOR_SEGMENT_ID, meaningOf("tumor"), _emptyLabelmap(volumeNode))
        node.GetDisplayNode().SetSegmentVisibility3D(TUMOR_SEGMENT_ID, False)


def addVessels(node: Any, volumeNode: Any, labels: Part, values: Mapping[str, int]) -> None:
    """Add a segment with its surface for every vessel of `values` (name to value) that occurs in `labels`."""
    for name, value in values.items():
        mask = labels.array == value
        if mask.any():
            addSegment(node, volumeNode, name, meaningOf(name), mask, labels.box)
    node.CreateClosedSurfaceRepresentation()


def addUnnamed(node: Any, volumeNode: Any, rest: Mapping[str, Part]) -> None:
    """Add what has no name of ``ARTERIES`` and ``VEINS``, hidden, for whoever cuts a vessel out of it."""
    for name, mask in rest.items():
        if mask.array.any():
            identifier = UNNAMED_PREFIX + name
            addSegment(node, volumeNode, identifier, unnamedMeaning(name, artery=name == "ARTERIES"), *mask)
            node.GetDisplayNode().SetSegmentVisibility(identifier, False)


def addSegment(
    node: Any,
    volumeNode: Any,
    identifier: str,
    meaning: SegmentMeaning,
    mask: NDArray[np.bool_],
    place: Box | None = None,
) -> None:
    """Add a segment with the voxels `mask` (z, y, x) of the CT's grid, or of its part `place`; it may be empty."""
    box = boundingBox(mask)
    if box is None:
        labelmap = _emptyLabelmap(volumeNode)
    else:
        firsts = [0, 0, 0] if place is None else [side.start for side in place]
        z, y, x = (slice(side.start + n, side.stop + n) for side, n in zip(box, firsts, strict=True))
        labelmap = _labelmap(mask[box], (z, y, x), volumeNode)
    _addSegment(node, identifier, meaning, labelmap)


def setTumorMask(node: Any, volumeNode: Any, mask: NDArray[np.bool_], box: Box) -> None:
    """Replace the tumour segment's voxels by `mask`, which lies in `box`; its surface stays as it is."""
    segment = node.GetSegmentation().GetSegment(TUMOR_SEGMENT_ID)
    segment.SetLabelValue(1)  # a scene that was opened may have shared one label map among segments
    _replace(node, BINARY, _labelmap(mask, box, volumeNode), segment)


def setTumorSurface(node: Any, surface: vtk.vtkPolyData) -> None:
    """Replace the tumour segment's surface, which the views show; its voxels stay as they are."""
    _replace(node, SURFACE, surface, node.GetSegmentation().GetSegment(TUMOR_SEGMENT_ID))


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


def _replace(node: Any, name: str, representation: Any, segment: Any) -> None:
    wasModifying = node.StartModify()
    segment.AddRepresentation(name, representation)
    node.GetSegmentation().InvokeEvent(slicer.vtkSegmentation.RepresentationModified, TUMOR_SEGMENT_ID)
    node.EndModify(wasModifying)


def _addSegment(node: Any, identifier: str, meaning: SegmentMeaning, labelmap: Any) -> None:
    segment = slicer.vtkSegment()
    segment.SetName(meaning.name)
    segment.SetColor(*meaning.color)
    segment.SetTerminology(meaning.terminologyEntry)
    segment.SetTag("DICOM.SegmentAlgorithmType", "AUTOMATIC")
    segment.SetTag("DICOM.SegmentAlgorithmName", "TwinTrackSeg")
    segment.AddRepresentation(BINARY, labelmap)
    node.GetSegmentation().AddSegment(segment, identifier)


def _labelmap(mask: NDArray[np.bool_], box: Box, volumeNode: Any) -> Any:
    """Return `mask` at `box` of the CT's index space as a label map."""
    image = slicer.vtkOrientedImageData()
    image.SetGeometryFromImageToWorldMatrix(ijkToRas(volumeNode))
    image.SetExtent(*(v for side in reversed(box) for v in (side.start, side.stop - 1)))
    part = np.ascontiguousarray(mask, dtype=np.uint8)
    scalars = vtk.util.numpy_support.numpy_to_vtk(part.ravel(), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
    image.GetPointData().SetScalars(scalars)
    return image


def _emptyLabelmap(volumeNode: Any) -> Any:
    image = slicer.vtkOrientedImageData()
    image.SetGeometryFromImageToWorldMatrix(ijkToRas(volumeNode))
    image.SetExtent(0, -1, 0, -1, 0, -1)
    image.AllocateScalars(vtk.VTK_UNSIGNED_CHAR, 1)
    return image


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


def _code(code: Concept | None) -> str:
    return f"SCT^{code.value}^{code.meaning}" if code is not None else "^^"
