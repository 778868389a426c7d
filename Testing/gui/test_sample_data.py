"""Slicer's Sample Data module offers the phantom; a click brings CT and readers to where the panel finds them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")

pytestmark = pytest.mark.render


@pytest.fixture
def offered(module):
    """Return a function that gives what the Sample Data module offers of ours."""
    import SampleData

    import slicer
    from TwinTrackSegLib.gui.SampleDataEntry import CATEGORY

    vars(slicer.modules).pop("sampleDataSources", None)
    yield lambda: SampleData.SampleDataLogic.sampleDataSourcesByCategory(CATEGORY)
    vars(slicer.modules).pop("sampleDataSources", None)


@pytest.fixture
def icons(module):
    return Path(module.path).parent / "Resources" / "Icons"


def test_it_is_offered_when_slicer_has_started_and_only_once(offered):
    import slicer

    assert offered() == []
    slicer.app.startupCompleted.emit()
    slicer.app.startupCompleted.emit()
    (source,) = offered()
    assert source.sampleName == "TwinTrackPhantom"
    assert source.uris == source.fileNames == []  # Slicer has nothing to fetch
    assert Path(source.thumbnailFileName).is_file()


def test_it_is_offered_at_once_to_a_sample_data_module_that_is_there_already(offered, icons, monkeypatch):
    import slicer
    from TwinTrackSegLib.gui.SampleDataEntry import registerWhenStarted

    monkeypatch.setattr(slicer.modules, "sampledata", object(), raising=False)
    registerWhenStarted(icons)
    assert len(offered()) == 1


def test_without_the_sample_data_module_nothing_happens(offered, icons, monkeypatch):
    import slicer
    from TwinTrackSegLib.gui.SampleDataEntry import register

    monkeypatch.setitem(sys.modules, "SampleData", None)
    register(icons)
    assert not hasattr(slicer.modules, "sampleDataSources")


@pytest.mark.slow
def test_a_click_makes_the_phantom_the_input_and_its_readers_those_to_tick(offered, panel, icons):
    import slicer
    from TwinTrackSegLib.gui.SampleDataEntry import register

    register(icons)
    (source,) = offered()
    ct, readers = source.customDownloader(source)
    slicer.app.processEvents()
    panel.initializeParameterNode()  # as entering the module does
    assert panel.ui.inputSelector.currentNode() is ct
    assert panel.ui.segmentButton.enabled
    panel.raters.presenter.update()
    listed = [panel.ui.readersList.item(row).text() for row in range(panel.ui.readersList.count)]
    assert listed == [f"{readers.GetName()}: Reader {number}" for number in range(1, 6)]


def test_a_phantom_that_cannot_be_drawn_is_told_and_gives_nothing(offered, icons, scene, shown, monkeypatch):
    import twintrack.phantom
    from twintrack.errors import InputError
    from TwinTrackSegLib.gui.SampleDataEntry import register

    def fail(*_args, **_kwargs):
        raise InputError("no room", code="no-room")

    monkeypatch.setattr(twintrack.phantom, "make_phantom", fail)
    register(icons)
    (source,) = offered()
    assert source.customDownloader(source) == []
    assert shown == ["no room"]
    assert not scene.GetNodesByClass("vtkMRMLScalarVolumeNode").GetNumberOfItems()
