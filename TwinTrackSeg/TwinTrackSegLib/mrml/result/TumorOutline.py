"""The tumour's outline at the threshold: surface, overlay and vessels follow the slider, voxels and lesions settle."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import vtk

import slicer
from twintrack.errors import InputError
from twintrack.imaging.lesions import find_lesions
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.display.IsoContours import isoSurface
from TwinTrackSegLib.mrml.display.MhrDisplay import setOverlayThreshold
from TwinTrackSegLib.mrml.result.ResultNodes import ResultNodes
from TwinTrackSegLib.mrml.result.ResultRecord import ResultRecord
from TwinTrackSegLib.mrml.result.ResultSegmentation import (
    TUMOR_SEGMENT_ID,
    contentTime,
    digestOf,
    holdsLevel,
    setTumorMask,
    setTumorSurface,
)
from TwinTrackSegLib.mrml.vessels.VesselTable import VesselReadout, updateVesselTable
from TwinTrackSegLib.mrml.VolumeConversion import LPS_SIGNS, segmentMask, volumeFromNode
from TwinTrackSegLib.mrml.VolumeParts import ThresholdPart

__all__ = ["BeforeSave", "TumorOutline", "lesionTexts", "newLesionTable", "updateLesionTable"]

ATTRIBUTE_THRESHOLD = "TwinTrackSeg.threshold"
ATTRIBUTE_DRAWN_AT = "TwinTrackSeg.drawnAt"
"""Threshold of the segment's voxels: another one while they have not followed a drag yet."""

LOWEST_THRESHOLD = 0.01
HIGHEST_THRESHOLD = 1.0

LESION_COLUMNS = ("Lesion", "Volume (mL)", "Longest diameter (mm)", "Highest MHR", "R (mm)", "A (mm)", "S (mm)")


class TumorOutline:
    """The working outline: the map at the threshold, as long as nobody edits it by hand; the model is not needed.

    Parameters
    ----------
    nodes : ResultNodes
        What is drawn on; the threshold is an attribute of the map's node.
    record : ResultRecord
        Knows whether the outline was edited, and what the vessels are at every threshold.
    """

    def __init__(self, nodes: ResultNodes, record: ResultRecord) -> None:
        self._nodes, self._record = nodes, record
        self._part: ThresholdPart | None = None
        self._checkedTime: int | None = None
        self._beforeSave: BeforeSave | None = None

    @property
    def threshold(self) -> float:
        """The MHR at which the outline is drawn."""
        return float(self._nodes.mhr.GetAttribute(ATTRIBUTE_THRESHOLD) or 0.5)

    @property
    def settled(self) -> bool:
        """Whether the segment's voxels have followed the threshold."""
        return self._drawnAt == self.threshold

    @property
    def part(self) -> ThresholdPart:
        """The part of the map that any threshold can select."""
        if self._part is None:
            self._part = ThresholdPart(volumeFromNode(self._nodes.mhr), LOWEST_THRESHOLD)
        return self._part

    @property
    def volumeMl(self) -> float:
        """Volume of the tumour at the threshold, or of the edited outline, in mL."""
        edited = self._record.edited
        return float(edited["volume_ml"]) if edited else self.part.volumeMl(self.threshold)

    @property
    def readouts(self) -> list[VesselReadout]:
        """The vessel readouts at the threshold or of the edited outline, the most severe first."""
        return self._record.readoutsAt(self.threshold)

    def changed(self, quick: bool = False) -> bool:
        """Whether the tumour segment is another than was drawn from the map, or measured after an edit.

        Parameters
        ----------
        quick : bool
            Whether to trust that voxels without a new time of change did not change, as while the slider moves.
        """
        node = self._nodes.segmentation
        if node is None or (quick and self._checkedTime == contentTime(node)):
            return False
        edited = self._record.edited
        if edited:
            same = edited.get("sha256") == digestOf(segmentMask(node, TUMOR_SEGMENT_ID, self._nodes.mhr))
        else:
            same = holdsLevel(node, self._nodes.mhr, self.part, self._drawnAt)
        if same:
            self._checkedTime = contentTime(node)
        return not same

    def setThreshold(self, threshold: float, settled: bool = True) -> None:
        """Move the outline: overlay, surface, volume and table follow.

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
        if self._record.edited or self.changed(quick=True):
            raise InputError(
                "the outline was edited by hand; go back to the map's outline before moving the threshold",
                code="outline-edited",
            )
        self.draw(threshold, settled)

    def draw(self, threshold: float, settled: bool = True) -> None:
        """Draw the map's outline at `threshold` over whatever there is; see `setThreshold`, which looks first."""
        if not LOWEST_THRESHOLD <= threshold <= HIGHEST_THRESHOLD:
            raise ValueError(f"threshold must be from {LOWEST_THRESHOLD} to {HIGHEST_THRESHOLD}, got {threshold}")
        nodes = self._nodes
        if self.settled:
            self._setDrawnAt(self.threshold)
        nodes.mhr.SetAttribute(ATTRIBUTE_THRESHOLD, f"{threshold:g}")
        setOverlayThreshold(nodes.mhr, threshold)
        if nodes.segmentation is not None:
            part = self.part.at(threshold)
            setTumorSurface(nodes.segmentation, vtk.vtkPolyData() if part is None else isoSurface(part, threshold))
        if nodes.vesselTable is not None:
            updateVesselTable(nodes.vesselTable, self.readouts)
        if settled:
            self._writeVoxels()
        elif self._beforeSave is None:
            self._beforeSave = BeforeSave(nodes.mhr, self.settle)

    def settle(self) -> None:
        """Bring the segment's voxels and the list of lesions to the threshold, if they are not there yet."""
        if self._beforeSave is not None:
            self._beforeSave.drop()
            self._beforeSave = None
        if self.settled:
            return
        if self.changed(quick=True):  # between the drag and now; what was drawn by hand stays
            self._setDrawnAt(self.threshold)
        else:
            self._writeVoxels()

    @property
    def _drawnAt(self) -> float:
        return float(self._nodes.mhr.GetAttribute(ATTRIBUTE_DRAWN_AT) or self.threshold)

    def _setDrawnAt(self, threshold: float) -> None:
        self._nodes.mhr.SetAttribute(ATTRIBUTE_DRAWN_AT, f"{threshold:g}")

    def _writeVoxels(self) -> None:
        nodes, part = self._nodes, self.part
        self._setDrawnAt(self.threshold)
        if nodes.segmentation is not None:
            setTumorMask(nodes.segmentation, nodes.mhr, part.voxels >= self.threshold, part.box)
            self._checkedTime = contentTime(nodes.segmentation)
        if nodes.lesionTable is not None:
            updateLesionTable(nodes.lesionTable, part.volume, self.threshold)


