"""The table of vessels in the panel: severity by order, sign, word and colour; a chosen row names its vessel."""

from itertools import groupby

import qt
from slicer.i18n import tr as _

from TwinTrackSegLib.gui.Feedback import CATEGORY_COLORS
from TwinTrackSegLib.mrml.vessels.VesselTable import COLUMNS, MISSING

__all__ = ["VesselTableView"]

VESSEL_COLUMN, CATEGORY_COLUMN, MEAN_COLUMN = 0, COLUMNS.index("Category"), COLUMNS.index("Mean (°)")
SOURCE_COLUMN = COLUMNS.index("Source")
LAST_COLUMN_IN_VIEW = COLUMNS.index("10–90 % (°)")
TRANSLATED = (VESSEL_COLUMN, CATEGORY_COLUMN, SOURCE_COLUMN)
VESSEL_PX = 112
"""Longer names are told by the tooltip: what is said of readers is not scrolled away for them."""

SQUARE_PX = 12
ROW_MARGIN_PX = 8
CELL_MARGIN_PX = 10
FEWEST_ROWS, MOST_ROWS = 2, 8
"""The table is as high as its vessels, within these limits."""


def _headers():
    """Return title and tooltip of every column, in the order of `COLUMNS`: two lines, so that all fit into a panel."""
    headers = (
        (_("Vessel"), _("The most severe contact first")),
        (_("Category"), _("The median reader's: none, abutment (up to 180°) or encasement (more than 180°)")),
        (_("Contact\n(% rd.)"), _("Percentage of readers expected to see contact")),
        (_("> 180°\n(% rd.)"), _("Percentage of readers expected to see more than 180°")),
        (_("Median\n(°)"), _("Contact angle of the median reader")),
        (_("10–90 %\n(°)"), _("8 of 10 further readers measure a contact angle between these")),
        (_("Mean\n(°)"), _("Contact angle averaged over the readers")),
        (_("Outline\n(°)"), _("Largest contact angle of this outline in the sections across the vessel; no reader's")),
        (_("Outline\n(mm)"), _("Contact of this outline along the vessel")),
        (_("Gap"), _("How far this outline is from the vessel's wall, where it does not touch it")),
        (_("Networks\n(°)"), _("Contact angle over the networks, at level 0.5: what they do not know")),
        (_("Searched\n(%)"), _("How much of the vessel's wall near the tumour was searched for tumour")),
        (_("Source"), _("Where the fractions, the median, the range and the category of the readers come from")),
        (_("Note"), _("Why a reading is missing, or not calibrated")),
    )
    assert len(headers) == len(COLUMNS)
    return headers


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
        for column, (title, tip) in enumerate(_headers()):
            header = qt.QTableWidgetItem(title)
            header.setToolTip(tip)
            widget.setHorizontalHeaderItem(column, header)
        widget.setColumnHidden(MEAN_COLUMN, True)  # a panel is narrow; the table view and the report have it
        widget.setIconSize(qt.QSize(SQUARE_PX, SQUARE_PX))
        widget.horizontalHeader().setHighlightSections(False)
        widget.verticalHeader().setVisible(False)
        widget.setTextElideMode(qt.Qt.ElideMiddle)
        line = widget.fontMetrics().height()
        self._rowPx, self._headerPx = line + ROW_MARGIN_PX, 2 * line + ROW_MARGIN_PX
        widget.verticalHeader().setDefaultSectionSize(self._rowPx)
        widget.horizontalHeader().setFixedHeight(self._headerPx)
        widget.horizontalHeader().setMinimumSectionSize(self._rowPx)
        widget.connect("itemSelectionChanged()", self._onSelection)

    def show(self, readouts) -> None:
        """Show `readouts` in their order."""
        widget = self._widget
        self._filling = True
        self._names = [readout.name for readout in readouts]
        widget.clearSpans()
        widget.setRowCount(len(readouts))
        for row, readout in enumerate(readouts):
            for column, text in enumerate(readout.cells()):
                item = qt.QTableWidgetItem(_(text) if column in TRANSLATED else text)
                source = _("Readers: {source}").format(source=_(readout.source)) if readout.source else ""
                lines = (_(readout.fullTitle or readout.title), _(readout.note) if readout.note else "", source)
                item.setToolTip("\n".join(line for line in lines if line))
                if column == CATEGORY_COLUMN:
                    item.setIcon(_square(CATEGORY_COLORS[readout.category]))
                widget.setItem(row, column, item)
        if self._name in self._names:
            widget.selectRow(self._names.index(self._name))
        else:
            self._name = None
        self._filling = False
        widget.resizeColumnsToContents()
        for row, readout in enumerate(readouts):  # after it: a sentence makes no column wider
            self._sayWhy(row, readout)
        widget.setColumnWidth(VESSEL_COLUMN, min(widget.columnWidth(VESSEL_COLUMN), VESSEL_PX))
        heights = [widget.rowHeight(row) for row in range(min(len(readouts), MOST_ROWS))]
        missing = max(FEWEST_ROWS - len(heights), 0)
        # One more for a bar to scroll sideways.
        widget.setFixedHeight(self._headerPx + sum(heights) + (missing + 1) * self._rowPx)

    def _sayWhy(self, row, readout) -> None:
        """Write why numbers are missing into the first cells that they leave empty, in view beside the vessel."""
        widget = self._widget
        widget.setRowHeight(row, self._rowPx)
        columns = range(CATEGORY_COLUMN + 1, LAST_COLUMN_IN_VIEW + 1)
        runs = [list(run) for key, run in groupby(columns, lambda n: readout.cells()[n] == MISSING) if key]
        run = next((run for run in runs if len(run) > 1), None)
        if readout.note and run:
            width = sum(widget.columnWidth(column) for column in run) - CELL_MARGIN_PX
            lines = _lines(_(readout.note), width, widget.fontMetrics())
            widget.setSpan(row, run[0], 1, len(run))
            widget.item(row, run[0]).setText("\n".join(lines))
            widget.setRowHeight(row, len(lines) * widget.fontMetrics().height() + ROW_MARGIN_PX)

    def _onSelection(self) -> None:
        if self._filling:
            return
        rows = self._widget.selectionModel().selectedRows()
        self._name = self._names[rows[0].row()] if rows and rows[0].row() < len(self._names) else None
        if self._name is not None:
            self._chosen(self._name)


def _lines(text, width, metrics):
    """Break a sentence into lines of this width in pixels; the names of vessels are to stay in one."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and metrics.boundingRect(longer).width() > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _square(color):
    picture = qt.QPixmap(SQUARE_PX, SQUARE_PX)
    picture.fill(qt.QColor(*color))
    icon = qt.QIcon()
    for mode in (qt.QIcon.Normal, qt.QIcon.Selected):  # else a chosen row tints it
        icon.addPixmap(picture, mode)
    return icon
