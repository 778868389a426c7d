"""Missing Python packages: found without importing, asked for, and never Slicer's own."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from expected_errors import raises_error

pytestmark = pytest.mark.render

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


@pytest.fixture
def asking(dependencies, monkeypatch):
    """Answer questions with `answer`, let `install` do what pip would; return what was asked and installed."""
    import slicer.packaging

    import slicer

    class Asking:
        answer, extension = True, True

        def __init__(self):
            self.questions, self.installed, self.present = [], [], set()

        def install(self, *names):
            self.installed += names
            self.present |= {name.split(">=")[0] for name in names}

    asking = Asking()

    class PyTorchUtilsLogic:
        def installTorch(self, askConfirmation=False, torchVersionRequirement=None):
            asking.install(f"torch{torchVersionRequirement}")
            return sys

    find = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, "PyTorchUtils", SimpleNamespace(PyTorchUtilsLogic=PyTorchUtilsLogic))
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: asking.extension if n == "PyTorchUtils" else find(n))
    monkeypatch.setattr(type(slicer.app), "testingEnabled", lambda _self: False)
    monkeypatch.setattr(slicer.packaging, "pip_install", lambda names, **_how: asking.install(*names))
    monkeypatch.setattr(dependencies, "_isMet", lambda requirement: requirement.name in asking.present)

    def confirm(text, *_a, **_k):
        asking.questions.append(text)
        return asking.answer

    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", confirm)
    return asking


def test_one_question_names_what_needs_what_and_all_of_it_is_installed(dependencies, requirements, asking):
    dependencies.ensureDependencies(requirements("torch>=2.4", ABSENT), purpose="The report")
    (question,) = asking.questions
    assert question.startswith(f"The report needs Python packages that are not installed: torch, {ABSENT}.")
    assert asking.installed == ["torch>=2.4", ABSENT]


def test_who_declines_is_asked_for_nothing_more(dependencies, requirements, asking):
    asking.answer = False
    with raises_error(dependencies.DependencyError, "packages-missing") as raised:
        dependencies.ensureDependencies(requirements("torch>=2.4", ABSENT))
    assert len(asking.questions) == 1
    assert asking.installed == []
    assert raised.value.details.splitlines()[-1] == f"{ABSENT}==1.0"


def test_a_pytorch_that_was_not_installed_ends_it(dependencies, requirements, asking, monkeypatch):
    monkeypatch.setattr(sys.modules["PyTorchUtils"].PyTorchUtilsLogic, "installTorch", lambda _self, **_how: None)
    with raises_error(dependencies.DependencyError, "packages-missing", "PyTorch"):
        dependencies.ensureDependencies(requirements("torch>=2.4", ABSENT))
    assert asking.installed == []


def test_missing_torch_without_its_extension_names_the_extension(dependencies, requirements, asking):
    asking.extension = None
    with raises_error(dependencies.DependencyError, "packages-missing", "PyTorch"):
        dependencies.ensureDependencies(requirements("torch>=2.4"))
    assert asking.questions == []


@pytest.mark.parametrize("where", ["pip", "torch"])
def test_an_installation_that_fails_gives_a_sentence(dependencies, requirements, asking, monkeypatch, where):
    import slicer.packaging

    def fail(*_arguments, **_how):
        raise subprocess.CalledProcessError(1, ["pip"])

    if where == "pip":
        monkeypatch.setattr(slicer.packaging, "pip_install", fail)
    else:
        monkeypatch.setattr(sys.modules["PyTorchUtils"].PyTorchUtilsLogic, "installTorch", fail)
    with raises_error(dependencies.DependencyError, "packages-missing"):
        dependencies.ensureDependencies(requirements("torch>=2.4", ABSENT))


def test_what_pip_leaves_out_is_noticed_afterwards(dependencies, requirements, asking, monkeypatch):
    import slicer.packaging

    skipped = []
    monkeypatch.setattr(slicer.packaging, "pip_install", lambda _n, **how: skipped.extend(how["skip_packages"]))
    with raises_error(dependencies.DependencyError, "packages-missing", ABSENT) as raised:
        dependencies.ensureDependencies(requirements(ABSENT))
    assert raised.value.details.splitlines()[-1] == f"{ABSENT}==1.0"
    assert {"numpy", "pydicom", "SimpleITK", "torch"} <= set(skipped)


def test_the_panel_shows_the_help_as_details_of_the_error(panel, ct, monkeypatch):
    import slicer
    from TwinTrackSegLib.gui import Dependencies

    shown = []
    monkeypatch.setattr(slicer.util, "errorDisplay", lambda text, *_a, **more: shown.append((text, more)))
    monkeypatch.setattr(Dependencies, "_isMet", lambda _requirement: False)
    panel.ui.inputSelector.setCurrentNode(ct)
    panel.ui.segmentButton.click()
    ((sentence, more),) = shown
    assert "extension PyTorch" in sentence
    assert "pip download" in more["detailedText"]
    assert re.search(r"^torch==[\d.]+$", more["detailedText"], re.MULTILINE)
