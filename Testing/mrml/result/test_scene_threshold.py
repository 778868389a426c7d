"""A threshold of a result: segment, volume and vessel table follow it. Spheres of known size give the answers."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("slicer")
import slicer
from twintrack.io.volumes import read_volume
from TwinTrackSegLib.mrml.result.SceneResult import resultsOf
from TwinTrackSegLib.mrml.SelfTest import RADIUS_MM, makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import segmentMask, volumeFromNode


@pytest.fixture
def loaded(scene, tmp_path):
    node = makeExampleCt()
    return TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "result", node), node)


def sphereMl(level: float) -> float:
    return 4 / 3 * math.pi * (RADIUS_MM * (1 - level)) ** 3 / 1000


def test_the_tumor_segment_is_the_map_at_the_threshold(loaded):
    mhr = volumeFromNode(loaded.nodes.mhr).array
    for threshold in (0.5, 0.2, 0.9, 0.01):
        loaded.outline.setThreshold(threshold)
        mask = segmentMask(loaded.nodes.segmentation, "tumor", loaded.nodes.ct)
        np.testing.assert_array_equal(mask, mhr >= threshold)
        assert loaded.nodes.mhr.GetDisplayNode().GetLowerThreshold() == threshold
        assert loaded.outline.volumeMl == pytest.approx(mask.sum() * 0.002)


def test_volume_at_the_threshold_is_the_spheres(loaded):
    for threshold in (0.2, 0.4):
        loaded.outline.setThreshold(threshold)
        assert loaded.outline.volumeMl == pytest.approx(sphereMl(threshold), rel=0.05)


def test_a_threshold_above_the_highest_value_leaves_an_empty_segment(loaded):
    loaded.outline.setThreshold(1.0)
    assert not segmentMask(loaded.nodes.segmentation, "tumor", loaded.nodes.ct).any()
    assert loaded.outline.volumeMl == 0
    loaded.outline.setThreshold(0.5)
    assert loaded.outline.volumeMl > 1


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.01, math.nan])
def test_a_threshold_out_of_range_is_refused_and_changes_nothing(loaded, threshold):
    with pytest.raises(ValueError, match="threshold must be from"):
        loaded.outline.setThreshold(threshold)
    assert loaded.outline.threshold == 0.5


def test_vessel_segments_are_the_labels_and_keep_their_surface_when_the_threshold_moves(loaded, tmp_path):
    labels = read_volume(tmp_path / "result" / "segmentation.nii.gz")
    loaded.outline.setThreshold(0.3)
    mask = segmentMask(loaded.nodes.segmentation, "SMA", loaded.nodes.ct)
    np.testing.assert_array_equal(mask, labels.array == 6)
    surface = loaded.nodes.segmentation.GetSegmentation().GetSegment("SMA").GetRepresentation("Closed surface")
    assert surface.GetNumberOfPoints() > 50


def test_segments_carry_snomed_codes(loaded):
    segmentation = loaded.nodes.segmentation.GetSegmentation()
    tumor = segmentation.GetSegment("tumor").GetTerminology().split("~")
    assert len(tumor) == 7
    assert tumor[5].startswith("SCT^15776009^")
    assert segmentation.GetSegment("SMA").GetTerminology().split("~")[2].startswith("SCT^42258001^")


def rows(result) -> dict[str, list[str]]:
    """Return the cells of the vessel table by vessel."""
    table = result.nodes.vesselTable.GetTable()
    texts = [
        [table.GetValue(r, c).ToString() for c in range(table.GetNumberOfColumns())]
        for r in range(table.GetNumberOfRows())
    ]
    return {cells[0]: cells for cells in texts}


def test_the_table_follows_the_threshold(loaded):
    artery = "SMA"
    said = ["◐ abutment", "80", "35", "120", "0–240", "120"]
    assert rows(loaded)[artery][1:9] == [*said, "◐ 120", "10.0"]
    loaded.outline.setThreshold(0.2)  # half way between the measured 0.1 (240) and 0.3 (200)
    assert rows(loaded)[artery][1:9] == [*said, "● 220", "18.0"]
    loaded.outline.setThreshold(0.95)  # beyond the last measured level the last value holds
    assert rows(loaded)[artery][1:8] == [*said, "○ 0"]
    assert rows(loaded)["Celiac trunk"][1] == "not seen"


def test_a_result_without_vessels_gives_an_empty_table(scene, tmp_path):
    node = makeExampleCt()
    folder = writeExampleResult(tmp_path / "r", node)
    (folder / "invasion.json").unlink()
    result = TwinTrackSegLogic(["unused"]).loadResult(folder, node)
    assert result.nodes.vesselTable.GetNumberOfRows() == 0
    assert result.outline.readouts == []


@pytest.mark.slow
def test_everything_is_live_again_after_save_and_reload(loaded, scene, tmp_path):
    path = str(tmp_path / "scene.mrb")
    loaded.outline.setThreshold(0.4)
    before = volumeFromNode(loaded.nodes.mhr).array.copy()
    assert scene.WriteToMRB(path, None)
    scene.Clear(False)
    assert scene.ReadFromMRB(path, True)

    ct = slicer.util.getNode("Example CT")
    (again,) = resultsOf(ct)
    np.testing.assert_array_equal(volumeFromNode(again.nodes.mhr).array, before)
    assert again.outline.threshold == 0.4
    assert len(again.nodes.contours) == 4
    again.outline.setThreshold(0.2)
    assert again.outline.volumeMl == pytest.approx(sphereMl(0.2), rel=0.05)
    assert again.outline.readouts[0].angle_deg == pytest.approx(220)
    mask = segmentMask(again.nodes.segmentation, "tumor", ct)
    np.testing.assert_array_equal(mask, before >= np.float32(0.2))
