"""The uncalibrated score of a result, kept in the scene so that a calibrator can be fitted on it later."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from twintrack.io.volumes import read_volume
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.Boxes import boundingBox, cropped
from TwinTrackSegLib.mrml.result.ResultFolder import addToFolderOf
from TwinTrackSegLib.mrml.result.SceneResult import ROLE_SCORE, SceneResult
from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode, nodeFromVolume, volumeFromNode

__all__ = ["loadScore", "scoreOf"]


def loadScore(path: Path, result: SceneResult) -> Any:
    """Add the part of the score in the file that is not 0, the region of interest, as a volume node of `result`."""
    stored = read_volume(path)
    whole = Volume(stored.array, geometryFromNode(result.mhrNode))
    box = boundingBox(whole.array > 0) or (slice(0, 1), slice(0, 1), slice(0, 1))
    node = nodeFromVolume(cropped(whole, box), f"{result.mhrNode.GetName()} score (not calibrated)")
    node.SetAttribute("TwinTrackSeg.start", " ".join(str(side.start) for side in box))
    node.SetAndObserveTransformNodeID(result.mhrNode.GetTransformNodeID())
    result.mhrNode.SetNodeReferenceID(ROLE_SCORE, node.GetID())
    addToFolderOf(result.mhrNode, node)
    return node


def scoreOf(result: SceneResult) -> Volume | None:
    """Return the score on the CT's grid, float32 and 0 outside the region of interest; None if it was not kept."""
    node = result.mhrNode.GetNodeReference(ROLE_SCORE)
    if node is None:
        return None
    part = volumeFromNode(node).array
    grid = geometryFromNode(result.mhrNode)
    starts = (int(text) for text in node.GetAttribute("TwinTrackSeg.start").split())
    whole = np.zeros(grid.shape, dtype=np.float32)
    whole[tuple(slice(start, start + n) for start, n in zip(starts, part.shape, strict=True))] = part
    return Volume(whole, grid)
