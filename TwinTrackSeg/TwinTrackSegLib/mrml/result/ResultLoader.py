"""A result folder of the engine into the scene, with the networks' own score if it comes along."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import vtk
from numpy.typing import NDArray

import slicer
from twintrack.errors import InputError
from twintrack.io.volumes import read_volume
from twintrack.labels import structure_of
from twintrack.results.schema import (
    INVASION_SCHEMAS,
    SAMPLES_FILE,
    check_invasion_statements,
    check_rater_maps,
    check_result_statements,
    check_samples,
)
from twintrack.volume import Geometry, Volume
from TwinTrackSegLib.mrml.display.DisagreementDisplay import styleDisagreement
from TwinTrackSegLib.mrml.display.IsoContours import contourNode, isoSurface
from TwinTrackSegLib.mrml.display.MhrDisplay import addLegend, raterLevels, styleMhrVolume
from TwinTrackSegLib.mrml.result import ResultNodes as roles
from TwinTrackSegLib.mrml.result.ResultNodes import ResultNodes, removeNodes
from TwinTrackSegLib.mrml.result.ResultSegmentation import addUnnamed, addVessels, newSegmentation
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.result.TumorOutline import newLesionTable
from TwinTrackSegLib.mrml.ResultFolder import addToFolderOf, groupUnderFolder
from TwinTrackSegLib.mrml.vessels.VesselChoice import VesselChoice
from TwinTrackSegLib.mrml.vessels.VesselTable import newVesselTable
from TwinTrackSegLib.mrml.VolumeConversion import fillNode, geometryFromNode, nodeFromVolume, volumeFromNode
from TwinTrackSegLib.mrml.VolumeParts import Part, boundingBox, compacted, cropped

__all__ = ["loadResult", "scoreOf"]

TUMOR_LABEL = "tumor"
SCORE_FILE = "score.nii.gz"
DISAGREEMENT_FILE = "disagreement.nii.gz"


def loadResult(
    folder: Path, volumeNode: Any, vessels: VesselChoice | None = None, origin: Mapping[str, Any] | None = None
) -> SceneResult:
    """Put the results in `folder` into the scene beside `volumeNode` and show them.

    Parameters
    ----------
    folder : Path
        The result folder.
    volumeNode : vtkMRMLScalarVolumeNode
        The CT that was segmented.
    vessels : VesselChoice, optional
        The segments that were measured; the result then shows these instead of the bundle's own vessels.
    origin : mapping, optional
        What the result is to say of the CT in place of what the engine could know of it, as `ctOrigin` returns it.

    Raises
    ------
    InputError
        If a file of the result is missing or damaged, or the result belongs to another volume; the scene is unchanged.
    """
    record: dict[str, Any] = {"result": _readJson(folder / "result.json"), "invasion": None}
    check_result_statements(record["result"], folder / "result.json")
    check_rater_maps(record["result"], folder / "result.json")
    check_samples(record["result"], folder / "result.json")
    if (folder / "invasion.json").exists():
        record["invasion"] = _readJson(folder / "invasion.json", INVASION_SCHEMAS)
        check_invasion_statements(record["invasion"], folder / "invasion.json")
    if origin is not None:
        record["result"]["input"] = {**(record["result"].get("input") or {}), **origin}
    grid = geometryFromNode(volumeNode)
    if record["result"].get("named_vessel_values"):
        record["naming"] = _readJson(folder / "naming.json")
    measured, rest = _measuredVessels(folder, record["result"], volumeNode, vessels)
    mhrNode = _loadMhr(folder / "probability.nii.gz", grid, volumeNode)
    made = [mhrNode]
    try:
        result = _buildNodes(mhrNode, volumeNode, measured, record, made)
        addUnnamed(result.nodes.segmentation, volumeNode, rest)
        if (folder / SCORE_FILE).exists():
            made.append(_loadScore(folder / SCORE_FILE, mhrNode))
        if record["result"].get("rater_maps"):
            _loadRaters(folder, record["result"]["rater_maps"], mhrNode, made)
        if record["result"].get("samples"):
            made.append(_loadSamples(folder / SAMPLES_FILE, record["result"]["samples"]["count"], mhrNode))
    except BaseException:
        removeNodes(made)
        raise
    result.show()
    return result


def scoreOf(nodes: ResultNodes) -> Volume | None:
    """Return the score on the CT's grid, float32 and 0 outside the region of interest; None if it was not asked for."""
    node = nodes.score
    if node is None:
        return None
    return Volume(roles.wholeOf(node, nodes.mhr), geometryFromNode(nodes.mhr))


