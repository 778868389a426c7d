"""Choosing a vessel: the views stand at its worst section, one of them across it, and the plot shows its curve."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer")
from offscreen_slice import OffscreenSliceView, savePng

import slicer
from TwinTrackSegLib.mrml.SelfTest import ANGLE_AT_LEVELS, LEVELS, makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.vessels.VesselFocus import focusVessel, leaveVessel, worstSection
from TwinTrackSegLib.mrml.vessels.VesselPlot import moveThresholdMark
from TwinTrackSegLib.mrml.vessels.VesselTable import VesselReadout, bySeverity

TILTED = np.array([[-0.8, 0.0, 1.2, 0.0], [0.0, -1.0, 0.0, 0.0], [0.6, 0.0, 1.6, 0.0], [0.0, 0.0, 0.0, 1.0]])
"""IJK to RAS of a CT whose slices, and with them the example's vessel, are tilted by 37 degrees."""


def focus(result, name: str) -> bool:
    return focusVessel(result.nodes.mhr, result.record.invasion, name, result.outline.threshold)


@pytest.fixture
def views(scene):
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
    red, yellow = (scene.AddNewNodeByClass("vtkMRMLSliceNode", name) for name in ("Red", "Yellow"))
    for node, orientation in ((red, "Axial"), (yellow, "Sagittal")):
        node.SetLayoutName(node.GetName())
        node.SetOrientation(orientation)
        node.SetDefaultOrientation(orientation)
    yield red, yellow
    for node in (red, yellow):
        scene.RemoveNode(node)


@pytest.fixture
def tilted(scene, tmp_path):
    node = makeExampleCt(TILTED)
    return TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "r", node), node)


def normalOf(view) -> np.ndarray:
    return slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, 2]


def placeOf(view) -> np.ndarray:
    return slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())[:3, 3]


@pytest.mark.slow
def test_all_views_stand_at_the_worst_section_and_one_across_the_vessel(views, tilted):
    red, yellow = views
    assert focus(tilted, "SMA")
    middle, direction = worstSection(tilted.nodes.mhr, tilted.record.invasion, "SMA")
    np.testing.assert_allclose(abs(direction @ np.array([0.6, 0.0, 0.8])), 1, atol=1e-6)
    np.testing.assert_allclose(abs(normalOf(yellow) @ direction), 1, atol=1e-6)
    np.testing.assert_allclose(placeOf(yellow), middle, atol=1e-6)
    np.testing.assert_allclose(abs(normalOf(red)), [0, 0, 1], atol=1e-6)
    np.testing.assert_allclose(placeOf(red)[2], middle[2], atol=1e-6)


@pytest.mark.slow
def test_anterior_stays_up_in_the_perpendicular_view_and_right_on_the_left_hand(views, tilted):
    _red, yellow = views
    focus(tilted, "SMA")
    up = slicer.util.arrayFromVTKMatrix(yellow.GetSliceToRAS())[:3, 1]
    assert up[1] > 0.9
    assert np.linalg.det(slicer.util.arrayFromVTKMatrix(yellow.GetSliceToRAS())[:3, :3]) == pytest.approx(1)


