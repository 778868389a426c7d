"""An outline that was edited by hand: noticed, measured, marked, and given up again without being lost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

import slicer
from twintrack.errors import InputError
from twintrack.labels import VESSEL_VALUES
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.result.ResultNodes import ROLE_EDITED_OUTLINES
from TwinTrackSegLib.mrml.result.ResultSegmentation import (
    BINARY,
    TUMOR_SEGMENT_ID,
    UNNAMED_PREFIX,
    digestOf,
    ensureTumor,
)
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.result.TumorOutline import updateLesionTable
from TwinTrackSegLib.mrml.ResultFolder import addToFolderOf
from TwinTrackSegLib.mrml.vessels.VesselTable import updateVesselTable
from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode, segmentMask, volumeFromNode
from TwinTrackSegLib.mrml.VolumeParts import boundingBox, cropped, grown

__all__ = [
    "MARGIN_VOXELS",
    "contactStep",
    "drawnBy",
    "drawnMap",
    "measureOutline",
    "measuringNeeds",
    "noticeEdit",
    "noticingNeeds",
    "outlineStep",
    "restoreOutline",
    "takeOutline",
    "vesselLabels",
]

AUTOMATIC, SEMIAUTOMATIC, MANUAL = "AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"
"""Who drew the outline, in DICOM's words: the model, a human on top of it, a human alone."""

ALGORITHM_TAG = "DICOM.SegmentAlgorithmType"
EDITED_SUFFIX = " (edited)"

LEAST = 1e-6
"""Stands for a map of 0 inside an outline, which belongs to a lesion all the same."""

MARGIN_VOXELS = 8
"""Measured around tumour and vessels, so that no wall lies at the border of what is measured."""

LEVEL = 0.5
"""An outline by hand is 0 or 1: every level gives the same numbers."""


def measuringNeeds(result: SceneResult) -> tuple[str, ...]:
    """Return the packages, beside those that Slicer ships, that measuring the outline takes."""
    segmentation = result.nodes.segmentation
    identifiers = () if segmentation is None else segmentation.GetSegmentation().GetSegmentIDs()
    return ("scikit-image",) if any(identifier != TUMOR_SEGMENT_ID for identifier in identifiers) else ()


def noticingNeeds(result: SceneResult) -> tuple[str, ...]:
    """Return the packages that `noticeEdit` takes now: none where nothing was edited since."""
    return measuringNeeds(result) if result.nodes.ct is not None and result.outline.changed() else ()


def noticeEdit(result: SceneResult) -> bool:
    """Measure and mark the outline if it was edited since it was drawn or measured; return whether it is edited now.

    Called before anything leaves the scene, so that no edit goes out under the model's name and numbers.

    Raises
    ------
    InputError
        As `measureOutline` does.
    """
    if result.nodes.ct is not None and result.outline.changed():
        measureOutline(result)
    return result.record.edited is not None


def drawnBy(result: SceneResult) -> str:
    """Return who drew the tumour's outline, as the attribute Segment Algorithm Type has it."""
    return str(result.record.edited.get("drawn_by", SEMIAUTOMATIC)) if result.record.edited else AUTOMATIC


def measureOutline(result: SceneResult) -> bool:
    """Measure volume and vessel contact of the tumour segment as it is now; return whether it differs from the map's.

    An outline that differs is marked as edited, in the scene and in everything that is exported. One that does not is
    the map's again.

    Raises
    ------
    InputError
        If the segment is gone or empty, the CT left the scene, or a package that measuring needs is not installed.
    """
    return takeOutline(result, outlineStep(result)())


