"""The table of vessels in the panel: severity by order, sign, word and colour; a chosen row names its vessel."""

import qt

from TwinTrackSegLib.mrml.VesselTable import COLUMNS

__all__ = ["VesselTableView"]

CATEGORY_COLUMN = 1
COLORS = {"encasement": (213, 94, 0), "abutment": (230, 159, 0), "none": (0, 158, 115), "": (128, 128, 128)}
"""Vermilion, orange, green, grey: apart for every kind of colour vision; a square beside the word, which any theme
leaves readable."""

SQUARE_PX = 12
COLUMN_TIPS = (
    "",
    "None, abutment (up to 180°) or encasement (more than 180°) at the threshold",
    "Largest contact angle in the sections across the vessel, at the threshold",
    "Between the 10th and the 90th percentile of the readers",
    "Contact along the vessel at the threshold",
    "Readers expected to see contact",
    "Readers expected to see more than 180°",
    "Contact angle averaged over the readers",
    "Why a reading is missing",
)


class VesselTableView:
    """Fills a table widget with readouts and keeps the chosen vessel while rows change places.

    Parameters
    ----------
    widget : QTableWidget
        The table.
    chosen : callable
        Called with the vessel's name when the user chooses a row.
    """

    def __init__(self, widget, chosen) -> None:
        self._widget, self._chosen = widget, chosen
        self._names = []
        self._name = None
        self._filling = False
        widget.setColumnCount(len(COLUMNS))
        widget.setHorizontalHeaderLabels(list(COLUMNS))
        for column, tip in enumerate(COLUMN_TIPS):
            widget.horizontalHeaderItem(column).setToolTip(tip)
        widget.verticalHeader().setVisible(False)
        widget.connect("itemSelectionChanged()", self._onSelection)

    def show(self, readouts) -> None:
        """Show `readouts` in their order."""
        widget = self._widget
        self._filling = True
        self._names = [readout.name for readout in readouts]
        widget.setRowCount(len(readouts))
        for row, readout in enumerate(readouts):
            for column, text in enumerate(readout.cells()):
                item = qt.QTableWidgetItem(text)
                item.setToolTip("\n".join(line for line in (readout.fullTitle or readout.title, readout.note) if line))
                if column == CATEGORY_COLUMN:
                    item.setIcon(_square(COLORS[readout.category]))
                widget.setItem(row, column, item)
        if self._name in self._names:
            widget.selectRow(self._names.index(self._name))
        else:
            self._name = None
        self._filling = False
        widget.resizeColumnsToContents()

    def _onSelection(self) -> None:
        if self._filling:
            return
        rows = self._widget.selectionModel().selectedRows()
        self._name = self._names[rows[0].row()] if rows and rows[0].row() < len(self._names) else None
        if self._name is not None:
            self._chosen(self._name)


def _square(color):
    picture = qt.QPixmap(SQUARE_PX, SQUARE_PX)
    picture.fill(qt.QColor(*color))
    return qt.QIcon(picture)
