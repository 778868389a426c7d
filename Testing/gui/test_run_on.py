"""The choice of the computer that runs the model: this one, or a server."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")

from panel_steps import chosen, waitFor

pytestmark = pytest.mark.render

ADDRESS = "https://gpu.hospital.example:8786"
NOTE = "json.dump(request, open({path!r}, 'w'))\nsay(event='cancelled')\n"


def choose(panel, index: int) -> None:
    combo = panel.ui.runOnComboBox
    combo.setCurrentIndex(index)
    combo.activated.emit(index)


@pytest.fixture
def server(panel, tmp_path):
    """Choose a server, and this computer again in the end."""
    choose(panel, 1)
    panel.ui.serverLineEdit.text = ADDRESS
    panel.ui.serverLineEdit.editingFinished.emit()
    panel.ui.certificatesPathEdit.currentPath = str(tmp_path)
    yield panel
    choose(panel, 0)
    panel.ui.serverLineEdit.text = ""
    panel.ui.certificatesPathEdit.currentPath = ""


def asked(panel, worker, tmp_path) -> dict:
    note = tmp_path / "asked.json"
    worker(NOTE.format(path=str(note)))
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running)
    return json.loads(note.read_text(encoding="utf-8"))


def test_this_computer_runs_the_model_unless_a_server_is_chosen(panel, ct, bundle, worker, tmp_path):
    chosen(panel, ct, bundle)
    assert not panel.ui.serverLineEdit.isVisibleTo(panel.parent)
    assert not panel.ui.certificatesPathEdit.isVisibleTo(panel.parent)
    request = asked(panel, worker, tmp_path)
    assert request["run_on"] is None
    assert request["tls"] is None
    assert request["bundle"] == str(bundle)


def test_a_server_is_asked_with_its_own_model(server, ct, bundle, worker, tmp_path):
    chosen(server, ct, bundle)
    server.ui.setupCollapsibleButton.collapsed = False
    assert server.ui.serverLineEdit.isVisibleTo(server.parent)
    request = asked(server, worker, tmp_path)
    assert request["run_on"] == ADDRESS
    assert request["tls"] == str(tmp_path)
    assert request["bundle"] == ""


def test_a_server_needs_an_address(server, ct, bundle, shown):
    chosen(server, ct, bundle)
    server.ui.serverLineEdit.text = " "
    server.ui.segmentButton.click()
    assert not server.logic.running
    assert shown == ["give the server's address, or run on this computer"]


def test_the_server_is_remembered_by_the_machine_and_not_by_the_scene(server, module, scene):
    another = module.makeWidget()
    try:
        ui = another.pythonWidget.ui
        assert ui.runOnComboBox.currentIndex == 1
        assert ui.serverLineEdit.text == ADDRESS
    finally:
        another.pythonWidget.cleanup()
        another.deleteLater()
    node = server.logic.getParameterNode()
    values = [node.GetParameter(name) for name in node.GetParameterNames()]
    assert not any("hospital" in value for value in values)


def test_model_and_processor_are_the_servers_business(server, ct, bundle):
    chosen(server, ct, bundle)
    assert not server.ui.bundlePathEdit.enabled
    assert not server.ui.deviceComboBox.enabled
    assert "server's own model" in server.ui.bundleLabel.text
    choose(server, 0)
    assert server.ui.bundlePathEdit.enabled
    assert server.ui.deviceComboBox.enabled
    assert "server's own model" not in server.ui.bundleLabel.text


def test_a_computer_that_lets_a_server_work_needs_no_package(server, ct, bundle, worker, tmp_path, monkeypatch):
    needed = []
    monkeypatch.setattr(server.host, "ensureModel", lambda: needed.append("model"))
    chosen(server, ct, bundle)
    asked(server, worker, tmp_path)
    assert needed == []
    choose(server, 0)
    asked(server, worker, tmp_path)
    assert needed == ["model"]
