"""Upper part of the panel: bundle, vessels, region, processor."""

import json
from pathlib import Path

import ctk

import slicer
from twintrack.bundle.model_bundle import demo_bundle_path
from twintrack.errors import BundleError
from TwinTrackSegLib.gui.Feedback import sayStatus, shownErrors
from TwinTrackSegLib.gui.Parameters import recall, remember
from TwinTrackSegLib.gui.Paths import askOpenName, followPath
from TwinTrackSegLib.gui.RunOnPanel import RunOnPanel
from TwinTrackSegLib.mrml.vessels.VesselChoice import VesselChoice, matchVessels
from TwinTrackSegLib.present.ModelChoice import (
    DEVICES,
    VESSEL_TITLES,
    Asked,
    chooseModel,
    deviceTitles,
    modelNotes,
    noSegment,
    ruleTitles,
    vesselHint,
    vesselsLetGo,
    zipQuestion,
)

__all__ = ["InputsPanel"]


class InputsPanel:
    """What is to be segmented, by which model, with which vessels, where and on what.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    """

    def __init__(self, ui) -> None:
        self.ui = ui
        self._node = None
        self._mapped = None
        self._several = {}
        self._vesselCombos = {name: getattr(ui, f"vessel{name.capitalize()}ComboBox") for name in VESSEL_TITLES}
        for combo in self._vesselCombos.values():
            combo.connect("activated(int)", self._onMapping)
        for device, title in zip(DEVICES, deviceTitles(), strict=True):
            ui.deviceComboBox.addItem(title, device)
        ui.deviceComboBox.setCurrentIndex(max(ui.deviceComboBox.findData(recall("device")), 0))
        ui.deviceComboBox.connect("activated(int)", self._onDevice)
        for rules, title in ruleTitles().items():
            ui.rulesComboBox.addItem(title, rules)
        ui.rulesComboBox.connect("activated(int)", self._onRules)
        ui.calibratorPathEdit.currentPath = recall("calibrator", exists=True)
        followPath(ui.calibratorPathEdit, self._onCalibrator)
        ui.bundlePathEdit.filters = ctk.ctkPathLineEdit.Dirs  # a dialog takes either folders or files
        followPath(ui.bundlePathEdit, self._onBundle)
        ui.zipBundleButton.connect("clicked()", self.onZipBundle)
        ui.demoBundleButton.connect("clicked()", self.onDemoBundle)
        self.runOn = RunOnPanel(ui, self._onRunOn)

    def setNode(self, node) -> None:
        """Take up the wrapped parameter node, or none; choose a bundle where none is chosen."""
        self._node = node
        if node is not None and node.bundlePath == Path():
            try:
                node.bundlePath = Path(recall("bundle", exists=True) or demo_bundle_path())
            except BundleError:  # an installation without one: the user chooses
                self.ui.bundleLabel.text = chooseModel()

    def update(self) -> None:
        """Follow the parameters."""
        self._showBundle(self._node.bundlePath)
        self._showVessels(self._node.vesselSegmentation)
        self.ui.rulesComboBox.setCurrentIndex(max(self.ui.rulesComboBox.findData(self._node.rules), 0))

    def asked(self, ownPython: bool) -> Asked:
        """Return what is chosen; `ownPython` says whether another Python than Slicer's runs the model."""
        node = self._node
        return Asked(
            inputVolume=node.inputVolume,
            region=node.regionOfInterest,
            bundle=node.bundlePath,
            bundleEmptied=not self.ui.bundlePathEdit.currentPath,  # by hand: the parameter keeps the path of before
            address=self.runOn.address,
            certificates=self.runOn.certificates,
            threshold=node.threshold,
            device=self.device,
            calibrator=self.ui.calibratorPathEdit.currentPath or None,
            keepScore=self.ui.keepScoreCheckBox.checked,
            rules=node.rules,
            vessels=self.vessels(),
            ownPython=ownPython,
        )

    @property
    def device(self) -> str:
        """The chosen device."""
        return DEVICES[max(self.ui.deviceComboBox.currentIndex, 0)]

    def vessels(self) -> VesselChoice | None:
        """Return the chosen vessel segmentation with its mapping, or None."""
        segmentation = self._node.vesselSegmentation
        return None if segmentation is None else VesselChoice(segmentation, self._mapping())

    def letGo(self, inputVolume) -> None:
        """Choose no vessels and no region any more that were chosen for another CT than `inputVolume`."""
        node = self._node
        drawnOn = slicer.vtkMRMLSegmentationNode.GetReferenceImageGeometryReferenceRole()
        vessels = node.vesselSegmentation
        if vessels is not None and vessels.GetNodeReference(drawnOn) is not inputVolume:
            node.vesselSegmentation = None
        if (vessels is not None and node.vesselSegmentation is None) or node.regionOfInterest is not None:
            sayStatus(self.ui, vesselsLetGo())
        node.regionOfInterest = None

    def onDemoBundle(self) -> None:
        """Go back to the demo bundle."""
        with shownErrors():
            self._node.bundlePath = demo_bundle_path()

    def chooseBundle(self, path: Path) -> None:
        """Take another model; what it says of itself is read anew, also where another one lay at that place before."""
        if self._node is not None:
            self._node.bundlePath = path
            self._showBundle(path)

    def onZipBundle(self) -> None:
        """Ask for a zipped bundle."""
        path = askOpenName(zipQuestion(), near=self.ui.bundlePathEdit.currentPath)
        if path:
            self.ui.bundlePathEdit.currentPath = path

    def _onBundle(self, path: str) -> None:
        if not path and self._node is not None:
            self.ui.bundleLabel.text = chooseModel()

    def _onRunOn(self) -> None:
        if self._node is not None:
            self._showBundle(self._node.bundlePath)

    def _onDevice(self, _index: int) -> None:
        remember("device", self.device)

    def _onRules(self, index: int) -> None:
        if self._node is not None:
            self._node.rules = self.ui.rulesComboBox.itemData(index)

    def _onCalibrator(self, path: str) -> None:
        if not path or Path(path).is_file():
            remember("calibrator", path)

    def _mapping(self) -> dict[str, str]:
        """Return the segment ID of each vessel as the user sees it."""
        return {name: combo.itemData(combo.currentIndex) or "" for name, combo in self._vesselCombos.items()}

    def _onMapping(self, _index: int) -> None:
        self._node.vesselMapping = json.dumps(self._mapping())
        self._showHint()

    def _showVessels(self, segmentation) -> None:
        """Offer the segments of the chosen segmentation; guess which is which when it is new."""
        visible = segmentation is not None
        for name, combo in self._vesselCombos.items():
            combo.visible = visible
            getattr(self.ui, f"vessel{name.capitalize()}ComboBoxLabel").visible = visible
        if not visible:
            self._mapped = None
            self._several = {}
            self._showHint()
            return
        identifiers = list(segmentation.GetSegmentation().GetSegmentIDs())
        key = (segmentation.GetID(), tuple(identifiers))
        if key == self._mapped:
            return
        self._mapped = key
        saved = json.loads(self._node.vesselMapping or "{}")
        usable = saved and all(not i or i in identifiers for i in saved.values())
        match = matchVessels(segmentation)
        mapping = saved if usable else match.segments
        for name, combo in self._vesselCombos.items():
            combo.clear()
            combo.addItem(noSegment(), "")
            for identifier in identifiers:
                combo.addItem(segmentation.GetSegmentation().GetSegment(identifier).GetName(), identifier)
            combo.setCurrentIndex(max(combo.findData(mapping.get(name, "")), 0))
        self._several = match.several
        self._showHint()

    def _showHint(self) -> None:
        """Name the segments that could be the same vessel, as long as none of them is chosen for it."""
        text = vesselHint(self._several, self._mapping())
        self.ui.vesselHintLabel.text = text
        self.ui.vesselHintLabel.visible = bool(text)

    def _showBundle(self, path) -> None:
        """Say which model is chosen."""
        ui, remote = self.ui, self.runOn.remote
        for widget in (ui.bundlePathEdit, ui.zipBundleButton, ui.demoBundleButton):
            widget.enabled = not remote
        notes = modelNotes(path, remote=remote)
        if notes.usable and not remote:
            remember("bundle", path)
        ui.bundleLabel.text, ui.bundleLabel.toolTip = notes.text, notes.tip
