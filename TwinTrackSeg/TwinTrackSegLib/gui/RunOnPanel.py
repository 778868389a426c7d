"""Where the model runs: this computer and on which of its processors, or a server that has a bundle loaded."""

import ctk

from TwinTrackSegLib.gui.Parameters import recall, remember
from TwinTrackSegLib.gui.Paths import followPath
from TwinTrackSegLib.present.ModelChoice import HERE, SERVER, computers

__all__ = ["RunOnPanel"]

ADDRESS_EXAMPLE = "https://gpu.hospital.example:8786"


class RunOnPanel:
    """Chooses the computer. The choice belongs to this machine: a scene that is opened never sends a CT anywhere.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    changed : callable
        Called when the choice has changed.
    """

    def __init__(self, ui, changed) -> None:
        self.ui, self._changed = ui, changed
        for title, kind in computers():
            ui.runOnComboBox.addItem(title, kind)
        ui.runOnComboBox.setCurrentIndex(max(ui.runOnComboBox.findData(recall("runOn")), 0))
        ui.serverLineEdit.text = recall("server")
        ui.serverLineEdit.placeholderText = ADDRESS_EXAMPLE
        ui.certificatesPathEdit.filters = ctk.ctkPathLineEdit.Dirs  # else its dialog takes files alone
        ui.certificatesPathEdit.currentPath = recall("certificates")
        ui.runOnComboBox.connect("activated(int)", self._onChoice)
        ui.serverLineEdit.connect("editingFinished()", self._onChoice)
        followPath(ui.certificatesPathEdit, self._onChoice)
        self._show()

    @property
    def remote(self) -> bool:
        """Whether a server runs the model."""
        return self.ui.runOnComboBox.itemData(self.ui.runOnComboBox.currentIndex) == SERVER

    @property
    def address(self):
        """The server's address, empty if none is given yet; None for this computer."""
        return self.ui.serverLineEdit.text.strip() if self.remote else None

    @property
    def certificates(self):
        """Folder with the certificate or the token for the server, or None."""
        return (self.ui.certificatesPathEdit.currentPath or None) if self.remote else None

    def _onChoice(self, *_arguments) -> None:
        remember("runOn", SERVER if self.remote else HERE)
        remember("server", self.ui.serverLineEdit.text.strip())
        remember("certificates", self.ui.certificatesPathEdit.currentPath)
        self._show()
        self._changed()

    def _show(self) -> None:
        for widget in ("serverLineEdit", "certificatesPathEdit"):
            getattr(self.ui, widget).visible = self.remote
            getattr(self.ui, f"{widget}Label").visible = self.remote
        self.ui.deviceComboBox.enabled = not self.remote
