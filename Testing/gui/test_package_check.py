"""Check and repair: packages are imported by a process of their own; the panel stays alive and can give it up."""

from __future__ import annotations

import os
import sys
import time

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import waitFor

pytestmark = pytest.mark.render

CRASHES = "import os\nos.abort()\n"
SLEEPS = "import time\ntime.sleep(600)\n"
PRINTS = "print('chatter of a library')\n"


@pytest.fixture
def packages(panel, tmp_path, monkeypatch):
    """Return a function that puts packages where the child finds them, and into the list of what the model needs."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))

    def make(**contents) -> None:
        for name, content in contents.items():
            (site / name).mkdir()
            if content is not None:
                (site / name / "__init__.py").write_text(content)
        list_ = tmp_path / "requirements.txt"
        list_.write_text("".join(f"{name}>=5.0\n" for name in contents))
        panel.install._requirements = str(list_)

    make.site = site
    return make


@pytest.fixture
def answers(monkeypatch):
    """Say yes to the repair, and note what was installed."""
    import slicer

    questions = []
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda text, *_a, **_k: questions.append(text) or True)
    return questions


def check(panel) -> str:
    panel.ui.repairButton.click()
    waitFor(lambda: panel.install.presenter.check is None)
    return panel.ui.statusLabel.text


def test_half_installed_packages_are_found_and_installed_again(panel, packages, answers, monkeypatch, shown):
    import slicer

    packages(whole="", half=None)  # an empty folder: Python imports it without a word
    installed = []

    def repair(arguments):
        installed.append(arguments)
        (packages.site / "half" / "__init__.py").write_text("")

    monkeypatch.setattr(slicer.util, "pip_install", repair, raising=False)
    assert check(panel) == "Repaired."
    assert len(answers) == 1
    assert "half" in answers[0]
    assert installed == [["--force-reinstall", "--no-deps", "half>=5.0"]]
    assert check(panel) == "All packages of the model can be imported."
    assert shown == []


def test_what_a_repair_does_not_mend_is_said_and_not_tried_again(panel, packages, answers, monkeypatch):
    import slicer

    packages(half=None)
    monkeypatch.setattr(slicer.util, "pip_install", lambda _arguments: None, raising=False)
    assert check(panel) == "Still not working: half"
    assert len(answers) == 1


def test_pytorch_is_left_to_its_extension_and_the_rest_is_repaired(panel, packages, answers, monkeypatch, shown):
    import slicer

    packages(torch="raise ImportError", half=None)
    installed = []
    monkeypatch.setattr(slicer.util, "pip_install", installed.append, raising=False)
    assert check(panel).startswith("Failed: PyTorch is damaged: uninstall it in the module PyTorch Utils")
    assert installed == [["--force-reinstall", "--no-deps", "half>=5.0"]]
    assert len(shown) == 1


def test_a_package_that_takes_its_interpreter_down_is_named_and_the_others_are_checked(panel, packages, monkeypatch):
    import slicer

    packages(first="raise ValueError", crashes=CRASHES, prints=PRINTS, last="import no_such_module_of_twintrack")
    monkeypatch.setattr(slicer.util, "confirmOkCancelDisplay", lambda *_a, **_k: False)
    assert check(panel) == "Cannot be imported: first, crashes, last"


def test_the_panel_stays_alive_tells_how_far_it_is_and_cancels(panel, packages):
    packages(quick="", sleeps=SLEEPS)
    title, began = panel.ui.repairButton.text, time.monotonic()
    panel.ui.repairButton.click()
    assert time.monotonic() - began < 60  # the package sleeps for ten minutes
    waitFor(lambda: panel.ui.statusLabel.text == "Checking package 2 of 2: sleeps")
    process = panel.install.presenter.check._process
    assert panel.ui.repairButton.text == "Cancel the check"
    panel.ui.repairButton.click()
    assert not process.alive
    assert panel.ui.statusLabel.text == "The check was cancelled."
    assert panel.ui.repairButton.text == title


def test_a_program_that_is_no_python_is_refused(panel, packages, tmp_path, shown):
    packages(whole="")
    for name, content in (("silent", "#!/bin/sh\nexit 0\n"), ("unknown", "no program")):
        path = tmp_path / name
        path.write_text(content)
        path.chmod(0o755)
        panel.ui.pythonPathEdit.currentPath = str(path)
        assert "cannot be used as Python" in check(panel)
    panel.ui.pythonPathEdit.currentPath = ""
    assert len(shown) == 2


def test_closing_the_module_ends_the_check(panel, packages):
    packages(sleeps=SLEEPS)
    panel.ui.repairButton.click()
    process = panel.install.presenter.check._process
    assert process.alive
    panel.cleanup()
    assert not process.alive
    assert sys.executable == panel.logic.workerCommand[0]
