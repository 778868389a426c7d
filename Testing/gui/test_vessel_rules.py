"""The rule set for the contact pattern is chosen in the panel, kept with the scene and asked of the model."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import chosen, finishes, waitFor

pytestmark = pytest.mark.render


def choose(panel, rules: str) -> None:
    combo = panel.ui.rulesComboBox
    combo.setCurrentIndex(combo.findData(rules))
    combo.activated.emit(combo.currentIndex)


def test_the_panel_offers_what_the_engine_knows(panel):
    from twintrack.invasion import DEFAULT_RULES, rule_names

    combo = panel.ui.rulesComboBox
    assert tuple(combo.itemData(index) for index in range(combo.count)) == rule_names()
    assert combo.itemData(combo.currentIndex) == DEFAULT_RULES


def test_the_choice_is_asked_of_the_model_and_comes_back_with_the_scene(panel, ct, bundle, worker, tmp_path, scene):
    chosen(panel, ct, bundle)
    choose(panel, "dpcg")
    note = tmp_path / "asked.json"
    worker(f"json.dump(request, open({str(note)!r}, 'w'))\nsay(event='cancelled')\n")
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running)
    assert json.loads(note.read_text(encoding="utf-8"))["rules"] == "dpcg"
    path = str(tmp_path / "saved.mrb")
    assert scene.WriteToMRB(path, None)
    scene.Clear(False)
    assert panel.ui.rulesComboBox.itemData(panel.ui.rulesComboBox.currentIndex) == "nccn"
    assert scene.ReadFromMRB(path, True)
    assert panel.ui.rulesComboBox.itemData(panel.ui.rulesComboBox.currentIndex) == "dpcg"


def test_the_pattern_is_shown_with_the_rules_that_gave_it(panel, ct, bundle, worker, tmp_path):
    chosen(panel, ct, bundle)
    body = finishes(tmp_path, ct)
    path = tmp_path / "ready" / "invasion.json"
    invasion = json.loads(path.read_text(encoding="utf-8"))
    pattern = {"rule_set": "DPCG", "pattern": "artery up to 90 degrees", "reason": "not assessed: CHA"}
    path.write_text(json.dumps(invasion | {"resectability": pattern}), encoding="utf-8")
    worker(body)
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running)
    told = "Median reader, by DPCG: artery up to 90 degrees (not assessed: CHA)"
    assert told in panel.ui.readersLabel.text
