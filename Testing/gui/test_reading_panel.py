"""The reading section: it fits into a reading room's panel, nothing in it is cut off, and its keys and buttons work."""

from __future__ import annotations

import json
import re
import shutil

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import cells, chosen
from widget_tree import nameOf, texts

pytestmark = pytest.mark.render

WIDTH_PX, HEIGHT_PX = 420, 700
"""What the section may take of a panel in its usual width."""

CLICKS_TO_A_RESULT = 2
"""From the opened module; the first click, on the module, is Slicer's."""

ADMINISTRATORS_WORDS = re.compile(
    r"\b(bundle|score|rd\.|tumou?r labels?|calibrator|python|server|checkpoint)\b", re.IGNORECASE
)
WINDOWS_HU = {"pancreas": (400, 40), "liver": (150, 30), "vessels": (600, 200)}


def five(result, invasion) -> None:
    """All that the demo model says of a phantom: six vessels, one not measured; long names of patterns."""
    one = invasion["vessels"]["SMA"]
    severe = {**one, "category": "encasement", "p_contact": 0.99, "p_encased": 0.6}
    free = {**one, "category": "none", "angle_deg": [0] * 5, "gap_mm": [12.3] * 5, "p_contact": 0.01, "p_encased": 0}
    invasion["vessels"] |= {"PORTA": severe, "SMV": dict(one), "AORTA": free, "PORTA_SMV": dict(one)}
    why = "not assessed: too little of the vessel's wall near the tumour map was searched for tumour"
    invasion["vessels"]["CELIAC"] = {"present": True, "angle_deg": [None] * 5, "reason": why}
    note = "calibrated on 60 cases with 5 readers each"
    invasion |= {"statements": "calibrated", "statements_note": note}
    severest, second = "arterial encasement or aortic contact", "arterial abutment, venous encasement or caval contact"
    fractions = {severest: 0.89, second: 0.08, "venous abutment only": 0.01, "no contact": 0.02}
    pattern = {"pattern": severest, "rule_set": "NCCN-type 180-degree rule", "statements": "calibrated"}
    pattern |= {"reason": "not assessed: CELIAC; the pattern holds for the other vessels only"}
    pattern |= {"not_assessed": ["CELIAC"]}
    invasion["resectability"] = pattern | {"probability": fractions}
    volumes = {"p10": 11.5, "median": 22.5, "p90": 34.0}
    result["statements"] = {"source": "calibrated", "note": note, "any_tumour": 0.99, "volume_ml": volumes}
    result["bundle"] |= {"demo": True, "raters": 5}
    result["warnings"] = ["Demo bundle: it knows phantoms only."]


LONG_WARNINGS = [
    "This CT is unlike those that the model was made with, and its result may be wrong without looking so: slices of "
    "8.0 mm (0.7 to 3.0); noise of 41 HU (8 to 25).",
    "The vessels are not brighter than without contrast medium; tumour and vessel contact cannot be judged on such a "
    "CT.",
    "The arteries are far brighter than the veins (310 and 120 HU), as in an early arterial phase; tumour and contact "
    "with veins are read from a pancreatic or portal venous phase.",
    "The region was given by hand; nothing checked that it holds the pancreas.",
]


@pytest.fixture
def shownFull(panel, ct, bundle, readyResult, tmp_path):
    """Return a function that shows a result with all that is usually said, and further warnings."""

    def show(*warnings):
        folder = shutil.copytree(readyResult, tmp_path / f"full-{len(warnings)}")
        names = ("result.json", "invasion.json")
        files = {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in names}
        five(*files.values())
        files["result.json"]["warnings"] += warnings
        for name, content in files.items():
            (folder / name).write_text(json.dumps(content), encoding="utf-8")
        chosen(panel, ct, bundle)
        panel._takeResult(panel.logic.loadResult(folder, ct))
        return panel.results.result

    return show


@pytest.fixture
def full(shownFull):
    """A result with all that is usually said, shown in the panel."""
    return shownFull()


