"""Everything in the panel can be reached by the keyboard, explains itself, and can be translated: the real widgets are
walked over, so that a control that is added is looked at too."""

from __future__ import annotations

import re
import string
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from widget_tree import controls, nameOf, texts, tipOf

pytestmark = pytest.mark.render

UI = Path(__file__).resolve().parent.parent.parent / "TwinTrackSeg" / "Resources" / "UI" / "TwinTrackSeg.ui"
MENUS = set("fevh")
"""Alt with these letters opens Slicer's own menus: File, Edit, View, Help."""

PASSIVE = ("QProgressBar", "QLabel")
FEWEST_CONTROLS = 35


@pytest.fixture
def opened(panel, done):
    """The panel with a result and every section open."""
    for section in vars(panel.ui).values():
        if section.inherits("ctkCollapsibleButton"):
            section.collapsed = False
    return panel


def test_the_tab_key_comes_to_every_control_from_top_to_bottom(opened):
    import qt

    widgets = [w for w in controls(opened) if not any(w.inherits(name) for name in PASSIVE)]
    assert len(widgets) > FEWEST_CONTROLS
    for widget in widgets:
        proxy = widget.focusProxy() or widget
        assert proxy.focusPolicy & qt.Qt.TabFocus, nameOf(widget)
    start = opened.ui.readingCollapsibleButton
    chain, widget = [start], start.nextInFocusChain()
    while widget is not start:
        chain.append(widget)
        widget = widget.nextInFocusChain()
    assert [nameOf(w) for w in widgets if w not in chain] == []
    names = ["inputSelector", "segmentButton", "thresholdSlider", "vesselTable", "overlayCheckBox", "jumpButton"]
    names += ["editButton", "exportButton", "vesselSelector", "readersList", "fitButton", "bundlePathEdit"]
    places = [chain.index(getattr(opened.ui, name)) for name in names]
    assert places == sorted(places)


def test_a_table_lets_the_tab_key_out_again(opened):
    for widget in controls(opened):
        if widget.inherits("QAbstractItemView"):
            assert not widget.tabKeyNavigation, nameOf(widget)


def test_every_control_has_a_tooltip_and_a_word_for_screen_readers(opened):
    for widget in controls(opened):
        assert tipOf(widget), nameOf(widget)
        named = widget.accessibleDescription or widget.accessibleName or getattr(widget, "text", "")
        parent = widget.parentWidget()
        assert named or parent.accessibleDescription or tipOf(widget), nameOf(widget)


def test_every_label_of_a_form_leads_to_its_field(opened):
    import qt

    for form in opened.parent.findChildren(qt.QFormLayout):
        for row in range(form.rowCount()):
            label, field = form.itemAt(row, qt.QFormLayout.LabelRole), form.itemAt(row, qt.QFormLayout.FieldRole)
            if label is not None and field is not None:
                buddy = label.widget().buddy()
                assert buddy is field.widget(), nameOf(label.widget())


def test_no_two_keys_are_the_same_and_none_takes_slicers_menus(opened):
    letters = [match.lower() for _where, text in texts(opened) for match in re.findall(r"&([^&\s])", text)]
    letters.append(opened.ui.segmentButton.shortcut.toString().removeprefix("Alt+").lower())
    assert len(letters) > 10
    assert len(letters) == len(set(letters)), sorted(letters)
    assert not set(letters) & MENUS


def test_the_section_titles_open_and_close_with_the_space_bar(panel):
    import qt
    from PySide6.QtTest import QTest

    section = panel.ui.caseCollapsibleButton
    before = section.collapsed
    QTest.keyClick(section, qt.Qt.Key_Space)
    assert section.collapsed != before


def marked(text: str) -> str:
    return f"«{text}»"


@pytest.fixture
def translated(module, monkeypatch):
    """Every text that goes through the translation comes out in «quotes»."""
    for name, part in list(sys.modules.items()):
        if name.startswith(("TwinTrackSegLib.gui.", "TwinTrackSegLib.present.")) and hasattr(part, "_"):
            monkeypatch.setattr(part, "_", marked)


def test_every_text_that_the_code_writes_goes_through_the_translation(translated, opened):
    inFile = {element.text for element in ElementTree.parse(UI).getroot().iter("string")}  # translated by loadUI
    inCtk = ("Open a dialog",)  # translated by CTK
    data = (*inCtk, "Example CT", "None", "phantom-demo", "Knows phantoms only", "models", "SMA", "⚠", "%p%")
    untranslated = [
        (where, text)
        for where, text in texts(opened)
        if "«" not in text
        and text not in inFile
        and not text.startswith(data)
        and set(text) & set(string.ascii_letters)
    ]
    assert untranslated == []
