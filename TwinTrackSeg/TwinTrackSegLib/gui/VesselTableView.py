"""The table of vessels in the panel: severity by order, sign and colour; a chosen row names its vessel."""

import qt

from TwinTrackSegLib.present.VesselRows import CATEGORY_COLORS, MEDIAN, VESSEL, heads

__all__ = ["VesselTableView", "brokenLines"]

SQUARE_PX = 8
ROW_MARGIN_PX = 6
CELL_MARGIN_PX = 10
FEWEST_ROWS, MOST_ROWS = 2, 6
"""The table is as high as its vessels, within these limits."""


class VesselTableView:
    """Fills a table widget with rows and keeps the chosen vessel while rows change places.

    Parameters
    ----------
    widget : QTableWidget
        The table.
    chosen : callable
        Called with the vessel's name when the user chooses a row.
    """

    def __init__(self, widget, chosen) -> None:
        self._widget, self._chosen = widget, chosen
        self._rows = ()
        self._filling = False
        columns = heads()
        widget.setColumnCount(len(columns))
        for column, (title, tip) in enumerate(columns):
            header = qt.QTableWidgetItem(title)
            header.setToolTip(tip)
            widget.setHorizontalHeaderItem(column, header)
        widget.setIconSize(qt.QSize(SQUARE_PX, SQUARE_PX))
        widget.horizontalHeader().setHighlightSections(False)
        widget.horizontalHeader().setSectionResizeMode(VESSEL, qt.QHeaderView.Stretch)
        widget.verticalHeader().setVisible(False)
        widget.setTextElideMode(qt.Qt.ElideMiddle)
        widget.setHorizontalScrollBarPolicy(qt.Qt.ScrollBarAlwaysOff)  # all of a row stands in the panel
        line = widget.fontMetrics().height()
        self._rowPx, self._headerPx = line + ROW_MARGIN_PX, 2 * line + ROW_MARGIN_PX
        widget.verticalHeader().setDefaultSectionSize(self._rowPx)
        widget.horizontalHeader().setFixedHeight(self._headerPx)
        widget.horizontalHeader().setMinimumSectionSize(self._rowPx)
        widget.connect("itemSelectionChanged()", self._onSelection)

    def show(self, rows, chosen="") -> None:
        """Show `rows` in their order, with the vessel `chosen` selected."""
        widget = self._widget
        self._filling = True
        self._rows = rows
        widget.clearSpans()
        widget.setRowCount(len(rows))
        for number, row in enumerate(rows):
            for column, text in enumerate(row.cells):
                item = qt.QTableWidgetItem(text)
                item.setToolTip(row.tip)
                if column == VESSEL:
                    item.setIcon(_square(CATEGORY_COLORS[row.category]))
                widget.setItem(number, column, item)
        names = [row.name for row in rows]
        if chosen in names:
            widget.selectRow(names.index(chosen))
        else:
            widget.clearSelection()
        self._filling = False
        for column in range(VESSEL + 1, widget.columnCount):
            widget.resizeColumnToContents(column)
        for number, row in enumerate(rows):  # after it: a sentence makes no column wider
            self._sayWhy(number, row)
        heights = [widget.rowHeight(number) for number in range(min(len(rows), MOST_ROWS))]
        missing = max(FEWEST_ROWS - len(heights), 0)
        widget.setFixedHeight(self._headerPx + sum(heights) + missing * self._rowPx + 2 * widget.frameWidth)

    def _sayWhy(self, number, row) -> None:
        """Write why numbers are missing into the first cells that they leave empty, in view beside the vessel."""
        widget = self._widget
        widget.setRowHeight(number, self._rowPx)
        if row.whyFrom is None:
            return
        columns = range(row.whyFrom, MEDIAN + 1)
        widget.setSpan(number, row.whyFrom, 1, len(columns))
        width = sum(widget.columnWidth(column) for column in columns) - CELL_MARGIN_PX
        lines = brokenLines(row.why, width, widget.fontMetrics())
        widget.item(number, row.whyFrom).setText("\n".join(lines))
        widget.setRowHeight(number, len(lines) * widget.fontMetrics().height() + ROW_MARGIN_PX)

    def _onSelection(self) -> None:
        if self._filling:
            return
        rows = self._widget.selectionModel().selectedRows()
        if rows and rows[0].row() < len(self._rows):
            self._chosen(self._rows[rows[0].row()].name)


def brokenLines(text, width, metrics):
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
