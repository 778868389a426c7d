"""Names of vessels in the panel: a table with a choice in each row, and a tick that somebody checked them."""

import qt

from TwinTrackSegLib.gui.Feedback import Look, dress
from TwinTrackSegLib.gui.VesselTableView import brokenLines
from TwinTrackSegLib.present.VesselNames import NamesPresenter, heads

__all__ = ["NamesPanel"]

VESSEL, NAME, SOURCE, CONFIDENCE = range(4)
ROW_MARGIN_PX, CELL_MARGIN_PX = 8, 12
MOST_PX = 340
"""The table is as high as its rows, up to this."""

NAME_LETTERS = 12
"""A longer name is whole in the list that a combo opens."""


class NamesPanel:
    """Shows the state of a `NamesPresenter`, and passes on what the user does.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    host : SlicerHost
        The application.
    reading : ReadingPresenter
        Knows the result, and shows it anew after its vessels were measured.

    Attributes
    ----------
    presenter : NamesPresenter
        Does what is asked of it.
    """

    def __init__(self, ui, host, reading) -> None:
        self.ui = ui
        self._state, self._filling = None, False
        self.presenter = NamesPresenter(host, lambda: reading.result, lambda: reading.show(reading.result))
        table, columns = ui.namesTable, heads()
        table.setColumnCount(len(columns))
        for column, (title, tip) in enumerate(columns):
            header = qt.QTableWidgetItem(title)
            header.setToolTip(tip)
            table.setHorizontalHeaderItem(column, header)
        table.verticalHeader().setVisible(False)
        table.horizontalHeader().setSectionResizeMode(VESSEL, qt.QHeaderView.Stretch)
        table.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)
        table.connect("itemSelectionChanged()", self._onSelection)
        ui.namesCheckedCheckBox.connect("clicked()", self._onChecked)

    def refresh(self) -> None:
        """Show the presenter's state as it is now."""
        ui, state = self.ui, self.presenter.state
        ui.namesCollapsibleButton.visible = state.offered
        ui.namesCollapsibleButton.text = state.title
        ui.namesHintLabel.text = state.hint
        dress(ui.namesHintLabel, Look.PLAIN if state.checked else Look.NOTE)
        ui.namesCheckedCheckBox.text = state.checkText
        ui.namesCheckedCheckBox.checked, ui.namesCheckedCheckBox.enabled = state.checked, state.checkable
        if self._state is None or (state.rows, state.checkable) != (self._state.rows, self._state.checkable):
            self._fill(state)
        self._state = state

    def _fill(self, state) -> None:
        table, self._filling = self.ui.namesTable, True
        table.clearSpans()
        table.setRowCount(0)
        table.setRowCount(len(state.rows))
        for number, row in enumerate(state.rows):
            for column, text in enumerate((row.title, "", row.source, row.confidence)):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(row.reason)
                font = item.font()
                font.setBold(row.loud)
                item.setFont(font)
                table.setItem(number, column, item)
            if row.there:
                table.setCellWidget(number, NAME, self._combo(state, row))
        for column in range(NAME, CONFIDENCE + 1):
            table.resizeColumnToContents(column)
        table.resizeRowsToContents()
        for number, row in enumerate(state.rows):  # after it: a sentence makes no column wider
            if not row.there:
                self._sayWhy(number, row)
        heights = sum(table.rowHeight(number) for number in range(len(state.rows)))
        table.setFixedHeight(min(table.horizontalHeader().height + heights + ROW_MARGIN_PX, MOST_PX))
        self._filling = False

    def _sayWhy(self, number, row) -> None:
        """Write why a vessel has no name over the cells that it leaves empty."""
        table = self.ui.namesTable
        table.setSpan(number, NAME, 1, CONFIDENCE - NAME + 1)
        width = sum(table.columnWidth(column) for column in range(NAME, CONFIDENCE + 1)) - CELL_MARGIN_PX
        lines = brokenLines(row.reason, width, qt.QFontMetrics(table.item(number, NAME).font()))
        table.item(number, NAME).setText("\n".join(lines))
        table.setRowHeight(
            number, max(len(lines) * table.fontMetrics().height() + ROW_MARGIN_PX, table.rowHeight(number))
        )

    def _combo(self, state, row):
        combo = qt.QComboBox()
        for value, text in state.choices:
            combo.addItem(text, value)
        combo.setCurrentIndex(max(combo.findData(row.name), 0))
        combo.enabled, combo.toolTip = state.checkable, row.reason
        combo.setSizeAdjustPolicy(qt.QComboBox.AdjustToMinimumContentsLengthWithIcon)
        combo.setMinimumContentsLength(NAME_LETTERS)
        combo.connect("activated(int)", lambda index, piece=row.piece: self._onName(piece, index))
        return combo

    def _onName(self, piece, index) -> None:
        if not self._filling:
            self.presenter.choose(piece, self._state.choices[index][0])
            self._state = None  # a refused choice shows the old name again
            self.refresh()

    def _onChecked(self) -> None:
        self.presenter.check(self.ui.namesCheckedCheckBox.checked)
        self.refresh()

    def _onSelection(self) -> None:
        rows = self.ui.namesTable.selectionModel().selectedRows()
        if rows and not self._filling and self._state is not None and rows[0].row() < len(self._state.rows):
            self.presenter.jump(self._state.rows[rows[0].row()].piece)