def layOut(panel) -> None:
    """Bring the panel on the screen in its usual width."""
    import slicer

    panel.parent.show()
    for _again in range(6):  # labels that wrap need a second look, in each box around them
        panel.parent.setFixedSize(WIDTH_PX, panel.parent.layout().totalHeightForWidth(WIDTH_PX))
        slicer.app.processEvents()


@pytest.fixture
def laidOut(panel, full):
    """The panel on the screen in its usual width."""
    layOut(panel)
    return panel


def bottomOf(panel, widget) -> int:
    import qt

    return widget.mapTo(panel.parent, qt.QPoint(0, widget.height)).y()


def test_several_warnings_leave_slider_and_vessels_in_view_and_are_there_at_a_press(panel, shownFull):
    from segment_drawing import drawSegment

    from TwinTrackSegLib.mrml.VolumeConversion import segmentMask

    ui, result = panel.ui, shownFull(*LONG_WARNINGS)
    layOut(panel)
    assert bottomOf(panel, ui.readingCollapsibleButton) <= HEIGHT_PX
    mask = segmentMask(result.nodes.segmentation, "tumor", result.nodes.ct).copy()
    mask[: mask.any(axis=(1, 2)).argmax() + 2] = False
    drawSegment(result.nodes.segmentation, "tumor", mask, result.nodes.ct)
    ui.recomputeButton.click()
    layOut(panel)
    assert ui.editedLabel.isVisible()
    assert bottomOf(panel, ui.vesselTable) <= HEIGHT_PX
    line = ui.warningsLabel.fontMetrics().height()
    for label in (ui.warningsLabel, ui.editedLabel):
        assert label.height < 2 * line, label.text
    assert ui.moreButton.text == "All 4"
    assert all(warning in ui.moreButton.toolTip for warning in LONG_WARNINGS)
    ui.moreButton.click()
    layOut(panel)
    assert ui.warningsLabel.text.splitlines() == [f"⚠ {warning}" for warning in LONG_WARNINGS]
    assert ui.warningsLabel.height >= ui.warningsLabel.heightForWidth(ui.warningsLabel.width)
    assert "from before the edit" in ui.editedLabel.text
    assert ui.moreButton.text == "Less"
    shownFull()  # the next result begins folded
    assert not ui.moreButton.isVisible()
    shownFull(*LONG_WARNINGS[:2])
    assert ui.moreButton.text == "All 2"


def test_the_reading_section_fits_and_what_is_set_once_is_closed(laidOut):
    section = laidOut.ui.readingCollapsibleButton
    assert laidOut.parent.layout().minimumSize().width() <= WIDTH_PX
    assert section.width <= WIDTH_PX
    assert section.y + section.height <= HEIGHT_PX
    ui = laidOut.ui
    assert all(s.collapsed for s in (ui.setupCollapsibleButton, ui.caseCollapsibleButton, ui.readersCollapsibleButton))


@pytest.mark.parametrize("sample", [0, 2])
def test_the_section_fits_with_readers_and_samples_too(panel, ct, bundle, tmp_path, sample):
    from rater_example import writeSampleResult

    folder = writeSampleResult(tmp_path / "full", ct)
    names = ("result.json", "invasion.json")
    files = {name: json.loads((folder / name).read_text(encoding="utf-8")) for name in names}
    five(*files.values())
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    chosen(panel, ct, bundle)
    panel._takeResult(panel.logic.loadResult(folder, ct))
    if sample:
        panel.results.showSample(sample)
    layOut(panel)
    assert panel.ui.readerRow.isVisible()
    assert panel.ui.sampleRow.isVisible() == (sample > 0)
    section = panel.ui.readingCollapsibleButton
    assert section.y + section.height <= HEIGHT_PX
    assert panel.parent.layout().minimumSize().width() <= WIDTH_PX


