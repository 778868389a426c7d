"""Vessels and region of a CT, and what is set once: model, rules, processor, calibrator, computer."""

from pathlib import Path

import ctk

from twintrack.bundle.model_bundle import demo_bundle_path
from TwinTrackSegLib.gui.Feedback import shownErrors
from TwinTrackSegLib.gui.Paths import askOpenName, followPath
from TwinTrackSegLib.present.ModelChoice import (
    ADDRESS_EXAMPLE,
    DEVICES,
    VESSEL_TITLES,
    computers,
    deviceTitles,
    ruleTitles,
    zipQuestion,
)
from TwinTrackSegLib.present.OwnVessels import OwnVessels
from TwinTrackSegLib.present.SetUp import SetUp

__all__ = ["InputsPanel"]


class InputsPanel:
    """Shows what is chosen for the next run, and passes on what the user chooses.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    host : SlicerHost
        The application.

    Attributes
    ----------
    vessels : OwnVessels
        Knows which segment is which vessel.
    setUp : SetUp
        Knows the choices of the machine.
    """

    def __init__(self, ui, host) -> None:
        self.ui = ui
        self._node, self._segments = None, None
        self.vessels = OwnVessels(host, self._showVessels)
        self.setUp = SetUp(host, lambda: ui.bundlePathEdit.currentPath, self._showSetUp)
        self._vesselCombos = {name: getattr(ui, f"vessel{name.capitalize()}ComboBox") for name in VESSEL_TITLES}
        for name, combo in self._vesselCombos.items():
            combo.connect("activated(int)", lambda index, name=name: self._onVessel(name, index))
        for device, title in zip(DEVICES, deviceTitles(), strict=True):
            ui.deviceComboBox.addItem(title, device)
        ui.deviceComboBox.setCurrentIndex(ui.deviceComboBox.findData(self.setUp.device))
        ui.deviceComboBox.connect("currentIndexChanged(int)", self._onDevice)
        for rules, title in ruleTitles().items():
            ui.rulesComboBox.addItem(title, rules)
        ui.rulesComboBox.connect("activated(int)", self._onRules)
        ui.calibratorPathEdit.currentPath = self.setUp.calibrator
        followPath(ui.calibratorPathEdit, self.setUp.chooseCalibrator)
        ui.bundlePathEdit.filters = ctk.ctkPathLineEdit.Dirs  # a dialog takes either folders or files
        followPath(ui.bundlePathEdit, lambda _path: self._showSetUp())
        ui.zipBundleButton.connect("clicked()", self.onZipBundle)
        ui.demoBundleButton.connect("clicked()", self.onDemoBundle)
        self._offerComputers()
        self._showSetUp()

    def setNode(self, node) -> None:
        """Take up the wrapped parameter node, or none; choose a bundle where none is chosen."""
        self._node = node
        self.vessels.bind(node)
        if node is not None and node.bundlePath == Path():
            node.bundlePath = self.setUp.firstBundle() or Path()

    def update(self) -> None:
        """Follow the parameters."""
        self.setUp.chooseBundle(self._node.bundlePath)
        self.vessels.follow()
        self.ui.rulesComboBox.setCurrentIndex(self.ui.rulesComboBox.findData(self._node.rules))

    def asked(self):
        """Return what a run is asked for."""
        return self.setUp.asked(self._node, keepScore=self.ui.keepScoreCheckBox.checked, vessels=self.vessels.choice)

    def onDemoBundle(self) -> None:
        """Go back to the demo bundle."""
        with shownErrors():
            self._node.bundlePath = demo_bundle_path()

    def chooseBundle(self, path: Path) -> None:
        """Take another model; what it says of itself is read anew, also where another one lay at that place before."""
        if self._node is not None:
            self._node.bundlePath = path
            self.setUp.chooseBundle(path)

    def onZipBundle(self) -> None:
        """Ask for a zipped bundle."""
        path = askOpenName(zipQuestion(), near=self.ui.bundlePathEdit.currentPath)
        if path:
            self.ui.bundlePathEdit.currentPath = path

    def _offerComputers(self) -> None:
        ui, setUp = self.ui, self.setUp
        for title, kind in computers():
            ui.runOnComboBox.addItem(title, kind)
        ui.runOnComboBox.setCurrentIndex(ui.runOnComboBox.findData(setUp.runOn))
        ui.serverLineEdit.text, ui.serverLineEdit.placeholderText = setUp.server, ADDRESS_EXAMPLE
        ui.certificatesPathEdit.filters = ctk.ctkPathLineEdit.Dirs  # else its dialog takes files alone
        ui.certificatesPathEdit.currentPath = setUp.certificates
        ui.runOnComboBox.connect("activated(int)", self._onComputer)
        ui.serverLineEdit.connect("textChanged(QString)", self._onComputer)
        followPath(ui.certificatesPathEdit, self._onComputer)

    def _onComputer(self, *_arguments) -> None:
        ui = self.ui
        runOn = ui.runOnComboBox.itemData(ui.runOnComboBox.currentIndex)
        self.setUp.chooseComputer(runOn, ui.serverLineEdit.text, ui.certificatesPathEdit.currentPath)

    def _onDevice(self, index: int) -> None:
        self.setUp.chooseDevice(self.ui.deviceComboBox.itemData(index))

    def _onRules(self, index: int) -> None:
        self._node.rules = self.ui.rulesComboBox.itemData(index)

    def _onVessel(self, name: str, index: int) -> None:
        self.vessels.choose(name, self._vesselCombos[name].itemData(index))

    def _showVessels(self) -> None:
        ui, state = self.ui, self.vessels.state
        for name, combo in self._vesselCombos.items():
            combo.visible = getattr(ui, f"vessel{name.capitalize()}ComboBoxLabel").visible = state.offered
            if state.segments != self._segments:
                combo.clear()
                for identifier, title in state.segments:
                    combo.addItem(title, identifier)
            combo.setCurrentIndex(combo.findData(state.chosen.get(name)))
        self._segments = state.segments
        ui.vesselHintLabel.text, ui.vesselHintLabel.visible = state.hint, bool(state.hint)

    def _showSetUp(self) -> None:
        ui, state = self.ui, self.setUp.state
        for widget in (ui.bundlePathEdit, ui.zipBundleButton, ui.demoBundleButton, ui.deviceComboBox):
            widget.enabled = state.here
        for widget in (ui.serverLineEdit, ui.certificatesPathEdit):
            widget.visible = getattr(ui, f"{widget.objectName}Label").visible = not state.here
        ui.bundleLabel.text, ui.bundleLabel.toolTip = state.model, state.modelTip
