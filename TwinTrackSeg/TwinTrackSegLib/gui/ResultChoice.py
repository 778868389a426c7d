"""Which result is shown: a selector of all in the scene by their CT, and what does not fit together said in words."""

from TwinTrackSegLib.gui.Feedback import Look, dress
from TwinTrackSegLib.present.WhichResult import whichResult

__all__ = ["ResultChoice"]


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
        self._results = ()
        ui.resultComboBox.connect("activated(int)", self._onActivated)
        for label in (ui.inputHintLabel, ui.mismatchLabel):
            dress(label, Look.NOTE)
        self.update(None, None)

    def update(self, result, inputVolume) -> None:
        """List the results of the scene with `result` chosen, or none; `inputVolume` is what would be segmented."""
        choice = whichResult(result, inputVolume)
        self._results = choice.results
        combo = self.ui.resultComboBox
        combo.clear()
        if choice.noneText:
            combo.addItem(choice.noneText, -1)
        for index, title in enumerate(choice.titles):
            combo.addItem(title, index)
        combo.setCurrentIndex(max(combo.findData(choice.chosen), 0) if choice.titles else -1)
        combo.toolTip = choice.tip
        self.ui.resultComboBox.visible = self.ui.resultComboBoxLabel.visible = bool(choice.titles)
        for label, text in ((self.ui.inputHintLabel, choice.inputHint), (self.ui.mismatchLabel, choice.mismatch)):
            label.text, label.visible = text, bool(text)

    def _onActivated(self, index: int) -> None:
        chosen = self.ui.resultComboBox.itemData(index)
        if chosen is not None and chosen >= 0:
            self._chosen(self._results[chosen])
