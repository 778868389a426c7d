"""The site's own raters: segments or label maps in the scene that hold one rater's tumour each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import slicer
from twintrack.errors import InputError
from twintrack.raters import fitting_names
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.display.MhrDisplay import styleMhrVolume
from TwinTrackSegLib.mrml.display.Views import showOverlay
from TwinTrackSegLib.mrml.result.ResultNodes import ROLE_INPUT, ROLE_SEGMENTATION
from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode, nodeFromVolume, segmentMask, volumeFromNode

__all__ = ["Rater", "makeMhr", "raterMasks", "raterNames", "ratersInScene"]

ATTRIBUTE_RATERS = "TwinTrackSeg.readers"
"""Of a map that was made of raters: which they were."""


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
        return f"{self.node.GetName()}: {self.node.GetSegmentation().GetSegment(self.segment).GetName()}"

    def nameAmong(self, inNode: int) -> str:
        """Return what tells it from the other raters of a case, `inNode` of whom its node holds."""
        if self.segment and inNode > 1:
            return str(self.node.GetSegmentation().GetSegment(self.segment).GetName())
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
                "a segmentation (right-click in the Data module), which is resampled"
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
        raise InputError("tick the segment or label map of at least one reader")
    grid = geometryFromNode(volumeNode)
    masks = {
        name: Volume(rater.mask(volumeNode).view(np.uint8), grid)
        for name, rater in zip(raterNames(raters, known), raters, strict=True)
    }
    if not any(mask.array.any() for mask in masks.values()):
        raise InputError(f"no ticked reader marked a voxel inside '{volumeNode.GetName()}'; tick the right segments")
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
