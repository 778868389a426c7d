"""Names that anatomy gave to a result's vessels, in the scene: corrected by hand, checked, and measured anew.

A *piece* is a segment by the name under which it came into the scene; that stays, whatever name a reader gives it.
Segments have the engine's names as identifiers, so that everything that reads segments goes by the corrected names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from twintrack.dicom.write.report_content import WITHHELD, WITHHELD_LOW
from twintrack.errors import InputError
from twintrack.labels import JOINT_VEIN, JOINT_VEIN_PARTS
from twintrack.results.checked_names import ARTERIES, ToldNames, told_names
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.display.Views import jumpToPoint
from TwinTrackSegLib.mrml.result.Correction import MARGIN_VOXELS, measureOutline, vesselLabels
from TwinTrackSegLib.mrml.result.ResultSegmentation import (
    TUMOR_SEGMENT_ID,
    UNNAMED_PREFIX,
    addSegment,
    meaningOf,
    unnamedMeaning,
)
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.vessels.VesselTable import VesselReadout, updateVesselTable
from TwinTrackSegLib.mrml.VolumeConversion import LPS_SIGNS, geometryFromNode, segmentMask, volumeFromNode
from TwinTrackSegLib.mrml.VolumeParts import boundingBox, cropped, grown

__all__ = [
    "ANATOMY",
    "HAND",
    "NameChange",
    "PieceName",
    "checkNames",
    "checking",
    "jumpToPiece",
    "nameOf",
    "namePiece",
    "namesStep",
    "naming",
    "pieceNames",
    "takeNames",
    "teller",
    "told",
    "toldReadouts",
]

ANATOMY, HAND = "anatomy", "hand"
"""Who gave a name, as ``invasion.json`` has it."""

ANOTHER_VESSEL = "a reader said that what was found is another vessel"
BY_HAND = "named by a reader"
DRAWN = "a segment that was made in this scene; it has no name yet"


@dataclass(frozen=True)
class PieceName:
    """What is known of the name of a vessel.

    Attributes
    ----------
    piece : str
        The piece; of a vessel without one, its name.
    name : str
        Its name now; empty for none.
    source : str
        `ANATOMY` or `HAND`.
    confidence : str
        The engine's, ``high`` or ``low``; empty for a name by hand, and for none.
    reason : str
        By what it was recognised, or why it has no name.
    there : bool
        Whether there is a segment of it.
    missed : bool
        Whether a reader looks for a vessel of that name, and there is none.
    """

    piece: str
    name: str
    source: str
    confidence: str
    reason: str
    there: bool
    missed: bool = False


@dataclass(frozen=True)
class NameChange:
    """What names are to be.

    Attributes
    ----------
    pieces : mapping of str to str
        Every piece with its name; empty for none.
    checked : bool
        Whether somebody looked at them.
    before : str
        The piece that has to give its name away; empty if none has.
    """

    pieces: Mapping[str, str]
    checked: bool
    before: str = ""


def pieceNames(result: SceneResult) -> list[PieceName]:
    """Return the vessels with the state of their names: those in the scene first, then those that have no name.

    Empty for a result whose vessels had their names from the beginning.
    """
    return _rows(result, _pieces(result)) if result.record.naming.get("vessels") else []


def _rows(result: SceneResult, pieces: Mapping[str, str]) -> list[PieceName]:
    """Return the vessels with the state of their names, if pieces have these."""
    said, rows = result.record.naming["vessels"], []
    for piece, name in pieces.items():
        one, byHand = said.get(piece) or {}, name != piece
        confidence = "" if byHand else str(one.get("confidence") or "")
        reason = str(one.get("reason") or "") if not byHand else BY_HAND if name else ANOTHER_VESSEL
        reason = DRAWN if not one and not name else reason
        rows.append(PieceName(piece, name, HAND if byHand else ANATOMY, confidence, reason, True))
    missing = [name for name in said if name not in pieces.values() and _isWanted(name, pieces.values())]
    for name in missing:
        byHand = bool(said[name].get("named"))
        reason = ANOTHER_VESSEL if byHand else str(said[name].get("reason") or "")
        missed = name in result.record.engineInvasion.get("vessels", {})
        rows.append(PieceName(name, "", HAND if byHand else ANATOMY, "", reason, False, missed))
    return rows


def nameOf(result: SceneResult, piece: str) -> str:
    """Return the name of a piece now; empty for none."""
    return _pieces(result).get(piece, "")


def namePiece(result: SceneResult, piece: str, name: str) -> str:
    """Give a piece another name, or none for an empty one, and measure the vessels anew.

    Returns
    -------
    str
        The piece that had the name until now and has none any more; empty if there was none.

    Raises
    ------
    InputError
        If the piece or the CT is no longer in the scene, or a package that measuring needs is not installed.
    """
    change = naming(result, piece, name)
    _change(result, change)
    return change.before


def checkNames(result: SceneResult, checked: bool) -> None:
    """Remember that a reader looked at the names, or did not; names that were not sure then count for the pattern."""
    _change(result, checking(result, checked=checked))


def naming(result: SceneResult, piece: str, name: str) -> NameChange:
    """Return what names are after a piece has got another name, or none for an empty one; nothing changes yet.

    Raises
    ------
    InputError
        If the piece or the CT is no longer in the scene.
    """
    pieces = _pieces(result)
    if piece not in pieces or result.nodes.ct is None:
        raise InputError("the segment or the CT is no longer in the scene; segment the CT again", code="ct-removed")
    before = next((one for one, its in pieces.items() if its == name and one != piece), "") if name else ""
    now = {**pieces, piece: name, **({before: ""} if before else {})}
    return NameChange(now, result.record.namesChecked, before)


def checking(result: SceneResult, *, checked: bool) -> NameChange:
    """Return what names are after somebody looked at them, or takes that back; nothing changes yet."""
    return NameChange(_pieces(result), checked)


def namesStep(result: SceneResult, change: NameChange) -> Callable[[], dict[str, Any]] | None:
    """Return what measures the map with other names, without the scene; `takeNames` takes what it returns.

    None where nothing is to be measured: names and what counts are the run's.
    """
    rows = _rows(result, change.pieces)
    low = change.checked and any(row.confidence == "low" for row in rows)
    if not low and all(piece == name for piece, name in change.pieces.items()):
        return None
    labels, values = vesselLabels(result, dict(_moves(result, change.pieces).values()))
    whole = volumeFromNode(result.nodes.mhr)
    box = boundingBox((labels.array > 0) | (whole.array > 0))
    assert box is not None, "a result with names has vessels"
    box = grown(box, labels.array.shape, MARGIN_VOXELS)
    engine = result.record.engineInvasion
    return partial(_measured, cropped(whole, box), cropped(labels, box), values, engine, rows, checked=change.checked)


def takeNames(result: SceneResult, change: NameChange, measured: dict[str, Any] | None) -> None:
    """Take other names, and what was measured with them, into the scene; an edited outline keeps its numbers."""
    _renameSegments(result, change.pieces)
    byHand = {piece: name for piece, name in change.pieces.items() if piece != name}
    result.record.setNames(byHand, change.checked)
    result.record.setCorrected(measured)
    if result.nodes.vesselTable is not None:
        updateVesselTable(result.nodes.vesselTable, result.outline.readouts)


def _change(result: SceneResult, change: NameChange) -> None:
    step = namesStep(result, change)
    takeNames(result, change, step() if step is not None else None)
    if result.record.edited:
        measureOutline(result)


def jumpToPiece(result: SceneResult, piece: str) -> bool:
    """Show the middle of a piece in all slice views; return False where it has no segment."""
    if result.nodes.ct is None or result.nodes.segmentation is None:
        return False
    segmentation = result.nodes.segmentation.GetSegmentation()
    every = (_identifier(piece, nameOf(result, piece)), piece)
    identifier = next((one for one in every if segmentation.GetSegment(one) is not None), None)
    if identifier is None:
        return False
    index = np.argwhere(segmentMask(result.nodes.segmentation, identifier, result.nodes.ct))
    if not len(index):
        return False
    middle = index[int(np.linalg.norm(index - index.mean(axis=0), axis=1).argmin())]
    right, anterior, superior = geometryFromNode(result.nodes.ct).to_lps_mm(middle[::-1]) * LPS_SIGNS
    jumpToPoint(result.nodes.mhr, (float(right), float(anterior), float(superior)))
    return True


def told(result: SceneResult, invasion: Mapping[str, Any] | None) -> ToldNames:
    """Return what may leave the scene of vessels that were named by anatomy: nothing before a reader checked them."""
    return teller(result)(invasion)


def teller(result: SceneResult) -> Callable[[Mapping[str, Any] | None], ToldNames]:
    """Return what does the same without the scene."""
    return partial(told_names, checked=result.record.namesChecked, reader_asked=True)


def toldReadouts(result: SceneResult) -> list[VesselReadout]:
    """Return the rows of the vessels as they may leave the scene: a withheld one has a reason and no number."""
    withheld = set(told(result, result.record.invasion).withheld)
    vessels = result.record.invasion.get("vessels", {})
    low = {name for name, one in vessels.items() if one.get("name_confidence") == "low"}
    return [
        VesselReadout(
            readout.name,
            present=False,
            fullTitle=readout.fullTitle,
            unnamed=True,
            reason=WITHHELD_LOW if readout.name in low else WITHHELD,
        )
        if readout.name in withheld
        else readout
        for readout in result.outline.readouts
    ]


def _isWanted(name: str, given: Any) -> bool:
    """Whether a name that no piece has is missed: the undivided axis stands for both its parts, and they for it."""
    if name == JOINT_VEIN:
        return False
    return not (name in JOINT_VEIN_PARTS and JOINT_VEIN in given)


def _pieces(result: SceneResult) -> dict[str, str]:
    """Return the pieces that are in the scene, with their names: those of the engine, and segments that a user made."""
    segmentation = result.nodes.segmentation
    if segmentation is None:
        return {}
    byHand = result.record.namesByHand
    back = {name: piece for piece, name in byHand.items() if name}
    pieces = {}
    for identifier in segmentation.GetSegmentation().GetSegmentIDs():
        if identifier == TUMOR_SEGMENT_ID or identifier in (UNNAMED_PREFIX + "ARTERIES", UNNAMED_PREFIX + "VEINS"):
            continue
        if identifier.startswith(UNNAMED_PREFIX):
            pieces[identifier.removeprefix(UNNAMED_PREFIX)] = ""
        else:
            piece = back.get(identifier, identifier)
            pieces[piece] = identifier if piece != identifier or identifier in result.record.naming["vessels"] else ""
    return pieces


def _identifier(piece: str, name: str) -> str:
    return name or UNNAMED_PREFIX + piece


def _moves(result: SceneResult, now: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return, for each piece whose segment gets another identifier, the one that it has and the one that it gets."""
    segmentation, moves = result.nodes.segmentation.GetSegmentation(), {}
    before = _pieces(result)
    for piece, name in now.items():
        old = _identifier(piece, before[piece])
        if segmentation.GetSegment(old) is None:
            old = piece  # one that a user made has its own identifier until it has a name
        if old != _identifier(piece, name):
            moves[piece] = (old, _identifier(piece, name))
    return moves


