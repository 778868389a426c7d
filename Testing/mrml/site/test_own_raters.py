"""A site's own raters: their MHR, the metrics of the map against them, the difference, and a calibrator."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("slicer")
from segment_drawing import drawSegment

import slicer
from expected_errors import raises_error
from twintrack.calibration import load_sketch, read_calibrator
from twintrack.errors import InputError
from twintrack.io.volumes import read_volume, write_volume
from TwinTrackSegLib.mrml.result.ResultLoader import scoreOf
from TwinTrackSegLib.mrml.result.ResultNodes import ROLE_RELIABILITY
from TwinTrackSegLib.mrml.result.SceneResult import resultsOf
from TwinTrackSegLib.mrml.SelfTest import makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.site.Evaluation import METRIC_TITLES, evaluateRaters, showDifference
from TwinTrackSegLib.mrml.site.Raters import likelyRaters, makeMhr, raterMasks, raterNames, ratersInScene
from TwinTrackSegLib.mrml.site.SiteCalibrator import SiteCases
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume, volumeFromNode

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Rater n marks what the example's map puts above the n-th level, so that their MHR is the map in steps of a fifth."""


def loadExample(folder, name: str = "Example CT"):
    """Return a result whose networks' own score was kept: the square of the map."""
    node = makeExampleCt(name=name)
    written = writeExampleResult(folder, node)
    logic = TwinTrackSegLogic(["unused"])
    mhr = read_volume(written / "probability.nii.gz")
    write_volume(mhr.with_array(mhr.array**2), written / "score.nii.gz")
    return logic.loadResult(written, node)


@pytest.fixture
def loaded(scene, tmp_path):
    return loadExample(tmp_path / "result")


def addRaters(result, levels=LEVELS):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Readers")
    node.SetReferenceImageGeometryParameterFromVolumeNode(result.nodes.ct)
    mhr = volumeFromNode(result.nodes.mhr).array
    for number, level in enumerate(levels, start=1):
        identifier = node.GetSegmentation().AddEmptySegment(f"r{number}", f"Reader {number}")
        drawSegment(node, identifier, mhr > level, result.nodes.ct)
    return [rater for rater in ratersInScene() if rater.node is node]


def test_segments_and_label_maps_are_offered_but_not_the_results_own(loaded):
    raters = addRaters(loaded, LEVELS[:2])
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Drawn elsewhere")
    titles = [rater.title for rater in ratersInScene()]
    assert titles == ["Readers: Reader 1", "Readers: Reader 2", "Drawn elsewhere"]
    assert len(raters) == 2
    slicer.mrmlScene.RemoveNode(labels)


def test_the_raters_map_is_the_fraction_who_marked(loaded):
    node = makeMhr(addRaters(loaded), loaded.nodes.ct)
    mhr = volumeFromNode(loaded.nodes.mhr).array
    expected = np.sum([mhr > level for level in LEVELS], axis=0) / len(LEVELS)
    np.testing.assert_allclose(volumeFromNode(node).array, expected, atol=1e-6)
    assert node.GetImageData().GetScalarTypeAsString() == "float"
    assert node.GetName() == "Example CT MHR of 5 readers"


def test_a_label_map_on_the_cts_grid_is_a_rater_and_another_grid_is_refused(loaded):
    volume = volumeFromNode(loaded.nodes.ct)
    marked = np.zeros(volume.array.shape, dtype=np.uint8)
    marked[8:12, 20:30, 20:30] = 7
    node = nodeFromVolume(volume.with_array(marked), "copy")
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Reader A")
    labels.CopyContent(node)
    rater = next(r for r in ratersInScene() if r.node is labels)
    np.testing.assert_array_equal(rater.mask(loaded.nodes.ct), marked > 0)
    labels.SetSpacing(1, 1, 3)
    with raises_error(InputError, "grid-differs"):
        rater.mask(loaded.nodes.ct)


def test_nobody_ticked_or_nothing_marked_is_a_sentence(loaded):
    with raises_error(InputError, "no-rater-chosen"):
        makeMhr([], loaded.nodes.ct)
    with raises_error(InputError, "no-tumour-marked"):
        makeMhr(addRaters(loaded, (2.0,)), loaded.nodes.ct)


def test_metrics_of_a_map_that_agrees_with_its_raters_are_good(loaded, scene):
    view = scene.AddNewNodeByClass("vtkMRMLPlotViewNode")
    metrics = dict(evaluateRaters(loaded, addRaters(loaded)))
    assert set(metrics) <= set(METRIC_TITLES.values())
    assert metrics["Surface Dice at one half"] == pytest.approx(1)
    assert metrics["Gap to the MHR"] < 0.06
    assert metrics["Mean volume of the readers (mL)"] == pytest.approx(
        np.mean([(volumeFromNode(loaded.nodes.mhr).array > level).sum() for level in LEVELS]) * 0.002
    )
    assert "SMA contact (°)" in metrics
    chart = view.GetPlotChartNode()
    table = chart.GetNthPlotSeriesNode(0).GetTableNode()
    predicted, drawn = (slicer.util.arrayFromTableColumn(table, name) for name in ("Predicted", "Readers"))
    assert len(predicted) > 5
    np.testing.assert_allclose(drawn, predicted, atol=0.11)  # the raters' map has steps of a fifth


