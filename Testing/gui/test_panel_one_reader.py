"""The choice between all readers and one of them: what the panel then shows, says, and refuses to touch."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import cells, chosen, savingTo
from rater_example import CAREFUL, GENEROUS, SAMPLE_RADII_MM, writeRaterResult, writeSampleResult

pytestmark = pytest.mark.render


@pytest.fixture
def withReaders(panel, ct, bundle, tmp_path):
    """The example result with two readers' maps, shown in the panel as after a run."""
    chosen(panel, ct, bundle)
    panel._takeResult(panel.logic.loadResult(writeRaterResult(tmp_path / "ready", ct), ct))
    return panel.results.result


def choose(panel, reader: str) -> None:
    combo = panel.ui.readerComboBox
    combo.setCurrentIndex(combo.findData(reader))
    combo.activated.emit(combo.currentIndex)


def test_the_choice_is_there_only_where_a_result_has_readers(panel, done):
    assert not panel.ui.readerRow.isVisibleTo(panel.parent)


def test_readers_are_offered_and_all_of_them_come_first(panel, withReaders):
    combo = panel.ui.readerComboBox
    texts = [combo.itemText(n) for n in range(combo.count)]
    assert texts == ["all readers", f"reader {CAREFUL}", f"reader {GENEROUS}"]
    assert combo.currentIndex == 0
    assert panel.ui.readerRow.isVisibleTo(panel.parent)


def test_one_reader_is_always_said_to_be_one(panel, withReaders, shown):
    before = (cells(panel), panel.ui.volumeLabel.text, panel.ui.sourceLabel.text, panel.ui.readersLabel.text)
    choose(panel, GENEROUS)
    words = f"as reader {GENEROUS} would draw it"
    assert words in panel.ui.volumeLabel.text
    assert words in panel.ui.sourceLabel.text
    assert "not calibrated" in panel.ui.sourceLabel.text
    assert "pattern" not in panel.ui.readersLabel.text.lower()
    assert not any(word in panel.ui.volumeLabel.text for word in ("encasement", "abutment", "●", "◐", "pattern"))
    for row in cells(panel):
        assert " ".join(row[1].split()) == f"as reader {GENEROUS} would draw it"
        assert not any(word in " ".join(row) for word in ("encasement", "abutment", "●", "◐"))
    choose(panel, "")
    assert (cells(panel), panel.ui.volumeLabel.text, panel.ui.sourceLabel.text, panel.ui.readersLabel.text) == before
    assert shown == []


@pytest.fixture
def addView(scene):
    """Return a function that adds a node of a view, which a scene that is cleared would keep."""
    added = []

    def add(kind: str):
        added.append(scene.AddNewNodeByClass(kind))
        return added[-1]

    yield add
    for node in added:
        scene.RemoveNode(node)


def test_no_curve_of_all_readers_stands_beside_one_reader(panel, withReaders, addView):
    view = addView("vtkMRMLPlotViewNode")
    panel.ui.vesselTable.selectRow(0)
    assert view.GetPlotChartNode() is not None
    choose(panel, GENEROUS)
    assert view.GetPlotChartNode() is None
    panel.ui.vesselTable.clearSelection()
    panel.ui.vesselTable.selectRow(0)
    assert view.GetPlotChartNode() is None
    choose(panel, "")
    assert view.GetPlotChartNode() is not None


def test_nothing_of_the_result_can_be_moved_or_edited_meanwhile(panel, withReaders):
    ui = panel.ui
    choose(panel, CAREFUL)
    for widget in (ui.thresholdSlider, ui.readerTicks, ui.editButton, ui.recomputeButton, ui.restoreButton):
        assert not widget.enabled
    ui.thresholdSlider.value = 0.2
    assert withReaders.outline.threshold == 0.5
    choose(panel, "")
    for widget in (ui.thresholdSlider, ui.readerTicks, ui.editButton, ui.recomputeButton, ui.restoreButton):
        assert widget.enabled
    ui.thresholdSlider.value = 0.3
    assert withReaders.outline.threshold == 0.3


@pytest.fixture
def withSamples(panel, ct, bundle, tmp_path):
    """The example result with samples and no readers' maps, shown in the panel as after a run."""
    from TwinTrackSegLib.mrml.SelfTest import writeExampleResult

    chosen(panel, ct, bundle)
    folder = writeSampleResult(tmp_path / "ready", ct, write=writeExampleResult)
    panel._takeResult(panel.logic.loadResult(folder, ct))
    return panel.results.result


