"""Vessels and region from the scene: matched by code and name, written on the CT's grid, asked of the model."""

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
        match = matchVessels(node)
        assert match.segments == dict(zip(NONE, (f"s{order.index(n)}" for n in range(5)), strict=True))
        assert match.several == {}


def coded(names, entries):
    """Return a segmentation with these names; `entries` gives terminology entries as Slicer stores them."""
    node = segmentation(makeExampleCt(), names)
    for number, entry in enumerate(entries):
        if entry:
            node.GetSegmentation().GetSegment(f"s{number}").SetTag("TerminologyEntry", entry)
    return node


def entry(kind, modifier="^^", region="^^", regionModifier="^^"):
    category = "SCT^123037004^Anatomical Structure"
    context = "Segmentation category and type - DICOM master list"
    return "~".join([context, category, kind, modifier, "Anatomic codes - DICOM master list", region, regionModifier])


PORTAL = "SCT^32764006^Portal vein"
TISSUE = "SCT^85756007^Tissue"
"""What Slicer gives every segment that nobody gave a meaning."""


def test_a_snomed_code_serves_a_segment_without_a_name_and_never_against_its_name(scene):
    node = segmentation(makeExampleCt(), ["SMA", "Segment_2"], {"SMA": "SMV", "Segment_2": "SMA"})
    assert matchVessels(node).segments == NONE | {"SMA": "s1"}


@pytest.mark.parametrize(
    ("tag", "found"),
    [
        (entry(PORTAL), "PORTA"),
        (entry("SRT^T-48810^Portal vein"), "PORTA"),
        (entry("SCT^29092000^Vein", region=PORTAL), "PORTA"),
        (entry("SCT^59820001^Blood vessel", region=PORTAL), "PORTA"),
        ("~".join(["", "SCT^123037004^Anatomical Structure", PORTAL]), "PORTA"),
        (entry("SCT^7832008^Abdominal aorta", region="SCT^818981001^Abdomen"), "AORTA"),
        (entry(PORTAL, modifier="SCT^7771000^Left"), None),
        (entry("SCT^29092000^Vein", region=PORTAL, regionModifier="SCT^7771000^Left"), None),
        (entry("SCT^110765007^Portal vein and splenic vein"), None),
        (entry("SCT^372087000^Neoplasm, Primary", region=PORTAL), None),
        (entry("SCT^396339007^Thrombus", region=PORTAL), None),
        (entry(TISSUE, region=PORTAL), None),
        (entry("99LOCAL^32764006^Portal vein"), None),
        (entry("^^"), None),
        ("Portal vein", None),
        ("~~~~~~~~~", None),
        ("^^^~SCT~SCT^", None),
    ],
)
def test_the_code_that_says_what_a_segment_is_counts_and_not_where_it_lies(scene, tag, found):
    match = matchVessels(coded(["Segment_1"], [tag]))
    assert match.segments == (NONE | {found: "s0"} if found else NONE)
    assert match.several == {}


def test_a_segment_without_a_meaning_is_known_by_its_name(scene):
    match = matchVessels(coded(["Pfortader", "A. mesenterica sup."], [entry(TISSUE), ""]))
    assert match.segments == NONE | {"PORTA": "s0", "SMA": "s1"}


@pytest.mark.parametrize("tag", ["", entry(PORTAL), entry("SCT^110765007^Portal vein and splenic vein")])
def test_the_portal_and_splenic_vein_is_not_the_portal_vein(scene, tag):
    assert matchVessels(coded(["portal_vein_and_splenic_vein"], [tag])).segments == NONE
    match = matchVessels(coded(["portal_vein_and_splenic_vein", "portal vein"], [tag]))
    assert match.segments == NONE | {"PORTA": "s1"}


def test_where_several_segments_could_be_a_vessel_none_is_chosen(scene):
    names = ["portal vein", "SMA", "Pfortader", "portal vein_1", "aorta"]
    match = matchVessels(segmentation(makeExampleCt(), names))
    assert match.segments == NONE | {"SMA": "s1", "AORTA": "s4"}
    assert match.several == {"PORTA": ("portal vein", "Pfortader", "portal vein_1")}


def test_a_code_and_a_name_on_two_segments_are_several_too(scene):
    for names, tags in ((["Segment_1", "VP"], [entry(PORTAL), ""]), (["VP", "Segment_1"], ["", entry(PORTAL)])):
        match = matchVessels(coded(names, tags))
        assert match.segments == NONE
        assert match.several == {"PORTA": tuple(names)}


def test_what_is_no_vessel_is_assigned_to_none(scene):
    names = ["Pancreas", "Tumour", "Smart region", "CA 19-9 lesion", "truncus pulmonalis"]
    assert matchVessels(segmentation(makeExampleCt(), names)).segments == NONE
    names = ["portal phase CT roi", "aorta false lumen", "coeliac ganglion", "portacath", "SMA SMV"]
    match = matchVessels(segmentation(makeExampleCt(), names))
    assert match.segments == NONE
    assert match.several == {}


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
    ("segments", "error"),
    [
        ({}, ("no-vessel-assigned", "'Vessels'")),
        ({"SMA": "s0", "SMV": "s0"}, ("vessels-share-label",)),
        ({"SMA": "gone"}, ("segment-removed", "'Vessels'")),
    ],
)
def test_a_choice_that_cannot_be_used_is_refused_with_a_sentence(scene, segments, error):
    ct = makeExampleCt()
    with raises_error(InputError, *error):
        VesselChoice(segmentation(ct, ["a"]), segments).labels(ct)


@pytest.mark.process
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
    with raises_error(InputError, "region-outside", "CT"):
        roiBox(roi((500.0, 0.0, 0.0), (20.0, 20.0, 20.0)), ct)