def outlineStep(result: SceneResult) -> Callable[[], dict[str, Any] | None]:
    """Return what measures the tumour segment as it is now, without the scene; `takeOutline` takes what it returns.

    Raises
    ------
    InputError
        If the segment is gone or empty, or the CT left the scene.
    """
    if not result.record.edited:
        result.outline.settle()
    segmentation, ct = result.nodes.segmentation, result.nodes.ct
    if ct is None or segmentation is None or segmentation.GetSegmentation().GetSegment(TUMOR_SEGMENT_ID) is None:
        raise InputError(
            "the CT or the tumour segment is no longer in the scene; segment the CT again", code="ct-removed"
        )
    mask = segmentMask(segmentation, TUMOR_SEGMENT_ID, ct)
    if not mask.any():
        raise InputError(
            "the tumour segment is empty; draw an outline, or go back to the map's outline", code="tumour-empty"
        )
    drawn = volumeFromNode(result.nodes.mhr).array >= np.float32(result.outline.threshold)
    added, removed = int(np.count_nonzero(mask & ~drawn)), int(np.count_nonzero(drawn & ~mask))
    if not added and not removed:
        return _theMaps
    voxel_ml = geometryFromNode(ct).voxel_ml
    edited = {
        "volume_ml": float(np.count_nonzero(mask)) * voxel_ml,
        "added_ml": added * voxel_ml,
        "removed_ml": removed * voxel_ml,
        "threshold": result.outline.threshold,
        "drawn_by": SEMIAUTOMATIC if np.any(mask & drawn) else MANUAL,
        "sha256": digestOf(mask),
    }
    return partial(_measured, edited, contactStep(result, Volume(mask, geometryFromNode(ct))))


def takeOutline(result: SceneResult, edited: dict[str, Any] | None) -> bool:
    """Take what was measured of the tumour segment into the scene; return whether it differs from the map's."""
    _mark(result, edited)
    return edited is not None


def _theMaps() -> None:
    """Find no difference."""


