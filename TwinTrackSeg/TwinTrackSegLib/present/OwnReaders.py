"""The site's own readers in words: who is listed, what can be pressed, metrics, and the cases of a calibrator."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from TwinTrackSegLib.mrml.site.Evaluation import HIGHER_IS_BETTER, NEITHER_IS_BETTER
from TwinTrackSegLib.mrml.site.Raters import Rater, likelyRaters
from TwinTrackSegLib.present.Host import FileQuestion
from TwinTrackSegLib.present.Translation import tr as _

__all__ = [
    "Metric",
    "addingACase",
    "calibratorQuestion",
    "casesText",
    "fitting",
    "leftOut",
    "listed",
    "metricHeads",
    "metricRows",
    "pressable",
]


@dataclass(frozen=True)
class Metric:
    """A row of the metrics' table; `tip` says why there is no value."""

    title: str
    value: str
    tip: str


def listed(everyone: Sequence[Rater], volume: Any, typed: str, ticked: Collection[str]) -> list[Rater]:
    """Return who may be a reader of the CT, or all whose name holds what was typed; who is ticked stays."""
    part = typed.strip().casefold()
    likely = {rater.key for rater in likelyRaters(list(everyone), volume)}
    return [
        rater
        for rater in everyone
        if rater.key in ticked or (part in rater.title.casefold() if part else rater.key in likely)
    ]


def leftOut(number: int) -> str:
    """Say how many segments are not listed; empty for none."""
    if number <= 0:
        return ""
    return _("{number} more in the scene are not listed: type a part of their name.").format(number=number)


def pressable(*, ticked: bool, result: bool) -> dict[str, bool]:
    """Return which of the buttons ``makeMhr``, ``evaluate`` and ``addCase`` can be pressed."""
    return {"makeMhr": ticked, "evaluate": ticked and result, "addCase": ticked and result}


def metricHeads() -> tuple[str, str]:
    """Return the heads of the metrics' table."""
    return _("Metric (better: ↑ higher, ↓ lower)"), _("Value")


def metricRows(metrics: Sequence[tuple[str, float | str]]) -> list[Metric]:
    """Write the metrics; one that is a text is not available, for that reason."""
    rows = []
    for title, value in metrics:
        better = "" if title in NEITHER_IS_BETTER else "↑" if title in HIGHER_IS_BETTER else "↓"
        if isinstance(value, str):
            rows.append(Metric(_(title), _("not available"), value))
        else:
            rows.append(Metric(_(title), f"{value:.4g} {better}", ""))
    return rows


def addingACase() -> str:
    """Return what needs packages, as the beginning of a sentence."""
    return _("Adding a case")


def fitting() -> str:
    """Return what needs packages, as the beginning of a sentence."""
    return _("Fitting a calibrator")


def calibratorQuestion() -> FileQuestion:
    """Ask where the site's calibrator goes."""
    return FileQuestion(_("Save calibrator"), _("Calibrators"), (".json",), "calibrator.json")


def casesText(path: Path) -> str:
    """Say whether cases were added, and where they are."""
    if not path.is_file():
        return _("No case was added yet.")
    return _("Cases are added up for a calibrator of your own: {path}").format(path=path.name)
