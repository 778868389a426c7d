"""The .ui file and the code agree: names, properties of the real classes, nothing that only PySide knows."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytestmark = pytest.mark.render

pytest.importorskip("slicer")
pytest.importorskip("PySide6")

MODULE = Path(__file__).resolve().parent.parent.parent / "TwinTrackSeg"
UI = MODULE / "Resources" / "UI" / "TwinTrackSeg.ui"
SOURCES = sorted((MODULE / "TwinTrackSegLib" / "gui").glob("*.py"))

REAL_PROPERTIES = {
    "ctkCollapsibleButton": {"text", "collapsed"},
    "ctkPathLineEdit": {"currentPath", "filters", "nameFilters", "settingKey"},
    "ctkSliderWidget": {"decimals", "singleStep", "pageStep", "minimum", "maximum", "value", "tracking", "suffix"},
    "qMRMLNodeComboBox": {"nodeTypes", "hideChildNodeTypes", "noneEnabled", "addEnabled", "removeEnabled"},
    "qMRMLWidget": set(),
}
"""Properties of CTK's and Slicer's own classes that the file may use, beside those of QWidget."""

PYSIDE_ONLY = re.compile(
    r"\.(exec_|emit)\(|\bPySide|Signal\(|\.isChecked\(\)|\.currentIndex\(\)|(?<!\))\.text\(\)(?! for)"
)
"""Calls that PythonQt does not have, where a Qt property of that name is an attribute.

An item of a table has no properties: its `text()` is a call there too.
"""


def widgets():
    return {element.get("name"): element for element in ElementTree.parse(UI).getroot().iter("widget")}


def test_every_name_that_the_code_uses_is_in_the_file():
    named = set(widgets()) | {f"vessel{n}ComboBox" for n in ("Porta", "Smv", "Aorta", "Celiac", "Sma")}
    for source in SOURCES:
        for name in re.findall(r"\bui\.([A-Za-z]\w*)", source.read_text(encoding="utf-8")):
            assert name in named, f"{source.name}: ui.{name}"


def test_every_property_in_the_file_belongs_to_the_class():
    import qt

    plain = {qt.QWidget.staticMetaObject.property(n).name() for n in range(qt.QWidget.staticMetaObject.propertyCount())}
    for name, element in widgets().items():
        kind = element.get("class")
        known = plain | REAL_PROPERTIES.get(kind, set())
        if kind not in REAL_PROPERTIES:
            meta = getattr(qt, kind).staticMetaObject
            known |= {meta.property(n).name() for n in range(meta.propertyCount())} | {"buddy"}
        for entry in element.findall("property"):
            if entry.get("stdset") != "0":
                assert entry.get("name") in known, f"{name} ({kind}): {entry.get('name')}"


def test_every_control_can_be_reached_by_the_keyboard(panel):
    import qt

    for name, widget in vars(panel.ui).items():
        if type(widget).__name__ in ("QPushButton", "QComboBox", "QCheckBox", "QTableWidget", "QListWidget"):
            assert widget.focusPolicy & qt.Qt.TabFocus, name


def test_no_call_that_only_pyside_knows_stands_in_the_panels_code():
    for source in SOURCES:
        for number, line in enumerate(source.read_text(encoding="utf-8").splitlines(), start=1):
            assert not PYSIDE_ONLY.search(line), f"{source.name}:{number}: {line.strip()}"


def test_names_that_are_no_words_are_kept_from_translators():
    for name, element in widgets().items():
        for entry in element.findall("property"):
            if entry.get("name") in ("nodeTypes", "hideChildNodeTypes", "SlicerParameterName"):
                assert entry[0].get("notr") == "true", f"{name}: {entry.get('name')}"
