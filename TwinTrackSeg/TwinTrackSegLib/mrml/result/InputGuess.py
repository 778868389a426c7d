"""A first guess at the CT that the user wants to segment."""

from __future__ import annotations

from typing import Any

import slicer
from TwinTrackSegLib.mrml.result.SceneResult import ROLE_RECORD

__all__ = ["firstCandidate"]


def firstCandidate() -> Any:
    """Return the first scalar volume in the scene that is no result of ours, or None: a first guess at the CT."""
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not node.GetNodeReferenceID(ROLE_RECORD):
            return node
    return None
