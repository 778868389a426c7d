"""Pictures of the panel and of the views beside it, arranged by the module's own layout description."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import qt
from offscreen_3d import Offscreen3DView
from offscreen_plot import OffscreenPlotView
from offscreen_slice import OffscreenSliceView
from themes import THEMES, useTheme

import slicer

__all__ = ["PANEL_PX", "ViewArea", "grabPanel", "savePicture", "sideBySide"]

PANEL_PX = 420
"""The usual width of Slicer's module panel."""

BAR_PX = 18
GAP_PX = 3
MAP_COLORS = 12
COLORS = 220
"""Of the palette that a picture is saved with, beside those that mean something: a quarter of the size."""


def grabPanel(panel, theme: str, least: int = 300):
    """Return a picture of the whole panel in a theme; afterwards it wears the light one again."""
    useTheme(theme)
    widget = panel.parent
    widget.show()
    widget.setFixedSize(PANEL_PX, max(least, widget.layout().totalHeightForWidth(PANEL_PX)))
    for _again in range(3):  # labels that wrap need a second look
        slicer.app.processEvents()
        widget.setFixedSize(PANEL_PX, max(least, widget.layout().totalHeightForWidth(PANEL_PX)))
    picture = widget.grab().toImage()
    useTheme("light")
    return picture


def sideBySide(left, right):
    """Return one picture of two, the first on the left, both from the top."""
    height = max(left.height(), right.height())
    whole = qt.QImage(left.width() + right.width(), height, qt.QImage.Format_RGB888)
    whole.fill(left.pixelColor(2, left.height() - 3))
    painter = qt.QPainter(whole)
    painter.drawImage(0, 0, left)
    painter.drawImage(left.width(), 0, right)
    painter.end()
    return whole


def savePicture(picture, path: Path) -> None:
    """Write a PNG with a palette of its own."""
    from PIL import Image

    rgb = picture.convertToFormat(qt.QImage.Format_RGB888)
    rows = np.frombuffer(rgb.constBits(), np.uint8).reshape(rgb.height(), rgb.bytesPerLine())
    pixels = rows[:, : 3 * rgb.width()].reshape(rgb.height(), rgb.width(), 3)
    image, palette = Image.fromarray(pixels), Image.new("P", (1, 1))
    found = image.quantize(COLORS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).getpalette()
    palette.putpalette([*found[: 3 * COLORS], *_meaningful()])
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)


def _meaningful() -> list[int]:
    """Return the red, green and blue of colours that a picture must not change."""
    from twintrack.imaging.map_colors import map_colors
    from TwinTrackSegLib.mrml.vessels import VesselPlot
    from TwinTrackSegLib.present.VesselRows import CATEGORY_COLORS

    names = [name for colors in THEMES.values() for name in dict.fromkeys(colors)]
    return [
        *(part for color in CATEGORY_COLORS.values() for part in color),
        *(part for name in names for part in qt.QColor(name).getRgb()[:3]),
        *(round(255 * part) for color in (VesselPlot.CURVE, VesselPlot.MARK, VesselPlot.LIMIT) for part in color),
        *(round(255 * part) for color in map_colors(MAP_COLORS) for part in color),
    ]


