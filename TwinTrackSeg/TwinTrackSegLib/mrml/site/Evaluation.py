"""The predicted map beside the site's own raters: metrics, difference map, reliability plot, linked views."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

import slicer
from twintrack.errors import InputError
from twintrack.labels import VESSEL_VALUES
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.display.MhrDisplay import placeLegend
from TwinTrackSegLib.mrml.display.Views import showChart
from TwinTrackSegLib.mrml.result.ResultNodes import ROLE_INPUT, ROLE_RELIABILITY
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.ResultFolder import addChartToFolderOf, addToFolderOf
from TwinTrackSegLib.mrml.site.Raters import Rater, raterMasks
from TwinTrackSegLib.mrml.VolumeConversion import geometryFromNode, nodeFromVolume, segmentMask, volumeFromNode

__all__ = [
    "HIGHER_IS_BETTER",
    "METRIC_TITLES",
    "NEITHER_IS_BETTER",
    "Comparison",
    "comparisonStep",
    "evaluateRaters",
    "showDifference",
    "takeComparison",
]

METRIC_TITLES = {
    "tdsc": "Dice over thresholds (TDSC)",
    "dsc": "Dice (DSC)",
    "ece": "Calibration error (ECE)",
    "crps": "Volume score (CRPS, mm³)",
    "vi_porta": "Portal vein contact (°)",
    "vi_smv": "SMV contact (°)",
    "vi_aorta": "Aorta contact (°)",
    "vi_celiac": "Celiac trunk contact (°)",
    "vi_sma": "SMA contact (°)",
    "soft_dice": "Soft Dice against the MHR",
    "ece_constant": "ECE of a constant map (base rate)",
    "ece_corrected": "ECE, box and sums corrected",
    "mhr_gap": "Gap to the MHR",
    "brier": "Brier score",
    "brier_constant": "Brier score of a constant map",
    "ged": "Generalised energy distance",
    "hd95_mm": "95 % outline distance at one half (mm)",
    "surface_dice": "Surface Dice at one half",
    "raters_ml": "Mean volume of the readers (mL)",
    "predicted_ml": "Expected volume of the map (mL)",
}
"""Rows of the table: the CURVAS-PDACVI protocol's metrics first, then the project's own."""

HIGHER_IS_BETTER = {METRIC_TITLES[key] for key in ("tdsc", "dsc", "soft_dice", "surface_dice")}
NEITHER_IS_BETTER = {METRIC_TITLES[key] for key in ("raters_ml", "predicted_ml")}

DIFFERENCE_NAME = "MHR difference"
ROLE_DIFFERENCE = "TwinTrackSeg.difference"
SERIES = (("Map", (0.0, 0.45, 0.70)), ("Perfect agreement", (0.5, 0.5, 0.5)))
"""Names and colours of the reliability plot's series."""

BLUE, WHITE, RED = np.array([33, 102, 172]) / 255, np.ones(3), np.array([178, 24, 43]) / 255
NUMBER_OF_COLORS = 201
SMALLEST_DIFFERENCE = 0.05
"""Smaller differences are left transparent."""


@dataclass(frozen=True)
class Comparison:
    """A map beside raters.

    Attributes
    ----------
    values : tuple of (str, float or str)
        Titles and values of the metrics; in place of a calibration error that is not defined stands the reason.
    predicted, drawn : tuple of float
        The reliability plot: what the map says, and the fraction of raters who marked.
    """

    values: tuple[tuple[str, float | str], ...]
    predicted: tuple[float, ...]
    drawn: tuple[float, ...]


def evaluateRaters(result: SceneResult, raters: Sequence[Rater]) -> list[tuple[str, float | str]]:
    """Compare the map of `result` with `raters`: return titles and values of the metrics, add the reliability plot.

    Raises
    ------
    InputError
        If the CT left the scene or no rater is given.
    """
    return takeComparison(result, comparisonStep(result, raters)())


def comparisonStep(result: SceneResult, raters: Sequence[Rater]) -> Callable[[], Comparison]:
    """Return what compares, without the scene; `takeComparison` takes what it returns.

    Raises
    ------
    InputError
        If the CT left the scene or no rater is given.
    """
    ct = result.nodes.ct
    if ct is None:
        raise InputError(
            "the CT of this result is no longer in the scene; load it again and segment it", code="ct-removed"
        )
    probability = Volume(volumeFromNode(result.nodes.mhr).array, geometryFromNode(ct))
    return partial(_compared, probability, raterMasks(raters, ct), _vessels(result))


def takeComparison(result: SceneResult, found: Comparison) -> list[tuple[str, float | str]]:
    """Plot the reliability in the scene; return titles and values of the metrics."""
    _plotReliability(found, result.nodes.mhr)
    return list(found.values)


def _compared(probability: Volume, masks: Mapping[str, Volume], vessels: Volume | None) -> Comparison:
    from twintrack.calibration import ScoreSketch, reliability_curve
    from twintrack.metrics import evaluate_case

    found = evaluate_case(probability, masks, vessels)
    row = dict[str, Any](found.row(tuple(VESSEL_VALUES)))
    if found.notes:  # also where there is a number, but of the wrong box
        row["ece"], row["ece_constant"] = " ".join(found.notes), None
    sketch = ScoreSketch.of_case(probability.array, {name: mask.array for name, mask in masks.items()})
    curve = reliability_curve(sketch, bins=20)
    used = curve.counts > 0
    return Comparison(
        tuple((title, row[key]) for key, title in METRIC_TITLES.items() if row.get(key) is not None),
        tuple(map(float, curve.score[used])),
        tuple(map(float, curve.mhr[used])),
    )


