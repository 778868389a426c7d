"""The site's own readers: a list to tick, buttons, a table of metrics."""

from pathlib import Path

import qt

from TwinTrackSegLib.mrml.site.SiteCalibrator import SiteCases
from TwinTrackSegLib.present.OwnReaders import OwnReadersPresenter, metricHeads

__all__ = ["RatersPanel"]

ROW_MARGIN_PX = 8


class RatersPanel:
    """Shows the state of an `OwnReadersPresenter`, and passes on what the user does.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    host : SlicerHost
        The application.
    results : ReadingPresenter
        Knows what is shown.

    Attributes
    ----------
    presenter : OwnReadersPresenter
        Does what is asked of it.
    """

    def __init__(self, ui, host, results) -> None:
        self.ui = ui
        self._rows, self._metrics, self._filling = None, None, False
        folder = qt.QStandardPaths.writableLocation(qt.QStandardPaths.AppDataLocation)
        self.presenter = presenter = OwnReadersPresenter(
            host,
            results,
            SiteCases(Path(folder) / "TwinTrackSeg" / "site-cases.npz"),
            inputVolume=ui.inputSelector.currentNode,
            bundle=lambda: ui.bundlePathEdit.currentPath,
            calibrated=self._onCalibrated,
            changed=self.refresh,
        )
        table = ui.metricsTable
        table.setColumnCount(2)
        table.setHorizontalHeaderLabels(list(metricHeads()))
        table.verticalHeader().setVisible(False)
        table.verticalHeader().setDefaultSectionSize(table.fontMetrics().height() + ROW_MARGIN_PX)
        ui.readersFilter.connect("textChanged(QString)", presenter.update)
        ui.readersList.connect("itemChanged(QListWidgetItem*)", self._onTicked)
        self._buttons = {
            "makeMhr": (ui.makeMhrButton, presenter.makeMap),
            "evaluate": (ui.evaluateButton, presenter.evaluate),
            "addCase": (ui.addCaseButton, presenter.addCase),
            "fit": (ui.fitButton, presenter.fit),
        }
        for button, action in self._buttons.values():
            button.connect("clicked()", action)
        ui.readersCollapsibleButton.connect("contentsCollapsed(bool)", self._onCollapsed)
        presenter.update()

    def refresh(self) -> None:
        """Show the presenter's state as it is now."""
        ui, state = self.ui, self.presenter.state
        ui.readersHintLabel.text, ui.readersHintLabel.visible = state.hint, bool(state.hint)
        if state.rows != self._rows:
            self._showRows(state.rows)
        for name, (button, _action) in self._buttons.items():
            button.enabled = state.pressable[name]
        if state.metrics != self._metrics:
            self._showMetrics(state.metrics)
        ui.casesLabel.text = state.cases

    def _onCalibrated(self, path: str) -> None:
        self.ui.calibratorPathEdit.currentPath = path

    def _onCollapsed(self, collapsed: bool) -> None:
        if not collapsed:
            self.presenter.update()

    def _onTicked(self, item) -> None:
        if not self._filling:
            row = self._rows[self.ui.readersList.row(item)]
            self.presenter.tick(row.key, item.checkState() == qt.Qt.Checked)

    def _showRows(self, rows) -> None:
        """Fill the list; where only ticks have changed, its items stay."""
        self._filling, list_ = True, self.ui.readersList
        if self._rows is None or [row.title for row in rows] != [row.title for row in self._rows]:
            list_.clear()
            for row in rows:
                item = qt.QListWidgetItem(row.title)
                item.setFlags(item.flags() | qt.Qt.ItemIsUserCheckable)
                list_.addItem(item)
        for number, row in enumerate(rows):
            list_.item(number).setCheckState(qt.Qt.Checked if row.ticked else qt.Qt.Unchecked)
        self._rows, self._filling = rows, False

    def _showMetrics(self, metrics) -> None:
        table, self._metrics = self.ui.metricsTable, metrics
        table.setRowCount(len(metrics))
        for row, metric in enumerate(metrics):
            table.setItem(row, 0, qt.QTableWidgetItem(metric.title))
            item = qt.QTableWidgetItem(metric.value)
            item.setToolTip(metric.tip)
            table.setItem(row, 1, item)
        table.resizeColumnsToContents()
        table.visible = bool(metrics)
