"""A result as it lives in the scene: everything is found again from the MHR volume node, also after save and reload."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import vtk

import slicer
from twintrack.errors import InputError
from TwinTrackSegLib.mrml.display.IsoContours import isoSurface
from TwinTrackSegLib.mrml.display.MhrDisplay import jumpToPoint, setOverlayThreshold, showLegend, showOverlay
from TwinTrackSegLib.mrml.display.ReaderScale import readersOf
from TwinTrackSegLib.mrml.result.BeforeSave import BeforeSave
from TwinTrackSegLib.mrml.result.LesionTable import updateLesionTable
from TwinTrackSegLib.mrml.result.OutlineContent import contentTime, digestOf, holdsLevel
from TwinTrackSegLib.mrml.result.ResultSegmentation import TUMOR_SEGMENT_ID, setTumorMask, setTumorSurface
from TwinTrackSegLib.mrml.result.ThresholdPart import ThresholdPart
from TwinTrackSegLib.mrml.vessels.VesselTable import VesselReadout, bySeverity, readoutsAt, updateVesselTable
from TwinTrackSegLib.mrml.VolumeConversion import LPS_SIGNS, segmentMask, volumeFromNode

__all__ = ["SceneResult", "allResults", "resultWith", "resultsOf"]

ROLE_INPUT = "TwinTrackSeg.input"
ROLE_SEGMENTATION = "TwinTrackSeg.segmentation"
ROLE_TABLE = "TwinTrackSeg.vesselTable"
ROLE_LESIONS = "TwinTrackSeg.lesionTable"
ROLE_CHART = "TwinTrackSeg.chart"
ROLE_CONTOUR = "TwinTrackSeg.contour"
ROLE_SCORE = "TwinTrackSeg.score"
ROLE_RECORD = "TwinTrackSeg.record"
ROLE_KEPT = "TwinTrackSeg.keptOutlines"
ATTRIBUTE_THRESHOLD = "TwinTrackSeg.threshold"
ATTRIBUTE_DRAWN_AT = "TwinTrackSeg.drawnAt"
"""Threshold of the segment's voxels: another one while they have not followed a drag yet."""

LOWEST_THRESHOLD = 0.01
HIGHEST_THRESHOLD = 1.0


