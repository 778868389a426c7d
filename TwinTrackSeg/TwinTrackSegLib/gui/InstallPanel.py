"""Which Python runs the model, and whether its packages work."""

from TwinTrackSegLib.gui.Dependencies import repairPackages
from TwinTrackSegLib.gui.PackageCheck import PackageCheck
from TwinTrackSegLib.gui.Paths import followPath
from TwinTrackSegLib.present.Checking import CheckPresenter

__all__ = ["InstallPanel"]


class InstallPanel:
    """Passes on which interpreter is chosen, and begins or gives up a check of its packages.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    host : SlicerHost
        The application.
    logic : TwinTrackSegLogic
        Starts the model with the chosen interpreter.
    setUp : SetUp
        Keeps the choice.
    requirements : str
        Path of the list of packages that the model needs.

    Attributes
    ----------
    presenter : CheckPresenter
        Checks and repairs.
    """

    def __init__(self, ui, host, logic, setUp, requirements: str) -> None:
        self.ui, self.logic, self._setUp, self._requirements = ui, logic, setUp, requirements
        self.presenter = CheckPresenter(
            host,
            begin=lambda: PackageCheck(logic.workerCommand[0], self._requirements),
            repair=lambda names: repairPackages(names, self._requirements),
            ownPython=lambda: setUp.ownPython,
            changed=self._showButton,
        )
        ui.pythonPathEdit.currentPath = setUp.python
        logic.workerCommand = setUp.workerCommand
        followPath(ui.pythonPathEdit, self._onPython)
        ui.repairButton.connect("clicked()", self.presenter.press)
        self._showButton()

    def _onPython(self, path: str) -> None:
        self._setUp.choosePython(path)
        self.logic.workerCommand = self._setUp.workerCommand

    def _showButton(self) -> None:
        self.ui.repairButton.text = self.presenter.button
