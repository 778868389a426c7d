"""The buttons by which a model for patients is got; the installed model becomes the panel's choice."""

from __future__ import annotations

import shutil

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import waitFor

pytestmark = [pytest.mark.render, pytest.mark.process]


def test_files_that_were_brought_become_the_panels_model(panel, tmp_path, monkeypatch, shown):
    import qt

    from twintrack.bundle.places import demo_bundle_path

    monkeypatch.setenv("TWINTRACK_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(panel.host, "ensureModel", lambda: None)
    path = shutil.make_archive(str(tmp_path / "ours"), "zip", demo_bundle_path())
    monkeypatch.setattr(qt.QFileDialog, "getOpenFileNames", lambda *_a, **_k: [path])
    panel.ui.modelFilesButton.click()
    assert panel.ui.getModelButton.text == "Stop"
    assert not panel.ui.modelFilesButton.enabled
    waitFor(lambda: not panel.models.presenter.busy)
    assert shown == []
    assert str(tmp_path / "models") in panel.ui.bundlePathEdit.currentPath
    assert "Model installed" in panel.ui.statusLabel.text
    assert panel.ui.getModelButton.text == "Get a model..."


def test_a_no_to_the_terms_asks_no_network(panel, tmp_path, monkeypatch):
    import slicer

    monkeypatch.setenv("TWINTRACK_MODELS", str(tmp_path / "models"))
    asked, told = [], []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *_a, **_k: asked.append(text))
    monkeypatch.setattr(
        slicer.util, "infoDisplay", lambda *_a, **more: told.append(more["detailedText"]), raising=False
    )
    panel.ui.getModelButton.click()
    assert "not for commercial use" in asked[0]
    assert not panel.models.presenter.busy
    panel.ui.modelForItButton.click()
    assert "SHA-256" in told[0]
