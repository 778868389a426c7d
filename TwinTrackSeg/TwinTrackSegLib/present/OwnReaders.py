"""The site's own readers: who is listed and ticked, their map, a comparison, cases that become a calibrator."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from twintrack.errors import TwinTrackError
from TwinTrackSegLib.mrml.result.Correction import measuringNeeds
from TwinTrackSegLib.mrml.site.Evaluation import (
    HIGHER_IS_BETTER,
    NEITHER_IS_BETTER,
    Comparison,
    comparisonStep,
    showDifference,
    takeComparison,
)
from TwinTrackSegLib.mrml.site.Raters import Rater, likelyRaters, makeMhr, ratersInScene
from TwinTrackSegLib.mrml.site.SiteCalibrator import FEWEST_CASES, FIT_NEEDS, SiteCases
from TwinTrackSegLib.mrml.site.StructureFiles import Structures, pathOf, structuresStep, takeStructures
from TwinTrackSegLib.present.Host import FileQuestion, Host
from TwinTrackSegLib.present.Reading import ReadingPresenter
from TwinTrackSegLib.present.Translation import tr as _

__all__ = ["Metric", "OwnReadersPresenter", "OwnReadersState", "ReaderRow", "metricHeads"]

NOTHING = dict.fromkeys(("makeMhr", "evaluate", "addCase", "fit"), False)


@dataclass(frozen=True)
class Metric:
    """A row of the metrics' table; `tip` says why there is no value."""

    title: str
    value: str
    tip: str


@dataclass(frozen=True)
class ReaderRow:
    """Somebody who may be a reader; `key` tells them from others."""

    key: str
    title: str
    ticked: bool


@dataclass(frozen=True)
class OwnReadersState:
    """What a front end shows.

    Attributes
    ----------
    rows : tuple of ReaderRow
        Who may be a reader of the CT, to be ticked.
    hint : str
        How many more there are; empty for none.
    pressable : mapping of str to bool
        Whether ``makeMhr``, ``evaluate``, ``addCase`` and ``fit`` can be pressed.
    metrics : tuple of Metric
        Of the last comparison of the result that is shown; empty before one.
    cases : str
        How many cases there are for a calibrator, and how many it takes.
    """

    rows: tuple[ReaderRow, ...] = ()
    hint: str = ""
    pressable: Mapping[str, bool] = field(default_factory=lambda: dict(NOTHING))
    metrics: tuple[Metric, ...] = ()
    cases: str = ""


