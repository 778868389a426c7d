"""One reader's map takes the place of the result in the views, says whose it is, and never becomes the result."""

from __future__ import annotations

import json
import math

import highdicom as hd
import numpy as np
import pytest

pytest.importorskip("slicer")
from rater_example import CAREFUL, GENEROUS, RADII_MM, distanceMm, writeRaterResult

import slicer
from expected_errors import raises_error
from twintrack.dicom import read_series, write_ct_series
from twintrack.errors import InputError
from twintrack.invasion import DEFAULT_CONTACT_MM
from twintrack.io.volumes import read_volume, write_volume
from TwinTrackSegLib.mrml.display.DisagreementDisplay import LARGEST_SPREAD, LEAST_SHOWN
from TwinTrackSegLib.mrml.export.ResultFiles import saveReport, saveVolumes
from TwinTrackSegLib.mrml.result.RaterView import (
    drawnByReader,
    readerReadouts,
    readerVolumeMl,
    showDisagreement,
    showReader,
)
from TwinTrackSegLib.mrml.result.ResultNodes import wholeOf
from TwinTrackSegLib.mrml.result.ResultViews import watchViews
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult, firstCandidate
from TwinTrackSegLib.mrml.SelfTest import makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.vessels.VesselTable import COLUMNS, MISSING
from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume, segmentMask, volumeFromNode

OF_READERS = ("Contact (% readers)", "Over 180° (% readers)", "Median (°)", "10–90 % (°)", "Mean (°)", "Networks (°)")


