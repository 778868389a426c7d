"""Names that anatomy gave to vessels: a table to check, correct and confirm them before they leave the scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twintrack.labels import SHORT_TITLES as TITLES
from TwinTrackSegLib.mrml.result.Correction import measuringNeeds, outlineStep, takeOutline
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.result.VesselNames import (
    HAND,
    NameChange,
    PieceName,
    checking,
    jumpToPiece,
    namesStep,
    naming,
    pieceNames,
    takeNames,
    told,
)
from TwinTrackSegLib.present.Host import Host
from TwinTrackSegLib.present.Translation import tr as _

__all__ = ["NameRow", "NamesPresenter", "NamesState", "heads", "withheldNote"]


@dataclass(frozen=True)
class NameRow:
    """One vessel.

    Attributes
    ----------
    piece : str
        What the row is about; see `TwinTrackSegLib.mrml.result.VesselNames`.
    title : str
        Its name for people, or whose name is missing.
    name : str
        Its name now, as `NamesState.choices` has it; empty for none.
    source, confidence : str
        Who named it, and how sure that is.
    reason : str
        By what it was recognised, or why it has no name and what can be done.
    loud : bool
        Whether it has no name, or one that is not sure and that nobody checked.
    there : bool
        Whether there is something to jump to and to name.
    """

    piece: str
    title: str
    name: str
    source: str
    confidence: str
    reason: str
    loud: bool
    there: bool


@dataclass(frozen=True)
class NamesState:
    """What a front end shows.

    Attributes
    ----------
    offered : bool
        Whether vessels of the result were named by anatomy.
    title : str
        How many names there are, and whether somebody checked them.
    hint : str
        What the tick means, and what is withheld without it.
    rows : tuple of NameRow
        Vessels without a name last.
    choices : tuple of (str, str)
        Names that a row can get, with their texts; first none.
    checked, checkable : bool
        Whether the names were checked, and whether that can be said now.
    checkText : str
        Text of the tick.
    """

    offered: bool = False
    title: str = ""
    hint: str = ""
    rows: tuple[NameRow, ...] = ()
    choices: tuple[tuple[str, str], ...] = ()
    checked: bool = False
    checkable: bool = False
    checkText: str = ""


def heads() -> tuple[tuple[str, str], ...]:
    """Return title and tooltip of every column."""
    return (
        (_("Vessel"), _("Choose a row to see its vessel in the slice views")),
        (_("Name"), _("Another name where this one is wrong, or none")),
        (_("Source"), _("Who named it: anatomy, or a reader by hand")),
        (_("Sure?"), _("Confidence of a name by anatomy: high, or low, which is measured and in no contact pattern")),
    )


class NamesPresenter:
    """Shows the names of a result's vessels and takes corrections.

    Parameters
    ----------
    host : Host
        The application.
    result : callable
        Returns the `SceneResult` that is shown, or None.
    measured : callable
        Called without arguments after the vessels were measured anew.
    """

    def __init__(self, host: Host, result: Callable[[], SceneResult | None], measured: Callable[[], None]) -> None:
        self._host, self._result, self._measured = host, result, measured

    @property
    def state(self) -> NamesState:
        """What is to be shown now."""
        result = self._live()
        names = pieceNames(result) if result is not None else []
        if result is None or not names:
            return NamesState()
        checked, order = result.record.namesChecked, list(TITLES)
        names.sort(key=lambda row: (not row.there, order.index(row.piece) if row.piece in order else len(order)))
        return NamesState(
            offered=True,
            title=_title(names, checked=checked),
            hint="\n".join(filter(None, (_hint(checked=checked), _way(names)))),
            rows=tuple(_row(name, checked=checked) for name in names),
            choices=(("", _("not this vessel, no name")), *((name, _(title)) for name, title in TITLES.items())),
            checked=checked,
            checkable=not result.nodes.shownRater,
            checkText=_("Names checked: they may enter report and DICOM"),
        )

    def choose(self, piece: str, name: str) -> None:
        """Give a vessel another name, or none, and measure anew."""
        result = self._live()
        if result is None or name == next((n.name for n in pieceNames(result) if n.piece == piece), None):
            return
        with self._host.guarded(self._refused):
            self._host.ensure(_("Measuring with other names"), *measuringNeeds(result))
            change = naming(result, piece, name)
            text = _("Measured anew: {title}, by hand.").format(title=_(TITLES.get(name, _("a vessel without a name"))))
            if change.before:
                text += " " + _("What was called so until now has no name any more.")
            self._take(result, change, lambda: self._host.say(text))

    def check(self, checked: bool) -> None:
        """Say that somebody looked at the names, or take that back."""
        result = self._live()
        if result is None or checked == result.record.namesChecked:
            return
        with self._host.guarded(self._refused):
            self._host.ensure(_("Measuring with checked names"), *measuringNeeds(result))
            self._take(result, checking(result, checked=checked), lambda: None)

    def _take(self, result: SceneResult, change: NameChange, say: Callable[[], None]) -> None:
        """Measure with other names, and take both into the scene at once: until then all stays as it is."""

        def done(measured: dict[str, Any] | None) -> None:
            if result.isInScene:
                with self._host.busy():
                    takeNames(result, change, measured)
                say()
                if result.record.edited:
                    self._host.aside(outlineStep(result), outlined, self._refused)
            self._measured()

        def outlined(edited: dict[str, Any] | None) -> None:
            if result.isInScene:
                takeOutline(result, edited)
            self._measured()

        with self._host.busy():
            step = namesStep(result, change)
        if step is None:
            done(None)
        else:
            self._host.aside(step, done, self._refused)

    def _refused(self, _sentence: str) -> None:
        """Show the names as they still are."""
        self._measured()

    def jump(self, piece: str) -> None:
        """Show a vessel in the slice views."""
        result = self._live()
        if result is not None:
            with self._host.guarded():
                jumpToPiece(result, piece)

    def _live(self) -> SceneResult | None:
        result = self._result()
        return result if result is not None and result.isInScene else None


def withheldNote(result: SceneResult) -> str:
    """Say which names an export left out and how they get in; empty where it has all."""
    withheld = told(result, result.record.invasion).withheld
    if not withheld:
        return ""
    return _(
        "Left out, because they were named by anatomy and nobody checked it: {names}, with their contact and the "
        "contact pattern. Tick Names checked in Vessel names, or use twintrack export --names-checked."
    ).format(names=", ".join(_(TITLES.get(name, name)) for name in withheld))


def _title(names: list[PieceName], *, checked: bool) -> str:
    named, missing = sum(bool(row.name) for row in names), sum(row.missed for row in names)
    text = _("Vessel names: {number} by anatomy").format(number=named)
    if missing:
        text += ", " + _("{number} NOT NAMED").format(number=missing)
    return text + ", " + (_("checked") if checked else _("not checked"))


def _hint(*, checked: bool) -> str:
    if checked:
        return _("Checked: report and DICOM have the names, and say that they were found by anatomy and checked.")
    return _(
        "Not checked: until the tick below, report and DICOM have arteries and veins without names, no contact of "
        "theirs and no contact pattern."
    )


def _row(name: PieceName, *, checked: bool) -> NameRow:
    title = _(TITLES.get(name.name or name.piece, name.piece))
    low, reason = name.confidence == "low", name.reason
    if name.missed:
        reason = _("NOT NAMED, not assessed: {reason}").format(reason=name.reason)
    elif not name.name:
        reason = _("no name: {reason}").format(reason=name.reason)
    return NameRow(
        piece=name.piece,
        title=title if name.name or not name.there else _("no name (was {title})").format(title=title),
        name=name.name,
        source=_("by hand") if name.source == HAND else _("anatomy"),
        confidence=_(name.confidence) if name.confidence else "",
        reason=reason,
        loud=name.missed or (low and not checked),
        there=name.there,
    )


def _way(names: list[PieceName]) -> str:
    """Say how a vessel gets a name that it lacks; empty where none is missed."""
    if not any(row.missed for row in names):
        return ""
    return _(
        "A vessel that is NOT NAMED: choose its name in the row that has it under another one; or cut it out of "
        "Arteries or Veins without a name in 3D Slicer's Segment Editor, as a segment of its own, and choose its name."
    )
