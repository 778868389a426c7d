"""Which result is shown: a selector of all in the scene by their CT, and what does not fit together said in words."""

from TwinTrackSegLib.gui.Feedback import Look, dress

__all__ = ["ResultChoice"]


class ResultChoice:
    """Offers the results of the scene, and names the CTs where input, views and result are not of one.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    presenter : CtAndResult
        Knows what there is to choose from, and does it.
    """

    def __init__(self, ui, presenter) -> None:
        self.ui, self._presenter = ui, presenter
        self._results = ()
        ui.resultComboBox.connect("activated(int)", self._onActivated)
        for label in (ui.inputHintLabel, ui.mismatchLabel):
            dress(label, Look.NOTE)
        self.update()

    def update(self) -> None:
        """List the results of the scene, and say what does not fit together."""
        choice, combo = self._presenter.choice, self.ui.resultComboBox
        self._results = choice.results
        combo.clear()
        if choice.noneText:
            combo.addItem(choice.noneText, -1)
        for index, title in enumerate(choice.titles):
            combo.addItem(title, index)
        combo.setCurrentIndex(combo.findData(choice.chosen))
        combo.toolTip = choice.tip
        combo.visible = self.ui.resultComboBoxLabel.visible = choice.offered
        for label, text in ((self.ui.inputHintLabel, choice.inputHint), (self.ui.mismatchLabel, choice.mismatch)):
            label.text, label.visible = text, bool(text)

    def _onActivated(self, index: int) -> None:
        chosen = self.ui.resultComboBox.itemData(index)
        if chosen >= 0:
            self._presenter.choose(self._results[chosen])
