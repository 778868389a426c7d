"""Missing Python packages: found without importing, asked for, and never Slicer's own."""

from __future__ import annotations

import importlib.metadata
import os
from pathlib import Path

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")

ABSENT = "no-such-package-twintrack"


@pytest.fixture
def dependencies(module):
    from TwinTrackSegLib.gui import Dependencies

    return Dependencies


@pytest.fixture
def requirements(tmp_path):
    """Return a function that writes a requirements file, beside a list of wheels."""
    (tmp_path / "wheels.txt").write_text(f"{ABSENT}==1.0\n", encoding="utf-8")

    def write(*lines: str) -> str:
        path = tmp_path / "requirements.txt"
        path.write_text("\n".join(lines), encoding="utf-8")
        return str(path)

    return write


def names(missing) -> list[str]:
    return [requirement.name for requirement in missing]


def test_what_is_installed_is_not_missing(dependencies, requirements):
    assert dependencies.missingRequirements(requirements("# a comment", "", "packaging>=20  # and why")) == []


def test_absent_and_too_old_packages_are_missing(dependencies, requirements):
    assert names(dependencies.missingRequirements(requirements(ABSENT, "packaging>=9999"))) == [ABSENT, "packaging"]


def test_slicers_own_packages_are_never_asked_for(dependencies, requirements):
    path = requirements("numpy>=9999", "VTK>=9999", "simpleitk>=9999", "pydicom>=9999")
    assert dependencies.missingRequirements(path) == []


def test_the_modules_own_list_can_be_read(dependencies, panel):
    path = panel.resourcePath("requirements.txt")
    assert len(Path(path).read_text(encoding="utf-8").splitlines()) > 3
    assert dependencies.missingRequirements(path) == []  # the tests run where all of it is installed


def test_nothing_missing_asks_nothing(dependencies, requirements, monkeypatch):
    monkeypatch.setattr(dependencies, "_install", lambda _missing: pytest.fail("asked"))
    dependencies.ensureDependencies(requirements("packaging"))


def test_missing_torch_without_its_extension_names_the_extension(dependencies, requirements, monkeypatch):
    monkeypatch.setattr(dependencies, "_isMet", lambda _requirement: False)
    with pytest.raises(dependencies.DependencyError, match="extension PyTorch"):
        dependencies.ensureDependencies(requirements("torch>=2.4"))


@pytest.mark.skipif("SLICER_SOURCE" in os.environ, reason="Slicer's own installer is used there")
def test_a_declined_installation_is_an_error_and_installs_nothing(dependencies, requirements, monkeypatch):
    import slicer

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_a, **_k: False)
    monkeypatch.setattr(slicer.util, "pip_install", lambda *_a: pytest.fail("installed"), raising=False)
    with pytest.raises(dependencies.DependencyError, match="declined"):
        dependencies.ensureDependencies(requirements(ABSENT))


@pytest.mark.skipif("SLICER_SOURCE" in os.environ, reason="Slicer's own installer is used there")
def test_an_installation_pins_what_must_not_change_and_is_checked_afterwards(dependencies, requirements, monkeypatch):
    import slicer

    asked = []

    def install(arguments):
        flag, constraints, *wanted = arguments
        with open(constraints, encoding="utf-8") as file:  # noqa: PTH123
            asked.append((flag, file.read().splitlines(), wanted))

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_a, **_k: True)
    monkeypatch.setattr(slicer.util, "pip_install", install, raising=False)
    with pytest.raises(dependencies.DependencyError, match=f"missing: {ABSENT}") as raised:
        dependencies.ensureDependencies(requirements(ABSENT))
    assert raised.value.details.splitlines()[-1] == f"{ABSENT}==1.0"
    ((flag, pins, wanted),) = asked
    assert flag == "-c"
    assert wanted == [ABSENT]
    assert f"numpy=={importlib.metadata.version('numpy')}" in pins
