"""Vessels that the tumour overlaps stay whole in the scene: when the threshold moves, after a reload, under an edit."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("slicer")
from segment_drawing import drawSegment

import slicer
from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.io.volumes import read_volume
from TwinTrackSegLib.mrml.result.Correction import measureOutline, restoreOutline
from TwinTrackSegLib.mrml.result.SceneResult import resultsOf
from TwinTrackSegLib.mrml.SelfTest import checkExampleResult, makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import segmentMask, volumeFromNode

OVERLAPPING, APART = 0.2, 0.5
"""Thresholds at which the example's tumour reaches into its vessel, and ends before it."""


@pytest.fixture
def folder(scene, tmp_path):
    return writeExampleResult(tmp_path / "result", makeExampleCt(), OVERLAPPING)


@pytest.fixture
def loaded(folder):
    return TwinTrackSegLogic(["unused"]).loadResult(folder, slicer.util.getNode("Example CT"))


def mask(result, name: str) -> np.ndarray:
    return segmentMask(result.nodes.segmentation, name, result.nodes.ct)


def wholeVessel(folder) -> np.ndarray:
    return read_volume(folder / "vessels.nii.gz").array > 0


@pytest.mark.slow
def test_a_vessel_is_whole_at_every_threshold(loaded, folder):
    labels = read_volume(folder / "segmentation.nii.gz").array
    assert (wholeVessel(folder) & (labels == 1)).sum() > 100
    for threshold in (OVERLAPPING, 0.01, 0.9, OVERLAPPING):
        loaded.outline.setThreshold(threshold)
        np.testing.assert_array_equal(mask(loaded, "SMA"), wholeVessel(folder))
        np.testing.assert_array_equal(mask(loaded, "tumor"), volumeFromNode(loaded.nodes.mhr).array >= threshold)
    assert (mask(loaded, "SMA") & mask(loaded, "tumor")).sum() > 100


@pytest.mark.slow
@pytest.mark.parametrize(("threshold", "layers"), [(OVERLAPPING, 2), (APART, 1)], ids=["overlapping", "apart"])
def test_a_reloaded_scene_keeps_the_layers_and_the_threshold_cuts_nothing(loaded, folder, scene, threshold, layers):
    loaded.outline.setThreshold(threshold)
    path = str(folder / "scene.mrb")
    assert scene.WriteToMRB(path, None)
    scene.Clear(False)
    assert scene.ReadFromMRB(path, True)
    (again,) = resultsOf(slicer.util.getNode("Example CT"))
    assert again.nodes.segmentation.GetSegmentation().GetNumberOfLayers() == layers
    np.testing.assert_array_equal(mask(again, "SMA"), wholeVessel(folder))
    mhr = volumeFromNode(again.nodes.mhr).array
    for lower in (threshold, 0.1, 0.7):
        again.outline.setThreshold(lower)
        np.testing.assert_array_equal(mask(again, "SMA"), wholeVessel(folder))
        np.testing.assert_array_equal(mask(again, "tumor"), mhr >= np.float32(lower))


@pytest.mark.slow
def test_an_outline_drawn_over_a_vessel_is_measured_at_the_whole_vessel(loaded, folder):
    vessel = wholeVessel(folder)
    _z, y, x = np.indices(vessel.shape)
    middle = np.argwhere(vessel).mean(axis=0)
    around = np.hypot(y - middle[1], x - middle[2]) < 10
    drawSegment(loaded.nodes.segmentation, "tumor", around, loaded.nodes.ct)  # the vessel inside is drawn over
    np.testing.assert_array_equal(mask(loaded, "SMA"), vessel)
    assert measureOutline(loaded)
    readout = next(each for each in loaded.outline.readouts if each.name == "SMA")
    assert readout.angle_deg == pytest.approx(360, abs=1)
    restoreOutline(loaded)
    np.testing.assert_array_equal(mask(loaded, "SMA"), vessel)


@pytest.mark.slow
def test_a_result_of_an_earlier_version_has_what_the_tumor_leaves_of_a_vessel(folder):
    result = json.loads((folder / "result.json").read_text())
    del result["vessel_values"]
    (folder / "result.json").write_text(json.dumps(result))
    loaded = TwinTrackSegLogic(["unused"]).loadResult(folder, slicer.util.getNode("Example CT"))
    labels = read_volume(folder / "segmentation.nii.gz").array
    np.testing.assert_array_equal(mask(loaded, "SMA"), labels == result["labels"]["SMA"])
    assert (mask(loaded, "SMA") != wholeVessel(folder)).any()


def test_a_missing_file_of_the_vessels_is_named(folder):
    (folder / "vessels.nii.gz").unlink()
    with raises_error(InputError, "file-missing", "vessels.nii.gz"):
        TwinTrackSegLogic(["unused"]).loadResult(folder, slicer.util.getNode("Example CT"))


@pytest.mark.slow
def test_the_self_test_looks_at_the_vessel(scene):
    checkExampleResult(TwinTrackSegLogic(["unused"]))
