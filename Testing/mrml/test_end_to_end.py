"""The module's whole way with the real worker and the demo bundle: phantom CT node in, result in the scene."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer")
from offscreen_slice import OffscreenSliceView, savePng
from phantom_case import boxAround, phantomCase

import twintrack
from twintrack.errors import Cancelled, RoiError
from TwinTrackSegLib.mrml.SelfTest import makeExampleCt
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume, volumeFromNode
from TwinTrackSegLib.mrml.worker.RunSettings import RunSettings

DEMO_BUNDLE = Path(twintrack.__file__).parent / "data" / "demo_bundle"
TIMEOUT_SEC = 900

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(not (DEMO_BUNDLE / "bundle.json").exists(), reason="the demo bundle is not there"),
    pytest.mark.skipif(importlib.util.find_spec("nnunetv2") is None, reason="nnunetv2 is not installed"),
]


@pytest.fixture(scope="module")
def phantom():
    return phantomCase()


@pytest.fixture
def view(scene):
    view = OffscreenSliceView(scene, 500)
    yield view
    view.close()


def test_a_phantom_is_segmented_where_its_tumor_is(scene, view, phantom, pictures):
    node = nodeFromVolume(phantom.ct, "Phantom")
    settings = RunSettings(str(DEMO_BUNDLE), roi=boxAround(phantom), device="cpu")
    told = []
    logic = TwinTrackSegLogic()
    logic.start(node, settings, lambda fraction, message: told.append(fraction))
    result = logic.wait(TIMEOUT_SEC)

    assert told == sorted(told)
    assert len(told) > 3
    mhr = volumeFromNode(result.nodes.mhr).array
    truth = phantom.true_mhr.array >= 0.5
    found = mhr >= 0.5
    dice = 2 * np.count_nonzero(truth & found) / (np.count_nonzero(truth) + np.count_nonzero(found))
    assert dice > 0.5
    assert result.record.result["bundle"]["demo"] is True
    assert result.nodes.vesselTable.GetNumberOfRows() > 0
    assert result.nodes.contours

    node.GetDisplayNode().AutoWindowLevelOff()
    node.GetDisplayNode().SetWindowLevel(400, 60)
    view.lookAt(result.center(), 120.0)
    pixels = view.pixels().astype(int)
    savePng(view.pixels(), pictures / "phantom_axial.png")
    colored = pixels[..., 0] - pixels[..., 2] > 30  # from coral to amber, where most readers agree
    assert 0.001 < colored.mean() < 0.2


def test_a_run_of_the_real_worker_can_be_cancelled(scene, phantom):
    node = nodeFromVolume(phantom.ct, "Phantom")
    logic = TwinTrackSegLogic(graceSec=30)
    logic.start(node, RunSettings(str(DEMO_BUNDLE), roi="full", device="cpu"))
    logic.poll()
    logic.cancel()
    with pytest.raises(Cancelled):
        logic.wait(TIMEOUT_SEC)


def test_a_region_outside_the_ct_comes_back_as_the_engines_error(scene):
    logic = TwinTrackSegLogic()
    with pytest.raises(RoiError):
        logic.segment(makeExampleCt(), RunSettings(str(DEMO_BUNDLE), roi=(0, 999, 0, 9, 0, 9), device="cpu"))
