"""One sample's outline takes the place of the result's in the views, says what it is, and never becomes the result."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("slicer")
from rater_example import CAREFUL, SAMPLE_RADII_MM, distanceMm, writeSampleResult

import slicer
from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.io.volumes import read_volume, write_volume
from TwinTrackSegLib.mrml.export.ResultFiles import saveReport, saveVolumes
from TwinTrackSegLib.mrml.result.RaterView import showDisagreement, showReader
from TwinTrackSegLib.mrml.result.ResultViews import watchViews
from TwinTrackSegLib.mrml.result.SampleView import SAMPLE_COLOR, drawnBySample, sampleVolumeMl, showSample
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult, firstCandidate
from TwinTrackSegLib.mrml.SelfTest import makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import segmentMask, volumeFromNode

COUNT = len(SAMPLE_RADII_MM)


@pytest.fixture
def views(scene):
    """A slice view and a view for tables, without a watch over them."""
    layers = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode", "Red")
    layers.SetLayoutName("Red")
    table = scene.AddNewNodeByClass("vtkMRMLTableViewNode")
    yield layers, table
    for node in (layers, table):  # a scene that is cleared keeps them
        scene.RemoveNode(node)


@pytest.fixture
def loaded(scene, views, tmp_path) -> SceneResult:
    node = makeExampleCt()
    return TwinTrackSegLogic(["unused"]).loadResult(writeSampleResult(tmp_path / "result", node), node)


def tumorVisible(result) -> bool:
    return bool(result.nodes.segmentation.GetDisplayNode().GetSegmentVisibility("tumor"))


def test_samples_come_with_the_result_as_the_part_that_any_marks_and_the_result_is_shown(loaded):
    nodes = loaded.nodes
    assert nodes.sampleCount == COUNT
    array = volumeFromNode(nodes.samples).array
    assert array.dtype == np.uint16
    assert array.size < volumeFromNode(nodes.ct).array.size / 4
    assert nodes.shownSample == 0
    assert nodes.showsResult
    assert tumorVisible(loaded)
    assert firstCandidate() is nodes.ct  # it is taken for no CT


def test_a_sample_takes_the_place_of_outline_and_volume_and_the_map_stays_over_the_ct(loaded, views):
    layers, table = views
    ct = volumeFromNode(loaded.nodes.ct)
    for number, radius in enumerate(SAMPLE_RADII_MM, 1):
        showSample(loaded, number)
        outline = loaded.nodes.sampleOutline
        assert outline.GetDisplayVisibility()
        assert outline.GetDisplayNode().GetColor() == pytest.approx(SAMPLE_COLOR)
        x0, x1, *_rest = outline.GetPolyData().GetBounds()
        assert (x1 - x0) / 2 == pytest.approx(radius, abs=max(ct.geometry.spacing_mm))
        inside = float(np.count_nonzero(distanceMm(ct) <= radius)) * ct.geometry.voxel_ml
        assert sampleVolumeMl(loaded, number) == pytest.approx(inside)
        assert outline.GetName().endswith(drawnBySample(number, COUNT))
        assert not tumorVisible(loaded)
        assert not any(node.GetDisplayVisibility() for node in loaded.nodes.contours)
        legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(outline)
        assert legend.GetVisibility()  # of the map, whose colours are still there
        assert layers.GetForegroundVolumeID() == loaded.nodes.mhr.GetID()
        assert table.GetTableNodeID() is None  # the vessels of the result do not stand beside it


def test_reader_and_sample_take_each_others_place_and_all_readers_bring_the_result_back(loaded, views):
    _layers, table = views
    before = segmentMask(loaded.nodes.segmentation, "tumor", loaded.nodes.ct)
    readouts, volume = loaded.outline.readouts, loaded.outline.volumeMl
    showReader(loaded, CAREFUL)
    showSample(loaded, 2)
    assert (loaded.nodes.shownRater, loaded.nodes.shownSample) == ("", 2)
    assert not loaded.nodes.raterOutline.GetDisplayVisibility()
    assert loaded.nodes.overlay is loaded.nodes.mhr
    showReader(loaded, CAREFUL)
    assert (loaded.nodes.shownRater, loaded.nodes.shownSample) == (CAREFUL, 0)
    assert loaded.nodes.raterOutline.GetDisplayVisibility()
    assert not loaded.nodes.sampleOutline.GetDisplayVisibility()
    showSample(loaded, 3)
    showReader(loaded, "")
    assert loaded.nodes.showsResult
    assert tumorVisible(loaded)
    assert all(node.GetDisplayVisibility() for node in loaded.nodes.contours)
    assert not loaded.nodes.sampleOutline.GetDisplayVisibility()
    assert table.GetTableNode() is loaded.nodes.vesselTable
    assert np.array_equal(segmentMask(loaded.nodes.segmentation, "tumor", loaded.nodes.ct), before)
    assert (loaded.outline.readouts, loaded.outline.volumeMl) == (readouts, volume)


def test_the_disagreement_can_lie_below_a_sample(loaded, views):
    showSample(loaded, 1)
    showDisagreement(loaded, True)
    assert views[0].GetForegroundVolumeID() == loaded.nodes.disagreement.GetID()
    assert loaded.nodes.sampleOutline.GetDisplayVisibility()
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(loaded.nodes.sampleOutline)
    assert not legend.GetVisibility()


@pytest.mark.render
def test_volumes_and_report_hold_the_result(loaded, tmp_path):
    plain, shown = tmp_path / "plain", tmp_path / "shown"
    for folder, number in ((plain, 0), (shown, 3)):
        folder.mkdir()
        if number:
            showSample(loaded, number)
        files = saveVolumes(loaded, folder)
        saveReport(loaded, folder / "report.html")
        assert all("sample" not in path.name for path in files)
    assert sorted(path.name for path in plain.iterdir()) == sorted(path.name for path in shown.iterdir())
    for path in sorted(plain.glob("*.nii.gz")):
        assert np.array_equal(read_volume(path).array, read_volume(shown / path.name).array)
    assert (shown / "report.html").read_text(encoding="utf-8") == (plain / "report.html").read_text(encoding="utf-8")


def test_a_saved_scene_opens_with_the_sample_and_the_way_back(loaded, scene, tmp_path):
    showSample(loaded, 2)
    path = str(tmp_path / "saved.mrb")
    assert scene.WriteToMRB(path, None)
    scene.Clear(False)
    assert scene.ReadFromMRB(path, True)
    (result,) = (
        SceneResult(node)
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        if node.GetName().endswith(" MHR")
    )
    assert (result.nodes.shownSample, result.nodes.sampleCount) == (2, COUNT)
    showSample(result, 3)  # alive
    inside = float(np.count_nonzero(distanceMm(volumeFromNode(result.nodes.ct)) <= SAMPLE_RADII_MM[2]))
    assert sampleVolumeMl(result, 3) == pytest.approx(inside * volumeFromNode(result.nodes.ct).geometry.voxel_ml)
    showReader(result, "")
    assert tumorVisible(result)


def test_the_sample_comes_back_with_its_ct(scene, views, tmp_path):
    watchViews()
    layers, _table = views
    one, other = (
        TwinTrackSegLogic(["unused"]).loadResult(write(tmp_path / name, node), node)
        for name, write in (("One", writeSampleResult), ("Other", writeExampleResult))
        for node in (makeExampleCt(name=name),)
    )
    one.show()
    showSample(one, 1)
    layers.SetBackgroundVolumeID(other.nodes.ct.GetID())
    assert not one.nodes.sampleOutline.GetDisplayVisibility()
    layers.SetBackgroundVolumeID(one.nodes.ct.GetID())
    assert one.nodes.sampleOutline.GetDisplayVisibility()
    assert not tumorVisible(one)


def test_samples_need_no_readers_maps_and_a_result_without_has_none_to_show(scene, tmp_path):
    node = makeExampleCt()
    folder = writeSampleResult(tmp_path / "s", node, write=writeExampleResult)
    result = TwinTrackSegLogic(["unused"]).loadResult(folder, node)
    assert (result.nodes.sampleCount, result.nodes.raterMaps) == (COUNT, {})
    showSample(result, 1)
    assert not tumorVisible(result)
    plain = TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "p", node), node)
    assert plain.nodes.sampleCount == 0
    for which, number in ((plain, 1), (result, COUNT + 1), (result, 0)):
        with raises_error(InputError, "ct-removed", f"sample {number}"):
            showSample(which, number)


def _missing(folder):
    (folder / "samples.nii.gz").unlink()


def _moreBits(folder):
    path = folder / "samples.nii.gz"
    volume = read_volume(path)
    write_volume(volume.with_array(volume.array * np.uint16(2)), path)


def _fractions(folder):
    path = folder / "samples.nii.gz"
    volume = read_volume(path)
    write_volume(volume.with_array(volume.array.astype(np.float32) / 2), path)


def _cut(folder):
    path = folder / "samples.nii.gz"
    volume = read_volume(path)
    geometry = type(volume.geometry)((56, 48, 23), volume.geometry.spacing_mm)
    write_volume(type(volume)(volume.array[:-1], geometry), path)


def _otherFile(folder):
    path = folder / "result.json"
    record = json.loads(path.read_text())
    record["samples"]["file"] = "../secret.nii.gz"
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (_missing, "result-incomplete"),
        (_moreBits, "result-malformed"),
        (_fractions, "result-malformed"),
        (_cut, "grid-differs"),
        (_otherFile, "result-malformed"),
    ],
)
def test_damaged_samples_leave_the_scene_as_it_was(scene, tmp_path, damage, code):
    node = makeExampleCt()
    folder = writeSampleResult(tmp_path / "r", node, write=writeExampleResult)
    damage(folder)
    before = scene.GetNumberOfNodesByClass("vtkMRMLDisplayableNode")
    with raises_error(InputError, code):
        TwinTrackSegLogic(["unused"]).loadResult(folder, node)
    assert scene.GetNumberOfNodesByClass("vtkMRMLDisplayableNode") == before
