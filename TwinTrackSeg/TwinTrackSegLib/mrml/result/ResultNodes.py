"""The nodes of a result: found again from its MHR volume node by role, also after save and reload."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import slicer
from TwinTrackSegLib.mrml.display.MhrDisplay import showLegend
from TwinTrackSegLib.mrml.result.ResultSegmentation import TUMOR_SEGMENT_ID
from TwinTrackSegLib.mrml.vessels.VesselPlot import ROLE_CHART

__all__ = ["ResultNodes", "isMadeOfCt", "removeNodes", "resultMaps", "wholeOf"]

ROLE_INPUT = "TwinTrackSeg.input"
ROLE_SEGMENTATION = "TwinTrackSeg.segmentation"
ROLE_TABLE = "TwinTrackSeg.vesselTable"
ROLE_LESIONS = "TwinTrackSeg.lesionTable"
ROLE_CONTOUR = "TwinTrackSeg.contour"
ROLE_SCORE = "TwinTrackSeg.score"
ROLE_RECORD = "TwinTrackSeg.record"
ROLE_EDITED_OUTLINES = "TwinTrackSeg.keptOutlines"
ROLE_RELIABILITY = "TwinTrackSeg.reliability"
ROLE_RATER_MAP = "TwinTrackSeg.raterMap"
ROLE_RATER_OUTLINE = "TwinTrackSeg.raterOutline"
ROLE_RATER_TABLE = "TwinTrackSeg.raterVesselTable"
ROLE_DISAGREEMENT = "TwinTrackSeg.disagreement"
ROLE_SAMPLES = "TwinTrackSeg.samples"
ROLE_SAMPLE_OUTLINE = "TwinTrackSeg.sampleOutline"

ATTRIBUTE_RATER = "TwinTrackSeg.rater"
"""Of one reader's map: whose it is, a pseudonym."""

ATTRIBUTE_SHOWN_RATER = "TwinTrackSeg.shownRater"
ATTRIBUTE_SHOWS_DISAGREEMENT = "TwinTrackSeg.showsDisagreement"
"""Of the map: which reader is shown in its place, and whether the spread over the readers is."""

ATTRIBUTE_SHOWN_SAMPLE = "TwinTrackSeg.shownSample"
"""Of the map: the number, from 1, of the sample that is shown in the result's place."""

ATTRIBUTE_SAMPLES = "TwinTrackSeg.sampleCount"
"""Of the volume of samples: how many of its bits are one."""

