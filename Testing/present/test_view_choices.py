"""Overlay, grey values, lesions and the sample case's offer, without any toolkit."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer")


@pytest.fixture
def layers(scene):
    """The layers of a slice view, which a scene that is cleared would keep."""
    node = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    yield node
    scene.RemoveNode(node)


@pytest.fixture
def views():
    from TwinTrackSegLib.present.ViewChoices import ViewChoices

    return ViewChoices()


def test_the_overlay_remembers_how_much_it_covered(views, layers, load):
    result = load()
    result.show()
    assert views.stateOf(result).overlay
    views.setOpacity(result, 80)
    views.showOverlay(result, False)
    state = views.stateOf(result)
    assert (state.overlay, state.opacity_percent) == (False, 80)
    result.show()
    assert layers.GetForegroundOpacity() == 0  # what was taken away stays away
    views.showOverlay(result, True)
    assert layers.GetForegroundOpacity() == pytest.approx(0.8)


def test_the_layers_of_another_volume_are_left_alone(views, layers, load, scene):
    result = load()
    other = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "PET")
    result.show()
    layers.SetForegroundVolumeID(other.GetID())
    layers.SetForegroundOpacity(0.3)
    views.showOverlay(result, False)
    assert layers.GetForegroundOpacity() == pytest.approx(0.3)


def test_one_window_is_pressed_while_the_ct_has_its_grey_values(views, load):
    result = load()
    views.setWindow(result, "liver")
    assert [window.name for window in views.stateOf(result).windows if window.pressed] == ["liver"]
    result.nodes.ct.GetDisplayNode().SetWindowLevel(151.0, 30.0)
    assert not any(window.pressed for window in views.stateOf(result).windows)


def test_lesions_are_those_of_the_outline_and_lead_to_their_middle(views, load, monkeypatch):
    from TwinTrackSegLib.present import ViewChoices

    places = []
    monkeypatch.setattr(ViewChoices, "jumpToPoint", lambda _node, ras: places.append(ras))
    result = load()
    (lesion,) = views.stateOf(result).lesions
    assert lesion.startswith(f"1: {result.outline.volumeMl:.2f} mL, ")
    views.showLesion(result, 0)
    views.showLesion(result, 1)  # there is no second
    assert places == [pytest.approx(result.center(), abs=1.0)]


def test_without_a_result_the_views_are_left_alone(views, layers):
    views.showOverlay(None, True)
    views.setWindow(None, "liver")
    views.showLesion(None, 0)
    state = views.stateOf(None)
    assert (state.overlay, state.lesions) == (False, ())


@pytest.mark.parametrize("empty", [True, False])
def test_the_sample_case_is_offered_only_where_there_is_nothing(empty):
    from TwinTrackSegLib.present.FirstLook import sampleOffer

    assert sampleOffer(empty=empty).offered is empty
