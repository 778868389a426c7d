"""Structures that others have drawn, and a region, brought from files of this computer into the scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import slicer
from twintrack.errors import InputError, locating
from twintrack.volume import Geometry
from TwinTrackSegLib.mrml.result.ResultSegmentation import BINARY, SegmentMeaning, addSegment, meaningOf
from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode
from TwinTrackSegLib.mrml.VolumeParts import Box, boundingBox

if TYPE_CHECKING:
    from twintrack.io.label_maps import Part

__all__ = ["Structures", "loadRegion", "pathOf", "structuresStep", "takeStructures"]

ATTRIBUTE_FILE = "TwinTrackSeg.file"
ENDINGS = (".nii.gz", ".seg.nrrd", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".dcm")
COLORS = ((1.0, 0.6, 0.0), (0.6, 0.3, 0.9), (0.2, 0.8, 0.3), (0.9, 0.3, 0.6), (0.5, 0.7, 1.0), (0.8, 0.8, 0.2))


@dataclass(frozen=True)
class Structures:
    """What a file holds, on the grid of a CT.

    Attributes
    ----------
    path : Path
        The file.
    parts : tuple of (Part, Box or None, array of bool)
        Each structure, where its voxels begin and end (z, y, x), and the voxels in there.
    notes : tuple of str
        What was done to it.
    """

    path: Path
    parts: tuple[tuple[Part, Box | None, NDArray[np.bool_]], ...]
    notes: tuple[str, ...]


def pathOf(typed: str) -> Path:
    """Return the path that somebody typed or pasted, with or without quotes."""
    return Path(typed.strip().strip("\"'")).expanduser()


def structuresStep(path: Path, volumeNode: Any) -> Callable[[], Structures]:
    """Return what reads a label map or mask onto the grid of a CT, without the scene.

    Raises
    ------
    InputError
        When it is called: if the file cannot be read, holds no labels, or lies elsewhere than the CT.
    """
    return partial(_read, path, geometryFromNode(volumeNode))


def takeStructures(found: Structures, volumeNode: Any) -> Any:
    """Add a segmentation node with the structures, named after the file; one of the same file before goes."""
    for old in slicer.util.getNodesByClass("vtkMRMLSegmentationNode"):
        if old.GetAttribute(ATTRIBUTE_FILE) == str(found.path):
            slicer.mrmlScene.RemoveNode(old)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", _nameOf(found.path))
    node.SetAttribute(ATTRIBUTE_FILE, str(found.path))
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    node.GetSegmentation().SetSourceRepresentationName(BINARY)
    display = node.GetDisplayNode()
    display.SetVisibility2DFill(False)  # as the result's own segments: the CT is seen inside
    display.SetVisibility3D(False)
    for number, (part, box, voxels) in enumerate(found.parts):
        mask = np.zeros(tuple(reversed(volumeNode.GetImageData().GetDimensions())), dtype=bool)
        if box is not None:
            mask[box] = voxels
        addSegment(node, volumeNode, f"part-{number + 1}", _meaningOf(part, number), mask)
    return node


def loadRegion(path: Path) -> Any:
    """Add a region of interest from a file of 3D Slicer, ``.mrk.json``.

    Raises
    ------
    InputError
        If there is no such file, or it holds no such region.
    """
    if not path.is_file():
        raise InputError("no such file", code="file-missing", path=path)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", _nameOf(path))
    storage = slicer.vtkMRMLMarkupsROIJsonStorageNode()
    storage.SetFileName(str(path))
    if not storage.ReadData(node) or node.GetNumberOfControlPoints() < 1:
        slicer.mrmlScene.RemoveNode(node)
        raise InputError(
            "holds no region of interest; give one that 3D Slicer saved as .mrk.json", code="no-region", path=path
        )
    return node


def _read(path: Path, grid: Geometry) -> Structures:
    from twintrack.imaging.label_grid import fit_labels
    from twintrack.io.label_maps import Part, read_label_map

    found = read_label_map(path, grid)
    notes = list(found.notes)
    layers = []
    for layer in found.layers:
        with locating(path=path):
            placed, warning = fit_labels(layer, grid, "the file")
        layers.append(placed.array)
        notes += [warning] if warning is not None else []
    parts = found.parts or tuple(
        Part(_nameOf(path) if len(found.values) == 1 else str(value), value) for value in found.values
    )
    if not parts:
        raise InputError("holds no structure; give one in which something is marked", code="file-empty", path=path)
    made = []
    for part in parts:
        mask = layers[part.layer] == part.value
        box = boundingBox(mask)
        made.append((part, box, np.array(mask[box]) if box is not None else np.zeros((0, 0, 0), bool)))
    return Structures(path, tuple(made), tuple(f"{path.name}: {note}" for note in notes))


def _meaningOf(part: Part, number: int) -> SegmentMeaning:
    """Return name, colour and code of a structure; of a vessel, the engine's, so that it is known for one."""
    from twintrack.io.label_maps import vessel_of

    vessel = vessel_of(part)
    known = meaningOf(vessel) if vessel is not None else None
    name = part.name or str(part.value)
    if known is None:
        return SegmentMeaning(name, COLORS[number % len(COLORS)], "")
    return SegmentMeaning(name, known.color, known.terminologyEntry)


def _nameOf(path: Path) -> str:
    lower = path.name.lower()
    ending = next((each for each in (*ENDINGS, ".mrk.json", ".json") if lower.endswith(each)), "")
    return path.name[: len(path.name) - len(ending)] or path.name