def newLesionTable(name: str) -> Any:
    """Add an empty table node with the columns of the list of lesions: connected parts of the tumour."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
    node.SetUseColumnTitleAsColumnHeader(True)
    for title in LESION_COLUMNS:
        column = vtk.vtkStringArray()
        column.SetName(title)
        node.AddColumn(column)
    return node


def lesionTexts(node: Any) -> list[tuple[str, ...]]:
    """Return the rows of a list of lesions, in the order of `LESION_COLUMNS`; nothing without one."""
    if node is None:
        return []
    table = node.GetTable()
    rows, columns = range(table.GetNumberOfRows()), range(len(LESION_COLUMNS))
    return [tuple(table.GetColumn(column).GetValue(row) for column in columns) for row in rows]


def updateLesionTable(node: Any, mhr: Volume, threshold: float) -> None:
    """List the lesions of `mhr` at `threshold`, largest first; centres in RAS mm without the volume's transform."""
    lesions = find_lesions(mhr, threshold)
    table = node.GetTable()
    wasModifying = node.StartModify()
    table.SetNumberOfRows(len(lesions))
    for row, lesion in enumerate(lesions):
        values = (lesion.volume_ml, lesion.longest_diameter_mm, lesion.max_probability)
        texts = [str(row + 1), *(f"{v:.{d}f}" for v, d in zip(values, (2, 1, 2), strict=True))]
        texts += [f"{v:.1f}" for v in LPS_SIGNS * lesion.centroid_lps_mm]
        for column, text in enumerate(texts):
            table.GetColumn(column).SetValue(row, text)
    table.Modified()
    node.Modified()
    node.EndModify(wasModifying)


_waiting: set[BeforeSave] = set()
"""Nobody else need hold them: an observer alone does not keep its object alive."""


class BeforeSave:
    """Calls once, before the node is written with its scene or in any other way.

    Slicer declares an event for the start of a save and never sends it. What it does before it writes a node is to tell
    the node's storage node the file, so that is listened for.

    Parameters
    ----------
    node : vtkMRMLStorableNode
        The node; those that come after it in the scene are written after it.
    call : callable
        What is to be done.
    """

    def __init__(self, node: Any, call: Callable[[], None]) -> None:
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
        self._storage, self._call = node.GetStorageNode(), call
        self._tag = self._storage.AddObserver("ModifiedEvent", self._onFile)
        _waiting.add(self)

    def drop(self) -> None:
        """Call no more."""
        self._storage.RemoveObserver(self._tag)
        _waiting.discard(self)

    def _onFile(self, _caller: Any, _event: str) -> None:
        self.drop()
        self._call()
