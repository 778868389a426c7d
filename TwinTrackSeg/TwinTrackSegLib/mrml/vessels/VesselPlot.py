"""The curve of a vessel: contact angle against threshold, with the working threshold and the line of encasement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import vtk

import slicer
from TwinTrackSegLib.mrml.display.Views import showChart
from TwinTrackSegLib.mrml.vessels.VesselTable import ENCASEMENT_ABOVE_DEG, TITLES

__all__ = ["moveThresholdMark", "plotVessel"]

ROLE_CHART = "TwinTrackSeg.chart"
ATTRIBUTE_VESSEL = "TwinTrackSeg.vessel"
FULL_TURN_DEG = 360.0

CURVE = (0.0, 0.45, 0.70)
MARK = (0.0, 0.62, 0.62)
LIMIT = (0.84, 0.37, 0.0)
"""Blue, teal and vermilion: apart for every kind of colour vision, on white and on black."""


def plotVessel(mhrNode: Any, invasion: Mapping[str, Any], name: str, threshold: float) -> Any:
    """Show the curve of vessel `name` of an ``invasion.json`` in the plot views; return the map's chart node."""
    chart = mhrNode.GetNodeReference(ROLE_CHART) or _newChart(mhrNode)
    vessel = invasion.get("vessels", {}).get(name, {})
    known = [
        (float(level), float(angle))
        for level, angle in zip(invasion.get("thresholds", []), vessel.get("angle_deg") or [], strict=False)
        if angle is not None
    ]
    _fill(chart.GetNthPlotSeriesNode(0), known)
    chart.GetNthPlotSeriesNode(0).SetName(TITLES.get(name, name))
    chart.SetTitle(f"{TITLES.get(name, name)}: contact angle")
    chart.SetAttribute(ATTRIBUTE_VESSEL, name)
    moveThresholdMark(mhrNode, threshold)
    showChart(chart)
    return chart


def moveThresholdMark(mhrNode: Any, threshold: float) -> None:
    """Put the upright line of the map's chart, if there is one, at the threshold."""
    chart = mhrNode.GetNodeReference(ROLE_CHART)
    if chart is not None:
        _fill(chart.GetNthPlotSeriesNode(1), [(threshold, 0.0), (threshold, FULL_TURN_DEG)])


def _newChart(mhrNode: Any) -> Any:
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", f"{mhrNode.GetName()} contact curve")
    mhrNode.SetNodeReferenceID(ROLE_CHART, chart.GetID())
    for name, color in (("Contact angle", CURVE), ("Threshold", MARK), ("Encasement above 180°", LIMIT)):
        chart.AddAndObservePlotSeriesNodeID(_newSeries(name, color).GetID())
    _fill(chart.GetNthPlotSeriesNode(2), [(0.0, ENCASEMENT_ABOVE_DEG), (1.0, ENCASEMENT_ABOVE_DEG)])
    series = slicer.vtkMRMLPlotSeriesNode
    chart.GetNthPlotSeriesNode(0).SetMarkerStyle(series.MarkerStyleCircle)
    chart.GetNthPlotSeriesNode(1).SetLineStyle(series.LineStyleDashDot)  # told apart without colour, too
    chart.GetNthPlotSeriesNode(2).SetLineStyle(series.LineStyleDash)
    chart.SetXAxisTitle("Threshold (fraction of readers)")
    chart.SetYAxisTitle("Contact angle (°)")
    chart.SetXAxisRangeAuto(False)
    chart.SetXAxisRange(0.0, 1.0)
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(0.0, FULL_TURN_DEG)
    chart.SetLegendVisibility(True)
    return chart


def _newSeries(name: str, color: Sequence[float]) -> Any:
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", f"{name} (plot)")
    table.SetHideFromEditors(True)
    for title in ("Threshold", "Angle"):
        column = vtk.vtkDoubleArray()
        column.SetName(title)
        table.AddColumn(column)
    series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName("Threshold")
    series.SetYColumnName("Angle")
    series.SetPlotType(series.PlotTypeScatter)
    series.SetLineStyle(series.LineStyleSolid)
    series.SetMarkerStyle(series.MarkerStyleNone)
    series.SetColor(*color)
    series.SetLineWidth(2)
    return series


def _fill(series: Any, points: Sequence[tuple[float, float]]) -> None:
    node = series.GetTableNode()
    table = node.GetTable()
    values = np.asarray(points, dtype=float).reshape(-1, 2)
    for column in range(2):
        array = table.GetColumn(column)
        array.SetNumberOfValues(len(values))
        for row, value in enumerate(values[:, column]):
            array.SetValue(row, value)
        array.Modified()
    table.Modified()
    node.Modified()
