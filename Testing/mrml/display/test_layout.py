"""The module's layout: known from the start, never in a scene's file, arranged again where the module is."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

pytest.importorskip("slicer")

import slicer
from TwinTrackSegLib.mrml.display.Views import LAYOUT_ID, LAYOUT_XML, registerLayout, showLayout
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic

FOUR_UP, PLOT = 3, 37
"""Two of Slicer's own layouts."""


@pytest.fixture
def layout(scene):
    """The layout node, as Slicer's main window makes it."""
    logic = slicer.vtkMRMLLayoutLogic()
    logic.SetMRMLScene(scene)
    node = logic.GetLayoutNode()
    node.SetViewArrangement(FOUR_UP)
    yield node
    logic.SetMRMLScene(None)
    for left in (node, *slicer.util.getNodesByClass("vtkMRMLAbstractViewNode")):  # closing a scene spares them
        scene.RemoveNode(left)


def saved(scene, path) -> list[str]:
    """Save the scene; return the numbers of the layouts in its file."""
    scene.Commit(str(path))
    nodes = ElementTree.parse(path).getroot().iter("Layout")
    return [node.get("currentViewArrangement") for node in nodes]


def opened(scene, path) -> None:
    scene.SetURL(str(path))
    assert scene.Connect()


def test_without_a_main_window_there_is_no_layout(scene):
    assert not registerLayout()
    assert not showLayout()


@pytest.mark.slow
def test_the_layout_is_known_before_it_is_chosen(layout):
    assert registerLayout()
    assert layout.GetLayoutDescription(LAYOUT_ID) == LAYOUT_XML
    assert layout.GetViewArrangement() == FOUR_UP
    assert showLayout()
    assert layout.GetViewArrangement() == LAYOUT_ID
    views = [view.get("singletontag") for view in ElementTree.fromstring(LAYOUT_XML).iter("view")]
    assert sorted(views) == ["1", "Green", "PlotView1", "Red", "Yellow"]


@pytest.mark.slow
def test_a_scene_of_an_earlier_version_in_this_layout_shows_the_views(scene, layout, tmp_path):
    layout.AddLayoutDescription(LAYOUT_ID, LAYOUT_XML)
    layout.SetViewArrangement(LAYOUT_ID)
    assert saved(scene, tmp_path / "old.mrml") == [str(LAYOUT_ID)]
    layout.SetViewArrangement(FOUR_UP)
    layout.SetLayoutDescription(LAYOUT_ID, "")  # as in a Slicer that has just started
    assert not layout.IsLayoutDescription(LAYOUT_ID)
    registerLayout()
    opened(scene, tmp_path / "old.mrml")
    assert layout.GetCurrentLayoutDescription() == LAYOUT_XML


@pytest.mark.slow
def test_a_colleague_without_the_module_keeps_the_views_that_are_there(scene, layout, tmp_path):
    TwinTrackSegLogic().getParameterNode()
    showLayout()
    assert saved(scene, tmp_path / "own.mrml") == []
    theirs, logic = slicer.vtkMRMLScene(), slicer.vtkMRMLLayoutLogic()
    theirs.SetCacheManager(scene.GetCacheManager())
    theirs.SetDataIOManager(scene.GetDataIOManager())
    logic.SetMRMLScene(theirs)
    logic.GetLayoutNode().SetViewArrangement(PLOT)
    opened(theirs, tmp_path / "own.mrml")
    assert logic.GetLayoutNode().GetViewArrangement() == PLOT
    assert logic.GetLayoutNode().GetCurrentLayoutDescription()
    logic.SetMRMLScene(None)


@pytest.mark.slow
def test_where_the_module_is_the_views_are_arranged_as_they_were_saved(scene, layout, tmp_path):
    TwinTrackSegLogic().getParameterNode()
    showLayout()
    assert saved(scene, tmp_path / "own.mrml") == []
    layout.SetViewArrangement(PLOT)
    assert saved(scene, tmp_path / "plot.mrml") == [str(PLOT)]
    opened(scene, tmp_path / "own.mrml")
    assert layout.GetViewArrangement() == LAYOUT_ID
    opened(scene, tmp_path / "plot.mrml")
    assert layout.GetViewArrangement() == PLOT
    assert saved(scene, tmp_path / "again.mrml") == [str(PLOT)]
