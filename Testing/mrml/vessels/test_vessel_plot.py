"""The contact curve as it is drawn: VTK's chart of the real chart node, looked at by its pixels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

pytest.importorskip("slicer")
from offscreen_plot import OffscreenPlotView

from TwinTrackSegLib.mrml.SelfTest import ANGLE_AT_LEVELS, LEVELS, makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.vessels.VesselPlot import CURVE, LIMIT, MARK, READERS, moveThresholdMark, plotVessel

NEAR = 60
"""Two colours (0 to 255) are the same if no channel differs by more."""

REACH_PX = 3


@pytest.fixture
def drawn(scene, tmp_path):
    node = makeExampleCt()
    result = TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "r", node), node)
    view = OffscreenPlotView(480, 320)
    view.show(plotVessel(result.nodes.mhr, result.record.invasion, "SMA", result.outline.threshold))
    yield view, result
    view.close()


def isAt(view, pixels, point, color) -> bool:
    row, column = view.pixelOf(*point)
    window = pixels[row - REACH_PX : row + REACH_PX + 1, column - REACH_PX : column + REACH_PX + 1].astype(int)
    return bool((np.abs(window - np.array(color) * 255).max(axis=-1) < NEAR).any())


def isMarkedAt(view, pixels, threshold: float) -> bool:
    """Whether the broken upright line stands there, below the curve."""
    return any(isAt(view, pixels, (threshold, angle), MARK) for angle in range(10, 80, 10))


@pytest.mark.slow
def test_curve_threshold_and_limit_are_drawn_where_their_numbers_say(drawn):
    view, _result = drawn
    pixels = view.pixels()
    middles = [(a + b) / 2 for a, b in itertools.pairwise(LEVELS[1:4])]
    for level in middles:
        assert isAt(view, pixels, (level, np.interp(level, LEVELS, ANGLE_AT_LEVELS)), CURVE)
        assert not isAt(view, pixels, (level, 20.0), CURVE)
    assert isMarkedAt(view, pixels, 0.5)
    assert any(isAt(view, pixels, (x, 180.0), LIMIT) for x in (0.80, 0.81, 0.82, 0.83))


def test_the_mark_moves_with_the_threshold(drawn):
    view, result = drawn
    result.outline.setThreshold(0.3)
    moveThresholdMark(result.nodes.mhr, 0.3)
    pixels = view.pixels()
    assert isMarkedAt(view, pixels, 0.3)
    assert not isMarkedAt(view, pixels, 0.5)


@pytest.mark.slow
def test_the_readers_curve_is_drawn_where_it_is_calibrated_and_goes_with_another_vessel(drawn):
    view, result = drawn
    angles = [0, 100, 200, 300]
    stated = {"statements": "calibrated", "fraction_over": [0.9, 0.8, 0.7, 0.6]}
    invasion = {"thresholds": LEVELS, "fraction_angles_deg": angles}
    sma = {"angle_deg": ANGLE_AT_LEVELS}
    view.show(plotVessel(result.nodes.mhr, invasion | {"vessels": {"SMA": sma | stated}}, "SMA", 0.5))
    places = [(0.9 - angle / 1000, angle) for angle in range(210, 260, 2)]  # the line of 180 degrees is far
    assert any(isAt(view, view.pixels(), place, READERS) for place in places)
    for vessel in (sma, sma | stated | {"statements": "map"}):
        view.show(plotVessel(result.nodes.mhr, invasion | {"vessels": {"SMA": vessel}}, "SMA", 0.5))
        assert not any(isAt(view, view.pixels(), place, READERS) for place in places)
