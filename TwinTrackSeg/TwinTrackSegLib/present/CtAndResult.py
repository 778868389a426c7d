"""One CT at a time: the chosen CT, the CT in the slice views and the result that is shown are kept together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from TwinTrackSegLib.mrml.result.ResultViews import ctOf, isInViews, showCt, shownCt
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult, firstCandidate, resultOf
from TwinTrackSegLib.present.FirstLook import SampleOffer, sampleOffer
from TwinTrackSegLib.present.Reading import ReadingPresenter
from TwinTrackSegLib.present.WhichResult import Choice, whichResult

__all__ = ["CtAndResult", "Parameters"]


class Parameters(Protocol):
    """What is chosen in the scene, as far as CT and result go; whoever holds it calls `CtAndResult.follow` at a change.

    Attributes
    ----------
    inputVolume : vtkMRMLScalarVolumeNode or None
        The CT.
    resultVolume : vtkMRMLScalarVolumeNode or None
        Map of the result that is shown.
    """

    inputVolume: Any
    resultVolume: Any


class CtAndResult:
    """Lets result, views and chosen CT follow each other.

    Parameters
    ----------
    reading : ReadingPresenter
        Shows the result.
    letGo : callable
        Called with the CT that took the place of another: what was chosen for the last one is chosen no more.
    resultChanged : callable
        Called without arguments after another result is shown, or another CT was chosen.
    """

    def __init__(
        self, reading: ReadingPresenter, letGo: Callable[[Any], None], resultChanged: Callable[[], None]
    ) -> None:
        self._reading, self._letGo, self._resultChanged = reading, letGo, resultChanged
        self._parameters: Parameters | None = None
        self._inputID = ""

    def bind(self, parameters: Parameters | None) -> None:
        """Take up the parameters of a scene, or none; whose CT they name is no change of the CT."""
        self._parameters = parameters
        if parameters is not None:
            self._inputID = parameters.inputVolume.GetID() if parameters.inputVolume is not None else ""

    @property
    def choice(self) -> Choice:
        """The results of the scene to choose from, and what does not fit together."""
        return whichResult(self._reading.result, self.inputVolume)

    @property
    def inputVolume(self) -> Any:
        """The chosen CT, or None."""
        return self._parameters.inputVolume if self._parameters is not None else None

    @property
    def ready(self) -> bool:
        """Whether there is a CT to segment."""
        return self.inputVolume is not None

    @property
    def isNew(self) -> bool:
        """Whether there is a CT and no result of it is shown: the model will be wanted."""
        return self.ready and self._parameters is not None and self._parameters.resultVolume is None

    @property
    def offer(self) -> SampleOffer:
        """The sample case, for who has no CT."""
        return sampleOffer(empty=not self.ready)

    def follow(self) -> None:
        """Follow the parameters: another CT comes into the views with its result, another map is shown."""
        parameters = self._parameters
        if parameters is None:
            return
        self._followInput(parameters)
        shown = self._reading.result
        if parameters.resultVolume is not (shown.nodes.mhr if shown is not None else None):
            volume = parameters.resultVolume
            self._reading.show(SceneResult(volume) if volume is not None else None)
            self._reading.takeUpEdit()  # it may have been edited while the result of another CT was shown
            self._resultChanged()

    def followViews(self) -> None:
        """Show the result of the CT that the slice views show, or none; a first input is the CT in the views too."""
        parameters = self._parameters
        if parameters is None:
            return
        if parameters.inputVolume is None:
            parameters.inputVolume = firstCandidate()
        ct, result = shownCt(), self._reading.result
        if ct is not None and (result is None or result.nodes.ct is not ct):
            _showResultOf(parameters, ct)

    def choose(self, result: SceneResult) -> None:
        """Show a result with its CT, which becomes the chosen one."""
        parameters = self._parameters
        if parameters is None:
            return
        result.show()
        if result.nodes.ct is not None:
            parameters.inputVolume = result.nodes.ct
        parameters.resultVolume = result.nodes.mhr

    def chooseCt(self, nodes: Any) -> None:
        """Choose the volume among nodes that were just brought into the scene, such as those of the sample case."""
        for node in nodes:
            if self._parameters is not None and node.IsA("vtkMRMLScalarVolumeNode"):
                self._parameters.inputVolume = node

    def _followInput(self, parameters: Parameters) -> None:
        """Bring another input volume into the views, with its result; what was chosen for the last CT is let go."""
        chosen = parameters.inputVolume
        if chosen is None or chosen.GetID() == self._inputID:
            return
        another, self._inputID = bool(self._inputID), chosen.GetID()
        if another:
            self._letGo(chosen)
        if not isInViews(ctOf(chosen)) and not showCt(chosen):
            _showResultOf(parameters, chosen)
        self._resultChanged()


def _showResultOf(parameters: Parameters, ct: Any) -> None:
    result = resultOf(ct)
    parameters.resultVolume = result.nodes.mhr if result is not None else None
