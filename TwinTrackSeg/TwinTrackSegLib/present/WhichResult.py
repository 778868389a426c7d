"""Which CT and which result: the choice by name, and what does not fit together said in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from TwinTrackSegLib.mrml.result.ResultTitle import distinctNames, resultTitles
from TwinTrackSegLib.mrml.result.ResultViews import ctOf, isInViews, shownCt
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult, allResults
from TwinTrackSegLib.present.Translation import tr as _

__all__ = ["Choice", "exportQuestion", "isOfAnotherCt", "wayBack", "whichResult"]


@dataclass(frozen=True)
class Choice:
    """The results of the scene to choose from.

    Attributes
    ----------
    results : tuple of SceneResult
        In the order of `titles`.
    titles : tuple of str
        No two alike.
    chosen : int
        Which is shown; -1 for none, which `noneText` then offers.
    noneText : str
        What stands in the selector where results are there and none is shown.
    tip : str
        The selector's tooltip.
    inputHint, mismatch : str
        That input and views, or result and input, are of two CTs; empty where they are of one.
    """

    results: tuple[SceneResult, ...]
    titles: tuple[str, ...]
    chosen: int
    noneText: str
    tip: str
    inputHint: str
    mismatch: str

    @property
    def offered(self) -> bool:
        """Whether there is anything to choose from."""
        return bool(self.titles)


def whichResult(result: SceneResult | None, inputVolume: Any) -> Choice:
    """List the results of the scene with `result` chosen, or none; `inputVolume` is what would be segmented."""
    results = allResults()
    titles = resultTitles(results)
    maps = [other.nodes.mhr for other in results]
    chosen = maps.index(result.nodes.mhr) if result is not None and result.nodes.mhr in maps else -1
    tip = _("Which result is shown; choosing one brings its CT into the views")
    return Choice(
        results=tuple(results),
        titles=tuple(titles),
        chosen=chosen,
        noneText=_("none of this CT") if result is None and results else "",
        tip=f"{tip}\n{titles[chosen]}" if chosen >= 0 else tip,
        inputHint=_inputHint(inputVolume),
        mismatch=_mismatch(result, inputVolume),
    )


def isOfAnotherCt(result: SceneResult | None, inputVolume: Any) -> bool:
    """Whether a result belongs to another CT than the chosen input."""
    return result is not None and inputVolume is not None and result.nodes.ct is not ctOf(inputVolume)


def exportQuestion(result: SceneResult, inputVolume: Any) -> str:
    """Ask whether the result of another CT than the input is meant; empty where it is of the same."""
    if not isOfAnotherCt(result, inputVolume):
        return ""
    ct, inputName = distinctNames(result.nodes.ct or result.nodes.mhr, inputVolume)
    question = _("This is the result of '{ct}'. The chosen CT is '{input}'. Export the result of '{ct}'?")
    return question.format(ct=ct, input=inputName)


def _inputHint(inputVolume: Any) -> str:
    """Say it where the CT that would be segmented is not the one in the views."""
    shown = shownCt()
    if inputVolume is None or shown is None or isInViews(ctOf(inputVolume)):
        return ""
    inputName, shownName = distinctNames(inputVolume, shown)
    return _("The chosen CT is '{input}'; the slice views show '{shown}'.").format(input=inputName, shown=shownName)


def _mismatch(result: SceneResult | None, inputVolume: Any) -> str:
    """Say it where the result is not of the CT that is chosen as input."""
    if result is None or not isOfAnotherCt(result, inputVolume):
        return ""
    ctName, inputName = _("a CT that left the scene"), inputVolume.GetName()
    if result.nodes.ct is not None:
        ctName, inputName = distinctNames(result.nodes.ct, inputVolume)
    return _("This result belongs to '{ct}', not to the chosen CT '{input}'.").format(ct=ctName, input=inputName)


def wayBack() -> tuple[str, str]:
    """Return text and tooltip of the button that leads from the editor of segments back to the result."""
    return _("Back to TwinTrackSeg"), _("Measures what was drawn, and shows the result again")