def test_nothing_in_the_reading_section_is_cut_off(laidOut):
    import qt

    seen = [w for w in laidOut.ui.readingCollapsibleButton.findChildren(qt.QWidget) if w.isVisible()]
    for widget in seen:
        if widget.inherits("QPushButton") or widget.inherits("QToolButton") or widget.inherits("QCheckBox"):
            assert widget.width >= widget.minimumSizeHint().width(), nameOf(widget)
            words = widget.fontMetrics().boundingRect(widget.text.replace("&", "")).width()
            assert words <= widget.width, nameOf(widget)
        elif widget.inherits("QLabel"):
            assert widget.height >= widget.heightForWidth(widget.width), nameOf(widget)
    table = laidOut.ui.vesselTable
    metrics, header = table.fontMetrics(), table.horizontalHeader()
    for column in range(table.columnCount):
        for line in table.horizontalHeaderItem(column).text().split("\n"):
            assert metrics.boundingRect(line).width() <= header.sectionSize(column), line
        for row in range(table.rowCount):
            if table.columnSpan(row, column) > 1 or table.item(row, column).text() == "–":
                continue  # a sentence over several cells, whose lines are broken to fit
            index = table.model().index(row, column)
            assert table.sizeHintForIndex(index).width() <= table.columnWidth(column), table.item(row, column).text()
    assert table.rowCount == 6
    assert table.visualItemRect(table.item(5, 4)).bottom() <= table.viewport().height


def test_fractions_of_readers_come_first_in_a_row(panel, full):
    assert cells(panel)[0] == ["Portal vein", "over 97", "60", "● 120° (0–240)", "◐ 120°"]
    assert cells(panel)[-1] == ["Aorta", "under 3", "under 3", "○ 0° (0–240)", "○ 12.3 mm"]


def test_no_word_of_the_administrators_stands_in_the_reading_section(laidOut):
    import qt

    inside = {nameOf(w) for w in laidOut.ui.readingCollapsibleButton.findChildren(qt.QWidget)}
    for where, text in texts(laidOut):
        if where.removesuffix(" tooltip") in inside and "phantom-demo" not in text:
            assert not ADMINISTRATORS_WORDS.search(text), (where, text)


def test_a_demonstration_is_said_once_loudly_and_where_the_result_is_read(laidOut):
    import qt

    labels = laidOut.ui.readingCollapsibleButton.findChildren(qt.QLabel)
    said = [label.objectName for label in labels if label.isVisible() and "demo" in label.text.lower()]
    assert said == ["resultBadge"]
    assert laidOut.ui.resultBadge.y < laidOut.ui.vesselTable.y
    laidOut.results.show(None)
    assert not laidOut.ui.resultBadge.isVisible()


@pytest.fixture
def keys(panel, full):
    """Return a function that presses one of the panel's keys."""
    shortcuts = {key.key.toString(): key for key in panel.reading._keys}
    return lambda name: shortcuts[name].activated.emit()


def test_keys_step_through_vessels_and_thresholds(panel, keys):
    selection = panel.ui.vesselTable.selectionModel()
    keys("Ctrl+Down")
    keys("Ctrl+Down")
    assert [index.row() for index in selection.selectedRows()] == [1]
    keys("Ctrl+Up")
    assert [index.row() for index in selection.selectedRows()] == [0]
    keys("Ctrl+Left")
    assert panel.ui.thresholdSlider.value == pytest.approx(0.45)
    keys("Ctrl+Right")
    keys("Ctrl+Right")
    assert panel.ui.thresholdSlider.value == pytest.approx(0.55)
    panel.parent.exit()
    assert panel.reading._keys == []  # another module's again


@pytest.fixture
def layers(scene):
    """The layers of a slice view, which a scene that is cleared would keep."""
    node = scene.AddNewNodeByClass("vtkMRMLSliceCompositeNode")
    yield node
    scene.RemoveNode(node)


def test_the_overlay_goes_and_comes_back_as_it_was(panel, layers, full):
    full.show()
    panel.results.refresh()
    assert panel.ui.overlayCheckBox.checked
    panel.ui.opacitySlider.value = 80
    assert layers.GetForegroundOpacity() == pytest.approx(0.8)
    panel.ui.overlayCheckBox.click()
    assert layers.GetForegroundOpacity() == 0
    panel.ui.jumpButton.click()
    assert layers.GetForegroundOpacity() == 0  # it is not forced back
    panel.ui.overlayCheckBox.click()
    assert layers.GetForegroundOpacity() == pytest.approx(0.8)


