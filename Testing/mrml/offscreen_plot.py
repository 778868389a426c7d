"""A plot view without a window: VTK's chart, filled from chart, series and table nodes as Slicer's plot view does."""

from __future__ import annotations

import numpy as np
import vtk
from offscreen_window import grabPixels, newWindow

TITLE_PX, TEXT_PX = 14, 12
SAMPLES = 8


class OffscreenPlotView:
    """One plot view; `show` takes a vtkMRMLPlotChartNode."""

    def __init__(self, width: int = 480, height: int = 320, ink=(0.0, 0.0, 0.0), paper=(1.0, 1.0, 1.0)) -> None:
        self._ink = ink
        self.window, self._renderer = newWindow(width, height, SAMPLES), vtk.vtkRenderer()
        self._renderer.SetBackground(*paper)
        self.window.AddRenderer(self._renderer)
        self._scene, self.chart = vtk.vtkContextScene(), vtk.vtkChartXY()
        actor = vtk.vtkContextActor()
        actor.SetScene(self._scene)
        self._scene.AddItem(self.chart)
        self._renderer.AddActor(actor)
        self._scene.SetRenderer(self._renderer)

    def show(self, node) -> None:
        """Draw the chart node."""
        chart = self.chart
        chart.ClearPlots()
        chart.SetTitle(node.GetTitle())
        _style(chart.GetTitleProperties(), TITLE_PX, self._ink)
        chart.SetShowLegend(node.GetLegendVisibility())
        chart.GetLegend().GetBrush().SetColorF(*self._renderer.GetBackground(), 0.8)
        chart.GetLegend().GetPen().SetOpacityF(0.0)
        _style(chart.GetLegend().GetLabelProperties(), TEXT_PX, self._ink)
        axes = (
            (vtk.vtkAxis.BOTTOM, node.GetXAxisTitle(), node.GetXAxisRangeAuto(), node.GetXAxisRange()),
            (vtk.vtkAxis.LEFT, node.GetYAxisTitle(), node.GetYAxisRangeAuto(), node.GetYAxisRange()),
        )
        for position, title, automatic, limits in axes:
            self._setAxis(chart.GetAxis(position), title, None if automatic else limits)
        for number in range(node.GetNumberOfPlotSeriesNodes()):
            self._addSeries(node.GetNthPlotSeriesNode(number))

    def pixels(self) -> np.ndarray:
        """Render and return the picture, (row, column, RGB), first row on top."""
        return grabPixels(self.window)

    def pixelOf(self, x: float, y: float) -> tuple[int, int]:
        """Return (row, column) of the pixel that shows the point of the chart; after `pixels`."""
        place = []
        for position, value in ((vtk.vtkAxis.BOTTOM, x), (vtk.vtkAxis.LEFT, y)):
            axis = self.chart.GetAxis(position)
            side = 0 if position == vtk.vtkAxis.BOTTOM else 1
            first, last = axis.GetPoint1()[side], axis.GetPoint2()[side]
            share = (value - axis.GetMinimum()) / (axis.GetMaximum() - axis.GetMinimum())
            place.append(first + share * (last - first))
        return round(self.window.GetSize()[1] - 1 - place[1]), round(place[0])

    def close(self) -> None:
        """Give the window back."""
        self.window.Finalize()

    def _setAxis(self, axis, title: str, limits) -> None:
        axis.SetTitle(title)
        _style(axis.GetTitleProperties(), TEXT_PX, self._ink)
        _style(axis.GetLabelProperties(), TEXT_PX, self._ink)
        axis.GetPen().SetColorF(*self._ink)
        axis.GetGridPen().SetColorF(0.5, 0.5, 0.5, 0.35)
        axis.SetBehavior(vtk.vtkAxis.AUTO if limits is None else vtk.vtkAxis.FIXED)
        if limits is not None:
            axis.SetRange(*limits)

    def _addSeries(self, series) -> None:
        table = series.GetTableNode().GetTable()
        line = self.chart.AddPlot(vtk.vtkChart.LINE)
        line.SetInputData(table, series.GetXColumnName(), series.GetYColumnName())
        line.SetLabel(series.GetName())
        line.SetColorF(*series.GetColor())
        line.SetWidth(series.GetLineWidth())
        line.GetPen().SetLineType(_lineType(series))
        line.SetMarkerStyle(vtk.vtkPlotPoints.CIRCLE if series.GetMarkerStyle() else vtk.vtkPlotPoints.NONE)
        line.SetMarkerSize(series.GetMarkerSize())


def _lineType(series) -> int:
    return {
        series.LineStyleNone: vtk.vtkPen.NO_PEN,
        series.LineStyleDash: vtk.vtkPen.DASH_LINE,
        series.LineStyleDashDot: vtk.vtkPen.DASH_DOT_LINE,
    }.get(series.GetLineStyle(), vtk.vtkPen.SOLID_LINE)


def _style(text, size: int, color) -> None:
    text.SetFontSize(size)
    text.SetColor(*color)
    text.SetBold(False)
    text.SetItalic(False)
