"""What is chosen for a run, without a toolkit: choices of the machine, vessels of the scene, a check of packages."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("slicer")


def setUp(host, line: str = "model"):
    from TwinTrackSegLib.present.SetUp import SetUp

    return SetUp(host, lambda: line, lambda: None)


PARAMETERS = SimpleNamespace(
    inputVolume=None, regionOfInterest=None, bundlePath=Path("model"), threshold=0.4, rules="dpcg"
)


def test_the_choices_of_the_machine_come_back_and_what_is_gone_does_not(host, tmp_path):
    own = tmp_path / "calibrator.json"
    own.write_text("{}")
    first = setUp(host)
    assert (first.device, first.remote, first.ownPython) == ("auto", False, False)
    first.chooseDevice("cpu")
    first.chooseCalibrator(str(own))
    first.choosePython(sys.executable)
    first.chooseComputer("server", " https://gpu.hospital.example ", str(tmp_path))
    again = setUp(host)
    assert (again.device, again.calibrator, again.python) == ("cpu", str(own), sys.executable)
    assert (again.remote, again.server, again.certificates) == (True, "https://gpu.hospital.example", str(tmp_path))
    assert again.workerCommand[0] == sys.executable
    own.unlink()
    host.kept["device"] = "a card of a former machine"
    later = setUp(host)
    assert (later.device, later.calibrator) == ("auto", "")


def test_a_path_that_leads_nowhere_is_used_but_not_remembered(host, tmp_path):
    chosen = setUp(host)
    chosen.chooseCalibrator(str(tmp_path / "nothing.json"))  # the run refuses it by its name
    assert chosen.asked(PARAMETERS, keepScore=False, vessels=None).calibrator.endswith("nothing.json")
    assert "calibrator" not in host.kept
    chosen.choosePython(str(tmp_path / "no python"))
    assert not chosen.ownPython
    assert chosen.workerCommand != [str(tmp_path / "no python")]
    assert "python" not in host.kept


def test_a_server_takes_model_and_processor_over(host):
    chosen = setUp(host)
    assert chosen.state.here
    chosen.chooseComputer("server", "https://gpu.hospital.example", "")
    assert not chosen.state.here
    assert "server's own model" in chosen.state.model
    asked = chosen.asked(PARAMETERS, keepScore=True, vessels=None)
    assert (asked.address, asked.certificates, asked.needsPackages) == ("https://gpu.hospital.example", None, False)
    assert (asked.threshold, asked.rules, asked.keepScore) == (0.4, "dpcg", True)
    chosen.chooseComputer("here", "https://gpu.hospital.example", "")
    assert chosen.asked(PARAMETERS, keepScore=True, vessels=None).address is None


def test_a_field_without_a_model_says_so_and_names_none(host):
    chosen = setUp(host, "")
    assert chosen.state.model == "Choose a model bundle."
    assert chosen.asked(PARAMETERS, keepScore=False, vessels=None).bundleEmptied
    assert (chosen.firstBundle() / "bundle.json").is_file()  # the demonstration, where nothing was remembered


def test_only_a_model_that_can_be_read_is_that_of_the_next_scene(host, tmp_path):
    from twintrack.bundle.model_bundle import demo_bundle_path

    chosen = setUp(host)
    chosen.chooseBundle(tmp_path)
    assert "bundle" not in host.kept
    chosen.chooseBundle(demo_bundle_path())
    assert host.kept["bundle"] == str(demo_bundle_path())


# -- vessels of the scene


@pytest.fixture
def segmentation(ct):
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Vessels")
    node.SetReferenceImageGeometryParameterFromVolumeNode(ct)
    for number, name in enumerate(("SMA", "VP", "Pfortader", "Aorta")):
        node.GetSegmentation().AddEmptySegment(f"s{number}", name)
    return node


@pytest.fixture
def vessels(host, scene):
    from TwinTrackSegLib.present.OwnVessels import OwnVessels

    chosen = SimpleNamespace(vesselSegmentation=None, vesselMapping="", regionOfInterest=None)
    presenter = OwnVessels(host, lambda: None)
    presenter.bind(chosen)
    return presenter, chosen


@pytest.mark.slow
def test_segments_are_guessed_and_what_is_said_of_them_stays(vessels, segmentation):
    presenter, chosen = vessels
    presenter.follow()
    assert not presenter.state.offered
    assert presenter.choice is None
    chosen.vesselSegmentation = segmentation
    presenter.follow()
    state = presenter.state
    assert [name for _key, name in state.segments] == ["none", "SMA", "VP", "Pfortader", "Aorta"]
    assert state.chosen == {"PORTA": "", "SMV": "", "AORTA": "s3", "CELIAC": "", "SMA": "s0"}
    assert state.hint == "2 segments could be the portal vein: VP, Pfortader; choose one."
    presenter.choose("PORTA", "s1")
    assert presenter.state.hint == ""
    presenter.bind(chosen)  # the scene comes back
    presenter.follow()
    assert presenter.choice.segments == {"PORTA": "s1", "SMV": "", "AORTA": "s3", "CELIAC": "", "SMA": "s0"}


@pytest.mark.slow
def test_vessels_and_region_of_another_ct_are_let_go_and_that_is_said(vessels, host, ct, segmentation):
    presenter, chosen = vessels
    chosen.vesselSegmentation = segmentation
    presenter.letGo(ct)
    assert chosen.vesselSegmentation is segmentation
    assert host.said == []
    presenter.letGo(object())
    assert chosen.vesselSegmentation is None
    chosen.regionOfInterest = object()
    presenter.letGo(ct)
    assert chosen.regionOfInterest is None
    assert host.said == [("Another CT: vessels and region of the last one are no longer chosen.", False)] * 2


# -- a check of the packages


class Found:
    """A check that has found what it found after one look."""

    current, number, count = "torch", 1, 2

    def __init__(self, broken) -> None:
        self.broken, self.looks, self.cancelled = broken, 0, False

    def poll(self) -> bool:
        self.looks += 1
        return self.looks == 1

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def checking(host):
    """Return a function that makes a presenter whose checks find the given packages broken, one after the other."""
    from TwinTrackSegLib.present.Checking import CheckPresenter

    def make(*findings, ownPython: bool = False):
        checks, repaired = [Found(broken) for broken in findings], []
        left = iter(checks)
        presenter = CheckPresenter(host, lambda: next(left), repaired.append, lambda: ownPython, lambda: None)
        return presenter, checks, repaired

    return make


def play(host) -> None:
    while host.waiting:
        host.waiting.pop(0)()


def test_what_is_broken_is_repaired_once_after_a_question(checking, host):
    presenter, _checks, repaired = checking(["torch"], ["torch"])
    assert presenter.button == "Check and repair the installation"
    presenter.press()
    assert presenter.button == "Cancel the check"
    assert host.said == [("Checking package 1 of 2: torch", False)]
    play(host)
    assert host.questions == ["These packages cannot be imported: torch. Install them again?"]
    assert repaired == [["torch"]]
    assert host.said[-1] == ("Still not working: torch", True)
    assert presenter.button == "Check and repair the installation"


@pytest.mark.parametrize(("answer", "ownPython", "asked"), [(False, False, 1), (True, True, 0)])
def test_nothing_is_repaired_without_a_yes_nor_in_another_python(checking, host, answer, ownPython, asked):
    host.answer = answer
    presenter, _checks, repaired = checking(["torch"], ownPython=ownPython)
    presenter.press()
    play(host)
    assert len(host.questions) == asked
    assert repaired == []


def test_a_check_is_given_up_at_a_second_press(checking, host):
    presenter, checks, _repaired = checking([])
    presenter.press()
    presenter.press()
    assert checks[0].cancelled
    assert host.said[-1] == ("The check was cancelled.", False)
    assert host.waiting == []


@pytest.mark.slow
def test_vessels_come_from_a_file_whose_path_is_typed_and_go_with_an_empty_one(vessels, host, ct, tmp_path):
    from twintrack.io.volumes import write_volume
    from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

    presenter, chosen = vessels
    whole = volumeFromNode(ct)
    labels = whole.with_array((whole.array > whole.array.mean()).astype("uint8"))
    write_volume(labels, tmp_path / "own.nii.gz", names={"aorta": 1})
    presenter.chooseFile(f'"{tmp_path / "own.nii.gz"}"', ct)
    state = presenter.state
    assert (state.name, [name for name, key in state.chosen.items() if key]) == ("own", ["AORTA"])
    presenter.chooseFile(str(tmp_path / "none.nii.gz"), ct)
    presenter.chooseRegion(str(tmp_path / "none.mrk.json"))
    assert [
        str(tmp_path / name) in error for name, error in zip(("none.nii.gz", "none.mrk.json"), host.errors, strict=True)
    ]
    assert presenter.state.name == "own"
    presenter.chooseFile("", ct)
    assert presenter.choice is None
    assert chosen.regionOfInterest is None