@pytest.mark.parametrize("name", WINDOWS_HU)
def test_a_window_preset_sets_the_grey_values_and_is_pressed(panel, full, name):
    button = getattr(panel.ui, f"{name}WindowButton")
    button.click()
    display = full.nodes.ct.GetDisplayNode()
    assert (display.GetWindow(), display.GetLevel()) == WINDOWS_HU[name]
    pressed = [other for other in WINDOWS_HU if getattr(panel.ui, f"{other}WindowButton").checked]
    assert pressed == [name]
    assert button.text in ("Pancreas", "Liver", "Vessels")
    assert f"{WINDOWS_HU[name][0]} HU" in button.toolTip


def test_lesions_follow_the_outline_and_lead_to_their_place(panel, full, monkeypatch):
    from TwinTrackSegLib.present import ViewChoices

    combo, places = panel.ui.lesionComboBox, []
    before = combo.itemText(0)
    panel.ui.thresholdSlider.value = 0.2
    panel.results.settle()
    assert combo.itemText(0) != before
    assert re.fullmatch(r"1: \d+\.\d\d mL, \d+\.\d mm across", combo.itemText(0))
    monkeypatch.setattr(ViewChoices, "jumpToPoint", lambda _node, ras: places.append(ras))
    combo.activated.emit(0)
    (ras,) = places
    assert ras == pytest.approx(full.center(), abs=2.0)


def test_a_button_leads_back_from_segment_editor(panel, full, monkeypatch):
    import qt
    import segment_editor

    import slicer
    from TwinTrackSegLib.gui.ResultPanel import openSegmentEditor

    editor, window = segment_editor.install(monkeypatch), qt.QMainWindow()
    monkeypatch.setattr(slicer.util, "mainWindow", lambda: window)
    openSegmentEditor(full)
    (button,) = window.statusBar().findChildren(qt.QPushButton)
    assert editor.opened == "SegmentEditor"
    button.click()
    assert editor.opened == "TwinTrackSeg"
    assert window.statusBar().findChildren(qt.QPushButton) == []


def test_who_comes_back_by_another_way_leaves_no_button_behind(panel, full, monkeypatch):
    import qt
    import segment_editor

    import slicer
    from TwinTrackSegLib.gui.ResultPanel import openSegmentEditor

    segment_editor.install(monkeypatch)
    window = qt.QMainWindow()
    monkeypatch.setattr(slicer.util, "mainWindow", lambda: window)
    openSegmentEditor(full)
    openSegmentEditor(full)
    assert len(window.statusBar().findChildren(qt.QPushButton)) == 1
    panel.parent.exit()
    panel.parent.enter()
    assert window.statusBar().findChildren(qt.QPushButton) == []
    panel.parent.exit()


def test_from_an_empty_scene_to_a_result_it_takes_two_clicks_and_no_decision(panel, worker, tmp_path, shown):
    from panel_steps import finishes, waitFor

    import slicer

    clicks = []

    def press(button) -> None:
        assert button.isVisibleTo(panel.parent)
        assert button.enabled
        clicks.append(button.text)
        button.click()

    press(panel.ui.sampleButton)
    ct = panel.ui.inputSelector.currentNode()
    assert ct is not None
    assert not panel.ui.sampleButton.isVisibleTo(panel.parent)
    worker(finishes(tmp_path, ct))
    press(panel.ui.segmentButton)
    waitFor(lambda: not panel.logic.running)
    assert panel.ui.resultBox.isVisibleTo(panel.parent)
    assert panel.ui.resultComboBox.currentText
    assert len(clicks) == CLICKS_TO_A_RESULT
    assert shown == []
    assert slicer.mrmlScene.IsNodePresent(panel.results.result.nodes.mhr)
