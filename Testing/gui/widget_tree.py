"""The panel's real widgets, as the user meets them: walked, not listed."""

from __future__ import annotations

import qt

CONTROLS = (
    "QAbstractButton",
    "QComboBox",
    "QAbstractSlider",
    "QAbstractSpinBox",
    "QLineEdit",
    "QPlainTextEdit",
    "QAbstractItemView",
    "QProgressBar",
)
INSIDE = ("QScrollBar", "QHeaderView")
"""Parts of other controls, made by Qt."""


def controls(panel) -> list:
    """Return every widget that can be used, or that shows what goes on."""
    found = []
    for widget in panel.parent.findChildren(qt.QWidget):
        inside = any(widget.inherits(name) for name in INSIDE) or widget.objectName.startswith("qt_")
        if any(widget.inherits(name) for name in CONTROLS) and not inside and not _isPartOfAControl(widget):
            found.append(widget)
    return found


def _isPartOfAControl(widget) -> bool:
    """Whether it is what Qt builds another control from, such as the corner of a table."""
    parent = widget.parentWidget()
    if parent is None:
        return False
    if parent.inherits("QAbstractItemView") or parent.inherits("QAbstractSpinBox") or parent.inherits("QComboBox"):
        return True
    return any(parent.inherits(name) for name in ("QComboBoxPrivateContainer", "QComboBoxListView"))


def tipOf(widget) -> str:
    """Return the tooltip that Qt shows on a widget: its own, or that of what it is a part of."""
    while widget is not None and not widget.toolTip:
        if widget.inherits("ctkCollapsibleButton"):
            return ""
        widget = widget.parentWidget()
    return widget.toolTip if widget is not None else ""


def nameOf(widget) -> str:
    """Return what a test says of a widget."""
    parent = widget.parentWidget()
    return f"{type(widget).__name__} {widget.objectName or 'in ' + (parent.objectName if parent else '?')}"


def texts(panel) -> list[tuple[str, str]]:
    """Return (where, text) of everything that the panel can show, tooltips included."""
    found = []
    for widget in panel.parent.findChildren(qt.QWidget):
        where = nameOf(widget)
        if widget.toolTip:
            found.append((f"{where} tooltip", widget.toolTip))
        if widget.inherits("QComboBox"):
            found += [(where, widget.itemText(index)) for index in range(widget.count)]
        elif widget.inherits("QTableWidget"):
            found += _tableTexts(widget, where)
        elif widget.inherits("QListWidget"):
            found += [(where, widget.item(row).text()) for row in range(widget.count)]
        elif widget.inherits("QLabel") or widget.inherits("QAbstractButton"):
            found.append((where, widget.text))
        elif widget.inherits("QProgressBar"):
            found.append((where, widget.format))
    return [(where, text) for where, text in found if text]


def _tableTexts(table, where: str) -> list[tuple[str, str]]:
    items = [table.horizontalHeaderItem(column) for column in range(table.columnCount)]
    cells = [table.item(row, column) for row in range(table.rowCount) for column in range(table.columnCount)]
    return [
        (f"{where} {part}", text)
        for item in [*items, *cells]
        if item is not None
        for part, text in (("", item.text()), ("tooltip", item.toolTip()))
    ]
