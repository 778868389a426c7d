"""The folder of a result in the subject hierarchy, beside its CT: everything that is made for the result lies in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import slicer

__all__ = ["addChartToFolderOf", "addToFolderOf", "groupUnderFolder"]


def groupUnderFolder(nodes: Sequence[Any], volumeNode: Any) -> None:
    """Put `nodes` into a new folder beside the CT (in its study, if it has one)."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    if hierarchy is None:
        return
    volumeItem = hierarchy.GetItemByDataNode(volumeNode)
    parent = hierarchy.GetItemParent(volumeItem) if volumeItem else hierarchy.GetSceneItemID()
    folder = hierarchy.CreateFolderItem(parent or hierarchy.GetSceneItemID(), f"{volumeNode.GetName()} TwinTrackSeg")
    for node in nodes:
        _put(hierarchy, node, folder)


def addToFolderOf(mhrNode: Any, node: Any) -> None:
    """Put `node` into the folder in which `mhrNode` is, if it is in one."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.GetItemByDataNode(mhrNode) if hierarchy is not None else 0
    if item and hierarchy.GetItemLevel(hierarchy.GetItemParent(item)) == "Folder":
        _put(hierarchy, node, hierarchy.GetItemParent(item))


def addChartToFolderOf(mhrNode: Any, chart: Any) -> None:
    """Put a chart, its series and the tables that they plot into the folder in which `mhrNode` is."""
    series = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
    for node in (chart, *series, *(line.GetTableNode() for line in series)):
        if node is not None:
            addToFolderOf(mhrNode, node)


def _put(hierarchy: Any, node: Any, folder: int) -> None:
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.SetItemParent(item, folder)
    else:
        hierarchy.CreateItem(folder, node)