class OwnReadersPresenter:
    """Ticks readers, makes their map, compares, adds cases, fits.

    Parameters
    ----------
    host : Host
        The application.
    reading : ReadingPresenter
        Knows the result that is shown.
    cases : SiteCases
        The cases that were added so far.
    inputVolume : callable
        Returns the chosen CT.
    bundle : callable
        Returns the path of the chosen model; its statements are where a site's own begin.
    calibrated : callable
        Called with the path of a calibrator that was fitted: the next runs take it.
    changed : callable
        Called without arguments whenever `state` is another.
    """

    def __init__(
        self,
        host: Host,
        reading: ReadingPresenter,
        cases: SiteCases,
        inputVolume: Callable[[], Any],
        bundle: Callable[[], str],
        calibrated: Callable[[str], None],
        changed: Callable[[], None],
    ) -> None:
        self._host, self._reading, self.cases = host, reading, cases
        self._inputVolume, self._bundle, self._calibrated, self._changed = inputVolume, bundle, calibrated, changed
        self._raters: list[Rater] = []
        self._ticked: set[str] = set()
        self._typed, self._others = "", 0
        self._metrics: tuple[Metric, ...] = ()
        self._map: Any = None
        self._ct: Any = None

    @property
    def state(self) -> OwnReadersState:
        """What is to be shown now."""
        some, result = bool(self.ticked()), self._reading.result is not None
        number, trouble = self._number()
        return OwnReadersState(
            rows=tuple(ReaderRow(rater.key, rater.title, rater.key in self._ticked) for rater in self._raters),
            hint=_leftOut(self._others),
            pressable={
                "makeMhr": some and self.volume is not None,
                "evaluate": some and result,
                "addCase": some and result,
                "fit": number >= FEWEST_CASES,
            },
            metrics=self._metrics,
            cases=trouble or _casesText(number),
        )

    @property
    def volume(self) -> Any:
        """The CT whose readers are listed: that of the result that is shown, or else the chosen one."""
        result = self._reading.result
        return result.nodes.ct if result is not None else self._inputVolume()

    def ticked(self) -> list[Rater]:
        """Return the ticked raters that are still in the scene."""
        return [rater for rater in self._raters if rater.key in self._ticked and rater.isInScene]

    def update(self, typed: str | None = None) -> None:
        """List who may be a reader of the CT now, or all whose name holds what was `typed`; who is ticked stays so."""
        self._typed = self._typed if typed is None else typed
        self._forgetOtherCt()
        everyone = ratersInScene()
        self._raters = _listed(everyone, self.volume, self._typed, self._ticked)
        self._ticked &= {rater.key for rater in self._raters}
        self._others = len(everyone) - len(self._raters)
        self._changed()

    def tick(self, key: str, ticked: bool) -> None:
        """Count somebody among the readers, or no more."""
        self._ticked = self._ticked | {key} if ticked else self._ticked - {key}
        self._changed()

    def addFile(self, typed: str) -> None:
        """Bring what a file of this computer holds into the scene, and tick those of it that may be a reader's.

        Parameters
        ----------
        typed : str
            Path of a mask or label map, as somebody typed it.
        """
        volume = self.volume
        if volume is None or not typed.strip():
            return

        def done(found: Structures) -> None:
            node = takeStructures(found, volume)
            self.update()
            self._ticked |= {rater.key for rater in self._raters if rater.node is node}
            self._host.say(" ".join(found.notes))
            self._changed()

        with self._host.guarded():
            self._host.aside(structuresStep(pathOf(typed), volume), done)

    def makeMap(self) -> None:
        """Make the map of the ticked readers, on the grid of their CT."""
        volume = self.volume
        if volume is not None:
            with self._host.guarded():
                makeMhr(self.ticked(), volume)

    def evaluate(self) -> None:
        """Compare the predicted map with the ticked readers."""
        result, readers = self._reading.result, self.ticked()
        if result is None:
            return

        def done(found: Comparison) -> None:
            if result.isInScene and result is self._reading.result:
                self._metrics = tuple(_metricRows(takeComparison(result, found)))
                showDifference(result, makeMhr(readers, result.nodes.ct))
            self._changed()

        with self._host.guarded():
            with self._host.busy():
                step = comparisonStep(result, readers)
            self._host.aside(step, done)

    def addCase(self) -> None:
        """Add the shown result with the ticked readers to the site's cases."""
        result = self._reading.result
        if result is None:
            return
        with self._host.guarded():
            self._host.ensure(_("Adding a case"), *measuringNeeds(result))
            with self._host.busy():
                step = self.cases.addStep(result, self.ticked())
            self._host.aside(step, lambda _number: self._changed())

    def fit(self) -> None:
        """Fit the site's calibrator where the user says, choose it for the next runs, and pass its warnings on."""
        question = FileQuestion(_("Save calibrator"), _("Calibrators"), (".json",), "calibrator.json")
        self._host.askSave(question, self.volume, self._fitTo)

    def _fitTo(self, path: str) -> None:
        def done(warnings: tuple[str, ...]) -> None:
            self._calibrated(path)
            if warnings:
                self._host.warn("\n".join(warnings))

        with self._host.guarded():
            self._host.ensure(_("Fitting a calibrator"), *FIT_NEEDS)
            bundle = self._bundle()
            self._host.aside(self.cases.fitStep(path, bundle if bundle and Path(bundle).exists() else None), done)

    def _forgetOtherCt(self) -> None:
        """Let go of the numbers of another result, and of the readers that were ticked for another CT."""
        result, volume = self._reading.result, self.volume
        shown = result.nodes.mhr if result is not None else None
        if shown is not self._map:
            self._metrics = ()
        if volume is not self._ct:
            self._ticked = set()
        self._map, self._ct = shown, volume

    def _number(self) -> tuple[int, str]:
        """Return how many cases there are, and what is the matter where they cannot be read."""
        try:
            return self.cases.number, ""
        except TwinTrackError as error:
            return 0, str(error)


def metricHeads() -> tuple[str, str]:
    """Return the heads of the metrics' table."""
    return _("Metric (better: ↑ higher, ↓ lower)"), _("Value")


def _listed(everyone: Sequence[Rater], volume: Any, typed: str, ticked: Collection[str]) -> list[Rater]:
    """Return who may be a reader of the CT, or all whose name holds what was typed; who is ticked stays."""
    part = typed.strip().casefold()
    likely = {rater.key for rater in likelyRaters(list(everyone), volume)}
    return [
        rater
        for rater in everyone
        if rater.key in ticked or (part in rater.title.casefold() if part else rater.key in likely)
    ]


def _leftOut(number: int) -> str:
    """Say how many segments are not listed; empty for none."""
    if number <= 0:
        return ""
    return _("{number} more in the scene are not listed: type a part of their name.").format(number=number)


def _metricRows(metrics: Sequence[tuple[str, float | str]]) -> list[Metric]:
    """Write the metrics; one that is a text is not available, for that reason."""
    rows = []
    for title, value in metrics:
        better = "" if title in NEITHER_IS_BETTER else "↑" if title in HIGHER_IS_BETTER else "↓"
        if isinstance(value, str):
            rows.append(Metric(_(title), _("not available"), value))
        else:
            rows.append(Metric(_(title), f"{value:.4g} {better}", ""))
    return rows


def _casesText(number: int) -> str:
    """Say how many cases were added, and how many a calibrator takes."""
    if not number:
        return _("No case was added yet.")
    if number < FEWEST_CASES:
        return _("1 case was added; a calibrator of your own takes at least {least}.").format(least=FEWEST_CASES)
    return _("{number} cases were added for a calibrator of your own.").format(number=number)