@pytest.fixture
def views(scene):
    """Two slice views, without a watch over them."""
    found = []
    for name in ("Red", "Yellow"):
        found.append(scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode", name))
        found[-1].SetLayoutName(name)
    yield found
    for node in found:  # a scene that is cleared keeps them
        scene.RemoveNode(node)


@pytest.fixture
def tableView(scene):
    node = scene.AddNewNodeByClass("vtkMRMLTableViewNode")
    yield node
    scene.RemoveNode(node)


@pytest.fixture
def loaded(scene, views, tmp_path) -> SceneResult:
    node = makeExampleCt()
    return TwinTrackSegLogic(["unused"]).loadResult(writeRaterResult(tmp_path / "result", node), node)


def overlays(views) -> set:
    return {slicer.mrmlScene.GetNodeByID(view.GetForegroundVolumeID()) for view in views}


def tumorVisible(result) -> bool:
    return bool(result.nodes.segmentation.GetDisplayNode().GetSegmentVisibility("tumor"))


def test_the_maps_come_with_the_result_and_the_result_is_shown(loaded, views, tmp_path):
    assert list(loaded.nodes.raterMaps) == [CAREFUL, GENEROUS]
    for rater, node in loaded.nodes.raterMaps.items():
        stored = read_volume(tmp_path / "result" / "raters" / f"{rater}.nii.gz").array
        np.testing.assert_array_equal(wholeOf(node, loaded.nodes.mhr), stored)
        assert volumeFromNode(node).array.size < stored.size / 4  # the part that is not 0
        assert node.GetNodeReference("TwinTrackSeg.input") is loaded.nodes.ct
    assert overlays(views) == {loaded.nodes.mhr}
    assert loaded.nodes.shownRater == ""
    assert tumorVisible(loaded)
    assert firstCandidate() is loaded.nodes.ct  # no map is taken for a CT


def test_a_reader_s_map_takes_the_place_of_overlay_outline_volume_and_table(loaded, views, tableView):
    ct = volumeFromNode(loaded.nodes.ct)
    for rater, radius in RADII_MM.items():
        showReader(loaded, rater)
        assert overlays(views) == {loaded.nodes.raterMaps[rater]}
        assert not tumorVisible(loaded)
        assert not any(node.GetDisplayVisibility() for node in loaded.nodes.contours)
        outline = loaded.nodes.raterOutline
        assert outline.GetDisplayVisibility()
        assert outline.GetDisplayNode().GetVisibility2D()
        x0, x1, *_rest = outline.GetPolyData().GetBounds()
        # Between the voxels around its middle a sphere's distance is read too far: its surface lies a little inside.
        assert radius - 0.25 < (x1 - x0) / 2 <= radius + 0.01
        inside = float(np.count_nonzero(distanceMm(ct) <= radius)) * ct.geometry.voxel_ml
        assert readerVolumeMl(loaded, rater) == pytest.approx(inside, rel=0.02)
        assert tableView.GetTableNode() is loaded.nodes.raterTable
        for node in (outline, loaded.nodes.raterTable, loaded.nodes.raterMaps[rater]):
            assert drawnByReader(rater) in node.GetName()


def test_every_row_says_whose_it_is_and_nothing_of_readers_or_a_category(loaded):
    showReader(loaded, GENEROUS)
    row, *absent = readerReadouts(loaded, GENEROUS)
    assert [other.present for other in absent] == [False] * len(absent)
    assert all(other.cells()[0].endswith(f", reader {GENEROUS}") for other in absent)
    assert row.title == f"SMA, reader {GENEROUS}"
    assert row.angle_deg is not None
    # Rays from the vessel's axis, 12 mm from the tumour's middle, reach the tumour within the contact distance.
    reach = 4.0 + DEFAULT_CONTACT_MM
    half = math.degrees(math.acos((12**2 + reach**2 - RADII_MM[GENEROUS] ** 2) / (2 * 12 * reach)))
    assert row.angle_deg == pytest.approx(2 * half, abs=10)
    shown = dict(zip(COLUMNS, row.cells(), strict=True))
    assert shown["Category"] == shown["Source"] == drawnByReader(GENEROUS)
    assert [shown[name] for name in OF_READERS] == [MISSING] * len(OF_READERS)
    assert shown["Outline (°)"] == f"{row.angle_deg:.0f}"  # no sign of a category
    assert row.outlineCategory == ""
    nodeTable = loaded.nodes.raterTable.GetTable()
    assert GENEROUS in nodeTable.GetValue(0, 0).ToString()
    stored = json.loads(loaded.nodes.record.GetText())["raters"][GENEROUS]
    assert "resectability" not in stored
    assert not {"category", "p_contact", "p_encased", "level_encased"} & set(stored["vessels"]["SMA"])
    showReader(loaded, CAREFUL)
    free = readerReadouts(loaded, CAREFUL)[0]
    assert free.angle_deg == 0
    assert dict(zip(COLUMNS, free.cells(), strict=True))["Gap (mm)"].endswith(" mm away")


def test_all_readers_bring_the_result_back_as_it_was(loaded, views):
    before = segmentMask(loaded.nodes.segmentation, "tumor", loaded.nodes.ct)
    readouts, volume = loaded.outline.readouts, loaded.outline.volumeMl
    showReader(loaded, GENEROUS)
    assert np.array_equal(segmentMask(loaded.nodes.segmentation, "tumor", loaded.nodes.ct), before)
    assert not loaded.outline.changed()
    showReader(loaded, "")
    assert overlays(views) == {loaded.nodes.mhr}
    assert tumorVisible(loaded)
    assert all(node.GetDisplayVisibility() for node in loaded.nodes.contours)
    assert not loaded.nodes.raterOutline.GetDisplayVisibility()
    assert loaded.nodes.shownTable is loaded.nodes.vesselTable
    assert (loaded.outline.readouts, loaded.outline.volumeMl) == (readouts, volume)
    assert loaded.record.edited is None


def test_disagreement_has_colors_of_its_own_and_gives_way_again(loaded, views):
    showReader(loaded, CAREFUL)
    showDisagreement(loaded, True)
    assert overlays(views) == {loaded.nodes.disagreement}
    display = loaded.nodes.disagreement.GetDisplayNode()
    assert (display.GetWindowLevelMin(), display.GetWindowLevelMax()) == (0.0, LARGEST_SPREAD)
    assert display.GetLowerThreshold() == LEAST_SHOWN
    assert display.GetColorNodeID() != loaded.nodes.mhr.GetDisplayNode().GetColorNodeID()
    legend = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(loaded.nodes.disagreement)
    assert legend.GetVisibility()
    showDisagreement(loaded, False)
    assert overlays(views) == {loaded.nodes.raterMaps[CAREFUL]}
    assert not legend.GetVisibility()
    ofAll = slicer.vtkSlicerColorLogic.GetColorLegendDisplayNode(loaded.nodes.contours[0])
    assert not ofAll.GetVisibility()  # one reader's map does not count readers
    showReader(loaded, "")
    assert ofAll.GetVisibility()


def test_an_overlay_that_the_user_took_away_stays_away(loaded, views):
    views[0].SetForegroundVolumeID(None)
    showReader(loaded, CAREFUL)
    assert views[0].GetForegroundVolumeID() is None
    assert views[1].GetForegroundVolumeID() == loaded.nodes.raterMaps[CAREFUL].GetID()


@pytest.mark.render
def test_volumes_and_report_hold_the_result_of_all_readers(loaded, tmp_path):
    plain, shown = tmp_path / "plain", tmp_path / "shown"
    for folder, rater in ((plain, ""), (shown, GENEROUS)):
        folder.mkdir()
        showReader(loaded, rater)
        files = saveVolumes(loaded, folder)
        saveReport(loaded, folder / "report.html")
        assert all(GENEROUS not in path.name for path in files)
    for path in sorted(plain.glob("*.nii.gz")):
        assert np.array_equal(read_volume(path).array, read_volume(shown / path.name).array)
    assert (shown / "report.html").read_text(encoding="utf-8") == (plain / "report.html").read_text(encoding="utf-8")
    for path in shown.iterdir():
        content = path.read_bytes()
        assert not any(rater.encode() in content for rater in RADII_MM), path


@pytest.mark.process
def test_dicom_objects_hold_the_result_of_all_readers_and_no_id(scene, tmp_path):
    series = tmp_path / "ct"
    write_ct_series(volumeFromNode(makeExampleCt()), series, description="Example")
    scene.Clear(False)
    node = nodeFromVolume(read_series(series).volume, "CT from DICOM")
    logic = TwinTrackSegLogic(["unused"])
    result = logic.loadResult(writeRaterResult(tmp_path / "r", node), node)
    tumor = segmentMask(result.nodes.segmentation, "tumor", node)
    showReader(result, GENEROUS)
    (tmp_path / "out").mkdir()
    logic.exportDicomSeg(tmp_path / "out" / "s.dcm", series)
    segmentation = hd.seg.segread(tmp_path / "out" / "s.dcm")
    read = read_series(series)
    numbers = [
        n for n in segmentation.segment_numbers if segmentation.get_segment_description(n).tracking_id == "tumor"
    ]
    frames = segmentation.get_pixels_by_source_instance(
        list(read.sop_instance_uids), segment_numbers=numbers, assert_missing_frames_are_empty=True
    )
    assert np.array_equal(frames[..., 0] > 0, tumor)
    for path in (tmp_path / "out").iterdir():
        assert not any(rater.encode() in path.read_bytes() for rater in RADII_MM), path


def test_a_saved_scene_opens_with_the_reader_that_was_shown(loaded, scene, tmp_path):
    showReader(loaded, GENEROUS)
    expected = readerReadouts(loaded, GENEROUS)
    path = str(tmp_path / "saved.mrb")
    assert scene.WriteToMRB(path, None)
    scene.Clear(False)
    assert scene.ReadFromMRB(path, True)
    (result,) = (
        SceneResult(node)
        for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
        if node.GetName().endswith(" MHR")
    )
    assert result.nodes.shownRater == GENEROUS
    assert list(result.nodes.raterMaps) == [CAREFUL, GENEROUS]
    assert result.nodes.overlay is result.nodes.raterMaps[GENEROUS]
    assert readerReadouts(result, GENEROUS) == expected
    showReader(result, CAREFUL)  # alive
    showReader(result, "")


def test_the_reader_comes_back_with_the_ct(scene, views, tmp_path):
    watchViews()
    results = []
    for name in ("One", "Other"):
        node = makeExampleCt(name=name)
        write = writeRaterResult if name == "One" else writeExampleResult
        results.append(TwinTrackSegLogic(["unused"]).loadResult(write(tmp_path / name, node), node))
    one, other = results
    one.show()
    showReader(one, CAREFUL)
    for view in views:
        view.SetBackgroundVolumeID(other.nodes.ct.GetID())
    assert overlays(views) == {other.nodes.mhr}
    assert not one.nodes.raterOutline.GetDisplayVisibility()
    for view in views:
        view.SetBackgroundVolumeID(one.nodes.ct.GetID())
    assert overlays(views) == {one.nodes.raterMaps[CAREFUL]}
    assert one.nodes.raterOutline.GetDisplayVisibility()
    assert not tumorVisible(one)


def test_a_result_without_such_maps_has_no_reader_to_show(scene, tmp_path):
    node = makeExampleCt()
    result = TwinTrackSegLogic(["unused"]).loadResult(writeExampleResult(tmp_path / "r", node), node)
    assert (result.nodes.raterMaps, result.nodes.disagreement) == ({}, None)
    with raises_error(InputError, "ct-removed", "heron"):
        showReader(result, CAREFUL)


def _missing(folder):
    (folder / "raters" / f"{CAREFUL}.nii.gz").unlink()


def _tooLarge(folder):
    path = folder / "raters" / f"{GENEROUS}.nii.gz"
    volume = read_volume(path)
    write_volume(volume.with_array(volume.array * 2), path)


def _cut(folder):
    path = folder / "disagreement.nii.gz"
    volume = read_volume(path)
    geometry = type(volume.geometry)((56, 48, 23), volume.geometry.spacing_mm)
    write_volume(type(volume)(volume.array[:-1], geometry), path)


def _otherFile(folder):
    path = folder / "result.json"
    path.write_text(path.read_text().replace(f"raters/{CAREFUL}.nii.gz", "../../secret.nii.gz"))


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (_missing, "result-incomplete"),
        (_tooLarge, "result-malformed"),
        (_cut, "grid-differs"),
        (_otherFile, "result-malformed"),
    ],
)
def test_a_damaged_map_of_a_reader_leaves_the_scene_as_it_was(scene, tmp_path, damage, code):
    node = makeExampleCt()
    folder = writeRaterResult(tmp_path / "r", node)
    damage(folder)
    before = scene.GetNumberOfNodesByClass("vtkMRMLDisplayableNode")
    with raises_error(InputError, code):
        TwinTrackSegLogic(["unused"]).loadResult(folder, node)
    assert scene.GetNumberOfNodesByClass("vtkMRMLDisplayableNode") == before