class SceneResult:
    """The nodes of one result and what can be done with them without the model.

    Parameters
    ----------
    mhrNode : vtkMRMLScalarVolumeNode
        The MHR volume; it refers to all other nodes of the result.
    """

    def __init__(self, mhrNode: Any) -> None:
        self.mhrNode = mhrNode
        self._record: dict[str, Any] | None = None
        self._part: ThresholdPart | None = None
        self._seenTime: int | None = None
        self._beforeSave: BeforeSave | None = None

    @property
    def volumeNode(self) -> Any:
        """The CT that was segmented, or None if it left the scene."""
        return self.mhrNode.GetNodeReference(ROLE_INPUT)

    @property
    def segmentationNode(self) -> Any:
        """The segmentation with the tumour at the threshold and the vessels."""
        return self.mhrNode.GetNodeReference(ROLE_SEGMENTATION)

    @property
    def tableNode(self) -> Any:
        """The table of vessel readouts."""
        return self.mhrNode.GetNodeReference(ROLE_TABLE)

    @property
    def lesionsNode(self) -> Any:
        """The table of lesions."""
        return self.mhrNode.GetNodeReference(ROLE_LESIONS)

    @property
    def contourNodes(self) -> list[Any]:
        """The iso-contour models, lowest level first."""
        number = self.mhrNode.GetNumberOfNodeReferences(ROLE_CONTOUR)
        nodes = [self.mhrNode.GetNthNodeReference(ROLE_CONTOUR, n) for n in range(number)]
        return [node for node in nodes if node is not None]

    @property
    def recordNode(self) -> Any:
        """The text node that keeps the engine's ``result.json`` and ``invasion.json``."""
        return self.mhrNode.GetNodeReference(ROLE_RECORD)

    @property
    def nodes(self) -> list[Any]:
        """All nodes of the result that are in the scene."""
        roles = (ROLE_SCORE, ROLE_KEPT)
        others = [self.segmentationNode, self.tableNode, self.lesionsNode, self.recordNode, *self.contourNodes]
        others += [self.mhrNode.GetNodeReference(role) for role in roles]
        return [self.mhrNode, *(node for node in others if node is not None)]

    @property
    def warnings(self) -> list[str]:
        """What the reader of the result must know."""
        found = self.record.get("result", {}).get("warnings")
        return [str(line) for line in found] if isinstance(found, list) else []

    @property
    def record(self) -> dict[str, Any]:
        """The engine's own account, ``{"result": ..., "invasion": ...}``."""
        if self._record is None:
            self._record = json.loads(self.recordNode.GetText()) if self.recordNode is not None else {}
        return self._record

    @property
    def threshold(self) -> float:
        """The MHR at which the working outline is drawn."""
        return float(self.mhrNode.GetAttribute(ATTRIBUTE_THRESHOLD) or 0.5)

    @property
    def readers(self) -> int | None:
        """How many readers the calibrator stands for, if it says."""
        return readersOf(self.record)

    @property
    def edited(self) -> dict[str, Any] | None:
        """What was measured of an outline that was edited by hand; None while the outline is the map's."""
        return self.record.get("edited")

    @property
    def volumeMl(self) -> float:
        """Volume of the tumour at the threshold, or of the edited outline, in mL."""
        return float(self.edited["volume_ml"]) if self.edited else self._tumorPart().volumeMl(self.threshold)

    @property
    def expectedVolumeMl(self) -> float | None:
        """Expected tumour volume over the readers, in mL, as the engine measured it."""
        value = self.record.get("result", {}).get("volume_ml", {}).get("expected")
        return None if value is None else float(value)

    @property
    def readouts(self) -> list[VesselReadout]:
        """The vessel readouts at the threshold or of the edited outline, the most severe first."""
        edited = self.edited["invasion"] if self.edited else None
        return bySeverity(readoutsAt(self.record.get("invasion") or {}, self.threshold, edited))

    @property
    def settled(self) -> bool:
        """Whether the segment's voxels have followed the threshold."""
        return self._drawnAt == self.threshold

    @property
    def _drawnAt(self) -> float:
        return float(self.mhrNode.GetAttribute(ATTRIBUTE_DRAWN_AT) or self.threshold)

    @property
    def pattern(self) -> dict[str, Any]:
        """The anatomic contact pattern of all vessels together, of the edited outline if there is one; may be empty."""
        measured = self.edited["invasion"] if self.edited else self.record.get("invasion")
        return (measured or {}).get("resectability") or {}

    def outlineChanged(self, quick: bool = False) -> bool:
        """Whether the tumour segment is another than was drawn from the map, or measured after an edit.

        Parameters
        ----------
        quick : bool
            Whether to trust that voxels without a new time of change did not change, as while the slider moves.
        """
        node = self.segmentationNode
        if node is None or (quick and self._seenTime == contentTime(node)):
            return False
        if self.edited:
            same = self.edited.get("sha256") == digestOf(segmentMask(node, TUMOR_SEGMENT_ID, self.mhrNode))
        else:
            same = holdsLevel(node, self.mhrNode, self._tumorPart(), self._drawnAt)
        if same:
            self._seenTime = contentTime(node)
        return not same

    def setThreshold(self, threshold: float, settled: bool = True) -> None:
        """Move the working outline: overlay, contour, volume and table follow; the model is not needed.

        Parameters
        ----------
        threshold : float
            The MHR of the outline.
        settled : bool
            Whether the segment's voxels and the list of lesions follow at once. While the user drags they need not:
            nobody looks at them, and `settle` brings them along.

        Raises
        ------
        ValueError
            If `threshold` is not between 0.01 and 1.
        InputError
            If the outline was edited by hand, which a new threshold would overwrite.
        """
        if self.edited or self.outlineChanged(quick=True):
            raise InputError("the outline was edited by hand; go back to the map's outline before moving the threshold")
        self.drawOutline(threshold, settled)

    def drawOutline(self, threshold: float, settled: bool = True) -> None:
        """Draw the map's outline at `threshold` over whatever there is; see `setThreshold`, which looks first."""
        if not LOWEST_THRESHOLD <= threshold <= HIGHEST_THRESHOLD:
            raise ValueError(f"threshold must be from {LOWEST_THRESHOLD} to {HIGHEST_THRESHOLD}, got {threshold}")
        if self.settled:
            self.mhrNode.SetAttribute(ATTRIBUTE_DRAWN_AT, f"{self.threshold:g}")
        self.mhrNode.SetAttribute(ATTRIBUTE_THRESHOLD, f"{threshold:g}")
        setOverlayThreshold(self.mhrNode, threshold)
        if self.segmentationNode is not None:
            part = self._tumorPart().at(threshold)
            setTumorSurface(self.segmentationNode, vtk.vtkPolyData() if part is None else isoSurface(part, threshold))
        if self.tableNode is not None:
            updateVesselTable(self.tableNode, self.readouts)
        if settled:
            self._writeVoxels()
        elif self._beforeSave is None:
            self._beforeSave = BeforeSave(self.mhrNode, self.settle)

    def settle(self) -> None:
        """Bring the segment's voxels and the list of lesions to the threshold, if they are not there yet."""
        if self._beforeSave is not None:
            self._beforeSave.drop()
            self._beforeSave = None
        if self.settled:
            return
        if self.outlineChanged(quick=True):  # between the drag and now; what was drawn by hand stays
            self.mhrNode.SetAttribute(ATTRIBUTE_DRAWN_AT, f"{self.threshold:g}")
        else:
            self._writeVoxels()

    def _writeVoxels(self) -> None:
        self.mhrNode.SetAttribute(ATTRIBUTE_DRAWN_AT, f"{self.threshold:g}")
        part = self._tumorPart()
        if self.segmentationNode is not None:
            setTumorMask(self.segmentationNode, self.mhrNode, part.voxels >= self.threshold, part.box)
            self._seenTime = contentTime(self.segmentationNode)
        if self.lesionsNode is not None:
            updateLesionTable(self.lesionsNode, part.volume, self.threshold)

    def setRecord(self, **parts: Any) -> None:
        """Change parts of the record (None removes one); it is saved with the scene."""
        record = {**self.record, **parts}
        self._record = {key: value for key, value in record.items() if value is not None or key == "invasion"}
        self.recordNode.SetText(json.dumps(self._record))

    def _tumorPart(self) -> ThresholdPart:
        if self._part is None:
            self._part = ThresholdPart(volumeFromNode(self.mhrNode), LOWEST_THRESHOLD)
        return self._part

    def center(self) -> tuple[float, float, float] | None:
        """Return the map's centre of mass in RAS mm, without the node's transform; None for an empty map."""
        mhr = self._tumorPart().volume
        weight = np.asarray(mhr.array, dtype=float)
        if weight.sum() <= 0:
            return None
        z, y, x = (np.arange(n) @ weight.sum(axis=tuple({0, 1, 2} - {axis})) for axis, n in enumerate(weight.shape))
        index = np.array([x, y, z]) / weight.sum()
        right, anterior, superior = mhr.geometry.to_lps_mm(index) * LPS_SIGNS
        return (float(right), float(anterior), float(superior))

    def show(self) -> None:
        """Show this result in the slice views, jump to its tumour, and hide other results of the same CT."""
        for other in resultsOf(self.volumeNode):
            other.setVisibility(other.mhrNode is self.mhrNode)
        if self.volumeNode is not None:
            showOverlay(self.volumeNode, self.mhrNode)
            self.showLegend(True)
        self.jumpToTumor()

    def showLegend(self, visible: bool) -> None:
        """Show or hide the legend of the map's colours."""
        for node in self.contourNodes:
            showLegend(node, visible)

    def jumpToTumor(self) -> None:
        """Centre every view on the tumour."""
        center = self.center()
        if center is not None:
            jumpToPoint(self.mhrNode, center)

    def setVisibility(self, visible: bool) -> None:
        """Show or hide the contours and segments (the overlay belongs to the views)."""
        for node in [self.segmentationNode, *self.contourNodes]:
            if node is not None:
                node.SetDisplayVisibility(visible)


def allResults() -> list[SceneResult]:
    """Return the results in the scene, in the order in which they were made."""
    nodes = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    return [SceneResult(node) for node in nodes if node.GetNodeReferenceID(ROLE_RECORD)]


def resultsOf(volumeNode: Any) -> list[SceneResult]:
    """Return the results in the scene that were made from `volumeNode`, in the order in which they were made."""
    return [] if volumeNode is None else [result for result in allResults() if result.volumeNode is volumeNode]


def resultWith(node: Any) -> SceneResult | None:
    """Return the result whose map or segmentation is `node`; None if there is none."""
    if node is None:
        return None
    return next((result for result in allResults() if node in (result.mhrNode, result.segmentationNode)), None)
