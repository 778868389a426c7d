"""The sample case: a synthetic CT and its readers' outlines, drawn by the engine into the scene, not downloaded."""

from __future__ import annotations

from typing import Any

import numpy as np

import slicer
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.display.Views import jumpToPoint
from TwinTrackSegLib.mrml.result.ResultSegmentation import SURFACE, SegmentMeaning, addSegment, meaningOf
from TwinTrackSegLib.mrml.result.ResultViews import showCt
from TwinTrackSegLib.mrml.VolumeConversion import LPS_SIGNS, nodeFromVolume

__all__ = ["READERS", "SAMPLE_NAME", "addSampleCase"]

SAMPLE_NAME = "TwinTrackPhantom"
READERS = 5

WINDOW_HU, LEVEL_HU = 400.0, 60.0
"""Soft tissue with contrast agent."""

READER_COLORS = ((0.90, 0.62, 0.0), (0.34, 0.71, 0.91), (0.0, 0.62, 0.45), (0.94, 0.89, 0.26), (0.80, 0.47, 0.65))
"""Told apart with every kind of colour vision (M. Okabe and K. Ito, Color Universal Design, 2008)."""


def addSampleCase() -> tuple[Any, Any]:
    """Draw the case of ``twintrack demo`` into the scene and show it where its readers disagree.

    Returns
    -------
    tuple
        The CT, a volume node in HU, and a segmentation node with one segment a reader.
    """
    from twintrack.phantom import make_phantom
    from twintrack.studies.demo import DEMO_SEED

    phantom = make_phantom(DEMO_SEED, raters=READERS)
    ct = _addCt(phantom.ct)
    readers = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", f"{ct.GetName()} readers")
    readers.CreateDefaultDisplayNodes()
    readers.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    tumor = meaningOf("tumor").terminologyEntry
    for name, color, annotation in zip(phantom.raters, READER_COLORS, phantom.annotations, strict=True):
        meaning = SegmentMeaning(f"Reader {name}", color, tumor)
        addSegment(readers, ct, f"reader{name}", meaning, annotation.array > 0)
    _showOutlines(readers)
    showCt(ct)
    jumpToPoint(ct, _middleOf(phantom.annotations))
    return ct, readers


def _addCt(volume: Volume) -> Any:
    node = nodeFromVolume(volume, slicer.mrmlScene.GenerateUniqueName(SAMPLE_NAME))
    display = node.GetDisplayNode()
    display.AutoWindowLevelOff()
    display.SetWindowLevel(WINDOW_HU, LEVEL_HU)
    return node


def _showOutlines(readers: Any) -> None:
    """Show smooth outlines in the slices, where all readers can be seen at once; filled areas would hide the CT."""
    readers.CreateClosedSurfaceRepresentation()
    display = readers.GetDisplayNode()
    display.SetPreferredDisplayRepresentationName2D(SURFACE)
    display.SetVisibility2DFill(False)
    display.SetSliceIntersectionThickness(2)
    display.SetVisibility3D(False)


def _middleOf(annotations: tuple[Volume, ...]) -> tuple[float, float, float]:
    """Return the middle (RAS mm) of what any reader marked."""
    marked = np.argwhere(np.any([annotation.array > 0 for annotation in annotations], axis=0))
    lps = annotations[0].geometry.to_lps_mm(marked[:, ::-1].mean(axis=0))
    x, y, z = (LPS_SIGNS * lps).tolist()
    return x, y, z
