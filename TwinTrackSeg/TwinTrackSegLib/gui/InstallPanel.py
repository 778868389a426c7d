"""Which Python runs the model, and whether its packages work."""

from pathlib import Path

import qt
import slicer.util

from TwinTrackSegLib.gui.Dependencies import repairPackages
from TwinTrackSegLib.gui.Feedback import sayStatus, shownErrors
from TwinTrackSegLib.gui.PackageCheck import PackageCheck
from TwinTrackSegLib.gui.Parameters import recall, remember
from TwinTrackSegLib.gui.Paths import followPath
from TwinTrackSegLib.mrml.worker.Interpreter import defaultWorkerCommand, workerCommandOf
from TwinTrackSegLib.present import Installing
from TwinTrackSegLib.present.Run import failed

__all__ = ["InstallPanel"]

POLL_INTERVAL_MSEC = 100


class InstallPanel:
    """Chooses the interpreter, checks it, repairs Slicer's.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    logic : TwinTrackSegLogic
        Starts the model with the chosen interpreter.
    requirements : str
        Path of the list of packages that the model needs.
    """

    def __init__(self, ui, logic, requirements: str) -> None:
        self.ui, self.logic, self._requirements = ui, logic, requirements
        self._check, self._repaired = None, False
        self._title = ui.repairButton.text
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_INTERVAL_MSEC)
        self._timer.connect("timeout()", self._onPoll)
        ui.pythonPathEdit.currentPath = recall("python", exists=True)
        followPath(ui.pythonPathEdit, self._onPython)
        ui.repairButton.connect("clicked()", self.onRepair)
        self._onPython(ui.pythonPathEdit.currentPath)

    @property
    def external(self) -> bool:
        """Whether another Python than Slicer's runs the model; its packages are its owner's business."""
        path = self.ui.pythonPathEdit.currentPath
        return bool(path) and Path(path).is_file()

    def onRepair(self) -> None:
        """Begin to import the model's packages in a process of their own, or give that up."""
        if self._check is not None:
            self.end()
            sayStatus(self.ui, Installing.checkCancelled())
            return
        self._repaired = False
        self._begin()

    def end(self) -> None:
        """Give up a check that is going on."""
        self._timer.stop()
        if self._check is not None:
            self._check.cancel()
        self._check = None
        self.ui.repairButton.text = self._title

    def _begin(self) -> None:
        with shownErrors(self._onFailure):
            self._check = PackageCheck(self.logic.workerCommand[0], self._requirements)
            self.ui.repairButton.text = Installing.cancelCheck()
            self._showProgress()
            self._timer.start()

    def _onPoll(self) -> None:
        with shownErrors(self._onFailure):
            if self._check.poll():
                self._showProgress()
                return
            broken = self._check.broken
            self.end()
            self._onChecked(broken)

    def _showProgress(self) -> None:
        check = self._check
        sayStatus(self.ui, Installing.checkProgress(check.number, check.count, check.current))

    def _onChecked(self, broken: list[str]) -> None:
        """Say what was found; offer to install again what does not work, once."""
        text, isFailure, offer = Installing.checked(broken, repaired=self._repaired, external=self.external)
        sayStatus(self.ui, text, failed=isFailure)
        if offer and slicer.util.confirmOkCancelDisplay(Installing.reinstallQuestion(broken), "TwinTrackSeg"):
            repairPackages(broken, self._requirements)
            self._repaired = True
            self._begin()

    def _onFailure(self, sentence: str) -> None:
        self.end()
        sayStatus(self.ui, failed(sentence), failed=True)

    def _onPython(self, path: str) -> None:
        """Let the chosen interpreter run the model; Slicer's own as long as there is none."""
        self.logic.workerCommand = workerCommandOf(path) if self.external else defaultWorkerCommand()
        if self.external or not path:
            remember("python", path)
