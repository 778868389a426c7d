"""The 3D view: nested shells around the tumour, rendered off-screen by Slicer's own displayable managers."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer")
from offscreen_3d import Offscreen3DView
from offscreen_window import savePng

from TwinTrackSegLib.mrml.SelfTest import RADIUS_MM, exampleCenterMm, makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

SIZE_PX = 400
HEIGHT_MM = 50.0


@pytest.fixture
def rendered(scene, tmp_path, pictures):
    """The example result seen from the front, as (row, column, RGB), parallel projection."""
    node = makeExampleCt()
    result = TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "r", node), node)
    center = exampleCenterMm(volumeFromNode(node)) * [-1, -1, 1]
    view = Offscreen3DView(scene, SIZE_PX)
    view.lookAt(center, HEIGHT_MM)
    pixels = view.pixels().astype(int)
    savePng(pixels.astype(np.uint8), pictures / "view_3d.png")
    yield result, pixels
    view.close()


def test_shells_are_nested_and_each_shows_through_the_one_around_it(rendered):
    _result, pixels = rendered
    light = pixels.mean(axis=-1)
    rows, columns = np.indices(light.shape)
    radius = np.hypot(rows - SIZE_PX / 2, columns - SIZE_PX / 2) / SIZE_PX * HEIGHT_MM
    away = columns > SIZE_PX / 2 + 10  # the vessel stands on the other side
    outside = light[(radius > RADIUS_MM) & away].mean()
    means = []
    for inner, outer in ((0.6, 0.8), (0.4, 0.6), (0.2, 0.4)):
        ring = (radius > RADIUS_MM * inner + 0.5) & (radius < RADIUS_MM * outer - 0.5) & away
        means.append(float(light[ring].mean()))
    assert abs(means[0] - outside) > 5
    steps = np.diff([outside, *means])
    assert np.all(steps > 0) or np.all(steps < 0)
