"""A result as it lives in the scene: everything is found again from the MHR volume node, also after save and reload."""

from __future__ import annotations

from typing import Any

import numpy as np

import slicer
from TwinTrackSegLib.mrml.display.Views import jumpToPoint, showOverlay
from TwinTrackSegLib.mrml.result.ResultNodes import ResultNodes, isMadeOfCt, resultMaps
from TwinTrackSegLib.mrml.result.ResultRecord import ResultRecord
from TwinTrackSegLib.mrml.result.ResultViews import arrangeResults, currentMap, markCurrent, shownCt
from TwinTrackSegLib.mrml.result.TumorOutline import TumorOutline
from TwinTrackSegLib.mrml.VolumeConversion import LPS_SIGNS

__all__ = ["SceneResult", "allResults", "firstCandidate", "resultOf", "resultWith", "resultsOf"]


class SceneResult:
    """One result in the scene, and how it is shown.

    Parameters
    ----------
    mhrNode : vtkMRMLScalarVolumeNode
        The MHR volume.

    Attributes
    ----------
    nodes : ResultNodes
        Its nodes.
    record : ResultRecord
        What the engine told of it, and what was measured of an edited outline.
    outline : TumorOutline
        The tumour's outline at the threshold.
    """

    def __init__(self, mhrNode: Any) -> None:
        self.nodes = ResultNodes(mhrNode)
        self.record = ResultRecord(self.nodes)
        self.outline = TumorOutline(self.nodes, self.record)

    @property
    def isInScene(self) -> bool:
        """Whether the result's map is still there."""
        return bool(slicer.mrmlScene.IsNodePresent(self.nodes.mhr))

    def center(self) -> tuple[float, float, float] | None:
        """Return the map's centre of mass in RAS mm, without the node's transform; None for an empty map."""
        mhr = self.outline.part.volume
        weight = np.asarray(mhr.array, dtype=float)
        if weight.sum() <= 0:
            return None
        z, y, x = (np.arange(n) @ weight.sum(axis=tuple({0, 1, 2} - {axis})) for axis, n in enumerate(weight.shape))
        index = np.array([x, y, z]) / weight.sum()
        right, anterior, superior = mhr.geometry.to_lps_mm(index) * LPS_SIGNS
        return (float(right), float(anterior), float(superior))

    def show(self) -> None:
        """Show this result and its CT in the slice views, and jump to its tumour.

        Other results of the same CT are hidden, those of other CTs are confined to the views that show theirs.
        """
        for other in resultsOf(self.nodes.ct):
            other.nodes.setVisibility(other.nodes.mhr is self.nodes.mhr)
        markCurrent(self.nodes.mhr)
        if self.nodes.ct is not None:
            showOverlay(self.nodes.ct, self.nodes.overlay)
            self.nodes.showLegend(True)
        arrangeResults()
        self.jumpToTumor()

    def jumpToTumor(self) -> None:
        """Centre every view on the tumour."""
        center = self.center()
        if center is not None:
            jumpToPoint(self.nodes.mhr, center)


def allResults() -> list[SceneResult]:
    """Return the results in the scene, in the order in which they were made."""
    return [SceneResult(node) for node in resultMaps()]


def resultsOf(volumeNode: Any) -> list[SceneResult]:
    """Return the results in the scene that were made from `volumeNode`, in the order in which they were made."""
    return [] if volumeNode is None else [result for result in allResults() if result.nodes.ct is volumeNode]


def resultWith(node: Any) -> SceneResult | None:
    """Return the result whose map or segmentation is `node`; None if there is none."""
    if node is None:
        return None
    return next((result for result in allResults() if node in (result.nodes.mhr, result.nodes.segmentation)), None)


def resultOf(volumeNode: Any) -> SceneResult | None:
    """Return the result that stands for a CT: the one that was shown last; None if it has none."""
    mhr = currentMap(volumeNode)
    return None if mhr is None else SceneResult(mhr)


def firstCandidate() -> Any:
    """Return a first guess at the CT: the one in the slice views, else the first that is made of no other; or None."""
    shown = shownCt()
    others = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    for node in others if shown is None else (shown, *others):
        if node.GetClassName() == "vtkMRMLScalarVolumeNode" and not isMadeOfCt(node):
            return node
    return None
