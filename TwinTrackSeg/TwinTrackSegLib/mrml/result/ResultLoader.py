"""A result folder of the engine into the scene."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import vtk

import slicer
from twintrack.errors import InputError
from twintrack.io.volumes import read_volume
from twintrack.volume import Geometry, Volume
from TwinTrackSegLib.mrml.display.IsoContours import contourNode, isoSurface
from TwinTrackSegLib.mrml.display.MhrDisplay import addLegend, styleMhrVolume
from TwinTrackSegLib.mrml.display.ReaderScale import readerLevels, readersOf
from TwinTrackSegLib.mrml.result import SceneResult as roles
from TwinTrackSegLib.mrml.result.LesionTable import newLesionTable
from TwinTrackSegLib.mrml.result.ResultFolder import groupUnderFolder
from TwinTrackSegLib.mrml.result.ResultSegmentation import addVessels, newSegmentation
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.result.ScoreVolume import loadScore
from TwinTrackSegLib.mrml.vessels.VesselChoice import VesselChoice
from TwinTrackSegLib.mrml.vessels.VesselTable import newVesselTable
from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode, setNodeGeometry, volumeFromNode

__all__ = ["loadResult"]

TUMOR_LABEL = "tumor"
SCORE_FILE = "score.nii.gz"


def loadResult(folder: Path, volumeNode: Any, vessels: VesselChoice | None = None) -> SceneResult:
    """Put the results in `folder` into the scene beside `volumeNode` and show them.

    Parameters
    ----------
    folder : Path
        The result folder.
    volumeNode : vtkMRMLScalarVolumeNode
        The CT that was segmented.
    vessels : VesselChoice, optional
        The segments that were measured; the result then shows these instead of the bundle's own vessels.

    Raises
    ------
    InputError
        If a file of the result is missing or damaged, or the result belongs to another volume; the scene is unchanged.
    """
    record = {"result": _readJson(folder / "result.json"), "invasion": None}
    if (folder / "invasion.json").exists():
        record["invasion"] = _readJson(folder / "invasion.json")
    grid = geometryFromNode(volumeNode)
    labels = _readOnGrid(folder / "segmentation.nii.gz", grid, volumeNode)
    names = {k: v for k, v in record["result"].get("labels", {}).items() if k != TUMOR_LABEL}
    if vessels is not None:
        labels, names = vessels.labels(volumeNode)
    mhrNode = _loadMhr(folder / "probability.nii.gz", grid, volumeNode)
    made = [mhrNode]
    try:
        result = _buildNodes(mhrNode, volumeNode, (labels, names), record, made)
        if (folder / SCORE_FILE).exists():
            made.append(loadScore(folder / SCORE_FILE, result))
    except BaseException:
        _remove(made)
        raise
    result.show()
    return result


def _buildNodes(
    mhrNode: Any,
    volumeNode: Any,
    vessels: tuple[Volume, dict[str, int]],
    record: dict[str, Any],
    made: list[Any],
) -> SceneResult:
    """Make the nodes of the result, listing each in `made` as soon as it is in the scene."""
    name = volumeNode.GetName()
    threshold = float(record["result"].get("threshold", 0.5))
    mhrNode.SetNodeReferenceID(roles.ROLE_INPUT, volumeNode.GetID())
    styleMhrVolume(mhrNode, threshold)

    recordNode = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode", f"{name} TwinTrackSeg record")
    made.append(recordNode)
    recordNode.SetText(json.dumps(record))
    mhrNode.SetNodeReferenceID(roles.ROLE_RECORD, recordNode.GetID())

    segmentation = newSegmentation(volumeNode, f"{name} tumour and vessels")
    made.append(segmentation)
    addVessels(segmentation, volumeNode, vessels[0].array, vessels[1])
    mhrNode.SetNodeReferenceID(roles.ROLE_SEGMENTATION, segmentation.GetID())

    _addContours(mhrNode, readersOf(record), made)
    for role, table in (
        (roles.ROLE_TABLE, newVesselTable(f"{name} vessel contact")),
        (roles.ROLE_LESIONS, newLesionTable(f"{name} lesions")),
    ):
        made.append(table)
        mhrNode.SetNodeReferenceID(role, table.GetID())
    for node in made:
        if node.IsA("vtkMRMLTransformableNode"):
            node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    groupUnderFolder(made, volumeNode)
    result = SceneResult(mhrNode)
    result.drawOutline(threshold)
    return result


def _addContours(mhrNode: Any, readers: int | None, made: list[Any]) -> None:
    """Add the iso-surfaces, and the legend to the first of them: it comes and goes with the contours."""
    mhr = volumeFromNode(mhrNode)
    for level in readerLevels(readers):
        surface = isoSurface(mhr, level)
        if surface.GetNumberOfPoints():
            made.append(contourNode(surface, level))
            mhrNode.AddNodeReferenceID(roles.ROLE_CONTOUR, made[-1].GetID())
            if mhrNode.GetNumberOfNodeReferences(roles.ROLE_CONTOUR) == 1:
                addLegend(made[-1], readers)


def _loadMhr(path: Path, grid: Geometry, volumeNode: Any) -> Any:
    """Load the map with Slicer's own reader: one copy in memory, and no node points into the result folder."""
    if not path.is_file():
        raise InputError(f"{path}: missing in the result folder; run the segmentation again")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"{volumeNode.GetName()} MHR")
    try:
        _readInto(node, path)
        if not geometryFromNode(node).same_grid(grid):
            # Slicer's reader turns left-handed grids into right-handed ones; the engine's reader leaves them alone.
            volume = read_volume(path)
            _checkGrid(path, volume.geometry, grid, volumeNode)
            slicer.util.updateVolumeFromArray(node, volume.array)
        if node.GetImageData().GetScalarType() != vtk.VTK_FLOAT:
            raise InputError(f"{path}: must hold 32-bit floating point numbers; run the segmentation again")
        setNodeGeometry(node, grid)  # NIfTI keeps its matrix in 32 bits; the CT's own numbers are exact
    except BaseException:
        _remove([node])
        raise
    return node


def _readInto(node: Any, path: Path) -> None:
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(str(path))
    if not storage.ReadData(node):
        raise InputError(f"{path}: cannot be read as a volume; run the segmentation again")


def _readOnGrid(path: Path, grid: Geometry, volumeNode: Any) -> Volume:
    volume = read_volume(path)
    _checkGrid(path, volume.geometry, grid, volumeNode)
    return Volume(volume.array.astype(np.uint8, copy=False), grid)


def _checkGrid(path: Path, found: Geometry, expected: Geometry, volumeNode: Any) -> None:
    if not found.same_grid(expected):
        raise InputError(f"{path}: lies on another voxel grid than volume '{volumeNode.GetName()}'; choose its own CT")


def _readJson(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: missing in the result folder; run the segmentation again") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not valid JSON; run the segmentation again") from error
    if not isinstance(content, dict) or content.get("schema") != 1:
        raise InputError(f"{path}: is not of schema 1; it was made by another version of TwinTrackSeg")
    return content


def _remove(nodes: list[Any]) -> None:
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
