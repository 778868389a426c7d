"""Upper part of the panel: bundle, vessels, region, processor."""

import json
from pathlib import Path

import ctk
from slicer.i18n import tr as _

import slicer
from twintrack.bundle.model_bundle import demo_bundle_path
from twintrack.errors import BundleError, InputError, TwinTrackError
from twintrack.labels import VESSELS
from TwinTrackSegLib.gui.Feedback import sayStatus, shownErrors
from TwinTrackSegLib.gui.Parameters import recall, remember
from TwinTrackSegLib.gui.Paths import askOpenName, followPath
from TwinTrackSegLib.gui.RunOnPanel import RunOnPanel
from TwinTrackSegLib.mrml.vessels.VesselChoice import VesselChoice, matchVessels
from TwinTrackSegLib.mrml.vessels.VesselTable import TITLES
from TwinTrackSegLib.mrml.worker.RunSettings import RunSettings, readBundleInfo, roiBox

__all__ = ["InputsPanel"]

DEVICES = ("auto", "cpu", "cuda", "mps")
RULES = {
    "nccn": "NCCN (180°)",
    "ahpba": "AHPBA/SSO/SSAT 2009",
    "alliance": "Alliance A021101",
    "dpcg": "Dutch Pancreatic Cancer Group (90°/270°)",
}
"""The engine's rule sets; names of committees are the same in every language."""

CHOOSE_BUNDLE = _("Choose a model bundle.")

VESSEL_TITLES = {vessel.name: vessel.title for vessel in VESSELS}
"""The vessels' names for people, written out as in a sentence."""


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
        titles = (_("Automatic"), _("CPU"), _("Graphics card (CUDA)"), _("Apple graphics (MPS)"))
        for device, title in zip(DEVICES, titles, strict=True):
            ui.deviceComboBox.addItem(title, device)
        ui.deviceComboBox.setCurrentIndex(max(ui.deviceComboBox.findData(recall("device")), 0))
        ui.deviceComboBox.connect("activated(int)", self._onDevice)
        for rules, title in RULES.items():
            ui.rulesComboBox.addItem(_(title), rules)
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
                self.ui.bundleLabel.text = CHOOSE_BUNDLE

    def update(self) -> None:
        """Follow the parameters."""
        self._showBundle(self._node.bundlePath)
        self._showVessels(self._node.vesselSegmentation)
        self.ui.rulesComboBox.setCurrentIndex(max(self.ui.rulesComboBox.findData(self._node.rules), 0))

    def settings(self) -> RunSettings:
        """Return what a run is asked for.

        Raises
        ------
        InputError
            If the region lies outside the input volume, or the server has no address.
        BundleError
            If there is no bundle where one is named, or none is: said at once, not after a process was started for it.
        """
        node = self._node
        region = node.regionOfInterest
        if region is not None and node.inputVolume is None:
            raise InputError(_("choose an input volume first"), code="no-input-chosen")
        if self.runOn.address == "":
            raise InputError(_("give the server's address, or run on this computer"), code="no-server-address")
        readers: tuple[str, ...] = ()
        if not self.runOn.remote:
            if not self.ui.bundlePathEdit.currentPath:  # emptied by hand: the parameter keeps the path of before
                raise BundleError(CHOOSE_BUNDLE, code="no-bundle-chosen")
            readers = readBundleInfo(node.bundlePath).readers
        return RunSettings(
            bundle="" if self.runOn.remote else str(node.bundlePath),
            threshold=node.threshold,
            roi="auto" if region is None else roiBox(region, node.inputVolume),
            device=self.device,
            calibrator=self.ui.calibratorPathEdit.currentPath or None,
            keep_score=self.ui.keepScoreCheckBox.checked,
            rater_maps=bool(readers),
            rules=node.rules,
            run_on=self.runOn.address,
            tls=self.runOn.certificates,
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
            sayStatus(self.ui, _("Another CT: vessels and region of the last one are no longer chosen."))
        node.regionOfInterest = None

    def onDemoBundle(self) -> None:
        """Go back to the demo bundle."""
        with shownErrors():
            self._node.bundlePath = demo_bundle_path()

    def onZipBundle(self) -> None:
        """Ask for a zipped bundle."""
        path = askOpenName(_("Choose a zipped bundle"), self.ui.bundlePathEdit.currentPath, _("Zip files") + " (*.zip)")
        if path:
            self.ui.bundlePathEdit.currentPath = path

    def _onBundle(self, path: str) -> None:
        if not path and self._node is not None:
            self.ui.bundleLabel.text = CHOOSE_BUNDLE
            self.ui.demoBadge.visible = False

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
            combo.addItem(_("none"), "")
            for identifier in identifiers:
                combo.addItem(segmentation.GetSegmentation().GetSegment(identifier).GetName(), identifier)
            combo.setCurrentIndex(max(combo.findData(mapping.get(name, "")), 0))
        self._several = match.several
        self._showHint()

    def _showHint(self) -> None:
        """Name the segments that could be the same vessel, as long as none of them is chosen for it."""
        chosen = self._mapping()
        sentences = [
            _("{count} segments could be the {vessel}: {names}; choose one.").format(
                count=len(names), vessel=VESSEL_TITLES[name].lower(), names=", ".join(names)
            )
            for name, names in self._several.items()
            if not chosen[name]
        ]
        self.ui.vesselHintLabel.text = "\n".join(sentences)
        self.ui.vesselHintLabel.visible = bool(sentences)

    def _showBundle(self, path) -> None:
        """Say which model is chosen, and loudly if it knows phantoms only."""
        ui = self.ui
        for widget in (ui.bundlePathEdit, ui.zipBundleButton, ui.demoBundleButton):
            widget.enabled = not self.runOn.remote
        if self.runOn.remote:
            ui.bundleLabel.text = _("The server's own model is used; the log and the result say which one it is.")
            ui.bundleLabel.toolTip = ""
            ui.demoBadge.visible = False
            return
        try:
            info = readBundleInfo(path)
        except (TwinTrackError, OSError) as error:
            ui.bundleLabel.text = str(error)
            ui.demoBadge.visible = False
            return
        remember("bundle", path)
        lines = [
            _("{name} {version}, licence {license}").format(name=info.name, version=info.version, license=info.license)
        ]
        vessels = ", ".join(TITLES.get(name, name) for name in info.vessels) or _("none")
        lines.append(
            _("Tumour labels: {labels}. Finds vessels: {vessels}.").format(
                labels=", ".join(info.tumor), vessels=vessels
            )
        )
        if not info.calibrated:
            lines.append(_("No calibrator: gives scores, not fractions of readers."))
        elif info.raters:
            lines.append(_("Calibrated on {number} readers.").format(number=info.raters))
        else:
            lines.append(_("Calibrated; the number of readers is not stated."))
        ui.bundleLabel.text = "\n".join(lines)
        ui.bundleLabel.toolTip = info.description
        ui.demoBadge.visible = info.demo