def test_a_slider_goes_through_samples_and_the_choice_leads_back(panel, withSamples, shown):
    ui, count = panel.ui, len(SAMPLE_RADII_MM)
    assert not ui.sampleRow.isVisibleTo(panel.parent)
    assert not ui.disagreementCheckBox.isVisibleTo(panel.parent)
    assert [ui.readerComboBox.itemText(n) for n in range(ui.readerComboBox.count)] == [
        "all readers",
        f"one of {count} samples",
    ]
    before = (cells(panel), ui.volumeLabel.text, ui.sourceLabel.text, ui.readersLabel.text)
    choose(panel, "*")
    assert withSamples.nodes.shownSample == 1
    assert ui.sampleRow.isVisibleTo(panel.parent)
    assert (ui.sampleSlider.minimum, ui.sampleSlider.maximum, ui.sampleSlider.value) == (1, count, 1)
    ui.sampleSlider.value = 2
    assert withSamples.nodes.shownSample == 2
    assert ui.readerComboBox.currentText == f"one of {count} samples"
    assert f"sample 2 of {count} drawn by the model, not a reader" in ui.volumeLabel.text
    assert "not a reader" in ui.sourceLabel.text
    assert cells(panel) == []
    for widget in (ui.thresholdSlider, ui.readerTicks, ui.editButton, ui.recomputeButton, ui.restoreButton):
        assert not widget.enabled
    choose(panel, "")
    assert withSamples.nodes.shownSample == 0
    assert (cells(panel), ui.volumeLabel.text, ui.sourceLabel.text, ui.readersLabel.text) == before
    assert ui.thresholdSlider.enabled
    assert not ui.sampleRow.isVisibleTo(panel.parent)
    choose(panel, "*")
    assert withSamples.nodes.shownSample == 2
    assert shown == []


def test_the_slider_is_there_only_where_a_result_has_samples(panel, withReaders):
    assert not panel.ui.sampleRow.isVisibleTo(panel.parent)
    assert panel.ui.disagreementCheckBox.isVisibleTo(panel.parent)


def test_the_disagreement_is_a_toggle(panel, withReaders, addView):
    view = addView("vtkMRMLSliceCompositeNode")
    withReaders.show()
    panel.ui.disagreementCheckBox.click()
    assert view.GetForegroundVolumeID() == withReaders.nodes.disagreement.GetID()
    panel.ui.disagreementCheckBox.click()
    assert view.GetForegroundVolumeID() == withReaders.nodes.mhr.GetID()


def test_an_export_says_that_it_holds_all_readers(panel, withReaders, tmp_path, monkeypatch):
    savingTo(panel, monkeypatch, tmp_path / "map.nii.gz")
    panel.ui.saveButton.click()
    assert "all readers" not in panel.ui.statusLabel.text
    choose(panel, GENEROUS)
    panel.ui.saveButton.click()
    assert panel.ui.statusLabel.text.endswith("It holds the result of all readers.")


def test_a_saved_scene_opens_with_the_reader_and_the_way_back(panel, withReaders, tmp_path, scene):
    choose(panel, GENEROUS)
    before = cells(panel)
    path = str(tmp_path / "saved.mrb")
    assert scene.WriteToMRB(path, None)
    scene.Clear(False)
    assert not panel.ui.readerRow.isVisibleTo(panel.parent)
    assert scene.ReadFromMRB(path, True)
    assert panel.ui.readerComboBox.currentText == f"reader {GENEROUS}"
    assert cells(panel) == before
    choose(panel, "")
    assert cells(panel)[0][3].startswith("◐ 120°")


def test_a_bundle_that_tells_readers_apart_is_asked_for_them(panel, ct, bundle):
    import json

    chosen(panel, ct, bundle)
    assert not panel.inputs.asked().settings().rater_maps
    content = json.loads((bundle / "bundle.json").read_text())
    content |= {"schema": 2, "tumor_weights": {"tumor": 1.0}}
    content["rater_members"] = [{"id": "A", "members": ["0", "2"]}, {"id": "B", "members": ["1"]}]
    (bundle / "bundle.json").write_text(json.dumps(content))
    assert panel.inputs.asked().settings().rater_maps


def test_a_bundle_that_draws_samples_is_asked_for_them(panel, ct, bundle):
    import shutil
    from pathlib import Path

    chosen(panel, ct, bundle)
    assert panel.inputs.asked().settings().samples == 0
    shutil.copy(Path(__file__).parent.parent / "old_files" / "bundle_3.json", bundle / "bundle.json")
    asked = panel.inputs.asked().settings()
    assert (asked.samples, asked.rater_maps) == (16, True)