class ViewArea:
    """The views of a layout description, drawn by the real views of the scene.

    Parameters
    ----------
    scene : vtkMRMLScene
        Where slice, 3D, table and plot view nodes are made.
    layout : str
        Layout description (XML) as Slicer's layout node takes it.
    width, height : int
        Pixels.
    """

    def __init__(self, scene, layout: str, width: int, height: int) -> None:
        self._scene, self._size = scene, (width, height)
        self._places = list(_places(ElementTree.fromstring(layout), qt.QRect(0, 0, width, height)))
        self.slices, self._nodes = {}, {}
        for element, place in self._places:
            kind, tag = element.get("class"), element.get("singletontag")
            if kind == "vtkMRMLSliceNode":
                orientation = element.findtext("property[@name='orientation']")
                self.slices[tag] = OffscreenSliceView(
                    scene, place.width(), tag, orientation, height=place.height() - BAR_PX
                )
            elif kind == "vtkMRMLViewNode":
                self.view3d = Offscreen3DView(scene, place.width(), place.height() - BAR_PX, (0.0, 0.0, 0.0))
            else:
                self._nodes[kind] = scene.AddNewNodeByClass(kind, tag)

    def paint(self, theme: str = "light"):
        """Return a picture of all views."""
        whole = qt.QImage(*self._size, qt.QImage.Format_RGB888)
        whole.fill(qt.QColor(THEMES[theme][0]))
        painter = qt.QPainter(whole)
        for element, place in self._places:
            _paintBar(painter, element, place)
            inside = place.adjusted(0, BAR_PX, 0, 0)
            picture = self._pictureOf(element, inside, theme)
            if picture is not None:
                painter.drawImage(inside.topLeft(), picture)
        painter.end()
        return whole

    def close(self) -> None:
        """Take the views out of the scene."""
        for view in [*self.slices.values(), self.view3d]:
            view.close()
        for node in self._nodes.values():
            self._scene.RemoveNode(node)

    def _pictureOf(self, element, place, theme: str):
        kind = element.get("class")
        if kind == "vtkMRMLSliceNode":
            return _image(self.slices[element.get("singletontag")].pixels())
        if kind == "vtkMRMLViewNode":
            return _image(self.view3d.pixels())
        node = self._nodes[kind]
        if kind == "vtkMRMLTableViewNode":
            return _tablePicture(node.GetTableNode(), place, theme)
        return _plotPicture(node.GetPlotChartNode(), place, theme)


def _places(element, place):
    """Yield every view of a layout description with its rectangle."""
    views = [item.find("view") for item in element.findall("item")]
    sizes = [float(item.get("splitSize") or 1) for item in element.findall("item")]
    vertical = element.get("type") == "vertical"
    whole, start = (place.height() if vertical else place.width()), 0.0
    for item, view, size in zip(element.findall("item"), views, sizes, strict=True):
        first, last = round(whole * start / sum(sizes)), round(whole * (start + size) / sum(sizes))
        start += size
        part = (
            qt.QRect(place.left(), place.top() + first, place.width(), last - first - GAP_PX)
            if vertical
            else qt.QRect(place.left() + first, place.top(), last - first - GAP_PX, place.height())
        )
        if view is not None:
            yield view, part
        else:
            yield from _places(item.find("layout"), part)


def _paintBar(painter, element, place) -> None:
    """Paint the view's bar with its letter, in its colour."""
    color = element.findtext("property[@name='viewcolor']") or "#9fb6cd"
    bar = qt.QRect(place.left(), place.top(), place.width(), BAR_PX)
    painter.fillRect(bar, qt.QColor(color))
    painter.setPen(qt.QColor("#000000"))
    painter.drawText(
        bar.adjusted(6, 0, 0, 0), qt.Qt.AlignVCenter, element.findtext("property[@name='viewlabel']") or ""
    )


def _image(pixels: np.ndarray):
    data = np.ascontiguousarray(pixels)
    height, width, _ = data.shape
    return qt.QImage(data.data, width, height, 3 * width, qt.QImage.Format_RGB888).copy()


def _tablePicture(node, place, theme: str):
    """Draw the table node as a table view does."""
    useTheme(theme)
    view = qt.QTableWidget()
    if node is not None:
        table = node.GetTable()
        names = [table.GetColumnName(column) for column in range(table.GetNumberOfColumns())]
        view.setColumnCount(len(names))
        view.setHorizontalHeaderLabels(names)
        view.setRowCount(table.GetNumberOfRows())
        for row in range(table.GetNumberOfRows()):
            for column in range(len(names)):
                view.setItem(row, column, qt.QTableWidgetItem(table.GetValue(row, column).ToString()))
    view.setAlternatingRowColors(True)
    view.verticalHeader().setVisible(False)
    view.resizeColumnsToContents()
    view.setFixedSize(place.width(), place.height())
    picture = view.grab().toImage()
    view.deleteLater()
    useTheme("light")
    return picture


def _plotPicture(node, place, theme: str):
    """Draw the chart node as a plot view does."""
    if node is None:
        return None
    ink = {"light": (0.0, 0.0, 0.0), "dark": (1.0, 1.0, 1.0)}[theme]
    paper = {"light": (1.0, 1.0, 1.0), "dark": (0.12, 0.12, 0.12)}[theme]
    view = OffscreenPlotView(place.width(), place.height(), ink, paper)
    view.show(node)
    picture = _image(view.pixels())
    view.close()
    return picture
