"""Another Python runs the model from inside Slicer, whose launcher names its own Python's home to what it starts."""

from __future__ import annotations

import json
import os
import sysconfig
import venv

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from panel_steps import HEAD, chosen, waitFor

pytestmark = pytest.mark.render

LAUNCHER = ("PYTHONHOME", "PYTHONNOUSERSITE", "PYTHONPATH", "LD_LIBRARY_PATH")
READY_SEC = 600


@pytest.fixture
def launched(application, monkeypatch, tmp_path):
    """The environment as Slicer's launcher leaves it: home and packages of a Python that another one cannot use."""
    site = tmp_path / "Slicer" / "lib" / "Python"
    (site / "numpy").mkdir(parents=True)
    (site / "numpy" / "__init__.py").write_text("raise ImportError('built for the Python of Slicer')\n")
    for name in LAUNCHER:
        monkeypatch.setenv(name, str(site))
    return site


@pytest.fixture
def foreign(tmp_path):
    """A virtual environment of its own, which finds the packages of this one."""
    folder = tmp_path / "another env"
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return str(folder / "bin" / "python")


@pytest.mark.skipif(os.name == "nt", reason="the folders of a virtual environment have other names there")
def test_the_real_worker_gets_ready_in_another_python(panel, foreign, launched):
    panel.ui.pythonPathEdit.currentPath = foreign
    panel.logic.prepare()
    waitFor(lambda: panel.logic.prepared or not panel.logic.waiting, READY_SEC)
    assert panel.logic.prepared, list(panel.logic._supervisor._worker.log)
    panel.ui.pythonPathEdit.currentPath = ""


@pytest.mark.skipif(os.name == "nt", reason="the folders of a virtual environment have other names there")
def test_check_and_repair_asks_the_other_python_in_its_own_environment(panel, foreign, launched, tmp_path, shown):
    (tmp_path / "requirements.txt").write_text("packaging>=20\nno-such-package-twintrack>=1\n")
    panel.install._requirements = str(tmp_path / "requirements.txt")
    panel.ui.pythonPathEdit.currentPath = foreign
    panel.ui.repairButton.click()
    waitFor(lambda: panel.install.presenter.check is None)
    assert panel.ui.statusLabel.text == "Cannot be imported by the chosen Python: no-such-package-twintrack"
    assert shown == []
    panel.ui.pythonPathEdit.currentPath = ""


@pytest.mark.skipif(os.name == "nt", reason="the folders of a virtual environment have other names there")
def test_nothing_of_the_launcher_reaches_another_python_and_all_of_it_slicers(
    panel, ct, bundle, foreign, launched, tmp_path
):
    from TwinTrackSegLib.mrml.worker.Interpreter import slicerPython, workerEnvironment

    script, note = tmp_path / "worker.py", tmp_path / "environment.json"
    script.write_text(HEAD + f"json.dump(dict(os.environ), open({str(note)!r}, 'w'))\nsay(event='cancelled')\n")
    chosen(panel, ct, bundle)
    panel.logic.workerCommand = [foreign, str(script)]
    panel.ui.segmentButton.click()
    waitFor(lambda: not panel.logic.running)
    told = json.loads(note.read_text(encoding="utf-8"))
    assert not [name for name in LAUNCHER if str(launched) in told.get(name, "")]
    assert "PYTHONHOME" not in told
    own = workerEnvironment(slicerPython())
    assert [name for name in LAUNCHER if str(launched) in own[name]] == list(LAUNCHER)


def test_a_home_that_was_there_before_slicer_does_not_reach_another_python_either(application, monkeypatch, tmp_path):
    import qt

    from TwinTrackSegLib.mrml.worker.Interpreter import workerEnvironment

    before = qt.QProcessEnvironment()
    before.insert("PYTHONHOME", "/opt/Slicer/lib/Python")  # Slicer was started without its launcher
    before.insert("HOME", "/home/reader")
    monkeypatch.setattr(application, "_startupEnvironment", before)
    environment = workerEnvironment(str(tmp_path / "python"))
    assert "PYTHONHOME" not in environment
    assert environment["HOME"] == "/home/reader"
