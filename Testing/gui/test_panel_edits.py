"""An outline changed in Segment Editor is noticed by the panel itself: at the slider, on entering, on export."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import cells, savingTo, segmented

pytestmark = pytest.mark.render


@pytest.fixture
def edited(panel, ct, bundle, worker, tmp_path):
    """A result whose outline was drawn anew around the vessel, without a word to the panel."""
    from segment_drawing import drawSegment

    from TwinTrackSegLib.mrml.VolumeConversion import segmentMask

    result = segmented(panel, ct, bundle, worker, tmp_path)
    vessel = segmentMask(result.nodes.segmentation, "SMA", result.nodes.ct)
    _z, y, x = np.indices(vessel.shape)
    middle = np.argwhere(vessel).mean(axis=0)
    ring = (np.hypot(y - middle[1], x - middle[2]) < 10) & ~vessel
    drawSegment(result.nodes.segmentation, "tumor", ring, result.nodes.ct)
    assert cells(panel)[0][4] == "◐ 120°"
    return result


def isMarked(panel) -> bool:
    return panel.ui.editedLabel.isVisibleTo(panel.parent) and cells(panel)[0][4].startswith("● ")


def test_a_move_of_the_slider_measures_the_edit_and_goes_back_to_where_it_was(panel, edited, shown):
    panel.ui.thresholdSlider.value = 0.3
    assert panel.ui.thresholdSlider.value == 0.5
    assert not panel.ui.thresholdSlider.enabled
    assert isMarked(panel)
    assert "edited by hand" in panel.ui.statusLabel.text
    assert shown == []


def test_coming_back_to_the_module_measures_the_edit(panel, edited):
    panel.parent.exit()
    panel.parent.enter()
    assert isMarked(panel)


def test_an_export_measures_the_edit_and_the_panel_shows_it(panel, edited, tmp_path, monkeypatch, shown):
    savingTo(panel, monkeypatch, tmp_path / "report.html")
    panel.ui.reportButton.click()
    assert shown == []
    assert "edited by hand" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert isMarked(panel)


def test_an_erased_outline_is_told_and_undo_brings_the_maps_back(panel, edited, shown):
    from segment_drawing import drawSegment

    empty = np.zeros((24, 48, 56), dtype=bool)
    drawSegment(edited.nodes.segmentation, "tumor", empty, edited.nodes.ct)
    panel.ui.thresholdSlider.value = 0.3
    assert len(shown) == 1
    assert "empty" in shown[0]
    assert panel.ui.thresholdSlider.value == 0.5
    panel.ui.restoreButton.click()
    panel.ui.thresholdSlider.value = 0.3
    assert edited.outline.threshold == 0.3
    assert cells(panel)[0][4] == "● 200°"


def test_undo_keeps_what_was_drawn(panel, edited):
    panel.ui.recomputeButton.click()
    panel.ui.restoreButton.click()
    assert cells(panel)[0][4] == "◐ 120°"
    former = edited.nodes.editedOutlines
    assert list(former.GetSegmentation().GetSegmentIDs()) == ["edited-1"]
