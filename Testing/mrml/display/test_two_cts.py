"""Two CTs segmented in one scene, rendered: a view with a CT looks as if that CT were the only one."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer")
from offscreen_3d import Offscreen3DView
from offscreen_slice import OffscreenSliceView, savePng

import slicer
from TwinTrackSegLib.mrml.result.ResultViews import shownCt, watchViews
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.SelfTest import makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.site.Evaluation import showDifference
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic

SIZE_PX, FIELD_MM = 300, 60.0
PLACES_MM = {"One": (0.0, 0.0, 0.0), "Other": (7.0, -5.0, 3.0)}
"""Where the two CTs begin: their tumours lie in the same slices, and nowhere at the same place."""


@pytest.fixture
def red(scene):
    view = OffscreenSliceView(scene, SIZE_PX, "Red")
    yield view
    view.close()


@pytest.fixture
def yellow(scene):
    view = OffscreenSliceView(scene, SIZE_PX, "Yellow")
    yield view
    view.close()


@pytest.fixture
def watch(scene):
    """What the module starts with Slicer."""
    return watchViews()


@pytest.fixture
def segment(scene, tmp_path):
    """Return a function that brings a CT with its result into the scene."""

    def run(name: str) -> SceneResult:
        ijkToRas = np.diag([-1.0, -1.0, 2.0, 1.0])
        ijkToRas[:3, 3] = PLACES_MM[name]
        node = makeExampleCt(ijkToRas, name)
        folder = tmp_path / name
        return TwinTrackSegLogic(["unused"]).loadResult(
            folder if folder.exists() else writeExampleResult(folder, node), node
        )

    return run


def pictureOf(view) -> np.ndarray:
    """Render the middle of both tumours."""
    view.lookAt((-27.5, -23.5, 23.0), FIELD_MM)
    return view.pixels()


@pytest.fixture
def alone(scene, red, segment):
    """Each CT as it looks where it is the only one in the scene."""
    pictures = {}
    for name in PLACES_MM:
        result = segment(name)
        pictures[name] = pictureOf(red)
        for node in [*result.nodes.all, result.nodes.ct]:
            scene.RemoveNode(node)
    red.logic.GetSliceCompositeNode().SetBackgroundVolumeID(None)
    return pictures


@pytest.mark.slow
def test_the_two_look_different_and_both_show_outlines(alone, pictures):
    for name, picture in alone.items():
        savePng(picture, pictures / f"alone_{name}.png")
        values = picture.astype(int)
        assert (values.max(axis=-1) - values.min(axis=-1) > 60).sum() > 1000
    assert (alone["One"] != alone["Other"]).any(axis=-1).mean() > 0.05


@pytest.mark.slow
def test_the_second_ct_shows_nothing_of_the_first(alone, red, segment, pictures):
    segment("One")
    segment("Other")
    picture = pictureOf(red)
    savePng(picture, pictures / "second_ct.png")
    np.testing.assert_array_equal(picture, alone["Other"])


@pytest.mark.slow
def test_a_ct_that_comes_back_into_the_view_brings_its_own_outlines_alone(alone, red, segment, watch):
    first, second = segment("One"), segment("Other")
    layers = red.logic.GetSliceCompositeNode()
    for result, name in ((first, "One"), (second, "Other"), (first, "One")):
        layers.SetBackgroundVolumeID(result.nodes.ct.GetID())
        np.testing.assert_array_equal(pictureOf(red), alone[name])


@pytest.mark.slow
def test_a_ct_without_a_result_shows_nothing_of_another(scene, red, segment, watch):
    bare = makeExampleCt(name="Bare")
    layers = red.logic.GetSliceCompositeNode()
    layers.SetBackgroundVolumeID(bare.GetID())
    expected = pictureOf(red)
    segment("One")
    layers.SetBackgroundVolumeID(bare.GetID())
    np.testing.assert_array_equal(pictureOf(red), expected)
    assert layers.GetForegroundVolumeID() is None


@pytest.mark.slow
def test_two_views_show_each_its_own(alone, red, yellow, segment, watch, pictures):
    yellow.node.SetOrientation("Axial")
    first = segment("One")
    segment("Other")
    red.logic.GetSliceCompositeNode().SetBackgroundVolumeID(first.nodes.ct.GetID())
    savePng(np.hstack([pictureOf(red), pictureOf(yellow)]), pictures / "two_views.png")
    np.testing.assert_array_equal(pictureOf(red), alone["One"])
    np.testing.assert_array_equal(pictureOf(yellow), alone["Other"])


@pytest.mark.slow
def test_in_3d_only_the_ct_of_the_first_slice_view_is_seen(scene, red, segment, watch):
    view = Offscreen3DView(scene, SIZE_PX)
    try:
        view.lookAt((-27.5, -23.5, 23.0), FIELD_MM)
        first = segment("One")
        expected = view.pixels()
        assert expected.max() > 100
        segment("Other")
        assert (view.pixels() != expected).any()
        red.logic.GetSliceCompositeNode().SetBackgroundVolumeID(first.nodes.ct.GetID())
        np.testing.assert_array_equal(view.pixels(), expected)
    finally:
        view.close()


@pytest.mark.slow
def test_the_map_itself_behind_keeps_its_outlines(scene, red, segment, watch):
    first = segment("One")
    segment("Other")
    red.logic.GetSliceCompositeNode().SetBackgroundVolumeID(first.nodes.mhr.GetID())
    assert all(node.GetDisplayVisibility() for node in first.nodes.contours)


@pytest.mark.slow
def test_an_overlay_of_another_ct_does_not_stay_in_front(scene, red, segment, watch):
    first, second = segment("One"), segment("Other")
    layers = red.logic.GetSliceCompositeNode()
    for foreign in (first.nodes.mhr, showDifference(first, first.nodes.mhr)):
        layers.SetBackgroundVolumeID(second.nodes.ct.GetID())
        layers.SetForegroundVolumeID(foreign.GetID())
        assert layers.GetForegroundVolumeID() in (None, second.nodes.mhr.GetID())


@pytest.mark.slow
def test_what_the_user_hid_stays_hidden_when_its_ct_comes_back(scene, red, segment, watch):
    first = segment("One")
    first.nodes.segmentation.SetDisplayVisibility(False)
    layers = red.logic.GetSliceCompositeNode()
    layers.SetForegroundVolumeID(None)
    layers.SetForegroundOpacity(0.3)
    assert layers.GetForegroundVolumeID() is None
    layers.SetBackgroundVolumeID(segment("Other").nodes.ct.GetID())
    layers.SetBackgroundVolumeID(first.nodes.ct.GetID())
    assert not first.nodes.segmentation.GetDisplayVisibility()
    assert all(node.GetDisplayVisibility() for node in first.nodes.contours)


@pytest.mark.slow
def test_an_earlier_result_of_a_ct_stays_hidden_when_the_ct_comes_back(scene, red, segment, watch, tmp_path):
    earlier = segment("One")
    later = TwinTrackSegLogic(["unused"]).loadResult(tmp_path / "One", earlier.nodes.ct)
    other = segment("Other")
    layers = red.logic.GetSliceCompositeNode()
    layers.SetBackgroundVolumeID(later.nodes.ct.GetID())
    assert [r.nodes.segmentation.GetDisplayVisibility() for r in (earlier, later, other)] == [0, 1, 0]
    assert layers.GetForegroundVolumeID() == later.nodes.mhr.GetID()
    earlier.show()
    layers.SetBackgroundVolumeID(other.nodes.ct.GetID())
    layers.SetBackgroundVolumeID(later.nodes.ct.GetID())
    assert [r.nodes.segmentation.GetDisplayVisibility() for r in (earlier, later, other)] == [1, 0, 0]
    assert layers.GetForegroundVolumeID() == earlier.nodes.mhr.GetID()


@pytest.mark.slow
def test_outlines_whose_ct_left_the_scene_are_hidden(scene, red, segment, watch):
    first = segment("One")
    scene.RemoveNode(first.nodes.ct)
    red.logic.GetSliceCompositeNode().SetBackgroundVolumeID(makeExampleCt(name="Bare").GetID())
    assert not any(node.GetDisplayVisibility() for node in (first.nodes.segmentation, *first.nodes.contours))


@pytest.mark.slow
def test_table_and_curve_in_the_layout_follow_the_ct(scene, red, segment, watch):
    from TwinTrackSegLib.mrml.display.Views import showTable
    from TwinTrackSegLib.mrml.vessels.VesselPlot import plotVessel

    table, plot = (scene.AddNewNodeByClass(f"vtkMRML{kind}ViewNode") for kind in ("Table", "Plot"))
    first, second = segment("One"), segment("Other")
    layers = red.logic.GetSliceCompositeNode()
    layers.SetBackgroundVolumeID(first.nodes.ct.GetID())
    showTable(first.nodes.vesselTable)
    chart = plotVessel(first.nodes.mhr, first.record.invasion, "SMA", 0.5)
    layers.SetBackgroundVolumeID(second.nodes.ct.GetID())
    assert table.GetTableNode() is second.nodes.vesselTable
    assert plot.GetPlotChartNode() is None
    layers.SetBackgroundVolumeID(makeExampleCt(name="Bare").GetID())
    assert table.GetTableNode() is None
    layers.SetBackgroundVolumeID(first.nodes.ct.GetID())
    own = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", "the user's own")
    showTable(own)
    layers.SetBackgroundVolumeID(second.nodes.ct.GetID())
    assert table.GetTableNode() is own
    assert chart in first.nodes.charts


@pytest.mark.slow
def test_an_overlay_that_was_saved_as_taken_away_stays_so(scene, red, segment, watch, tmp_path):
    segment("One")
    layers = red.logic.GetSliceCompositeNode()
    layers.SetForegroundVolumeID(None)
    path = str(tmp_path / "bare.mrb")
    assert scene.WriteToMRB(path, None)
    scene.Clear(False)
    assert scene.ReadFromMRB(path, True)
    assert layers.GetBackgroundVolumeID() == slicer.util.getNode("One").GetID()
    assert layers.GetForegroundVolumeID() is None


@pytest.mark.slow
def test_another_layout_changes_which_view_is_the_first(scene, red, yellow, segment, watch):
    table = scene.AddNewNodeByClass("vtkMRMLTableViewNode")
    first, second = segment("One"), segment("Other")
    for view, result in ((red, first), (yellow, second)):
        view.logic.GetSliceCompositeNode().SetBackgroundVolumeID(result.nodes.ct.GetID())
    table.SetTableNodeID(first.nodes.vesselTable.GetID())
    yellow.node.SetMappedInLayout(1)  # a layout with this view alone
    assert shownCt() is second.nodes.ct
    assert table.GetTableNode() is second.nodes.vesselTable
    yellow.node.SetMappedInLayout(0)
    red.node.SetMappedInLayout(1)
    assert shownCt() is first.nodes.ct
    assert table.GetTableNode() is first.nodes.vesselTable
    red.node.SetMappedInLayout(0)


def opened(scene, tmp_path, name: str):
    """Save the scene, open it again with a new view, and return that view with the CT of this name behind."""
    path = str(tmp_path / f"{len(list(tmp_path.iterdir()))}.mrb")
    assert scene.WriteToMRB(path, None)
    scene.Clear(False)
    assert scene.ReadFromMRB(path, True)
    view = OffscreenSliceView(scene, SIZE_PX, "Green", "Axial")
    view.logic.GetSliceCompositeNode().SetBackgroundVolumeID(slicer.util.getNode(name).GetID())
    return view


@pytest.fixture
def aloneOpened(scene, segment, tmp_path):
    """The second CT as it looks in a scene that holds no other, opened from its file."""
    segment("Other")
    view = opened(scene, tmp_path, "Other")
    picture = pictureOf(view)
    view.close()
    scene.Clear(False)
    assert (picture.min(axis=-1) > 220).sum() > 300  # contours
    return picture


def forgetViews(result: SceneResult) -> None:
    """Make a result what earlier versions left: visible everywhere, whichever CT a view shows."""
    for node in (result.nodes.segmentation, *result.nodes.contours):
        node.SetDisplayVisibility(True)
        node.SetAttribute("TwinTrackSeg.hiddenWithCt", None)
        for display in (node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes())):
            display.RemoveAllViewNodeIDs()
    result.nodes.mhr.SetAttribute("TwinTrackSeg.current", None)


@pytest.mark.slow
@pytest.mark.parametrize("earlier", [False, True])
def test_an_opened_scene_keeps_each_result_in_the_views_of_its_ct(
    aloneOpened, scene, segment, watch, tmp_path, earlier
):
    for result in (segment("One"), segment("Other")):
        if earlier:
            forgetViews(result)
    view = opened(scene, tmp_path, "Other")
    try:
        np.testing.assert_array_equal(pictureOf(view), aloneOpened)
        view.logic.GetSliceCompositeNode().SetBackgroundVolumeID(slicer.util.getNode("One").GetID())
        assert (pictureOf(view) != aloneOpened).any()
    finally:
        view.close()
