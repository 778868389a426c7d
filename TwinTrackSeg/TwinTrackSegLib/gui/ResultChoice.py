"""Which result is shown: a selector of all in the scene by their CT, and what does not fit together said in words."""

from slicer.i18n import tr as _

from TwinTrackSegLib.gui.Feedback import Look, dress
from TwinTrackSegLib.mrml.result.ResultTitle import distinctNames, resultTitles
from TwinTrackSegLib.mrml.result.ResultViews import ctOf, isInViews, shownCt
from TwinTrackSegLib.mrml.result.SceneResult import allResults

__all__ = ["ResultChoice", "isOfAnotherCt"]


class ResultChoice:
    """Offers the results of the scene, and names the CTs where input, views and result are not of one.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    chosen : callable
        Called with the result that the user chooses.
    """

    def __init__(self, ui, chosen) -> None:
        self.ui, self._chosen = ui, chosen
        self._results = []
        ui.resultComboBox.connect("activated(int)", self._onActivated)
        for label in (ui.inputHintLabel, ui.mismatchLabel):
            dress(label, Look.NOTE)
        self.update(None, None)

    def update(self, result, inputVolume) -> None:
        """List the results of the scene with `result` chosen, or none; `inputVolume` is what would be segmented."""
        self._results = allResults()
        titles = resultTitles(self._results)
        combo = self.ui.resultComboBox
        combo.clear()
        if result is None and self._results:
            combo.addItem(_("none of this CT"), -1)
        for index, title in enumerate(titles):
            combo.addItem(title, index)
        maps = [other.nodes.mhr for other in self._results]
        chosen = maps.index(result.nodes.mhr) if result is not None and result.nodes.mhr in maps else -1
        combo.setCurrentIndex(max(combo.findData(chosen), 0) if self._results else -1)
        combo.toolTip = _("Which result is shown; choosing one brings its CT into the views") + (
            f"\n{titles[chosen]}" if chosen >= 0 else ""
        )
        self.ui.resultRow.visible = bool(self._results)
        self._showInputHint(inputVolume)
        self._showMismatch(result, inputVolume)

    def _onActivated(self, index: int) -> None:
        chosen = self.ui.resultComboBox.itemData(index)
        if chosen is not None and chosen >= 0:
            self._chosen(self._results[chosen])

    def _showInputHint(self, inputVolume) -> None:
        """Say it where the CT that would be segmented is not the one in the views."""
        shown = shownCt()
        away = inputVolume is not None and shown is not None and not isInViews(ctOf(inputVolume))
        text = ""
        if away:
            inputName, shownName = distinctNames(inputVolume, shown)
            text = _("The input volume is '{input}'; the slice views show '{shown}'.").format(
                input=inputName, shown=shownName
            )
        self.ui.inputHintLabel.visible = away
        self.ui.inputHintLabel.text = text

    def _showMismatch(self, result, inputVolume) -> None:
        """Say it where the result is not of the CT that is chosen as input."""
        other = isOfAnotherCt(result, inputVolume)
        text = ""
        if other:
            ctName, inputName = _("a CT that left the scene"), inputVolume.GetName()
            if result.nodes.ct is not None:
                ctName, inputName = distinctNames(result.nodes.ct, inputVolume)
            text = _("This result belongs to '{ct}', not to the input volume '{input}'.").format(
                ct=ctName, input=inputName
            )
        self.ui.mismatchLabel.visible = other
        self.ui.mismatchLabel.text = text


def isOfAnotherCt(result, inputVolume) -> bool:
    """Whether a result belongs to another CT than the chosen input."""
    return result is not None and inputVolume is not None and result.nodes.ct is not ctOf(inputVolume)
