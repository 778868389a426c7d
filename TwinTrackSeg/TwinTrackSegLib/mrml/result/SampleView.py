"""One sample's outline in place of the result's: a plausible outline that the model drew, no reader's and no result.

As with one reader's map (`RaterView`), nothing of the result itself changes, and it alone is exported. The samples are
bits of one volume beside it, so that the next one is there without the model. No vessel is measured in a sample.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from twintrack.errors import InputError
from TwinTrackSegLib.mrml.display.IsoContours import contourNode, isoSurface
from TwinTrackSegLib.mrml.display.MhrDisplay import addLegend
from TwinTrackSegLib.mrml.result.RaterView import arrangeShown
from TwinTrackSegLib.mrml.result.ResultNodes import (
    ATTRIBUTE_SHOWN_RATER,
    ATTRIBUTE_SHOWN_SAMPLE,
    ROLE_SAMPLE_OUTLINE,
)
from TwinTrackSegLib.mrml.result.ResultViews import clearTables
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.ResultFolder import addToFolderOf
from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

__all__ = ["SAMPLE_COLOR", "drawnBySample", "sampleVolumeMl", "showSample"]

SAMPLE_COLOR = (0.78, 1.0, 0.1)
"""Lime: neither the tumour's cyan, which is the result or a reader, nor a colour of the map, contours or vessels."""

INSIDE = 0.5
"""Between the voxels of a mask and those around."""


def drawnBySample(number: int, count: int) -> str:
    """Return the words that stand wherever a sample is shown."""
    return f"sample {number} of {count} drawn by the model, not a reader"


def showSample(result: SceneResult, number: int) -> None:
    """Show the outline of sample `number`, from 1, in place of the result's; `RaterView.showReader` leads back.

    Raises
    ------
    InputError
        If the result has no such sample, or the CT left the scene.
    """
    nodes = result.nodes
    if not 1 <= number <= nodes.sampleCount or nodes.ct is None:
        raise InputError(
            f"the CT or sample {number} is no longer in the scene; segment the CT again with --samples",
            code="ct-removed",
        )
    before = nodes.shownSample
    nodes.mhr.SetAttribute(ATTRIBUTE_SHOWN_RATER, None)
    nodes.mhr.SetAttribute(ATTRIBUTE_SHOWN_SAMPLE, str(number))
    _drawOutline(result, number)
    if not before:  # from one sample to the next nothing else changes: the slider is dragged
        arrangeShown(result)
        clearTables()


def sampleVolumeMl(result: SceneResult, number: int) -> float:
    """Return the volume of a sample in mL."""
    stored = volumeFromNode(result.nodes.samples)
    return float(np.count_nonzero(_mask(stored.array, number))) * stored.geometry.voxel_ml


def _mask(array: NDArray[np.uint16], number: int) -> NDArray[np.bool_]:
    """Return the voxels (z, y, x) of a sample, from 1: bit 0 is the first one's."""
    marked: NDArray[np.bool_] = (array & np.uint16(1 << (number - 1))) > 0
    return marked


def _drawOutline(result: SceneResult, number: int) -> None:
    nodes = result.nodes
    stored = volumeFromNode(nodes.samples)
    surface = isoSurface(stored.with_array(_mask(stored.array, number).astype(np.float32)), INSIDE)
    node = nodes.sampleOutline
    if node is None:
        node = contourNode(surface, INSIDE)
        addLegend(node, result.record.raters)
        node.GetDisplayNode().SetColor(*SAMPLE_COLOR)
        node.SetAndObserveTransformNodeID(nodes.mhr.GetTransformNodeID())
        nodes.mhr.SetNodeReferenceID(ROLE_SAMPLE_OUTLINE, node.GetID())
        addToFolderOf(nodes.mhr, node)
    node.SetAndObservePolyData(surface)
    node.SetName(f"{nodes.ct.GetName()} outline, {drawnBySample(number, nodes.sampleCount)}")
