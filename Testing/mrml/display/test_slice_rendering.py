"""What the radiologist sees: a slice view with overlay and contours, rendered off-screen and looked at by numbers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer")
from offscreen_slice import OffscreenSliceView, savePng

from twintrack.imaging.map_colors import map_colors
from TwinTrackSegLib.mrml.display.Views import OVERLAY_OPACITY
from TwinTrackSegLib.mrml.SelfTest import RADIUS_MM, exampleCenterMm, makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

SIZE_PX = 400
FIELD_MM = 50.0
PX_PER_MM = SIZE_PX / FIELD_MM
GRAY_OF_BODY = 127.5  # 40 HU in a window of 400 around 40


@pytest.fixture
def view(scene):
    view = OffscreenSliceView(scene, SIZE_PX)
    yield view
    view.close()


@pytest.fixture
def shown(scene, view, tmp_path):
    """The example result in the view, centred on the tumour."""
    node = makeExampleCt()
    result = TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "r", node), node)
    center = exampleCenterMm(volumeFromNode(node)) * [-1, -1, 1]
    view.lookAt(center, FIELD_MM)
    return view, result, center


def colored(pixels: np.ndarray) -> np.ndarray:
    values = pixels.astype(int)
    return values.max(axis=-1) - values.min(axis=-1) > 30


def white(pixels: np.ndarray) -> np.ndarray:
    return pixels.min(axis=-1) > 220


def radiusMm(view, center) -> np.ndarray:
    row, column = view.pixelOf(center)
    rows, columns = np.indices((SIZE_PX, SIZE_PX))
    return np.hypot(rows - row, columns - column) / PX_PER_MM


@pytest.mark.slow
def test_overlay_shows_the_maps_color_on_the_ct_inside_the_threshold_and_nothing_outside(shown, pictures):
    view, _result, center = shown
    pixels = view.pixels()
    savePng(pixels, pictures / "slice_axial.png")
    radius = radiusMm(view, center)
    inside, outside = radius < RADIUS_MM * 0.5 - 1, radius > RADIUS_MM
    vessel = np.zeros_like(inside)  # its outline is coloured
    row, column = view.pixelOf(center - np.array([12.0, 0, 0]))
    vessel[max(row - 45, 0) : row + 45, max(column - 45, 0) : column + 45] = True
    legend = np.zeros_like(inside)
    legend[:, int(0.75 * SIZE_PX) :] = True
    assert colored(pixels)[inside & ~white(pixels)].mean() > 0.95
    assert not colored(pixels)[outside & ~vessel & ~legend].any()

    at = view.pixelOf(center + np.array([0, RADIUS_MM * 0.3, 0]))  # MHR 0.7, between the contours at 0.6 and 0.8
    expected = OVERLAY_OPACITY * 255 * map_colors(256)[round(0.7 * 255)] + (1 - OVERLAY_OPACITY) * GRAY_OF_BODY
    np.testing.assert_allclose(pixels[at].astype(float), expected, atol=14)


@pytest.mark.slow
def test_white_contours_lie_at_their_levels_and_nowhere_else(shown):
    view, _result, center = shown
    pixels = view.pixels()
    radius = radiusMm(view, center)
    rows, columns = np.indices(radius.shape)
    above = rows < view.pixelOf(center)[0]  # away from the legend and the vessel
    levels = np.array([RADIUS_MM * (1 - level) for level in (0.2, 0.4, 0.6, 0.8)])
    near = np.abs(radius[..., None] - levels).min(axis=-1) < 0.8
    middle = np.abs(columns - view.pixelOf(center)[1]) < 60
    for level in levels:
        ring = np.abs(radius - level) < 0.8
        assert white(pixels)[ring & above & middle].mean() > 0.1
    assert not white(pixels)[~near & above & middle & (radius < RADIUS_MM)].any()
    assert not white(pixels)[above & middle & (radius > RADIUS_MM + 1)].any()


@pytest.mark.slow
def test_moving_the_threshold_moves_the_edge_of_the_overlay(shown, pictures):
    view, result, center = shown
    areas = {}
    for threshold in (0.3, 0.5, 0.7):
        result.outline.setThreshold(threshold)
        pixels = view.pixels()
        savePng(pixels, pictures / f"slice_threshold_{threshold:.1f}.png")
        radius = radiusMm(view, center)
        rows, columns = np.indices(radius.shape)
        upper = (rows < view.pixelOf(center)[0]) & (np.abs(columns - view.pixelOf(center)[1]) < 60)
        areas[threshold] = radius[colored(pixels) & upper].max()
    for threshold, reach in areas.items():
        assert reach == pytest.approx(RADIUS_MM * (1 - threshold), abs=0.8)


@pytest.mark.slow
def test_the_tumors_outline_is_drawn_in_cyan_at_the_threshold(shown):
    view, _result, center = shown
    pixels = view.pixels().astype(int)
    cyan = (pixels[..., 1] - pixels[..., 0] > 60) & (pixels[..., 2] - pixels[..., 0] > 60)
    radius = radiusMm(view, center)
    assert cyan.sum() > 100
    assert np.median(radius[cyan & (radius < RADIUS_MM)]) == pytest.approx(RADIUS_MM * 0.5, abs=1.0)


@pytest.mark.slow
def test_a_hidden_result_leaves_the_ct_alone(shown):
    view, result, _center = shown
    result.nodes.setVisibility(False)
    result.outline.setThreshold(1.0)
    pixels = view.pixels()
    upper = np.zeros(pixels.shape[:2], dtype=bool)
    upper[:, : int(0.75 * SIZE_PX)] = True
    assert not colored(pixels)[upper].any()


@pytest.mark.slow
def test_the_legend_can_be_read_on_bright_bone(shown, pictures):
    view, result, center = shown
    result.nodes.ct.GetDisplayNode().SetWindowLevel(1, -2000)  # all white
    view.lookAt(center + np.array([20.0, 18.0, 0.0]), 10.0)  # beside tumour and vessel, inside the CT
    result.nodes.showLegend(False)
    bone = view.pixels().astype(int)
    result.nodes.showLegend(True)
    pixels = view.pixels().astype(int)
    savePng(pixels.astype(np.uint8), pictures / "legend_on_bone.png")
    assert (bone == 255).all()
    gray = (pixels.max(axis=-1) - pixels.min(axis=-1) < 3) & (pixels.max(axis=-1) < 255)
    linear = ((pixels[..., 0] / 255 + 0.055) / 1.055) ** 2.4
    readable = 1.05 / (linear + 0.05) >= 4.5  # against the white of the words, WCAG 2.2, 1.4.3
    rows, columns = np.nonzero(gray & readable)
    assert len(rows) > 3000
    words = pixels[rows.min() : rows.max(), columns.min() : columns.max()]
    assert (words.min(axis=-1) > 220).sum() > 200