ATTRIBUTE_START = "TwinTrackSeg.start"
"""First voxel (z, y, x), on the CT's grid, of a volume that covers a part of it."""


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
    def raterMaps(self) -> dict[str, Any]:
        """The maps of single readers by their pseudonym; empty where they were not asked for."""
        number = self.mhr.GetNumberOfNodeReferences(ROLE_RATER_MAP)
        nodes = [self.mhr.GetNthNodeReference(ROLE_RATER_MAP, n) for n in range(number)]
        return {node.GetAttribute(ATTRIBUTE_RATER): node for node in nodes if node is not None}

    @property
    def disagreement(self) -> Any:
        """The volume of the spread over the readers, or None."""
        return self.mhr.GetNodeReference(ROLE_DISAGREEMENT)

    @property
    def shownRater(self) -> str:
        """The reader whose map is shown in place of that of all readers; empty for none."""
        rater = self.mhr.GetAttribute(ATTRIBUTE_SHOWN_RATER) or ""
        return rater if rater in self.raterMaps else ""

    @property
    def showsDisagreement(self) -> bool:
        """Whether the spread over the readers lies over the CT in place of a map."""
        return bool(self.mhr.GetAttribute(ATTRIBUTE_SHOWS_DISAGREEMENT)) and self.disagreement is not None

    @property
    def samples(self) -> Any:
        """The volume of samples that the model drew, a bit each, or None where they were not asked for."""
        return self.mhr.GetNodeReference(ROLE_SAMPLES)

    @property
    def sampleCount(self) -> int:
        """How many samples there are."""
        return int(self.samples.GetAttribute(ATTRIBUTE_SAMPLES)) if self.samples is not None else 0

    @property
    def shownSample(self) -> int:
        """The number, from 1, of the sample whose outline is shown in place of the result's; 0 for none."""
        number = int(self.mhr.GetAttribute(ATTRIBUTE_SHOWN_SAMPLE) or 0)
        return number if number <= self.sampleCount else 0

    @property
    def showsResult(self) -> bool:
        """Whether the result itself is shown, and neither one reader nor one sample in its place."""
        return not self.shownRater and not self.shownSample

    @property
    def overlay(self) -> Any:
        """The volume that lies over the CT: the map, one reader's, or the spread over the readers."""
        if self.showsDisagreement:
            return self.disagreement
        return self.raterMaps[self.shownRater] if self.shownRater else self.mhr

    @property
    def raterOutline(self) -> Any:
        """The outline as one reader would draw it, or None until one was shown."""
        return self.mhr.GetNodeReference(ROLE_RATER_OUTLINE)

    @property
    def sampleOutline(self) -> Any:
        """The outline of one sample, or None until one was shown."""
        return self.mhr.GetNodeReference(ROLE_SAMPLE_OUTLINE)

    @property
    def raterTable(self) -> Any:
        """The table of vessel readouts in one reader's map, or None until one was shown."""
        return self.mhr.GetNodeReference(ROLE_RATER_TABLE)

    @property
    def shownTable(self) -> Any:
        """The table of vessel readouts of what is shown; None for a sample, in which no vessel is measured."""
        if self.shownSample:
            return None
        return self.raterTable if self.shownRater and self.raterTable is not None else self.vesselTable

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
        others += [self.score, self.editedOutlines, *self.raterMaps.values(), self.disagreement]
        others += [self.raterOutline, self.raterTable, self.samples, self.sampleOutline]
        return [self.mhr, *(node for node in others if node is not None)]

    def setVisibility(self, visible: bool) -> None:
        """Show or hide the contours and segments (the overlay belongs to the views).

        While one reader or one sample is shown, its outline stands for the tumour's segment and the contours.
        """
        if self.segmentation is not None:
            self.segmentation.SetDisplayVisibility(visible)
            if (self.raterMaps or self.samples is not None) and self.segmentation.GetDisplayNode() is not None:
                self.segmentation.GetDisplayNode().SetSegmentVisibility(TUMOR_SEGMENT_ID, self.showsResult)
        for node in self.contours:
            node.SetDisplayVisibility(visible and self.showsResult)
        if self.raterOutline is not None:
            self.raterOutline.SetDisplayVisibility(visible and bool(self.shownRater))
        if self.sampleOutline is not None:
            self.sampleOutline.SetDisplayVisibility(visible and bool(self.shownSample))

    def showLegend(self, visible: bool) -> None:
        """Show or hide the legend of the colours that lie over the CT."""
        ofMap = visible and self.overlay is self.mhr
        for node in self.contours:
            showLegend(node, ofMap and not self.shownSample)
        if self.sampleOutline is not None:  # its own one: a model that is not shown has no legend
            showLegend(self.sampleOutline, ofMap and bool(self.shownSample))
        if self.disagreement is not None:
            showLegend(self.disagreement, visible and self.showsDisagreement)


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


def wholeOf(node: Any, mhr: Any) -> NDArray[np.float32]:
    """Return a volume that covers a part of the map's grid as an array (z, y, x) of the whole grid, 0 elsewhere."""
    part = slicer.util.arrayFromVolume(node)
    starts = (int(text) for text in node.GetAttribute(ATTRIBUTE_START).split())
    whole = np.zeros(tuple(reversed(mhr.GetImageData().GetDimensions())), dtype=np.float32)
    whole[tuple(slice(start, start + n) for start, n in zip(starts, part.shape, strict=True))] = part
    return whole


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
