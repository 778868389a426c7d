"""An outline that was edited by hand: found, measured, marked, and given up again."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from twintrack.settings import DEFAULT_VESSEL_NAMES
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.Boxes import boundingBox, cropped, grown
from TwinTrackSegLib.mrml.ResultSegmentation import TUMOR_SEGMENT_ID, segmentMask
from TwinTrackSegLib.mrml.SceneResult import SceneResult
from TwinTrackSegLib.mrml.VesselTable import updateVesselTable
from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode, volumeFromNode

__all__ = ["measureOutline", "restoreOutline"]

MANUAL = "SEMIAUTOMATIC"
AUTOMATIC = "AUTOMATIC"
ALGORITHM_TAG = "DICOM.SegmentAlgorithmType"
EDITED_SUFFIX = " (edited)"

MARGIN_VOXELS = 8
"""Kept around tumour and vessels, so that no wall lies at the border of what is measured."""

LEVEL = 0.5
"""An outline by hand is 0 or 1: every level gives the same numbers."""


def measureOutline(result: SceneResult) -> bool:
    """Measure volume and vessel contact of the tumour segment as it is now; return whether it differs from the map's.

    An outline that differs is marked as edited, in the scene and in everything that is exported. One that does not is
    the map's again.

    Raises
    ------
    InputError
        If the segment is gone or empty, the CT left the scene, or a package that measuring needs is not installed.
    """
    if not result.edited:
        result.settle()
    segmentation, ct = result.segmentationNode, result.volumeNode
    if ct is None or segmentation is None or segmentation.GetSegmentation().GetSegment(TUMOR_SEGMENT_ID) is None:
        raise InputError("the CT or the tumour segment is not in the scene any more; segment the CT again")
    mask = segmentMask(segmentation, TUMOR_SEGMENT_ID, ct)
    if not mask.any():
        raise InputError("the tumour segment is empty; draw an outline, or go back to the map's outline")
    drawn = volumeFromNode(result.mhrNode).array >= np.float32(result.threshold)
    added, removed = int(np.count_nonzero(mask & ~drawn)), int(np.count_nonzero(drawn & ~mask))
    if not added and not removed:
        _mark(result, None)
        return False
    voxel_ml = geometryFromNode(ct).voxel_ml
    _mark(
        result,
        {
            "volume_ml": float(np.count_nonzero(mask)) * voxel_ml,
            "added_ml": added * voxel_ml,
            "removed_ml": removed * voxel_ml,
            "threshold": result.threshold,
            "invasion": _measured(result, mask),
        },
    )
    return True


def restoreOutline(result: SceneResult) -> None:
    """Give up the edited outline: the tumour is the map at the threshold again."""
    _mark(result, None)
    result.setThreshold(result.threshold)


def _mark(result: SceneResult, edited: dict[str, Any] | None) -> None:
    """Put `edited` into the record, and its sign on the segment."""
    result.setRecord(edited=edited)
    segment = result.segmentationNode.GetSegmentation().GetSegment(TUMOR_SEGMENT_ID)
    name = segment.GetName().removesuffix(EDITED_SUFFIX)
    segment.SetName(name + EDITED_SUFFIX if edited else name)
    segment.SetTag(ALGORITHM_TAG, MANUAL if edited else AUTOMATIC)
    updateVesselTable(result.tableNode, result.readouts)


def _measured(result: SceneResult, mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Return the ``invasion.json`` of an outline; without vessels there is nothing to measure."""
    ct, segmentation = result.volumeNode, result.segmentationNode
    labels = np.zeros(mask.shape, dtype=np.uint8)
    names = {}
    for identifier in segmentation.GetSegmentation().GetSegmentIDs():
        if identifier != TUMOR_SEGMENT_ID:
            names[identifier] = DEFAULT_VESSEL_NAMES.get(identifier, len(DEFAULT_VESSEL_NAMES) + len(names) + 1)
            labels[segmentMask(segmentation, identifier, ct)] = names[identifier]
    if not names:
        return {"schema": 1, "thresholds": [], "vessels": {}}
    try:
        from twintrack.invasion import measure_invasion
    except ImportError as error:
        raise InputError(
            f"measuring needs the package {error.name}; press Segment once to install what is missing"
        ) from error
    box = boundingBox(mask | (labels > 0))
    assert box is not None
    box = grown(box, mask.shape, MARGIN_VOXELS)
    grid = geometryFromNode(ct)
    part = cropped(Volume(labels, grid), box)
    outline = Volume(mask[box].astype(np.float32), part.geometry)
    found = measure_invasion(outline, part, names, thresholds=(LEVEL,)).to_json()
    absent = {name: {"present": False} for name in (result.record.get("invasion") or {}).get("vessels", {})}
    found["vessels"] = absent | found["vessels"]
    return found