def _buildNodes(
    mhrNode: Any,
    volumeNode: Any,
    vessels: tuple[Part, dict[str, int]],
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
    addVessels(segmentation, volumeNode, *vessels)
    mhrNode.SetNodeReferenceID(roles.ROLE_SEGMENTATION, segmentation.GetID())

    result = SceneResult(mhrNode)
    _addContours(mhrNode, result.record.raters, made)
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
    result.outline.draw(threshold)
    return result


def _addContours(mhrNode: Any, raters: int | None, made: list[Any]) -> None:
    """Add the iso-surfaces, and the legend to the first of them: it comes and goes with the contours."""
    mhr = volumeFromNode(mhrNode)
    for level in raterLevels(raters):
        surface = isoSurface(mhr, level)
        if surface.GetNumberOfPoints():
            made.append(contourNode(surface, level))
            mhrNode.AddNodeReferenceID(roles.ROLE_CONTOUR, made[-1].GetID())
            if mhrNode.GetNumberOfNodeReferences(roles.ROLE_CONTOUR) == 1:
                addLegend(made[-1], raters)


def _loadMhr(path: Path, grid: Geometry, volumeNode: Any) -> Any:
    """Read the map into the memory of its node, so that it is there once; no node points into the result folder."""
    if not path.is_file():
        raise InputError(
            "missing in the result folder; run the segmentation again", code="result-incomplete", path=path
        )
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", f"{volumeNode.GetName()} MHR")

    def room(found: Geometry, kind: np.dtype[Any]) -> NDArray[Any]:
        _checkGrid(path, found, grid, volumeNode)
        if kind != np.float32:
            raise InputError(
                "must hold 32-bit floating point numbers; run the segmentation again",
                code="result-malformed",
                path=path,
            )
        return fillNode(node, grid, vtk.VTK_FLOAT)  # NIfTI keeps its matrix in 32 bits; the CT's own numbers are exact

    try:
        read_volume(path, room=room)
        node.GetImageData().Modified()
    except BaseException:
        removeNodes([node])
        raise
    return node


def _loadScore(path: Path, mhrNode: Any) -> Any:
    """Add the part of the score in the file that is not 0, the region of interest, as a volume node of the result."""
    node = _partNode(read_volume(path), mhrNode, f"{mhrNode.GetName()} score (not calibrated)")
    mhrNode.SetNodeReferenceID(roles.ROLE_SCORE, node.GetID())
    return node


def _partNode(stored: Volume, mhrNode: Any, name: str) -> Any:
    """Add the part of a volume on the map's grid that is not 0 as a volume node of the result."""
    whole = Volume(stored.array, geometryFromNode(mhrNode))
    box = boundingBox(whole.array > 0) or (slice(0, 1), slice(0, 1), slice(0, 1))
    node = nodeFromVolume(cropped(whole, box), name)
    node.SetAttribute(roles.ATTRIBUTE_START, " ".join(str(side.start) for side in box))
    node.SetAndObserveTransformNodeID(mhrNode.GetTransformNodeID())
    node.SetNodeReferenceID(roles.ROLE_INPUT, mhrNode.GetNodeReferenceID(roles.ROLE_INPUT))
    addToFolderOf(mhrNode, node)
    return node


def _loadRaters(folder: Path, entries: list[dict[str, Any]], mhrNode: Any, made: list[Any]) -> None:
    """Add the maps of single readers and the spread over them, listing each in `made`."""
    ct = mhrNode.GetNodeReference(roles.ROLE_INPUT)
    for entry in entries:
        stored = _readFractions(folder / entry["file"], mhrNode, ct)
        made.append(_partNode(stored, mhrNode, f"{ct.GetName()} as reader {entry['id']} would draw it"))
        made[-1].SetAttribute(roles.ATTRIBUTE_RATER, entry["id"])
        mhrNode.AddNodeReferenceID(roles.ROLE_RATER_MAP, made[-1].GetID())
        styleMhrVolume(made[-1], 0.5)
    stored = _readFractions(folder / DISAGREEMENT_FILE, mhrNode, ct)
    made.append(_partNode(stored, mhrNode, f"{ct.GetName()} disagreement of the readers"))
    mhrNode.SetNodeReferenceID(roles.ROLE_DISAGREEMENT, made[-1].GetID())
    styleDisagreement(made[-1])


def _loadSamples(path: Path, count: int, mhrNode: Any) -> Any:
    """Add the part of the samples' volume that any of them marks as a volume node of the result."""
    ct = mhrNode.GetNodeReference(roles.ROLE_INPUT)
    stored = _readBeside(path, mhrNode, ct)
    if stored.array.dtype.kind not in "iu" or not 0 <= stored.array.min() <= stored.array.max() < 2**count:
        raise InputError(
            f"must hold whole numbers of {count} bits; run the segmentation again", code="result-malformed", path=path
        )
    node = _partNode(
        stored.with_array(stored.array.astype(np.uint16, copy=False)),
        mhrNode,
        f"{ct.GetName()} samples of the model",
    )
    node.SetAttribute(roles.ATTRIBUTE_SAMPLES, str(count))
    mhrNode.SetNodeReferenceID(roles.ROLE_SAMPLES, node.GetID())
    return node


def _readBeside(path: Path, mhrNode: Any, ct: Any) -> Volume:
    """Read a volume of the result folder on the map's grid."""
    if not path.is_file():
        raise InputError(
            "missing in the result folder; run the segmentation again", code="result-incomplete", path=path
        )
    stored = read_volume(path)
    _checkGrid(path, stored.geometry, geometryFromNode(mhrNode), ct)
    return stored


def _readFractions(path: Path, mhrNode: Any, ct: Any) -> Volume:
    """Read a volume of values from 0 to 1 on the map's grid."""
    stored = _readBeside(path, mhrNode, ct)
    if not 0 <= stored.array.min() <= stored.array.max() <= 1:  # nor where one is no number
        raise InputError("must hold values from 0 to 1; run the segmentation again", code="result-malformed", path=path)
    return stored.with_array(stored.array.astype(np.float32, copy=False))


def _measuredVessels(
    folder: Path, result: Mapping[str, Any], volumeNode: Any, vessels: VesselChoice | None
) -> tuple[tuple[Part, dict[str, int]], dict[str, Part]]:
    """Return labels and values of the vessels that were measured, and what anatomy left without a name.

    Only parts of the CT are returned: the whole label maps are gone before the map is read, which is the largest.
    """
    grid = geometryFromNode(volumeNode)
    labels, names = _predictedVessels(folder, result, grid, volumeNode)
    if vessels is not None:
        labels, names = vessels.labels(volumeNode)
    part, rest = compacted(labels.array), {}
    if result.get("named_vessel_values"):
        named = _readOnGrid(folder / "named_vessels.nii.gz", grid, volumeNode).array
        for kind in ("ARTERIES", "VEINS"):
            value = next((value for name, value in names.items() if structure_of(name) == kind), None)
            if value is not None:
                rest[kind] = Part((part.array == value) & (named[part.box] == 0), part.box)
        part, names = compacted(named), dict(result["named_vessel_values"])
    return (part, names), rest


def _predictedVessels(
    folder: Path, result: Mapping[str, Any], grid: Geometry, volumeNode: Any
) -> tuple[Volume, dict[str, int]]:
    """Return the predicted vessels, whole; of results of earlier versions as far as the tumour leaves them."""
    segmentation = folder / "segmentation.nii.gz"
    whole = result.get("vessel_values")
    if isinstance(whole, dict) and whole:
        if not segmentation.is_file():
            raise InputError(
                "missing in the result folder; run the segmentation again", code="result-incomplete", path=segmentation
            )
        return _readOnGrid(folder / "vessels.nii.gz", grid, volumeNode), dict(whole)
    names = {k: v for k, v in result.get("labels", {}).items() if k != TUMOR_LABEL}
    return _readOnGrid(segmentation, grid, volumeNode), names


def _readOnGrid(path: Path, grid: Geometry, volumeNode: Any) -> Volume:
    volume = read_volume(path)
    _checkGrid(path, volume.geometry, grid, volumeNode)
    return Volume(volume.array.astype(np.uint8, copy=False), grid)


def _checkGrid(path: Path, found: Geometry, expected: Geometry, volumeNode: Any) -> None:
    if not found.same_grid(expected):
        raise InputError(
            f"lies on another voxel grid than volume '{volumeNode.GetName()}'; choose its own CT",
            code="grid-differs",
            path=path,
        )


def _readJson(path: Path, schemas: tuple[int, ...] = (1,)) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            "missing in the result folder; run the segmentation again", code="result-incomplete", path=path
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError("not valid JSON; run the segmentation again", code="result-malformed", path=path) from error
    if not isinstance(content, dict) or content.get("schema") not in schemas:
        known = " or ".join(map(str, schemas))
        raise InputError(
            f"is not of schema {known}; it was made by another version of TwinTrackSeg",
            code="schema-unknown",
            path=path,
        )
    return content
