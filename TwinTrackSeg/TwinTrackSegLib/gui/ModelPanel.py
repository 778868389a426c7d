"""Buttons of the set-up section by which a model for patients is got."""

import slicer.util

from TwinTrackSegLib.gui.Paths import askOpenNames
from TwinTrackSegLib.present.GetModel import GetModel, buttonTitles, filesQuestion, textForIt

__all__ = ["ModelPanel"]


class ModelPanel:
    """Connects the buttons to `GetModel`, and the installed model to the panel's choice.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    host : SlicerHost
        Slicer, for the presenter.
    logic : TwinTrackSegLogic
        Knows which Python runs the model.
    inputs : InputsPanel
        Takes up the installed model.
    """

    def __init__(self, ui, host, logic, inputs) -> None:
        self.ui, self._logic, self._inputs = ui, logic, inputs
        self.presenter = GetModel(host, self._python, inputs.chooseBundle, self._update)
        ui.getModelButton.connect("clicked()", self.presenter.get)
        ui.modelFilesButton.connect("clicked()", self.onFiles)
        ui.modelForItButton.connect("clicked()", self.onForIt)
        self._update()

    def onFiles(self) -> None:
        """Ask for files that somebody brought, and take them up."""
        self.presenter.add(askOpenNames(filesQuestion()))

    def onForIt(self) -> None:
        """Show what to tell whoever runs the network; its text can be copied."""
        slicer.util.infoDisplay(buttonTitles(busy=False).forIt, "TwinTrackSeg", detailedText=textForIt())

    def end(self) -> None:
        """End what goes on; what was fetched is kept."""
        self.presenter.end()

    def _python(self) -> tuple[str, bool]:
        return self._logic.workerCommand[0], self._inputs.setUp.ownPython

    def _update(self) -> None:
        titles = buttonTitles(busy=self.presenter.busy)
        self.ui.getModelButton.text = titles.get
        self.ui.modelFilesButton.text, self.ui.modelForItButton.text = titles.files, titles.forIt
        self.ui.modelFilesButton.enabled = not self.presenter.busy
