"""One CT at a time, without any toolkit: chosen CT, views and result follow each other."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer")

pytestmark = pytest.mark.slow


class Chosen:
    """The scene's parameters, as any front end may hold them: a change is followed at once."""

    def __init__(self) -> None:
        self.values = {"inputVolume": None, "resultVolume": None}
        self.follow = lambda: None

    def change(self, name, node) -> None:
        if self.values[name] is not node:
            self.values[name] = node
            self.follow()

    inputVolume = property(lambda self: self.values["inputVolume"], lambda self, node: self.change("inputVolume", node))
    resultVolume = property(
        lambda self: self.values["resultVolume"], lambda self, node: self.change("resultVolume", node)
    )


@pytest.fixture
def letGo() -> list:
    return []


@pytest.fixture
def chosen() -> Chosen:
    return Chosen()


@pytest.fixture
def presenter(host, scene, chosen, letGo):
    from TwinTrackSegLib.present.CtAndResult import CtAndResult
    from TwinTrackSegLib.present.Reading import ReadingPresenter

    reading = ReadingPresenter(host, lambda: None, lambda _result: None)
    presenter = CtAndResult(reading, letGo.append, lambda: None)
    chosen.follow = presenter.follow
    presenter.bind(chosen)
    presenter.reading = reading
    return presenter


@pytest.fixture(autouse=True)
def noViews(scene):
    """No slice view: those that other tests of this process left in the scene come back afterwards."""
    import slicer

    left = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    for node in left:
        scene.RemoveNode(node)
    yield
    for node in left:
        scene.AddNode(node)


@pytest.fixture
def layers(noViews, scene):
    """The layers of the one slice view."""
    node = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    yield node
    scene.RemoveNode(node)


@pytest.fixture
def other(ct):
    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt

    return makeExampleCt(name="Other")


def test_a_chosen_ct_comes_into_the_views_and_what_was_chosen_for_the_last_is_let_go(
    presenter, chosen, layers, ct, other, letGo
):
    assert presenter.offer.offered
    assert not presenter.ready
    chosen.inputVolume = ct
    assert layers.GetBackgroundVolumeID() == ct.GetID()
    assert (presenter.ready, presenter.isNew, presenter.offer.offered) == (True, True, False)
    assert letGo == []  # nothing was chosen for another CT
    chosen.inputVolume = other
    assert layers.GetBackgroundVolumeID() == other.GetID()
    assert letGo == [other]


def test_the_result_follows_the_ct_in_the_views(presenter, chosen, layers, ct, other, load):
    chosen.inputVolume = ct
    chosen.resultVolume = load().nodes.mhr
    assert presenter.reading.result.nodes.ct is ct
    assert not presenter.isNew
    layers.SetBackgroundVolumeID(other.GetID())
    presenter.followViews()
    assert presenter.reading.result is None
    assert (presenter.choice.noneText, presenter.choice.offered) == ("none of this CT", True)
    assert presenter.choice.inputHint == "The chosen CT is 'Example CT'; the slice views show 'Other'."
    layers.SetBackgroundVolumeID(ct.GetID())
    presenter.followViews()
    assert presenter.reading.result.nodes.ct is ct
    assert presenter.choice.inputHint == ""


def test_without_views_the_chosen_ct_chooses_the_result(presenter, chosen, ct, other, load):
    chosen.inputVolume = ct
    chosen.resultVolume = load().nodes.mhr
    chosen.inputVolume = other
    assert presenter.reading.result is None
    chosen.inputVolume = ct
    assert presenter.reading.result.nodes.ct is ct


def test_a_chosen_result_brings_its_ct(presenter, chosen, layers, ct, other, load):
    chosen.inputVolume = ct
    chosen.resultVolume = load().nodes.mhr
    chosen.inputVolume = other
    presenter.choose(presenter.choice.results[0])
    assert chosen.inputVolume is ct
    assert layers.GetBackgroundVolumeID() == ct.GetID()
    assert presenter.reading.result.nodes.ct is ct
    assert presenter.choice.mismatch == ""


def test_the_first_guess_is_the_ct_in_the_views_and_a_sample_case_is_chosen(presenter, chosen, layers, ct, other):
    layers.SetBackgroundVolumeID(other.GetID())
    presenter.followViews()
    assert chosen.inputVolume is other
    presenter.chooseCt([ct])
    assert chosen.inputVolume is ct


def test_the_ct_of_a_scene_that_is_opened_is_no_change_of_the_ct(presenter, chosen, ct, letGo):
    presenter.bind(None)
    presenter.follow()
    assert not presenter.ready
    chosen.values["inputVolume"] = ct
    presenter.bind(chosen)
    presenter.follow()
    assert letGo == []
    assert presenter.ready
