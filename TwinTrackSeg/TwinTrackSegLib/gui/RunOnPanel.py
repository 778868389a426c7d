"""Where the model runs: this computer, or a server that keeps a bundle loaded."""

from slicer.i18n import tr as _

from TwinTrackSegLib.gui.Choices import recall, remember

__all__ = ["RunOnPanel"]

HERE, SERVER = "here", "server"

CLIENT_PACKAGES = ("distributed",)
"""All that a computer needs to let a server do the work, beside what Slicer brings."""


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
        ui.runOnComboBox.addItem(_("This computer"), HERE)
        ui.runOnComboBox.addItem(_("A server"), SERVER)
        ui.runOnComboBox.setCurrentIndex(max(ui.runOnComboBox.findData(recall("runOn")), 0))
        ui.serverLineEdit.text = recall("server")
        ui.serverLineEdit.placeholderText = "tls://gpu.hospital.example:8786"
        ui.certificatesPathEdit.currentPath = recall("certificates")
        ui.runOnComboBox.connect("activated(int)", self._onChoice)
        ui.serverLineEdit.connect("editingFinished()", self._onChoice)
        ui.certificatesPathEdit.connect("currentPathChanged(QString)", self._onChoice)
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
        """Folder with the certificates for the server, or None."""
        return (self.ui.certificatesPathEdit.currentPath or None) if self.remote else None

    @property
    def packages(self):
        """Packages that this computer needs for the choice; empty for all that the model needs."""
        return CLIENT_PACKAGES if self.remote else ()

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
