"""Which Python runs the model, and whether its packages work."""

from pathlib import Path

import slicer.util
from slicer.i18n import tr as _

from TwinTrackSegLib.gui.Dependencies import brokenPackages, repairPackages
from TwinTrackSegLib.gui.Feedback import sayStatus, shownErrors
from TwinTrackSegLib.gui.Parameters import recall, remember
from TwinTrackSegLib.gui.Paths import followPath
from TwinTrackSegLib.mrml.worker.WorkerProcess import defaultWorkerCommand, workerCommandOf

__all__ = ["InstallPanel"]


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
        """Import the model's packages in a process of their own, and install again what does not work."""
        command = self.logic.workerCommand[:1]
        with shownErrors():
            with slicer.util.WaitCursor():
                broken = brokenPackages(command, self._requirements)
            if not broken:
                sayStatus(self.ui, _("All packages of the model can be imported."))
                return
            names = ", ".join(broken)
            if self.external:
                sayStatus(self.ui, _("Cannot be imported by the chosen Python: {names}").format(names=names), True)
                return
            question = _("These packages cannot be imported: {names}. Install them again?").format(names=names)
            if slicer.util.confirmOkCancelDisplay(question, "TwinTrackSeg"):
                with slicer.util.WaitCursor():
                    repairPackages(broken, self._requirements)
                    left = brokenPackages(command, self._requirements)
                still = _("Still not working: {names}").format(names=", ".join(left))
                sayStatus(self.ui, still if left else _("Repaired."), failed=bool(left))

    def _onPython(self, path: str) -> None:
        if path and not Path(path).is_file():
            return
        remember("python", path)
        self.logic.workerCommand = workerCommandOf(path) if path else defaultWorkerCommand()
