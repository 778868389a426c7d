"""The panel can be read in Slicer's light and dark theme, and what must not be missed stands where the numbers are."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import chosen

pytestmark = pytest.mark.render

TEXT_CONTRAST, GRAPHICS_CONTRAST = 4.5, 3.0
"""WCAG 2.2, success criteria 1.4.3 and 1.4.11, level AA."""

FAR_APART = 20.0
"""In CIELAB; about ten times the smallest difference that is seen."""

COLOR_VISION = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
"""How the complete forms see linear sRGB; Machado, Oliveira and Fernandes 2009, doi:10.1109/TVCG.2009.113."""

LINEAR_SRGB_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(color) -> np.ndarray:
    """Return linear sRGB of an (R, G, B) of 0 to 255 or a ``#rrggbb``."""
    if isinstance(color, str):
        color = [int(color[n : n + 2], 16) for n in (1, 3, 5)]
    share = np.asarray(color, dtype=float) / 255
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def contrast(one, other) -> float:
    lights = sorted(float(linear(color) @ [0.2126, 0.7152, 0.0722]) for color in (one, other))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def lab(color, vision: str) -> np.ndarray:
    seen = np.clip(np.asarray(COLOR_VISION[vision]) @ linear(color), 0, 1)
    x = LINEAR_SRGB_TO_XYZ @ seen / np.array([0.9505, 1.0, 1.089])
    f = np.where(x > (6 / 29) ** 3, np.cbrt(x), x / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def tables():
    """Backgrounds of table cells in both themes."""
    from themes import THEMES

    return [colors[place] for colors in THEMES.values() for place in (2, 3)]


def test_contrast_is_computed_as_wcag_says():
    assert contrast("#ffffff", "#000000") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_the_colors_of_categories_stand_out_from_tables_in_both_themes(module):
    from TwinTrackSegLib.present.VesselRows import CATEGORY_COLORS

    for category, color in CATEGORY_COLORS.items():
        for background in tables():
            assert contrast(color, background) >= GRAPHICS_CONTRAST, (category, background)


@pytest.mark.parametrize("vision", COLOR_VISION)
def test_the_colors_of_categories_are_told_apart_by_every_kind_of_color_vision(module, vision):
    from TwinTrackSegLib.present.VesselRows import CATEGORY_COLORS

    colors = [CATEGORY_COLORS[name] for name in ("encasement", "abutment", "none")]
    for one, other in itertools.combinations(colors, 2):
        assert np.linalg.norm(lab(one, vision) - lab(other, vision)) > FAR_APART


def lookOf(label):
    """Return how a label was dressed, by what it wears."""
    import qt

    from TwinTrackSegLib.gui.Feedback import Look

    roles = (label.foregroundRole(), label.backgroundRole())
    (look,) = [look for look in Look if roles == tuple(getattr(qt.QPalette, name) for name in look.value[:2])]
    assert label.autoFillBackground == (look is not Look.PLAIN)
    assert label.font.bold() == look.value[2]
    return look


def test_badge_and_error_are_loud_warnings_and_edits_are_notes(panel, done):
    from TwinTrackSegLib.gui.Feedback import Look, sayStatus

    ui = panel.ui
    sayStatus(ui, "no", failed=True)
    assert {lookOf(label) for label in (ui.resultBadge, ui.statusLabel)} == {Look.LOUD}
    notes = (ui.warningsLabel, ui.editedLabel, ui.sourceLabel, ui.inputHintLabel, ui.mismatchLabel)
    assert {lookOf(label) for label in notes} == {Look.NOTE}
    sayStatus(ui, "yes")
    assert lookOf(ui.statusLabel) is Look.PLAIN


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_look_can_be_read_in_both_themes_and_follows_them_at_once(panel, done, theme):
    import qt
    from themes import paletteOf, useTheme

    import slicer
    from TwinTrackSegLib.gui.Feedback import Look

    palette, badge = paletteOf(theme), panel.ui.resultBadge
    for look in Look:
        pair = [palette.color(getattr(qt.QPalette, name)).getRgb()[:3] for name in look.value[:2]]
        assert contrast(*pair) >= TEXT_CONTRAST, look
    panel.parent.show()
    try:
        useTheme(theme)
        slicer.app.processEvents()
        picture = badge.grab().toImage()
    finally:
        useTheme("light")
    background = palette.color(qt.QPalette.WindowText).getRgb()[:3]
    assert picture.pixelColor(1, 1).getRgb()[:3] == background
    text = [picture.pixelColor(x, y).getRgb()[:3] for x in range(picture.width()) for y in range(picture.height())]
    assert max(contrast(color, background) for color in text) >= TEXT_CONTRAST


def test_no_style_sheet_and_no_color_but_those_of_categories_stands_in_the_panel(panel, done):
    import qt

    assert not [w.objectName for w in panel.parent.findChildren(qt.QWidget) if w.styleSheet]
    folder = Path(sys.modules["TwinTrackSegLib"].__file__).parent / "gui"
    literal = re.compile(
        r"#[0-9a-fA-F]{6}\b|styleSheet|setColor\(|\brgba?\(|\bcolor=|qt\.Qt\.(red|green|blue|yellow|black|white)"
    )
    for path in (*folder.glob("*.py"), folder.parents[1] / "Resources" / "UI" / "TwinTrackSeg.ui"):
        assert not literal.search(path.read_text(encoding="utf-8")), path.name


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_other_texts_wear_the_theme(panel, done, theme):
    import qt
    from themes import paletteOf

    palette = paletteOf(theme)
    roles = (("WindowText", "Window"), ("ButtonText", "Button"), ("Text", "Base"), ("Text", "AlternateBase"))
    for names in roles:
        pair = [palette.color(getattr(qt.QPalette, name)).getRgb()[:3] for name in names]
        assert contrast(*pair) >= TEXT_CONTRAST


def load(panel, ct, bundle, readyResult, folder, changes):
    """Load the example result with another record."""
    shutil.copytree(readyResult, folder)
    record = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    (folder / "result.json").write_text(json.dumps(record | changes), encoding="utf-8")
    chosen(panel, ct, bundle)
    panel._takeResult(panel.logic.loadResult(folder, ct))


def test_the_demo_badge_stands_above_the_numbers_and_stays_with_the_result(panel, done, bundle):
    document = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    (bundle / "bundle.json").write_text(json.dumps({**document, "demo": False}), encoding="utf-8")
    panel.ui.bundlePathEdit.currentPath = ""
    panel.ui.bundlePathEdit.currentPath = str(bundle)  # another bundle is chosen for the next run
    assert panel.ui.resultBadge.isVisibleTo(panel.parent)
    assert "DEMO MODEL" in panel.ui.resultBadge.text
    panel.parent.show()
    assert panel.ui.resultBadge.y < panel.ui.thresholdRow.y < panel.ui.vesselTable.y


def test_a_result_of_a_real_bundle_says_research_use_only(panel, ct, bundle, readyResult, tmp_path):
    about = {"name": "real", "version": "2", "demo": False, "raters": 5}
    load(panel, ct, bundle, readyResult, tmp_path / "real", {"bundle": about})
    assert not panel.ui.resultBadge.isVisibleTo(panel.parent)
    assert "Research use only" in panel.ui.researchLabel.text
    assert "Made by real 2" in panel.ui.notesLabel.text


def test_which_ct_a_result_belongs_to_is_its_title_and_stays_with_it(panel, ct, done):
    assert panel.ui.resultComboBox.currentText == "Example CT"
    line = panel.ui.notesLabel.text.splitlines()[0]
    digits = done.record.result["input"]["sha256"][:8]
    assert line == f"Case Example CT · CT {digits} · made 2026-01-01 00:00:00 UTC"
    ct.SetName("another name")
    panel.results.show(done)
    assert panel.results.state.title == "Example CT"
    panel.results.show(None)
    assert panel.results.state.title == ""


def test_warnings_of_a_ct_unlike_the_training_stand_above_the_numbers(panel, ct, bundle, readyResult, tmp_path):
    warnings = ["Demo bundle: it knows phantoms only.", "The CT is unlike the training's: slices of 8 mm."]
    load(panel, ct, bundle, readyResult, tmp_path / "odd", {"warnings": warnings})
    assert panel.ui.warningsLabel.isVisibleTo(panel.parent)
    assert panel.ui.warningsLabel.text == "⚠ The CT is unlike the training's: slices of 8 mm."
    panel.parent.show()
    assert panel.ui.warningsLabel.y < panel.ui.volumeLabel.y


def test_a_vessel_that_could_not_be_measured_says_so_and_why(panel, ct, bundle, readyResult, tmp_path):
    folder = shutil.copytree(readyResult, tmp_path / "ends")
    invasion = json.loads((folder / "invasion.json").read_text(encoding="utf-8"))
    invasion["vessels"]["PORTA"] = {"present": True, "angle_deg": [None] * 5, "reason": "the tumour lies at its end"}
    (folder / "invasion.json").write_text(json.dumps(invasion), encoding="utf-8")
    chosen(panel, ct, bundle)
    panel._takeResult(panel.logic.loadResult(folder, ct))
    table, why = panel.ui.vesselTable, "the tumour lies at its end"
    said = "Readers: read from the map, not calibrated"
    assert table.item(1, 1).toolTip().splitlines() == ["Portal vein", "? not measured", why, said]
    assert " ".join(table.item(1, 1).text().split()) == why
    assert table.columnSpan(1, 1) == 3  # beside the vessel, over the cells that it leaves empty


def test_a_fraction_without_an_angle_is_not_called_unmeasured_and_says_why_beside_it(
    panel, ct, bundle, readyResult, tmp_path
):
    folder = shutil.copytree(readyResult, tmp_path / "hidden")
    invasion = json.loads((folder / "invasion.json").read_text(encoding="utf-8"))
    why = "the tumour touches the vessel where no cross-section can be measured"
    invasion["vessels"]["PORTA"] = {"present": True, "angle_deg": [None] * 5, "p_contact": 0.55, "reason": why}
    (folder / "invasion.json").write_text(json.dumps(invasion), encoding="utf-8")
    chosen(panel, ct, bundle)
    panel._takeResult(panel.logic.loadResult(folder, ct))
    table = panel.ui.vesselTable
    texts = [" ".join(table.item(1, column).text().split()) for column in range(3)]
    assert texts == ["Portal vein", "55", why]
    assert "? angle unknown" in table.item(1, 2).toolTip()
    assert table.columnSpan(1, 2) == 2
    panel.parent.show()
    panel.parent.resize(500, 900)
    cell = table.visualItemRect(table.item(1, 2))
    assert cell.right() <= table.viewport().width
    lines, metrics = table.item(1, 2).text().splitlines(), table.fontMetrics()
    assert len(lines) > 1
    assert cell.height() >= len(lines) * metrics.height()
    assert all(metrics.boundingRect(line).width() <= cell.width() for line in lines)


def test_no_column_is_scrolled_away(panel, done):
    table = panel.ui.vesselTable
    panel.parent.show()
    panel.parent.resize(420, 900)
    last = table.columnCount - 1
    right = table.horizontalHeader().sectionViewportPosition(last) + table.columnWidth(last)
    assert right <= table.viewport().width


STATED = {
    "statements": "calibrated",
    "statements_note": "calibrated on 60 cases with 5 readers each",
    "fraction_angles_deg": [0, 90, 180],
}


def loadStated(panel, ct, bundle, readyResult, folder):
    """Load the example result with calibrated statements."""
    shutil.copytree(readyResult, folder)
    invasion = json.loads((folder / "invasion.json").read_text(encoding="utf-8")) | STATED
    sma = {"p_contact": 0.02, "p_encased": 0.0, "angle_median_deg": 0.0, "category": "none"}
    invasion["vessels"]["SMA"] |= sma | {"statements": "calibrated", "fraction_over": [0.02, 0.01, 0.0]}
    pattern = {"pattern": "no contact", "rule_set": "rules", "statements": "calibrated"}
    invasion["resectability"] = pattern | {"probability": {"arterial contact": 0.25, "no contact": 0.75}}
    (folder / "invasion.json").write_text(json.dumps(invasion), encoding="utf-8")
    volumes = {"p10": 1.5, "median": 2.5, "p90": 4.0}
    note = {"source": "calibrated", "note": STATED["statements_note"], "any_tumour": 0.99, "volume_ml": volumes}
    record = json.loads((folder / "result.json").read_text(encoding="utf-8")) | {"statements": note}
    (folder / "result.json").write_text(json.dumps(record), encoding="utf-8")
    chosen(panel, ct, bundle)
    panel._takeResult(panel.logic.loadResult(folder, ct))


def test_fractions_that_are_levels_of_the_map_are_marked_as_such_above_the_numbers(panel, done):
    from TwinTrackSegLib.gui.Feedback import Look

    source = panel.ui.sourceLabel
    assert source.isVisibleTo(panel.parent)
    assert source.text == "What readers are expected to say: read from the map, not calibrated."
    assert lookOf(source) is Look.NOTE  # as loud as a warning
    panel.parent.show()
    assert source.y < panel.ui.readersLabel.y < panel.ui.thresholdRow.y


def test_calibrated_statements_say_on_whom_and_fractions_come_before_the_pattern(
    panel, ct, bundle, readyResult, tmp_path
):
    from TwinTrackSegLib.gui.Feedback import Look

    loadStated(panel, ct, bundle, readyResult, tmp_path / "stated")
    assert panel.ui.sourceLabel.text.endswith(": calibrated on 60 cases with 5 readers each.")
    assert lookOf(panel.ui.sourceLabel) is Look.PLAIN
    lines = panel.ui.readersLabel.text.splitlines()
    assert lines[:2] == [
        "Contact pattern: arterial contact 25 %, no contact 75 %",
        "Median reader, by rules: no contact",
    ]
    assert lines[2].startswith("Any tumour: over 97 % of readers. Volume: median 2.5 mL, 8 of 10 readers 1.5–4.0 mL,")
    panel.ui.thresholdSlider.value = 0.2
    assert panel.ui.readersLabel.text.splitlines() == lines
    assert "attern" not in panel.ui.volumeLabel.text  # no reader's: this outline has no pattern of its own
    row = [panel.ui.vesselTable.item(0, column).text() for column in range(5)]
    assert row == ["SMA", "under 3", "under 3", "○ 0° (0–240)", "● 220°"]
    panel.results.show(None)
    assert not panel.ui.sourceLabel.isVisibleTo(panel.parent)
    assert panel.ui.readersLabel.text == ""


def test_without_a_result_nothing_of_one_is_seen(panel, ct):
    assert not panel.ui.resultBox.isVisibleTo(panel.parent)
    assert not panel.ui.resultBox.enabled