@pytest.mark.slow
def test_leaving_the_vessel_and_jumping_to_the_tumor_gives_the_usual_views_back(views, tilted):
    _red, yellow = views
    focus(tilted, "SMA")
    leaveVessel()
    tilted.jumpToTumor()
    np.testing.assert_allclose(abs(normalOf(yellow)), [1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(placeOf(yellow)[0], tilted.center()[0], atol=1e-6)


@pytest.mark.slow
def test_a_transformed_ct_is_focused_where_it_lies(views, tilted, scene):
    matrix = np.array([[0.0, -1.0, 0.0, 30.0], [1.0, 0.0, 0.0, -5.0], [0.0, 0.0, 1.0, 12.0], [0.0, 0.0, 0.0, 1.0]])
    before, along = worstSection(tilted.nodes.mhr, tilted.record.invasion, "SMA")
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    tilted.nodes.mhr.SetAndObserveTransformNodeID(transform.GetID())
    middle, direction = worstSection(tilted.nodes.mhr, tilted.record.invasion, "SMA")
    np.testing.assert_allclose(middle, matrix[:3, :3] @ before + matrix[:3, 3], atol=1e-6)
    np.testing.assert_allclose(direction, matrix[:3, :3] @ along, atol=1e-6)


@pytest.mark.slow
def test_a_vessel_that_was_not_seen_has_no_section(views, tilted):
    assert not focus(tilted, "CELIAC")
    assert worstSection(tilted.nodes.mhr, tilted.record.invasion, "CELIAC") is None


def curve(chart, number: int) -> np.ndarray:
    table = chart.GetNthPlotSeriesNode(number).GetTableNode()
    return np.stack([slicer.util.arrayFromTableColumn(table, name) for name in ("Threshold", "Angle")], axis=-1)


@pytest.mark.slow
def test_the_plot_shows_the_vessels_curve_the_threshold_and_the_line_of_encasement(views, tilted, scene):
    view = scene.AddNewNodeByClass("vtkMRMLPlotViewNode")
    focus(tilted, "SMA")
    chart = view.GetPlotChartNode()
    assert chart.GetTitle() == "SMA: contact angle"
    np.testing.assert_allclose(curve(chart, 0), np.stack([LEVELS, ANGLE_AT_LEVELS], axis=-1))
    np.testing.assert_allclose(curve(chart, 1), [[0.5, 0], [0.5, 360]])
    np.testing.assert_allclose(curve(chart, 2), [[0, 180], [1, 180]])
    tilted.outline.setThreshold(0.3)
    moveThresholdMark(tilted.nodes.mhr, 0.3)
    np.testing.assert_allclose(curve(chart, 1), [[0.3, 0], [0.3, 360]])


@pytest.mark.slow
def test_another_vessel_takes_the_same_chart(views, tilted):
    focus(tilted, "SMA")
    focus(tilted, "CELIAC")
    (chart,) = slicer.util.getNodesByClass("vtkMRMLPlotChartNode")
    assert chart.GetTitle() == "Celiac trunk: contact angle"
    assert len(curve(chart, 0)) == 0


def test_vessels_stand_in_the_order_of_their_severity():
    readouts = [
        VesselReadout("ABSENT", present=False),
        VesselReadout("FREE", present=True, category="none", angle_median_deg=0.0, angle_deg=300.0),
        VesselReadout("TOUCHED", present=True, category="abutment", angle_median_deg=40.0),
        VesselReadout("UNKNOWN", present=True),
        VesselReadout("WRAPPED", present=True, category="encasement", angle_median_deg=200.0, angle_deg=0.0),
        VesselReadout("TOUCHED_MORE", present=True, category="abutment", angle_median_deg=170.0),
        VesselReadout("NEARLY", present=True, category="none", angle_median_deg=0.0, p_contact=0.4),
    ]
    names = [readout.name for readout in bySeverity(readouts)]
    assert names == ["WRAPPED", "TOUCHED_MORE", "TOUCHED", "UNKNOWN", "NEARLY", "FREE", "ABSENT"]


@pytest.mark.slow
def test_the_perpendicular_slice_shows_the_vessel_round(scene, tilted, pictures):
    view = OffscreenSliceView(scene, 300, "Yellow", "Sagittal")
    view.node.SetDefaultOrientation("Sagittal")
    slicer.util.getNode("Example CT")
    tilted.show()
    focus(tilted, "SMA")
    view.node.SetFieldOfView(30, 30, 1)
    tilted.nodes.setVisibility(False)
    tilted.outline.setThreshold(1.0)
    pixels = view.pixels()
    savePng(pixels, pictures / "perpendicular.png")
    bright = pixels.mean(axis=-1) > 200
    rows, columns = np.nonzero(bright)
    heights, widths = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert heights / widths == pytest.approx(1, abs=0.15)
    assert bright.sum() / (np.pi / 4 * heights * widths) == pytest.approx(1, abs=0.1)
    view.close()
