"""The site's own raters: segments or label maps in the scene that hold one rater's tumour each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import slicer
from twintrack.errors import InputError
from twintrack.io.label_maps import is_other_structure, is_tumor_name
from twintrack.labels import vessel_of_segment
from twintrack.raters import fitting_names
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.display.MhrDisplay import styleMhrVolume
from TwinTrackSegLib.mrml.display.Views import showOverlay
from TwinTrackSegLib.mrml.result.ResultNodes import ROLE_INPUT, ROLE_SEGMENTATION
from TwinTrackSegLib.mrml.result.ResultViews import ctOf
from TwinTrackSegLib.mrml.vessels.VesselChoice import codesOf
from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode, nodeFromVolume, segmentMask, volumeFromNode

__all__ = ["Rater", "likelyRaters", "makeMhr", "raterMasks", "raterNames", "ratersInScene"]

ATTRIBUTE_RATERS = "TwinTrackSeg.readers"
"""Of a map that was made of raters: which they were."""

MOST_IN_NODE = 12
"""A segmentation with more parts than that is one of organs, unless it has some that are called tumour."""


@dataclass(frozen=True)
class Rater:
    """One rater's tumour in the scene.

    Attributes
    ----------
    node : vtkMRMLSegmentationNode or vtkMRMLLabelMapVolumeNode
        Where it is.
    segment : str
        Segment ID; empty for a label map, of which every value but 0 is tumour.
    """

    node: Any
    segment: str = ""

    @property
    def title(self) -> str:
        """Name for people."""
        if not self.segment:
            return str(self.node.GetName())
        return f"{self.node.GetName()}: {self.partName}"

    @property
    def partName(self) -> str:
        """What its segment is called; of a label map, the name of the node."""
        return str(
            self.node.GetSegmentation().GetSegment(self.segment).GetName() if self.segment else self.node.GetName()
        )

    @property
    def isInScene(self) -> bool:
        """Whether its node is still there."""
        return bool(slicer.mrmlScene.IsNodePresent(self.node))

    @property
    def isOther(self) -> bool:
        """Whether code or name say that a segment is something else than a tumour."""
        codes = codesOf(self.node.GetSegmentation().GetSegment(self.segment)) if self.segment else []
        return vessel_of_segment(self.partName, codes) is not None or is_other_structure(self.partName)

    def nameAmong(self, inNode: int) -> str:
        """Return what tells it from the other raters of a case, `inNode` of whom its node holds."""
        if self.segment and inNode > 1:
            return self.partName
        return str(self.node.GetName())

    @property
    def key(self) -> str:
        """What tells it from others in the scene."""
        return f"{self.node.GetID()}/{self.segment}"

    def mask(self, volumeNode: Any) -> NDArray[np.bool_]:
        """Return the tumour (z, y, x) on the grid of `volumeNode`.

        Raises
        ------
        InputError
            If a label map lies on another grid.
        """
        if self.segment:
            return segmentMask(self.node, self.segment, volumeNode)
        if not geometryFromNode(self.node).same_grid(geometryFromNode(volumeNode)):
            raise InputError(
                f"label map '{self.node.GetName()}' lies on another grid than '{volumeNode.GetName()}'; convert it to "
                "a segmentation (right-click in the Data module), which is resampled",
                code="grid-differs",
            )
        return np.asarray(volumeFromNode(self.node).array != 0)


def ratersInScene() -> list[Rater]:
    """Return all segments and label maps that may be a rater's, without the module's own results."""
    own = {
        node.GetNodeReferenceID(ROLE_SEGMENTATION)
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        if node.GetNodeReferenceID(ROLE_SEGMENTATION)
    }
    found = []
    for node in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        if node.GetID() not in own:
            found += [Rater(node, identifier) for identifier in node.GetSegmentation().GetSegmentIDs()]
    return found + [Rater(node) for node in slicer.util.getNodesByClass("vtkMRMLLabelMapVolumeNode")]


def likelyRaters(raters: Sequence[Rater], volumeNode: Any = None) -> list[Rater]:
    """Return those of `raters` that may well be a rater's tumour in the CT `volumeNode`, if one is given.

    Of a segmentation that has parts called tumour, these alone; of others all but vessels and organs, and nothing of
    one with very many parts. What was drawn on another CT of the scene is none.
    """
    found = []
    for node in dict.fromkeys(rater.node for rater in raters):
        own = [rater for rater in raters if rater.node is node]
        if volumeNode is not None and _drawnOn(node) not in (None, volumeNode):
            continue
        if own[0].segment:
            tumors = [rater for rater in own if is_tumor_name(rater.partName)]
            own = tumors or [rater for rater in own if not rater.isOther] if tumors or len(own) <= MOST_IN_NODE else []
        found += own
    return found


def _drawnOn(node: Any) -> Any:
    """Return the CT on whose grid a segmentation was drawn; None if nobody knows."""
    if not node.IsA("vtkMRMLSegmentationNode"):
        return None
    return ctOf(node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole()))


def raterNames(raters: Sequence[Rater], known: Sequence[str] = ()) -> tuple[str, ...]:
    """Return a name for each rater: that of the node, or of the segment where one node holds several of them.

    Parameters
    ----------
    raters : sequence of Rater
        Who read one case.
    known : sequence of str
        Names in other cases; whoever has one of them, whatever the case and spaces, is that rater.
    """
    nodes = [rater.node.GetID() for rater in raters]
    return fitting_names((rater.nameAmong(nodes.count(rater.node.GetID())) for rater in raters), known)


def raterMasks(raters: Sequence[Rater], volumeNode: Any, known: Sequence[str] = ()) -> dict[str, Volume]:
    """Return the raters' masks (uint8) on the grid of `volumeNode` by their names; see `raterNames`.

    Raises
    ------
    InputError
        If there is no rater, or none marked anything there.
    """
    if not raters:
        raise InputError("tick the segment or label map of at least one reader", code="no-rater-chosen")
    grid = geometryFromNode(volumeNode)
    masks = {
        name: Volume(rater.mask(volumeNode).view(np.uint8), grid)
        for name, rater in zip(raterNames(raters, known), raters, strict=True)
    }
    if not any(mask.array.any() for mask in masks.values()):
        raise InputError(
            f"no ticked reader marked a voxel inside '{volumeNode.GetName()}'; tick the right segments",
            code="no-tumour-marked",
        )
    return masks


def makeMhr(raters: Sequence[Rater], volumeNode: Any, threshold: float = 0.5) -> Any:
    """Show the fraction of `raters` who marked each voxel as a volume node in the MHR colours.

    The node is a new one for raters who were not put together before; else it is brought up to date.
    """
    masks = raterMasks(raters, volumeNode)
    votes = np.zeros(geometryFromNode(volumeNode).shape, dtype=np.float32)
    for mask in masks.values():
        votes += mask.array
    votes /= len(masks)
    grid, who = geometryFromNode(volumeNode), " ".join(rater.key for rater in raters)
    name = f"{volumeNode.GetName()} MHR of {len(masks)} readers"
    node = nodeFromVolume(Volume(votes, grid), name, _madeBefore(who, volumeNode))
    node.SetAttribute(ATTRIBUTE_RATERS, who)
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    node.SetNodeReferenceID(ROLE_INPUT, volumeNode.GetID())
    styleMhrVolume(node, min(threshold, 1 / len(masks)))
    showOverlay(volumeNode, node)
    return node


def _madeBefore(who: str, volumeNode: Any) -> Any:
    """Return the map of the same raters on the same CT, or None."""
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetAttribute(ATTRIBUTE_RATERS) == who and node.GetNodeReference(ROLE_INPUT) is volumeNode:
            return node
    return None
