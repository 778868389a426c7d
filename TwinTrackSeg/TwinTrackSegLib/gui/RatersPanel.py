"""The site's own raters: MHR, evaluation, calibrator."""

from pathlib import Path

import qt
import slicer.util
from slicer.i18n import tr as _

import slicer
from TwinTrackSegLib.gui.Feedback import shownErrors
from TwinTrackSegLib.gui.Parameters import remember
from TwinTrackSegLib.gui.Paths import askSaveName
from TwinTrackSegLib.mrml.result.Correction import measuringNeeds
from TwinTrackSegLib.mrml.site.Evaluation import (
    HIGHER_IS_BETTER,
    NEITHER_IS_BETTER,
    evaluateRaters,
    showDifference,
)
from TwinTrackSegLib.mrml.site.Raters import likelyRaters, makeMhr, ratersInScene
from TwinTrackSegLib.mrml.site.SiteCalibrator import FIT_NEEDS, SiteCases

__all__ = ["RatersPanel"]


ROW_MARGIN_PX = 8


class RatersPanel:
    """Ticks raters, makes their map, compares, fits.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    results : ResultPanel
        Knows what is shown.
    packages : Packages
        Sees to what adding and fitting need.
    """

    def __init__(self, ui, results, packages) -> None:
        self.ui, self.results, self._packages = ui, results, packages
        self._raters = []
        self._filling = False
        self._map, self._ct = None, None
        folder = qt.QStandardPaths.writableLocation(qt.QStandardPaths.AppDataLocation)
        self.cases = SiteCases(Path(folder) / "TwinTrackSeg" / "site-cases.npz")
        ui.metricsTable.setColumnCount(2)
        ui.metricsTable.setHorizontalHeaderLabels([_("Metric (better: ↑ higher, ↓ lower)"), _("Value")])
        ui.metricsTable.verticalHeader().setVisible(False)
        ui.metricsTable.verticalHeader().setDefaultSectionSize(ui.metricsTable.fontMetrics().height() + ROW_MARGIN_PX)
        ui.metricsTable.visible = False
        ui.readersFilter.connect("textChanged(QString)", self.update)
        ui.readersList.connect("itemChanged(QListWidgetItem*)", self._onTicked)
        ui.makeMhrButton.connect("clicked()", self.onMakeMhr)
        ui.evaluateButton.connect("clicked()", self.onEvaluate)
        ui.addCaseButton.connect("clicked()", self.onAddCase)
        ui.fitButton.connect("clicked()", self.onFit)
        ui.readersCollapsibleButton.connect("contentsCollapsed(bool)", self._onCollapsed)
        self.update()

    def update(self, _text="") -> None:
        """List who may be a reader of the CT now, or all whose name holds what was typed; what was ticked stays so."""
        self._forgetOtherCt()
        ticked = {rater.key for rater in self.ticked()} if self._raters else set()
        everyone, typed = ratersInScene(), self.ui.readersFilter.text.strip().casefold()
        likely = {rater.key for rater in likelyRaters(everyone, self._volume())}
        self._raters = [
            rater
            for rater in everyone
            if rater.key in ticked or (typed in rater.title.casefold() if typed else rater.key in likely)
        ]
        self._showLeftOut(len(everyone) - len(self._raters))
        self._filling = True
        self.ui.readersList.clear()
        for rater in self._raters:
            item = qt.QListWidgetItem(rater.title)
            item.setFlags(item.flags() | qt.Qt.ItemIsUserCheckable)
            item.setCheckState(qt.Qt.Checked if rater.key in ticked else qt.Qt.Unchecked)
            self.ui.readersList.addItem(item)
        self._filling = False
        self._onTicked()

    def ticked(self):
        """Return the ticked raters that are still in the scene."""
        items = [self.ui.readersList.item(row) for row in range(self.ui.readersList.count)]
        return [
            rater
            for rater, item in zip(self._raters, items, strict=True)
            if item.checkState() == qt.Qt.Checked and slicer.mrmlScene.IsNodePresent(rater.node)
        ]

    def onMakeMhr(self) -> None:
        """Make the map of the ticked raters, on the grid of the result's CT or else of the input volume."""
        volume = self._volume()
        if volume is not None:
            with shownErrors():
                makeMhr(self.ticked(), volume)

    def onEvaluate(self) -> None:
        """Compare the predicted map with the ticked raters."""
        result = self.results.result
        with shownErrors():
            with slicer.util.WaitCursor():
                metrics = evaluateRaters(result, self.ticked())
                showDifference(result, makeMhr(self.ticked(), result.nodes.ct))
            self._showMetrics(metrics)

    def onAddCase(self) -> None:
        """Add the shown result with the ticked raters to the site's cases."""
        with shownErrors():
            self._packages.ensure(_("Adding a case"), *measuringNeeds(self.results.result))
            with slicer.util.WaitCursor():
                self.cases.add(self.results.result, self.ticked())
            self._showCases()

    def onFit(self) -> None:
        """Fit the site's calibrator, choose it for the next runs, and pass its warnings on."""
        path = self.askCalibratorPath()
        if not path:
            return
        with shownErrors():
            self._packages.ensure(_("Fitting a calibrator"), *FIT_NEEDS)
            with slicer.util.WaitCursor():
                bundle = self.ui.bundlePathEdit.currentPath
                warnings = self.cases.fit(path, bundle if bundle and Path(bundle).exists() else None)
            self.ui.calibratorPathEdit.currentPath = path
            remember("calibrator", path)
            if warnings:
                slicer.util.warningDisplay("\n".join(warnings), "TwinTrackSeg")

    def askCalibratorPath(self) -> str:
        """Ask where the calibrator goes; empty if the user thinks better of it."""
        return askSaveName(_("Save calibrator"), "calibrator.json", _("Calibrators") + " (*.json)", self._volume())

    def _forgetOtherCt(self) -> None:
        """Let go of the numbers of another result, and of the readers that were ticked for another CT."""
        result, volume = self.results.result, self._volume()
        shown = result.nodes.mhr if result is not None else None
        if shown is not self._map:
            self.ui.metricsTable.setRowCount(0)
            self.ui.metricsTable.visible = False
        if volume is not self._ct:
            self._raters = []
        self._map, self._ct = shown, volume

    def _showLeftOut(self, number: int) -> None:
        self.ui.readersHintLabel.visible = number > 0
        self.ui.readersHintLabel.text = (
            _("{number} more in the scene are not listed: type a part of their name.").format(number=number)
            if number
            else ""
        )

    def _volume(self):
        result = self.results.result
        return result.nodes.ct if result is not None else self.ui.inputSelector.currentNode()

    def _onCollapsed(self, collapsed: bool) -> None:
        if not collapsed:
            self.update()

    def _onTicked(self, _item=None) -> None:
        if self._filling:
            return
        some, result = bool(self.ticked()), self.results.result is not None
        self.ui.makeMhrButton.enabled = some
        self.ui.evaluateButton.enabled = some and result
        self.ui.addCaseButton.enabled = some and result
        self._showCases()

    def _showMetrics(self, metrics) -> None:
        table = self.ui.metricsTable
        table.setRowCount(len(metrics))
        for row, (title, value) in enumerate(metrics):
            better = "" if title in NEITHER_IS_BETTER else "↑" if title in HIGHER_IS_BETTER else "↓"
            table.setItem(row, 0, qt.QTableWidgetItem(_(title)))
            known = not isinstance(value, str)
            item = qt.QTableWidgetItem(f"{value:.4g} {better}" if known else _("not available"))
            item.setToolTip("" if known else value)
            table.setItem(row, 1, item)
        table.resizeColumnsToContents()
        table.visible = True

    def _showCases(self) -> None:
        self.ui.fitButton.enabled = self.cases.path.is_file()
        self.ui.casesLabel.text = (
            _("Cases are added up for a calibrator of your own: {path}").format(path=self.cases.path.name)
            if self.cases.path.is_file()
            else _("No case was added yet.")
        )
