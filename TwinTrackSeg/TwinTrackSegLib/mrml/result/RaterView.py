"""One reader's map in place of that of all readers: how this reader would draw, always said so, and never the result.

Nothing of the result itself changes: its map, its segments and its tables stay in the scene, and they alone are
exported. The reader's map, outline and vessel table are nodes beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from twintrack.errors import InputError
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.display.IsoContours import contourNode, isoSurface
from TwinTrackSegLib.mrml.display.Views import showTable
from TwinTrackSegLib.mrml.result.Correction import LEVEL, contactStep
from TwinTrackSegLib.mrml.result.ResultNodes import (
    ATTRIBUTE_SHOWN_RATER,
    ATTRIBUTE_SHOWN_SAMPLE,
    ATTRIBUTE_SHOWS_DISAGREEMENT,
    ROLE_RATER_OUTLINE,
    ROLE_RATER_TABLE,
    wholeOf,
)
from TwinTrackSegLib.mrml.result.ResultSegmentation import TUMOR_COLOR
from TwinTrackSegLib.mrml.result.ResultViews import arrangeResults, clearTables, replaceOverlay
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.ResultFolder import addToFolderOf
from TwinTrackSegLib.mrml.vessels.VesselTable import VesselReadout, newVesselTable, readoutsAt, updateVesselTable
from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode, volumeFromNode

__all__ = [
    "arrangeShown",
    "drawnByReader",
    "readerReadouts",
    "readerStep",
    "readerVolumeMl",
    "showDisagreement",
    "showReader",
    "takeReader",
]

MEASURED = ("present", "title", "reason", "angle_deg", "contact_length_mm", "gap_mm", "coverage", "worst_section")
"""What is kept of a vessel measured in one reader's map: the outline's numbers, and nothing that is said of readers."""


NOT_SAID: dict[str, Any] = {
    "category": "",
    "calibrated": False,
    **dict.fromkeys(("angle_median_deg", "angle_p10_deg", "angle_p90_deg", "expected_angle_deg", "members_deg")),
    **dict.fromkeys(("p_contact", "p_encased")),
}
"""What a row would say of readers, some of it read off the curve where nothing else is known."""


def drawnByReader(rater: str) -> str:
    """Return the words that stand wherever one reader's map is shown."""
    return f"as reader {rater} would draw it"


def showReader(result: SceneResult, rater: str) -> None:
    """Show how one reader would draw in place of the result, or the result again for an empty name.

    The outline is where the reader rather draws than not. Contact with the vessels is measured at the first time.

    Raises
    ------
    InputError
        If the result has no map of this reader, the CT left the scene, or a package that measuring needs is missing.
    """
    nodes = result.nodes
    if rater:
        step = readerStep(result, rater)
        if step is not None:
            takeReader(result, rater, step())
    nodes.mhr.SetAttribute(ATTRIBUTE_SHOWN_SAMPLE, None)
    nodes.mhr.SetAttribute(ATTRIBUTE_SHOWN_RATER, rater or None)
    if rater:
        _drawOutline(result, rater)
        _fillTable(result, rater)
    arrangeShown(result)
    clearTables()
    showTable(nodes.shownTable)


def readerStep(result: SceneResult, rater: str) -> Callable[[], dict[str, Any]] | None:
    """Return what measures a reader's map, without the scene; None where that was done before.

    `takeReader` takes what it returns.

    Raises
    ------
    InputError
        If the result has no map of this reader, or the CT left the scene.
    """
    nodes = result.nodes
    if rater not in nodes.raterMaps or nodes.ct is None:
        raise InputError(
            f"the CT or the map of reader {rater} is no longer in the scene; segment the CT again", code="ct-removed"
        )
    if result.record.raterInvasion(rater) is not None:
        return None
    return contactStep(result, Volume(wholeOf(nodes.raterMaps[rater], nodes.mhr), geometryFromNode(nodes.mhr)))


def takeReader(result: SceneResult, rater: str, found: Mapping[str, Any]) -> None:
    """Take what was measured of a reader's map into the record."""
    vessels = {name: _measuredOnly(vessel) for name, vessel in found["vessels"].items()}
    result.record.setRaterInvasion(rater, {"thresholds": found["thresholds"], "vessels": vessels})


def showDisagreement(result: SceneResult, shown: bool) -> None:
    """Lay the spread over the readers over the CT in place of the map, or the map again."""
    result.nodes.mhr.SetAttribute(ATTRIBUTE_SHOWS_DISAGREEMENT, "1" if shown else None)
    arrangeShown(result)


def readerVolumeMl(result: SceneResult, rater: str) -> float:
    """Return the volume in mL that the reader rather draws than not."""
    found = volumeFromNode(result.nodes.raterMaps[rater])
    return float(np.count_nonzero(found.array >= np.float32(LEVEL))) * found.geometry.voxel_ml


def readerReadouts(result: SceneResult, rater: str) -> list[VesselReadout]:
    """Return the vessels as measured in the reader's map, the largest contact first; each row says whose it is."""
    measured = readoutsAt(result.record.raterInvasion(rater) or {}, LEVEL)
    own = [replace(readout, reader=rater, source=drawnByReader(rater), **NOT_SAID) for readout in measured]
    return sorted(own, key=lambda readout: (not readout.present, -(readout.angle_deg or 0.0)))


def _measuredOnly(vessel: Mapping[str, Any]) -> dict[str, Any]:
    return {name: vessel[name] for name in MEASURED if name in vessel}


def _drawOutline(result: SceneResult, rater: str) -> None:
    nodes = result.nodes
    surface = isoSurface(volumeFromNode(nodes.raterMaps[rater]), LEVEL)
    node = nodes.raterOutline
    if node is None:
        node = contourNode(surface, LEVEL)
        node.GetDisplayNode().SetColor(*TUMOR_COLOR)
        node.SetAndObserveTransformNodeID(nodes.mhr.GetTransformNodeID())
        nodes.mhr.SetNodeReferenceID(ROLE_RATER_OUTLINE, node.GetID())
        addToFolderOf(nodes.mhr, node)
    node.SetAndObservePolyData(surface)
    node.SetName(f"{nodes.ct.GetName()} outline, {drawnByReader(rater)}")


def _fillTable(result: SceneResult, rater: str) -> None:
    nodes = result.nodes
    name = f"{nodes.ct.GetName()} vessel contact, {drawnByReader(rater)}"
    table = nodes.raterTable
    if table is None:
        table = newVesselTable(name)
        nodes.mhr.SetNodeReferenceID(ROLE_RATER_TABLE, table.GetID())
        addToFolderOf(nodes.mhr, table)
    table.SetName(name)
    updateVesselTable(table, readerReadouts(result, rater))


def arrangeShown(result: SceneResult) -> None:
    """Bring outlines, overlay and legends of the views to what is shown now."""
    result.nodes.setVisibility(True)
    replaceOverlay(result.nodes)
    result.nodes.showLegend(True)
    arrangeResults()
