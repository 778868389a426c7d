"""The site's own raters: MHR, evaluation, calibrator."""

from pathlib import Path

import qt
import slicer.util

import slicer
from TwinTrackSegLib.gui.Feedback import shownErrors
from TwinTrackSegLib.gui.Parameters import remember
from TwinTrackSegLib.gui.Paths import askSaveName
from TwinTrackSegLib.mrml.result.Correction import measuringNeeds
from TwinTrackSegLib.mrml.site.Evaluation import evaluateRaters, showDifference
from TwinTrackSegLib.mrml.site.Raters import makeMhr, ratersInScene
from TwinTrackSegLib.mrml.site.SiteCalibrator import FIT_NEEDS, SiteCases
from TwinTrackSegLib.present import OwnReaders

__all__ = ["RatersPanel"]


ROW_MARGIN_PX = 8


class RatersPanel:
    """Ticks raters, makes their map, compares, fits.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    results : ReadingPresenter
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
        ui.metricsTable.setHorizontalHeaderLabels(list(OwnReaders.metricHeads()))
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
        everyone = ratersInScene()
        self._raters = OwnReaders.listed(everyone, self._volume(), self.ui.readersFilter.text, ticked)
        text = OwnReaders.leftOut(len(everyone) - len(self._raters))
        self.ui.readersHintLabel.text, self.ui.readersHintLabel.visible = text, bool(text)
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
            self._packages.ensure(OwnReaders.addingACase(), *measuringNeeds(self.results.result))
            with slicer.util.WaitCursor():
                self.cases.add(self.results.result, self.ticked())
            self._showCases()

    def onFit(self) -> None:
        """Fit the site's calibrator, choose it for the next runs, and pass its warnings on."""
        path = self.askCalibratorPath()
        if not path:
            return
        with shownErrors():
            self._packages.ensure(OwnReaders.fitting(), *FIT_NEEDS)
            with slicer.util.WaitCursor():
                bundle = self.ui.bundlePathEdit.currentPath
                warnings = self.cases.fit(path, bundle if bundle and Path(bundle).exists() else None)
            self.ui.calibratorPathEdit.currentPath = path
            remember("calibrator", path)
            if warnings:
                slicer.util.warningDisplay("\n".join(warnings), "TwinTrackSeg")

    def askCalibratorPath(self) -> str:
        """Ask where the calibrator goes; empty if the user thinks better of it."""
        return askSaveName(OwnReaders.calibratorQuestion(), self._volume())

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
        for name, enabled in OwnReaders.pressable(ticked=some, result=result).items():
            getattr(self.ui, f"{name}Button").enabled = enabled
        self._showCases()

    def _showMetrics(self, metrics) -> None:
        table = self.ui.metricsTable
        table.setRowCount(len(metrics))
        for row, metric in enumerate(OwnReaders.metricRows(metrics)):
            table.setItem(row, 0, qt.QTableWidgetItem(metric.title))
            item = qt.QTableWidgetItem(metric.value)
            item.setToolTip(metric.tip)
            table.setItem(row, 1, item)
        table.resizeColumnsToContents()
        table.visible = True

    def _showCases(self) -> None:
        self.ui.fitButton.enabled = self.cases.path.is_file()
        self.ui.casesLabel.text = OwnReaders.casesText(self.cases.path)