def showDifference(result: SceneResult, mhrNode: Any) -> Any:
    """Show the predicted minus the raters' map over the CT, all slice views linked; one volume node for a result."""
    ct = result.nodes.ct
    predicted, drawn = volumeFromNode(result.nodes.mhr), volumeFromNode(mhrNode)
    difference = Volume(predicted.array - drawn.array, geometryFromNode(ct))
    node = nodeFromVolume(difference, DIFFERENCE_NAME, result.nodes.mhr.GetNodeReference(ROLE_DIFFERENCE))
    result.nodes.mhr.SetNodeReferenceID(ROLE_DIFFERENCE, node.GetID())
    addToFolderOf(result.nodes.mhr, node)
    node.SetAndObserveTransformNodeID(ct.GetTransformNodeID())
    node.SetNodeReferenceID(ROLE_INPUT, ct.GetID())
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(_differenceColors().GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(-1.0, 1.0)
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        composite.SetLinkedControl(True)
        composite.SetBackgroundVolumeID(ct.GetID())
        composite.SetForegroundVolumeID(node.GetID())
        composite.SetForegroundOpacity(0.6)
    _addLegend(node)
    result.nodes.showLegend(False)  # it explains other colours
    return node


def _addLegend(node: Any) -> None:
    """Say what the colours of the difference mean; the views show it while the difference is in front."""
    legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(node)
    if legend is not None:
        legend.SetTitleText("Map - readers")
        placeLegend(legend)
        legend.SetLabelFormat("%+.1f")
        legend.SetNumberOfLabels(5)
        legend.SetVisibility(True)


def _vessels(result: SceneResult) -> Volume | None:
    """Return the vessels of the result as a label map with the default values, or None."""
    segmentation, ct = result.nodes.segmentation, result.nodes.ct
    there = [name for name in VESSEL_VALUES if segmentation.GetSegmentation().GetSegment(name) is not None]
    if not there:
        return None
    grid = geometryFromNode(ct)
    labels = np.zeros(grid.shape, dtype=np.uint8)
    for name in there:
        labels[segmentMask(segmentation, name, ct)] = VESSEL_VALUES[name]
    return Volume(labels, grid)


def _plotReliability(found: Comparison, mhrNode: Any) -> Any:
    """Show the reliability of the map in the plot views; one chart for a result."""
    chart = mhrNode.GetNodeReference(ROLE_RELIABILITY) or _newChart(mhrNode)
    points = ((found.predicted, found.drawn), ((0.0, 1.0), (0.0, 1.0)))
    for number, (x, y) in enumerate(points):
        table = chart.GetNthPlotSeriesNode(number).GetTableNode()
        slicer.util.updateTableFromArray(table, [np.asarray(x, float), np.asarray(y, float)], ["Predicted", "Readers"])
    showChart(chart)
    return chart


def _newChart(mhrNode: Any) -> Any:
    """Add the chart with its series and their tables, which a scene's lists do not show."""
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode", f"{mhrNode.GetName()} reliability")
    mhrNode.SetNodeReferenceID(ROLE_RELIABILITY, chart.GetID())
    for title, color in SERIES:
        table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", f"{title} (plot)")
        table.SetHideFromEditors(True)
        series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", title)
        series.SetAndObserveTableNodeID(table.GetID())
        series.SetXColumnName("Predicted")
        series.SetYColumnName("Readers")
        series.SetPlotType(series.PlotTypeScatter)
        series.SetMarkerStyle(series.MarkerStyleCircle if title == "Map" else series.MarkerStyleNone)
        series.SetLineStyle(series.LineStyleSolid if title == "Map" else series.LineStyleDash)
        series.SetColor(*color)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    addChartToFolderOf(mhrNode, chart)
    chart.SetTitle("Reliability against the readers")
    chart.SetXAxisTitle("Predicted fraction of readers")
    chart.SetYAxisTitle("Fraction of readers who marked")
    for setAuto, setRange in (
        (chart.SetXAxisRangeAuto, chart.SetXAxisRange),
        (chart.SetYAxisRangeAuto, chart.SetYAxisRange),
    ):
        setAuto(False)
        setRange(0.0, 1.0)
    return chart


def _differenceColors() -> Any:
    """Return the scene's colours of differences: blue for too little, red for too much, transparent between."""
    for node in slicer.util.getNodesByClass("vtkMRMLColorTableNode"):
        if node.GetAttribute("TwinTrackSeg.difference"):
            return node
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "TwinTrackSeg difference")
    node.SetTypeToUser()
    node.SetNumberOfColors(NUMBER_OF_COLORS)
    for index, value in enumerate(np.linspace(-1, 1, NUMBER_OF_COLORS)):
        color = WHITE + abs(value) * ((RED if value > 0 else BLUE) - WHITE)
        node.SetColor(index, f"{value:+.2f}", *color, 0.0 if abs(value) < SMALLEST_DIFFERENCE else 1.0)
    node.SetAttribute("TwinTrackSeg.difference", "1")
    node.SetAttribute("Category", "TwinTrackSeg")
    node.SetHideFromEditors(False)
    return node
