"""Vessels and region from the scene: matched by code and name, written on the CT's grid, asked of the model."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("slicer")
from segment_drawing import drawSegment

import slicer
from twintrack.errors import InputError
from twintrack.io.volumes import read_volume
from TwinTrackSegLib.mrml.result.ResultSegmentation import meaningOf
from TwinTrackSegLib.mrml.SelfTest import makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.vessels.VesselChoice import VesselChoice, matchVessels
from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode
from TwinTrackSegLib.mrml.worker.RunSettings import RunSettings, roiBox

NONE = dict.fromkeys(("PORTA", "SMV", "AORTA", "CELIAC", "SMA"), "")


def segmentation(volumeNode, names, codes=None):
    """Return a segmentation node with one cubic segment for each name, side by side along i."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Vessels")
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    shape = volumeFromNode(volumeNode).array.shape
    for number, name in enumerate(names):
        identifier = node.GetSegmentation().AddEmptySegment(f"s{number}", name)
        mask = np.zeros(shape, dtype=np.uint8)
        mask[4:9, 10:15, 3 + 6 * number : 8 + 6 * number] = 1
        drawSegment(node, identifier, mask, volumeNode)
        if codes and codes.get(name):
            node.GetSegmentation().GetSegment(identifier).SetTerminology(meaningOf(codes[name]).terminologyEntry)
    return node


@pytest.mark.parametrize(
    "names",
    [
        ["Portal vein", "SMV", "Aorta", "Celiac trunk", "SMA"],
        [
            "portal_vein",
            "superior_mesenteric_vein",
            "aorta",
            "celiac_trunk",
            "superior_mesenteric_artery",
        ],
        [
            "vena portae",
            "Superior Mesenteric Vein",
            "abdominal aorta",
            "Truncus coeliacus",
            "Arteria mesenterica superior",
        ],
    ],
)
def test_vessels_are_found_by_their_usual_names_in_any_order(scene, names):
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1]):
        node = segmentation(makeExampleCt(), [names[n] for n in order])
        found = matchVessels(node)
        expected = dict(zip(NONE, (f"s{order.index(n)}" for n in range(5)), strict=True))
        assert found == expected


def test_a_snomed_code_counts_more_than_a_name(scene):
    node = segmentation(makeExampleCt(), ["SMA", "Segment_2"], {"SMA": "SMV", "Segment_2": "SMA"})
    assert matchVessels(node) == NONE | {"SMV": "s0", "SMA": "s1"}


def test_what_is_no_vessel_is_assigned_to_none(scene):
    assert matchVessels(segmentation(makeExampleCt(), ["Pancreas", "Tumour", "Smart region"])) == NONE


def test_the_label_map_holds_the_chosen_segments_at_their_places(scene):
    ct = makeExampleCt()
    node = segmentation(ct, ["a", "b", "c"])
    labels, names = VesselChoice(node, {"AORTA": "s2", "SMA": "s0", "PORTA": ""}).labels(ct)
    assert names == {"AORTA": 3, "SMA": 5}
    expected = np.zeros(labels.array.shape)
    expected[4:9, 10:15, 3:8] = 5
    expected[4:9, 10:15, 15:20] = 3
    np.testing.assert_array_equal(labels.array, expected)
    assert labels.geometry.same_grid(volumeFromNode(ct).geometry)


@pytest.mark.parametrize(
    ("segments", "sentence"),
    [
        ({}, "no segment of 'Vessels'"),
        ({"SMA": "s0", "SMV": "s0"}, "same segment"),
        ({"SMA": "gone"}, "not in 'Vessels'"),
    ],
)
def test_a_choice_that_cannot_be_used_is_refused_with_a_sentence(scene, segments, sentence):
    ct = makeExampleCt()
    with pytest.raises(InputError, match=sentence):
        VesselChoice(segmentation(ct, ["a"]), segments).labels(ct)


def test_the_model_is_asked_with_the_vessels_and_the_result_shows_them(scene, tmp_path, scriptedWorker):
    ct = makeExampleCt()
    ready = writeExampleResult(tmp_path / "ready", ct)
    note = tmp_path / "asked"
    logic = TwinTrackSegLogic(
        scriptedWorker(
            f"shutil.copytree({str(ready)!r}, request['out'])\n"
            f"shutil.copy(request['vessels'], {str(note) + '.nrrd'!r})\n"
            f"json.dump(request, open({str(note) + '.json'!r}, 'w'))\nsay(event='done', out=request['out'])\n"
        )
    )
    node = segmentation(ct, ["Aorta", "SMV"])
    result = logic.segment(ct, RunSettings("b"), vessels=VesselChoice(node, {"AORTA": "s0", "SMV": "s1"}))
    assert json.loads((tmp_path / "asked.json").read_text())["vessel_names"] == {"AORTA": 3, "SMV": 2}
    assert set(np.unique(read_volume(tmp_path / "asked.nrrd").array)) == {0, 2, 3}
    assert set(result.nodes.segmentation.GetSegmentation().GetSegmentIDs()) == {"tumor", "AORTA", "SMV"}


def roi(center, size, matrix=None):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    node.SetSize(*size)
    node.SetCenter(*center)
    if matrix is not None:
        transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
        transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
        node.SetAndObserveTransformNodeID(transform.GetID())
    return node


def test_a_region_becomes_the_voxels_inside_it(scene):
    ct = makeExampleCt()  # 1 x 1 x 2 mm voxels, R = -i, A = -j, S = 2 k
    assert roiBox(roi((-20.0, -15.0, 20.0), (10.0, 6.0, 8.0)), ct) == (15, 26, 12, 19, 8, 13)


def test_a_turned_region_is_enclosed(scene):
    ct = makeExampleCt()
    turned = np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    # turned by 90 degrees about the origin: the centre (-15, 20) comes to (-20, -15), the sides change places
    assert roiBox(roi((-15.0, 20.0, 20.0), (6.0, 10.0, 8.0), turned), ct) == (15, 26, 12, 19, 8, 13)


def test_a_region_follows_the_cts_own_transform(scene):
    ct = makeExampleCt()
    transform = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    moved = np.eye(4)
    moved[:3, 3] = [100.0, 50.0, -30.0]
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(moved))
    ct.SetAndObserveTransformNodeID(transform.GetID())
    assert roiBox(roi((80.0, 35.0, -10.0), (10.0, 6.0, 8.0)), ct) == (15, 26, 12, 19, 8, 13)


def test_a_region_is_cut_at_the_border_and_refused_outside(scene):
    ct = makeExampleCt()
    assert roiBox(roi((0.0, 0.0, 0.0), (20.0, 20.0, 20.0)), ct)[::2] == (0, 0, 0)
    with pytest.raises(InputError, match="does not reach into volume 'Example CT'"):
        roiBox(roi((500.0, 0.0, 0.0), (20.0, 20.0, 20.0)), ct)