def _measured(edited: Mapping[str, Any], contact: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    return {**edited, "invasion": contact()}


def drawnMap(result: SceneResult) -> tuple[Volume, float]:
    """Return the map inside the drawn outline, 0 elsewhere, and a level below all of it, to list lesions from."""
    mask = segmentMask(result.nodes.segmentation, TUMOR_SEGMENT_ID, result.nodes.mhr)
    box = boundingBox(mask)
    assert box is not None, "an outline without a voxel is never marked as edited"
    part = cropped(volumeFromNode(result.nodes.mhr), grown(box, mask.shape))
    inside = mask[grown(box, mask.shape)]
    return part.with_array(np.where(inside, np.maximum(part.array, LEAST), 0).astype(np.float32)), LEAST


def restoreOutline(result: SceneResult) -> None:
    """Make the tumour the map at the threshold again; an edited outline goes into a segmentation of its own."""
    segmentation, ct = result.nodes.segmentation, result.nodes.ct
    if ct is None or segmentation is None:
        raise InputError(
            "the CT or the segmentation is no longer in the scene; segment the CT again", code="ct-removed"
        )
    if result.record.edited or result.outline.changed():
        _copyEdited(result)
    ensureTumor(segmentation, ct)
    _mark(result, None)
    result.outline.draw(result.outline.threshold)


def _copyEdited(result: SceneResult) -> None:
    """Copy the outline, if there is any, into the result's segmentation of edited outlines, which is hidden."""
    segmentation, name = result.nodes.segmentation, result.nodes.ct.GetName()
    image = slicer.vtkOrientedImageData()
    segment = segmentation.GetSegmentation().GetSegment(TUMOR_SEGMENT_ID)
    if segment is None or not segmentation.GetBinaryLabelmapRepresentation(TUMOR_SEGMENT_ID, image) or image.IsEmpty():
        return
    node = result.nodes.editedOutlines
    if node is None:
        node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{name} edited outlines")
        node.SetReferenceImageGeometryParameterFromVolumeNode(result.nodes.ct)
        node.SetAndObserveTransformNodeID(segmentation.GetTransformNodeID())
        node.CreateDefaultDisplayNodes()
        node.SetDisplayVisibility(False)
        result.nodes.mhr.SetNodeReferenceID(ROLE_EDITED_OUTLINES, node.GetID())
        addToFolderOf(result.nodes.mhr, node)
    number = node.GetSegmentation().GetNumberOfSegments() + 1
    copy = slicer.vtkSegment()
    copy.SetName(f"{segment.GetName().removesuffix(EDITED_SUFFIX)} (edited {number})")
    copy.SetColor(*segment.GetColor())
    copy.SetTerminology(segment.GetTerminology())
    copy.SetTag(ALGORITHM_TAG, drawnBy(result) if result.record.edited else SEMIAUTOMATIC)
    copy.AddRepresentation(BINARY, image)
    node.GetSegmentation().AddSegment(copy, f"edited-{number}")


def _mark(result: SceneResult, edited: dict[str, Any] | None) -> None:
    """Put `edited` into the record, and its sign on the segment."""
    result.record.setEdited(edited)
    segment = result.nodes.segmentation.GetSegmentation().GetSegment(TUMOR_SEGMENT_ID)
    name = segment.GetName().removesuffix(EDITED_SUFFIX)
    segment.SetName(name + EDITED_SUFFIX if edited else name)
    segment.SetTag(ALGORITHM_TAG, drawnBy(result))
    if edited and result.nodes.lesionTable is not None:
        updateLesionTable(result.nodes.lesionTable, *drawnMap(result))
    if result.nodes.vesselTable is not None:
        updateVesselTable(result.nodes.vesselTable, result.outline.readouts)


def vesselLabels(result: SceneResult, renamed: Mapping[str, str] | None = None) -> tuple[Volume, dict[str, int]]:
    """Return the vessels of a result as they are in the scene: label map (uint8) on the CT's grid, value of each.

    Segments in `renamed` count by the identifier that it gives them.
    """
    ct, segmentation = result.nodes.ct, result.nodes.segmentation
    geometry = geometryFromNode(ct)
    labels = np.zeros(geometry.shape, dtype=np.uint8)
    names: dict[str, int] = {}
    for identifier in segmentation.GetSegmentation().GetSegmentIDs():
        name = (renamed or {}).get(identifier, identifier)
        if name != TUMOR_SEGMENT_ID and not name.startswith(UNNAMED_PREFIX):
            names[name] = VESSEL_VALUES.get(name, len(VESSEL_VALUES) + len(names) + 1)
            labels[segmentMask(segmentation, identifier, ct)] = names[name]
    return Volume(labels, geometry), names


def contactStep(result: SceneResult, drawn: Volume) -> Callable[[], dict[str, Any]]:
    """Return what gives, without the scene, the ``invasion.json`` of another outline or map of a result.

    Without vessels there is nothing to measure.

    Parameters
    ----------
    result : SceneResult
        Whose vessels are meant.
    drawn : Volume
        An outline, 0 or 1, or a map in [0, 1], (z, y, x) on the CT's grid; it is measured at `LEVEL`.

    Raises
    ------
    InputError
        When it is called: if a package that measuring needs is not installed.
    """
    labels, names = vesselLabels(result)
    if not names:
        return _noVessels
    box = boundingBox((drawn.array >= np.float32(LEVEL)) | (labels.array > 0))
    assert box is not None
    box = grown(box, labels.array.shape, MARGIN_VOXELS)
    invasion = result.record.invasion
    return partial(
        _contact,
        Volume(drawn.array[box].astype(np.float32), cropped(labels, box).geometry),
        Volume(np.ascontiguousarray(labels.array[box]), cropped(labels, box).geometry),
        names,
        invasion.get("contact_mm"),
        invasion.get("resectability", {}).get("rules"),
        list(invasion.get("vessels", {})),
    )


def _noVessels() -> dict[str, Any]:
    return {"schema": 2, "thresholds": [], "vessels": {}}


def _contact(
    outline: Volume,
    labels: Volume,
    names: Mapping[str, int],
    contact_mm: float | None,
    rules: str | None,
    known: list[str],
) -> dict[str, Any]:
    try:
        from twintrack.invasion import DEFAULT_CONTACT_MM, DEFAULT_RULES, measure_invasion
    except ImportError as error:
        raise InputError(
            f"measuring needs the package {error.name}, which is missing; Measure offers to install it",
            code="package-missing",
        ) from error
    # Results of earlier versions do not say a distance.
    found = measure_invasion(
        outline,
        labels,
        names,
        thresholds=(LEVEL,),
        contact_mm=contact_mm or DEFAULT_CONTACT_MM,
        rules=str(rules or DEFAULT_RULES),
    ).to_json()
    found["vessels"] = {name: {"present": False} for name in known} | found["vessels"]
    return found