def test_the_difference_is_predicted_minus_drawn_in_linked_views(loaded, scene):
    composite = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    composite.SetLayoutName("Red")
    drawn = makeMhr(addRaters(loaded), loaded.nodes.ct)
    node = showDifference(loaded, drawn)
    expected = volumeFromNode(loaded.nodes.mhr).array - volumeFromNode(drawn).array
    np.testing.assert_allclose(volumeFromNode(node).array, expected, atol=1e-6)
    assert composite.GetForegroundVolumeID() == node.GetID()
    assert composite.GetLinkedControl()
    display = node.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (-1.0, 1.0)
    scene.RemoveNode(composite)  # a singleton, which survives the clearing of the scene


def test_evaluating_again_reuses_what_the_first_time_made(loaded, scene):
    raters = addRaters(loaded)
    before = 0
    for press in range(3):
        evaluateRaters(loaded, raters)
        drawn = makeMhr(raters, loaded.nodes.ct)
        difference = showDifference(loaded, drawn)
        numbers = scene.GetNumberOfNodes()
        if press:
            assert numbers == before
        before = numbers
    made = (makeMhr(raters[:2], loaded.nodes.ct), makeMhr(raters[:2], loaded.nodes.ct))
    assert made[0] is made[1] is not drawn
    showDifference(loaded, made[0])  # of other raters: the same node, other values
    expected = volumeFromNode(loaded.nodes.mhr).array - volumeFromNode(made[0]).array
    np.testing.assert_allclose(volumeFromNode(difference).array, expected, atol=1e-6)


def test_score_difference_and_chart_lie_in_the_results_folder(loaded, scene):
    raters = addRaters(loaded)
    evaluateRaters(loaded, raters)
    difference = showDifference(loaded, makeMhr(raters, loaded.nodes.ct))
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    folder = hierarchy.GetItemParent(hierarchy.GetItemByDataNode(loaded.nodes.mhr))
    chart = loaded.nodes.mhr.GetNodeReference(ROLE_RELIABILITY)
    score = loaded.nodes.score
    assert score in loaded.nodes.all
    series = [chart.GetNthPlotSeriesNode(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
    assert len(series) == 2
    for node in (score, difference, chart, *series, *(line.GetTableNode() for line in series)):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == folder, node.GetName()


def test_the_kept_score_comes_back_on_the_cts_grid_also_after_reload(loaded, scene, tmp_path):
    expected = volumeFromNode(loaded.nodes.mhr).array ** 2
    np.testing.assert_allclose(scoreOf(loaded.nodes).array, expected, atol=1e-6)
    path = str(tmp_path / "scene.mrb")
    assert scene.WriteToMRB(path, None)
    scene.Clear(False)
    assert scene.ReadFromMRB(path, True)
    (again,) = resultsOf(slicer.util.getNode("Example CT"))
    np.testing.assert_allclose(scoreOf(again.nodes).array, expected, atol=1e-6)


@pytest.mark.slow
def test_a_calibrator_of_few_cases_is_fitted_with_a_warning_and_undoes_the_square(scene, tmp_path):
    cases = SiteCases(tmp_path / "site" / "cases.npz")
    with raises_error(InputError, "too-few-cases"):
        cases.fit(tmp_path / "calibrator.json")
    for number, shift in enumerate((0.0, 0.02, 0.04)):
        result = loadExample(tmp_path / f"r{number}", f"CT {number}")
        assert cases.add(result, addRaters(result, tuple(level + shift for level in LEVELS))) == number + 1
    assert cases.number == 3
    warnings = cases.fit(tmp_path / "calibrator.json")
    assert any("3 cases only" in warning for warning in warnings)
    calibrator = read_calibrator(tmp_path / "calibrator.json")
    for mhr in (0.4, 0.6):
        assert calibrator(np.array([mhr**2], dtype=np.float32))[0] == pytest.approx(mhr, abs=0.12)


@pytest.mark.slow
def test_cases_with_vessels_and_known_networks_bring_what_raters_say_of_vessels(scene, tmp_path):
    cases = SiteCases(tmp_path / "cases.npz")
    networks = "ab" * 32
    for number, shift in enumerate((0.0, 0.03)):
        node = makeExampleCt(name=f"CT {number}")
        written = writeExampleResult(tmp_path / f"r{number}", node)
        mhr = read_volume(written / "probability.nii.gz")
        write_volume(mhr.with_array(mhr.array**2), written / "score.nii.gz")
        said = json.loads((written / "invasion.json").read_text(encoding="utf-8"))
        said |= {"networks_sha256": networks, "vessel_source": "predicted", "contact_mm": 1.9}
        (written / "invasion.json").write_text(json.dumps(said), encoding="utf-8")
        result = TwinTrackSegLogic(["unused"]).loadResult(written, node)
        cases.add(result, addRaters(result, tuple(level + shift for level in LEVELS)))
    table = load_sketch(cases.path).statements
    assert (table.key.networks_sha256, table.key.vessel_source, len(table.cases)) == (networks, "predicted", 2)
    for case in table.cases.values():
        (vessel,) = case.vessels.values()
        assert vessel.raters == len(LEVELS)
        (told,) = case.others["any_tumour"]
        assert (told.raters, told.count) in ((5, 5), (5, 4))  # the map's peak lies below the last rater's shifted level


def test_the_same_case_is_not_added_twice(scene, tmp_path):
    cases = SiteCases(tmp_path / "cases.npz")
    result = loadExample(tmp_path / "r")
    raters = addRaters(result)
    cases.add(result, raters)
    with raises_error(InputError, "case-added-before"):
        cases.add(result, raters)
    assert cases.number == 1


def test_a_result_without_its_score_says_what_to_do(scene, tmp_path):
    node = makeExampleCt()
    result = TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "r", node), node)
    with raises_error(InputError, "score-not-kept"):
        SiteCases(tmp_path / "cases.npz").add(result, addRaters(result))


