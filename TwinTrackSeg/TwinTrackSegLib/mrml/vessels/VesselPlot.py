"""The curve of a vessel: the outline's contact angle at each level, and what readers are expected to measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import vtk

import slicer
from twintrack.results.report.wording import ENCASEMENT_ABOVE_DEG, FULL_TURN_DEG, is_calibrated, series
from TwinTrackSegLib.mrml.display.Views import showChart
from TwinTrackSegLib.mrml.ResultFolder import addChartToFolderOf
from TwinTrackSegLib.mrml.vessels.VesselTable import TITLES

__all__ = ["ROLE_CHART", "moveThresholdMark", "plotVessel"]

ROLE_CHART = "TwinTrackSeg.chart"
ROLE_READERS = "TwinTrackSeg.readersCurve"
ATTRIBUTE_VESSEL = "TwinTrackSeg.vessel"

CURVE = (0.0, 0.45, 0.70)
MARK = (0.0, 0.62, 0.62)
LIMIT = (0.84, 0.37, 0.0)
READERS = (0.80, 0.47, 0.65)
"""Blue, teal, vermilion and purple: apart for every kind of colour vision, on white and on black."""


def plotVessel(mhrNode: Any, invasion: Mapping[str, Any], name: str, threshold: float) -> Any:
    """Show the curves of vessel `name` of an ``invasion.json`` in the plot views; return the map's chart node.

    One is the outline's, at each level of the map. The other, where statements are calibrated, is the readers': which
    fraction of them is expected to measure more than an angle.
    """
    chart = mhrNode.GetNodeReference(ROLE_CHART) or _newChart(mhrNode)
    vessel = invasion.get("vessels", {}).get(name, {})
    known = [
        (float(level), float(angle))
        for level, angle in zip(invasion.get("thresholds", []), vessel.get("angle_deg") or [], strict=False)
        if angle is not None
    ]
    _fill(chart.GetNthPlotSeriesNode(0), known)
    chart.GetNthPlotSeriesNode(0).SetName(f"{TITLES.get(name, name)}, outline at each level")
    over = series(invasion.get("fraction_angles_deg"), vessel.get("fraction_over")) if is_calibrated(vessel) else []
    _showReaders(chart, [(fraction, angle) for angle, fraction in over])
    addChartToFolderOf(mhrNode, chart)
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
    for name, color in (("Contact angle", CURVE), ("This outline", MARK), ("Encasement above 180°", LIMIT)):
        chart.AddAndObservePlotSeriesNodeID(_newSeries(name, color).GetID())
    _fill(chart.GetNthPlotSeriesNode(2), [(0.0, ENCASEMENT_ABOVE_DEG), (1.0, ENCASEMENT_ABOVE_DEG)])
    styles = slicer.vtkMRMLPlotSeriesNode
    chart.GetNthPlotSeriesNode(0).SetMarkerStyle(styles.MarkerStyleCircle)
    chart.GetNthPlotSeriesNode(1).SetLineStyle(styles.LineStyleDashDot)  # told apart without colour, too
    chart.GetNthPlotSeriesNode(2).SetLineStyle(styles.LineStyleDash)
    chart.SetYAxisTitle("Contact angle (°)")
    chart.SetXAxisRangeAuto(False)
    chart.SetXAxisRange(0.0, 1.0)
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(0.0, FULL_TURN_DEG)
    chart.SetLegendVisibility(True)
    return chart


def _showReaders(chart: Any, points: Sequence[tuple[float, float]]) -> None:
    """Draw the readers' curve, or take it away where there is none, with the title of the axis that it needs."""
    node = chart.GetNodeReference(ROLE_READERS)
    if points and node is None:
        node = _newSeries("Readers, calibrated", READERS)
        node.SetLineStyle(node.LineStyleDot)
        chart.SetNodeReferenceID(ROLE_READERS, node.GetID())
    if points:
        _fill(node, points)
        if not chart.HasPlotSeriesNodeID(node.GetID()):
            chart.AddAndObservePlotSeriesNodeID(node.GetID())
    elif node is not None:
        chart.RemovePlotSeriesNodeID(node.GetID())
    chart.SetXAxisTitle(
        "Level of the map; of the readers' curve: fraction of readers" if points else "Level of the map"
    )


def _newSeries(name: str, color: Sequence[float]) -> Any:
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", f"{name} (plot)")
    table.SetHideFromEditors(True)
    for title in ("Threshold", "Angle"):
        column = vtk.vtkDoubleArray()
        column.SetName(title)
        table.AddColumn(column)
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", name)
    node.SetAndObserveTableNodeID(table.GetID())
    node.SetXColumnName("Threshold")
    node.SetYColumnName("Angle")
    node.SetPlotType(node.PlotTypeScatter)
    node.SetLineStyle(node.LineStyleSolid)
    node.SetMarkerStyle(node.MarkerStyleNone)
    node.SetColor(*color)
    node.SetLineWidth(2)
    return node


def _fill(line: Any, points: Sequence[tuple[float, float]]) -> None:
    node = line.GetTableNode()
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
