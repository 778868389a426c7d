"""The nodes of a result: found again from its MHR volume node by role, also after save and reload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer
from TwinTrackSegLib.mrml.display.MhrDisplay import showLegend
from TwinTrackSegLib.mrml.vessels.VesselPlot import ROLE_CHART

__all__ = ["ResultNodes", "isMadeOfCt", "removeNodes", "resultMaps"]

ROLE_INPUT = "TwinTrackSeg.input"
ROLE_SEGMENTATION = "TwinTrackSeg.segmentation"
ROLE_TABLE = "TwinTrackSeg.vesselTable"
ROLE_LESIONS = "TwinTrackSeg.lesionTable"
ROLE_CONTOUR = "TwinTrackSeg.contour"
ROLE_SCORE = "TwinTrackSeg.score"
ROLE_RECORD = "TwinTrackSeg.record"
ROLE_EDITED_OUTLINES = "TwinTrackSeg.keptOutlines"
ROLE_RELIABILITY = "TwinTrackSeg.reliability"


class ResultNodes:
    """The nodes of one result.

    Parameters
    ----------
    mhr : vtkMRMLScalarVolumeNode
        The MHR volume; it refers to all other nodes of the result.
    """

    def __init__(self, mhr: Any) -> None:
        self.mhr = mhr

    @property
    def ct(self) -> Any:
        """The CT that was segmented, or None if it left the scene."""
        return self.mhr.GetNodeReference(ROLE_INPUT)

    @property
    def segmentation(self) -> Any:
        """The segmentation with the tumour at the threshold and the vessels."""
        return self.mhr.GetNodeReference(ROLE_SEGMENTATION)

    @property
    def vesselTable(self) -> Any:
        """The table of vessel readouts."""
        return self.mhr.GetNodeReference(ROLE_TABLE)

    @property
    def lesionTable(self) -> Any:
        """The table of lesions."""
        return self.mhr.GetNodeReference(ROLE_LESIONS)

    @property
    def contours(self) -> list[Any]:
        """The iso-contour models, lowest level first."""
        number = self.mhr.GetNumberOfNodeReferences(ROLE_CONTOUR)
        nodes = [self.mhr.GetNthNodeReference(ROLE_CONTOUR, n) for n in range(number)]
        return [node for node in nodes if node is not None]

    @property
    def record(self) -> Any:
        """The text node with the engine's ``result.json`` and ``invasion.json``."""
        return self.mhr.GetNodeReference(ROLE_RECORD)

    @property
    def score(self) -> Any:
        """The volume of the networks' uncalibrated score, or None if it was not asked for."""
        return self.mhr.GetNodeReference(ROLE_SCORE)

    @property
    def editedOutlines(self) -> Any:
        """The segmentation of outlines that were edited by hand and given up, or None."""
        return self.mhr.GetNodeReference(ROLE_EDITED_OUTLINES)

    @property
    def charts(self) -> list[Any]:
        """The charts of the result: a vessel's curve, and the reliability against raters."""
        found = (self.mhr.GetNodeReference(role) for role in (ROLE_CHART, ROLE_RELIABILITY))
        return [node for node in found if node is not None]

    @property
    def all(self) -> list[Any]:
        """All nodes of the result that are in the scene."""
        others = [self.segmentation, self.vesselTable, self.lesionTable, self.record, *self.contours]
        others += [self.score, self.editedOutlines]
        return [self.mhr, *(node for node in others if node is not None)]

    def setVisibility(self, visible: bool) -> None:
        """Show or hide the contours and segments (the overlay belongs to the views)."""
        for node in [self.segmentation, *self.contours]:
            if node is not None:
                node.SetDisplayVisibility(visible)

    def showLegend(self, visible: bool) -> None:
        """Show or hide the legend of the map's colours."""
        for node in self.contours:
            showLegend(node, visible)


def isMadeOfCt(volumeNode: Any) -> bool:
    """Whether a volume is a map, a score or a difference; a result's map is one also after its CT left the scene."""
    return any(volumeNode.GetNodeReferenceID(role) for role in (ROLE_INPUT, ROLE_RECORD))


def resultMaps() -> list[Any]:
    """Return the maps of the results in the scene, in the order in which they were made.

    A map that the user cloned refers to the nodes of the first one: it is a volume, and no result of its own.
    """
    firsts: dict[str, Any] = {}
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        record = node.GetNodeReferenceID(ROLE_RECORD)
        if record:
            firsts.setdefault(record, node)
    return list(firsts.values())


def removeNodes(nodes: Sequence[Any]) -> None:
    """Take `nodes` out of the scene, with their display nodes and an empty folder that they leave."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(nodes[0])) if hierarchy is not None else 0
    for node in reversed(nodes):
        if node.IsA("vtkMRMLDisplayableNode"):
            for display in [node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())]:
                slicer.mrmlScene.RemoveNode(display)
        slicer.mrmlScene.RemoveNode(node)
    if folder and hierarchy.GetItemLevel(folder) == "Folder" and not hierarchy.GetNumberOfItemChildren(folder):
        hierarchy.RemoveItem(folder)