def _renameSegments(result: SceneResult, now: Mapping[str, str]) -> None:
    """Give segments the identifiers, names, codes and colours of their new names; their voxels stay."""
    node, ct = result.nodes.segmentation, result.nodes.ct
    moved = {}
    for piece, (old, new) in _moves(result, now).items():
        moved[piece] = (new, segmentMask(node, old, ct))
        node.GetSegmentation().RemoveSegment(old)
    for piece, (new, mask) in moved.items():
        name = now[piece]
        meaning = meaningOf(name) if name else unnamedMeaning(piece, artery=piece in ARTERIES)
        addSegment(node, ct, new, meaning, mask)
    if moved:
        node.CreateClosedSurfaceRepresentation()


def _measured(
    mhr: Volume, labels: Volume, values: Mapping[str, int], engine: dict[str, Any], rows: list[PieceName], checked: bool
) -> dict[str, Any]:
    """Return ``invasion.json`` with the names of `rows`.

    A vessel whose name is the run's keeps what the run measured and said of readers. The others, and the pattern, are
    measured on the map; what the run could not look at stays unknown.
    """
    try:
        from twintrack.invasion import DEFAULT_CONTACT_MM, DEFAULT_RULES, measure_invasion
        from twintrack.invasion.naming import NamedVessels, with_names
        from twintrack.invasion.naming.readout import NOT_SURE
    except ImportError as error:
        raise InputError(
            f"measuring needs the package {error.name}, which is missing; Measure offers to install it",
            code="package-missing",
        ) from error
    found = measure_invasion(
        mhr,
        labels,
        values,
        contact_mm=engine.get("contact_mm") or DEFAULT_CONTACT_MM,
        rules=str((engine.get("resectability") or {}).get("rules") or DEFAULT_RULES),
    )
    of = {row.name: row.piece for row in rows if row.there and row.name}
    vessels = dict(found.vessels)
    for name, vessel in found.vessels.items():
        run = engine.get("vessels", {}).get(of.get(name, name)) or {}
        vessels[name] = replace(vessel, coverage=run.get("coverage"))
        if run and run.get("category") is None and run.get("reason"):
            vessels[name] = replace(vessels[name], category=None, reason=run["reason"], p_contact=None, p_encased=None)
    named = NamedVessels(labels, _vesselNames(rows, checked=checked), 0.0, ())
    content = with_names(replace(found, vessels=vessels), named).to_json()
    for name, vessel in content["vessels"].items():
        piece, run = of.get(name), engine.get("vessels", {}).get(name)
        if piece == name and run:
            notes = [note for note in run.get("notes") or () if note != NOT_SURE or not checked]
            content["vessels"][name] = {**run, "notes": notes}
        elif piece is not None:
            vessel |= {"named_by": HAND, "name_confidence": None}
    return {**engine, **{key: content[key] for key in ("vessels", "resectability")}}


def _vesselNames(rows: list[PieceName], *, checked: bool) -> dict[str, Any]:
    """Return what `with_names` has to know: a name that a reader gave or checked is sure."""
    from twintrack.invasion.naming import NAMED, VesselName

    said = {}
    for name in NAMED:
        row = next((row for row in rows if row.there and row.name == name), None)
        if row is None:
            why = next((row.reason for row in rows if not row.there and row.piece == name), "not found")
            said[name] = VesselName(False, None, why, {}, 0.0)
        else:
            sure = row.source == HAND or checked or row.confidence == "high"
            said[name] = VesselName(True, "high" if sure else "low", row.reason, {}, 0.0)
    return said