def test_raters_are_called_as_their_node_or_as_their_segment_where_a_node_holds_several(loaded):
    raters = addRaters(loaded, LEVELS[:3])
    assert raterNames(raters) == ("Reader 1", "Reader 2", "Reader 3")
    assert raterNames(raters[1:2]) == ("Readers",)
    raters[0].node.SetName("../Dr. M\u00fcller^A")
    assert raterNames(raters[:1]) == ("_Dr. M\u00fcller_A",)
    raters[1].node.GetSegmentation().GetSegment(raters[1].segment).SetName("reader  1")
    assert raterNames(raters) == ("Reader 1", "reader  1-2", "Reader 3")
    assert raterNames(raters[2:] + raters[:1], ("READER 1",)) == ("Reader 3", "READER 1")
    assert list(raterMasks(raters, loaded.nodes.ct)) == list(raterNames(raters))


def test_raters_of_a_site_are_put_together_by_name_in_whatever_order_they_are_ticked(scene, tmp_path):
    cases = SiteCases(tmp_path / "cases.npz")
    for number, shift in enumerate((0.0, 0.03)):
        result = loadExample(tmp_path / f"r{number}", f"CT {number}")
        raters = addRaters(result, tuple(level + shift for level in LEVELS[:2]))
        if number:
            raters[0].node.GetSegmentation().GetSegment(raters[0].segment).SetName("reader 1")
            raters.reverse()
        cases.add(result, raters)
    sketch = load_sketch(cases.path)
    assert sketch.rater_names == ("Reader 1", "Reader 2")
    marked = sketch.rater_positives.sum(axis=1)
    assert marked[0] > marked[1]  # the first one draws more in both cases
    assert [sketch.units.drawn_by(name) for name in sketch.rater_names] == [2, 2]


def addNamed(volumeNode, name, parts):
    """Add a segmentation drawn on a CT with empty segments of these names."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    for number, part in enumerate(parts):
        node.GetSegmentation().AddEmptySegment(f"s{number}", part)
    return node


ORGANS = [f"vertebrae_{number}" for number in range(90)] + [f"rib_left_{number}" for number in range(27)]


@pytest.mark.parametrize(
    ("parts", "listed"),
    [
        (ORGANS, []),
        ([*ORGANS, "Tumor"], ["Tumor"]),
        (["pancreas", "tumour", "PDAC"], ["tumour", "PDAC"]),
        (["aorta", "portal vein", "pancreas", "Anna", "Segment_1"], ["Anna", "Segment_1"]),
        (["Reader 1", "Reader 2"], ["Reader 1", "Reader 2"]),
    ],
)
def test_only_what_a_reader_may_have_drawn_is_likely(loaded, parts, listed):
    ct = loaded.nodes.ct
    node = addNamed(ct, "Drawn", parts)
    likely = likelyRaters(ratersInScene(), ct)
    assert [rater.partName for rater in likely if rater.node is node] == listed


def test_what_was_drawn_on_another_ct_is_not_likely_and_a_label_map_is(loaded):
    other = makeExampleCt(name="Other")
    addNamed(other, "Elsewhere", ["Reader 1"])
    labels = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "Drawn elsewhere")
    assert [rater.title for rater in likelyRaters(ratersInScene(), loaded.nodes.ct)] == ["Drawn elsewhere"]
    assert len(likelyRaters(ratersInScene(), other)) == len(likelyRaters(ratersInScene())) == 2
    slicer.mrmlScene.RemoveNode(labels)
