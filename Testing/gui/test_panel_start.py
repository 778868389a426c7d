"""Opening the module: what it says, what can be chosen, what is got ready."""

from __future__ import annotations

import json
import shutil

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import GOES_ON, chosen, waitFor

pytestmark = pytest.mark.render

DEMONSTRATION = "On a patient's CT its result means nothing."


def test_module_says_what_it_is(module):
    assert module.title == "TwinTrackSeg"
    assert module.categories == ["Segmentation"]
    assert "research use only" in module.helpText.lower()
    assert module.acknowledgementText
    assert not module.icon.isNull()


@pytest.mark.parametrize("version", [(5, 10), (5, 11), (4, 13)])
def test_a_slicer_that_is_too_old_gets_one_sentence_and_no_panel(module, scene, monkeypatch, version):
    import qt

    import slicer

    monkeypatch.setattr(type(slicer.app), "majorVersion", version[0])
    monkeypatch.setattr(type(slicer.app), "minorVersion", version[1])
    widget = module.makeWidget()
    try:
        widget.enter()
        (label,) = [part for part in widget.findChildren(qt.QLabel) if part.text]
        assert label.text.startswith(f"TwinTrackSeg needs 3D Slicer 5.12 or newer; this is {version[0]}.{version[1]},")
        assert widget.findChildren(qt.QAbstractButton) == []
        scene.Clear(False)
        widget.exit()
    finally:
        widget.pythonWidget.cleanup()
        widget.deleteLater()


def test_newer_slicers_get_the_panel(module, scene, monkeypatch):
    import slicer

    for version in ((5, 13), (6, 0)):
        monkeypatch.setattr(type(slicer.app), "majorVersion", version[0])
        monkeypatch.setattr(type(slicer.app), "minorVersion", version[1])
        widget = module.makeWidget()
        assert widget.pythonWidget.ui.segmentButton.text == "Segment"
        widget.pythonWidget.cleanup()
        widget.deleteLater()


def test_an_empty_scene_leaves_nothing_to_press(panel):
    assert not panel.ui.segmentButton.enabled
    assert not panel.ui.resultBox.enabled
    assert "Choose a CT" in panel.ui.segmentButton.toolTip


def test_choosing_a_ct_enables_segment(panel, ct):
    panel.ui.inputSelector.setCurrentNode(ct)
    assert panel.ui.segmentButton.enabled


def test_a_demo_bundle_says_that_it_is_one_and_a_missing_one_gets_a_sentence(panel, bundle, tmp_path):
    panel.ui.bundlePathEdit.currentPath = str(bundle)
    assert DEMONSTRATION in panel.ui.bundleLabel.text
    assert "phantom-demo 1.2" in panel.ui.bundleLabel.text
    panel.ui.bundlePathEdit.currentPath = str(tmp_path / "nothing")
    assert DEMONSTRATION not in panel.ui.bundleLabel.text
    assert "not a model bundle" in panel.ui.bundleLabel.text


def test_a_bundle_that_is_no_demo_is_not_called_one(panel, bundle):
    document = json.loads((bundle / "bundle.json").read_text(encoding="utf-8"))
    (bundle / "bundle.json").write_text(json.dumps({**document, "demo": False}), encoding="utf-8")
    panel.ui.bundlePathEdit.currentPath = str(bundle)
    assert "phantom-demo 1.2" in panel.ui.bundleLabel.text
    assert DEMONSTRATION not in panel.ui.bundleLabel.text


def test_a_zipped_bundle_is_described_without_unpacking(panel, bundle, tmp_path):
    archive = shutil.make_archive(str(tmp_path / "bundle"), "zip", bundle.parent, bundle.name)
    panel.ui.bundlePathEdit.currentPath = archive
    assert "phantom-demo 1.2" in panel.ui.bundleLabel.text
    assert DEMONSTRATION in panel.ui.bundleLabel.text


def test_the_models_process_starts_early_once_a_ct_is_chosen_and_ends_with_the_scene(
    panel, ct, bundle, worker, scene, monkeypatch
):
    worker(GOES_ON)
    monkeypatch.setattr(panel.host, "canRunModel", lambda: True)
    chosen(panel, ct, bundle)
    assert panel.logic._supervisor.worker is None  # not while the user is still choosing
    panel.run.presenter.prepareSoon(0)
    waitFor(lambda: panel.logic._supervisor.worker is not None)
    assert not panel.logic.running
    scene.Clear(False)
    assert panel.logic._supervisor.worker is None


def test_nothing_starts_early_while_packages_are_missing(panel, ct, bundle, worker, monkeypatch):
    import slicer

    asked = []
    monkeypatch.setattr(panel.host, "canRunModel", lambda: asked.append("model"))
    worker(GOES_ON)
    chosen(panel, ct, bundle)
    panel.run.presenter.prepareSoon(0)
    waitFor(lambda: asked)
    slicer.app.processEvents()
    assert panel.logic._supervisor.worker is None
