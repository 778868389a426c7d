"""What ``twintrack doctor`` finds, and that it tells nobody's name."""

from __future__ import annotations

import json
import socket
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from archive_server import free_port
from twintrack.cli.app import run_command
from twintrack.studies import doctor
from twintrack.studies.doctor import Finding, examine

PORT = 0


def looked_at(**options: object) -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(PORT, self_test=False, **options)}


def test_every_package_that_the_installation_asks_for_is_told_with_its_version():
    found = {finding.name: finding for finding in examine(PORT, self_test=False) if finding.topic == "packages"}
    asked = [Requirement(line) for line in metadata.requires("twintrack")]
    needed = {each.name for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})}
    assert {name: finding.value for name, finding in found.items()} == {name: metadata.version(name) for name in needed}
    assert all(finding.problem is None for finding in found.values())


@pytest.mark.parametrize(
    ("line", "value"),
    [("no-such-package-here>=2", "missing"), ("numpy>=99", metadata.version("numpy"))],
)
def test_a_package_that_is_missing_or_too_old_comes_with_its_remedy(line, value, monkeypatch):
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: [line])
    name = Requirement(line).name
    found = looked_at()[name]
    assert found.value == value
    assert f"pip install '{line}'" in found.problem


def test_a_port_that_is_taken_is_told():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        found = {finding.name: finding for finding in examine(port, self_test=False)}
        assert "in use" in found[f"port {port}"].value
    assert {finding.name: finding for finding in examine(port, self_test=False)}[f"port {port}"].value == "free"


def test_little_memory_and_a_temporary_folder_without_permission_are_problems(monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "available_memory", lambda: 10**9)
    monkeypatch.setattr(doctor.os, "access", lambda place, mode: False)
    found = looked_at()
    assert "1.0 GB free" in found["memory"].value
    assert found["memory"].problem is not None
    assert "no permission" in found["temporary files"].problem


def test_neither_the_home_folder_nor_the_name_of_the_computer_is_told(monkeypatch, tmp_path):
    home = tmp_path / "a-user-s-name"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / ".cache"))
    monkeypatch.setenv("TWINTRACK_CLIENTS", "/srv/a-user-s-name/clients.json")
    told = json.dumps([finding.to_json() for finding in examine(PORT, self_test=False)])
    assert "~" in told
    assert "TWINTRACK_CLIENTS" in told
    assert "a-user-s-name" not in told
    assert socket.gethostname() not in told


@pytest.mark.network
def test_the_demo_model_is_tried_and_all_is_in_order(capsys):
    assert run_command(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"]
    tried = {finding["name"]: finding["value"] for finding in told["findings"] if finding["topic"] == "self-test"}
    assert float(tried["a run"].split()[1]) > doctor.LEAST_DICE


@pytest.mark.network
def test_weights_that_were_changed_and_networks_that_find_nothing_are_problems(monkeypatch, tmp_path, capsys):
    import shutil

    from twintrack.bundle import places

    copy = Path(shutil.copytree(places.demo_bundle_path(), tmp_path / "bundle"))
    monkeypatch.setattr(places, "demo_bundle_path", lambda: copy)
    weights = next(copy.rglob("*.pth"))
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    assert run_command(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "! a run: failed" in shown
    assert weights.name in shown
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "LEAST_DICE", 1.01)
    assert run_command(["doctor"]) == 1
    assert "it should be over 1.01" in capsys.readouterr().out
