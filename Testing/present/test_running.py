"""A run without any toolkit: started, followed, cancelled, failed; a few lines of Python stand for the model."""

from __future__ import annotations

import sys
import time

import pytest

pytest.importorskip("slicer")

pytestmark = pytest.mark.process

HEAD = (
    "import json, shutil, sys, time\nrequest = json.loads(sys.stdin.readline())\n"
    "def say(**event):\n    print(json.dumps(event), flush=True)\n"
)
GOES_ON = "say(event='progress', fraction=0.3, message='member 1 of 3', remaining_s=41.3)\ntime.sleep(600)\n"
DEADLINE_SEC = 180


class Steps:
    """A run, and what became of it; `do` plays the application's timer."""

    def __init__(self, host, ct, folder) -> None:
        from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
        from TwinTrackSegLib.present.Running import RunPresenter

        self.host, self.ct, self.folder = host, ct, folder
        self.logic = TwinTrackSegLogic(graceSec=0.3)
        self.results, self.address = [], "https://gpu.hospital.example:8786"
        self.presenter = RunPresenter(host, self.logic, self.asked, lambda: "auto", self.results.append, lambda: None)

    def asked(self):
        from TwinTrackSegLib.present.ModelChoice import Asked

        return Asked(
            inputVolume=self.ct,
            region=None,
            bundle=self.folder,
            bundleEmptied=False,
            address=self.address,  # whose model needs no bundle here
            certificates=None,
            threshold=0.5,
            device="auto",
            calibrator=None,
            keepScore=False,
            rules="nccn",
        )

    def model(self, body: str) -> None:
        script = self.folder / "worker.py"
        script.write_text(HEAD + body, encoding="utf-8")
        self.logic.workerCommand = [sys.executable, str(script)]

    def do(self, condition) -> None:
        deadline = time.monotonic() + DEADLINE_SEC
        while not condition():
            assert time.monotonic() < deadline, self.host.said
            for action in list(self.host.waiting):
                self.host.waiting.remove(action)
                action()
            time.sleep(0.01)


@pytest.fixture
def run(host, ct, tmp_path):
    steps = Steps(host, ct, tmp_path)
    yield steps
    steps.presenter.end()


def test_a_run_is_followed_and_cancelled_once(run, host):
    run.model(GOES_ON)
    presenter = run.presenter
    assert (presenter.state.button.text, presenter.state.button.enabled) == ("Segment", False)
    presenter.setReady(True)
    presenter.press()
    assert host.said[-1] == ("Starting the model...", False)
    run.do(lambda: host.said[-1] == ("member 1 of 3, about 45 s left", False))
    state = presenter.state
    assert (state.running, state.fraction, state.hasLog, state.button.text) == (True, 0.3, True, "Cancel")
    assert state.bar.startswith("30 % after 0:")
    presenter.cancel()
    assert not presenter.state.button.enabled
    presenter.cancel()  # a second press is no second message
    assert [said for said, _loud in host.said].count("Cancelling...") == 1
    run.do(lambda: not presenter.state.running)
    assert host.said[-1] == ("Cancelled.", False)
    assert (presenter.state.bar, presenter.state.button.text, presenter.state.button.enabled) == ("", "Segment", True)
    assert run.results == []


def test_a_run_that_ends_well_hands_its_result_over_and_says_no_more(run, host, ct, tmp_path):
    from TwinTrackSegLib.mrml.SelfTest import writeExampleResult

    ready = writeExampleResult(tmp_path / "ready", ct)
    run.model(f"shutil.copytree({str(ready)!r}, request['out'])\nsay(event='done', out=request['out'])\n")
    run.presenter.press()
    run.do(lambda: not run.presenter.state.running)
    assert [result.nodes.ct for result in run.results] == [ct]
    assert host.said[-1] == ("", False)
    assert host.waiting == []


def test_a_run_that_fails_says_why_and_the_next_one_starts(run, host):
    error = "say(event='error', kind='RoiError', message='no pancreas was found')\n"
    run.model(f"{error}for request in sys.stdin:\n    {error}")
    for _again in range(2):
        run.presenter.press()
        run.do(lambda: not run.presenter.state.running)
        assert host.said[-1] == ("Failed: no pancreas was found", True)
    assert host.errors == ["no pancreas was found"] * 2


def test_what_cannot_be_run_starts_no_process(run, host):
    run.address = ""
    run.presenter.press()
    assert host.said == [("Failed: give the server's address, or run on this computer", True)]
    assert not run.presenter.state.running
    assert host.waiting == []


def test_packages_are_seen_to_only_for_a_model_in_the_applications_own_python(run, host):
    from dataclasses import replace

    asked = run.asked()
    assert not asked.needsPackages
    assert replace(asked, address=None).needsPackages
    assert not replace(asked, address=None, ownPython=True).needsPackages


def test_the_process_gets_ready_after_a_pause_and_only_where_nothing_is_missing(run, host):
    run.model(GOES_ON)
    host.modelIsThere = False
    run.presenter.prepareSoon()
    run.presenter.prepareSoon()
    assert len(host.waiting) == 1  # counted from the last choice
    host.waiting.pop()()
    assert not run.logic.waiting
    host.modelIsThere = True
    run.presenter.prepareSoon()
    host.waiting.pop()()
    assert run.logic.waiting
    run.presenter.end()
    assert not run.logic.waiting
    assert host.waiting == []


def test_the_end_of_a_scene_ends_its_run(run, host):
    run.model(GOES_ON)
    run.presenter.press()
    run.presenter.end()
    assert host.said[-1] == ("Cancelled.", False)
    assert not run.presenter.state.running
    assert host.waiting == []
