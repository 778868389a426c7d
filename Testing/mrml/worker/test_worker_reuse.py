"""The worker stays between runs, is replaced when it has ended, and never outlives the logic."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer")
import twintrack
from expected_errors import raises_error
from twintrack import errors
from twintrack.phantom import make_phantom
from TwinTrackSegLib.mrml.SelfTest import makeExampleCt
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume, volumeFromNode
from TwinTrackSegLib.mrml.worker.RunSettings import RunSettings
from TwinTrackSegLib.mrml.worker.WorkerEvents import processorFor
from TwinTrackSegLib.mrml.worker.WorkerProcess import WorkerCrash

pytestmark = pytest.mark.process

DEMO_BUNDLE = Path(twintrack.__file__).parent / "data" / "demo_bundle"
SETTINGS = RunSettings(bundle="somewhere")
TIMEOUT_SEC = 600
STAYS = """
say(event='ready', devices=[dict(device='cuda:0', title='Card', total_bytes=8e9, free_bytes=6e9), dict(device='cpu')])
while request:
    say(event='progress', fraction=0.5, message=str(os.getpid()), remaining_s=7.5,
        device=dict(device='cpu', total_bytes=4e9, free_bytes='much'), notes=['the CPU runs it'])
    if request['bundle'] == 'waits':
        assert sys.stdin.readline() == 'cancel\\n'
        say(event='cancelled')
    elif request['bundle'] == 'dies':
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        say(event='error', kind='RoiError', message='no pancreas')
    line = sys.stdin.readline()
    request = json.loads(line) if line else None
"""
"""A worker that ends each run at once in an error, waits for a cancel, or dies, as the bundle's name says."""

needsModel = pytest.mark.skipif(importlib.util.find_spec("nnunetv2") is None, reason="nnunetv2 is not installed")


@pytest.fixture
def logic(scene, scriptedWorker):
    logic = TwinTrackSegLogic(scriptedWorker(STAYS))
    yield logic
    logic.close()


def pidOfRun(logic: TwinTrackSegLogic, bundle: str, error: type[Exception]) -> int:
    """Run with `bundle`, expect `error`, and return the process id that the worker says."""
    said = []

    def note(_fraction: float, message: str) -> None:
        said.append(int(message))
        if bundle == "waits":
            logic.cancel()

    logic.start(makeExampleCt(), RunSettings(bundle), note)
    with pytest.raises(error):
        logic.wait(TIMEOUT_SEC)
    return said[0]


def isGone(pid: int) -> bool:
    deadline = time.monotonic() + TIMEOUT_SEC
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def test_runs_share_one_worker_whether_they_fail_or_are_cancelled(logic):
    first = pidOfRun(logic, "fails", errors.RoiError)
    assert pidOfRun(logic, "waits", errors.Cancelled) == first
    assert pidOfRun(logic, "fails", errors.RoiError) == first


@pytest.mark.skipif(os.name == "nt", reason="there are no signals")
def test_a_worker_that_died_in_a_run_or_between_runs_is_replaced(logic):
    first = pidOfRun(logic, "dies", WorkerCrash)
    second = pidOfRun(logic, "fails", errors.RoiError)
    assert second != first
    os.kill(second, signal.SIGKILL)
    while logic.prepared:
        time.sleep(0.01)
    third = pidOfRun(logic, "fails", errors.RoiError)
    assert third not in (first, second)


@pytest.mark.skipif(sys.platform != "linux", reason="a process that is gone looks different elsewhere")
@pytest.mark.parametrize("end", ["close", "forget"])
def test_the_worker_ends_with_the_logic(scene, scriptedWorker, end):
    logic = TwinTrackSegLogic(scriptedWorker(STAYS))
    pid = pidOfRun(logic, "fails", errors.RoiError)
    if end == "close":
        logic.close()
        assert not logic.prepared
    del logic
    gc.collect()
    assert isGone(pid)


def test_after_close_a_run_starts_a_worker_anew(logic):
    first = pidOfRun(logic, "fails", errors.RoiError)
    logic.close()
    assert pidOfRun(logic, "fails", errors.RoiError) != first


def test_another_command_takes_another_worker(logic, scriptedWorker):
    first = pidOfRun(logic, "fails", errors.RoiError)
    logic.workerCommand = [sys.executable, "-u", logic.workerCommand[-1]]
    assert pidOfRun(logic, "fails", errors.RoiError) != first


def test_the_time_left_is_known_during_the_run_only(logic):
    told = []
    logic.start(makeExampleCt(), SETTINGS, lambda *_: told.append(logic.remainingSec))
    with pytest.raises(errors.RoiError):
        logic.wait(TIMEOUT_SEC)
    assert told == [7.5]
    assert logic.remainingSec is None


def test_what_there_is_to_run_on_is_known_before_a_run_and_what_it_runs_on_during_it(logic):
    assert logic.processors == ()
    script, read = Path(logic.workerCommand[-1]), "request = json.loads(sys.stdin.readline())\n"
    early = script.read_text(encoding="utf-8").replace(read, "").replace("while request:", read + "while request:")
    script.write_text(early, encoding="utf-8")  # ready before a request comes
    logic.prepare()
    deadline = time.monotonic() + TIMEOUT_SEC
    while not logic.prepared:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    card, cpu = logic.processors
    assert (card.kind, card.title, card.totalBytes, card.freeBytes) == ("cuda", "Card", 8_000_000_000, 6_000_000_000)
    assert (cpu.device, cpu.totalBytes) == ("cpu", None)
    assert [processorFor(choice, logic.processors) for choice in ("auto", "cpu", "mps")] == [card, cpu, None]
    assert logic.processor is None
    told = []
    logic.start(makeExampleCt(), SETTINGS, lambda *_: told.append((logic.processor, logic.notes)))
    with pytest.raises(errors.RoiError):
        logic.wait(TIMEOUT_SEC)
    ((processor, notes),) = told
    assert (processor.device, processor.totalBytes, processor.freeBytes) == ("cpu", 4_000_000_000, None)
    assert notes == ["the CPU runs it"]


def test_the_log_is_that_of_the_last_run(scene, scriptedWorker):
    body = (
        "while request:\n    print('chatter of', request['bundle'], file=sys.stderr, flush=True)\n"
        "    say(event='error', kind='RoiError', message='no')\n"
        "    request = json.loads(sys.stdin.readline() or 'null')\n"
    )
    logic = TwinTrackSegLogic(scriptedWorker(body))
    for bundle in ("a", "b"):
        with pytest.raises(errors.RoiError):
            logic.segment(makeExampleCt(), RunSettings(bundle))
        deadline = time.monotonic() + TIMEOUT_SEC
        while not logic.log:  # it comes on a way of its own
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert logic.log == [f"chatter of {bundle}"]
    logic.close()


@needsModel
def test_the_real_worker_can_be_prepared_and_stays_ready_after_an_error(scene, tmp_path):
    logic = TwinTrackSegLogic()
    assert not logic.prepared
    logic.prepare()
    deadline = time.monotonic() + TIMEOUT_SEC
    while not logic.prepared:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    pid = logic._supervisor.worker.pid
    for _ in range(2):
        with raises_error(errors.BundleError, "bundle-missing"):
            logic.segment(makeExampleCt(), RunSettings(str(tmp_path / "no bundle here")))
    assert logic._supervisor.worker.pid == pid
    logic.close()


@needsModel
def test_the_real_worker_runs_again_after_a_cancel_and_with_another_bundle(scene, tmp_path):
    """Three runs on one process: cancelled at the first tile, on the demo bundle, on a renamed copy of it."""
    phantom = make_phantom(50007, raters=1)
    node = nodeFromVolume(phantom.ct, "Phantom")
    renamed = tmp_path / "renamed"
    shutil.copytree(DEMO_BUNDLE, renamed)
    document = json.loads((renamed / "bundle.json").read_text(encoding="utf-8"))
    (renamed / "bundle.json").write_text(json.dumps(document | {"name": "renamed"}), encoding="utf-8")
    (k, j, i) = np.argwhere(phantom.true_mhr.array > 0.5).mean(axis=0).astype(int)
    roi = (int(i) - 12, int(i) + 12, int(j) - 12, int(j) + 12, max(int(k) - 6, 0), int(k) + 6)

    logic = TwinTrackSegLogic(graceSec=TIMEOUT_SEC)
    logic.start(
        node,
        RunSettings(str(DEMO_BUNDLE), roi="full", device="cpu"),
        lambda _fraction, message: logic.cancel() if "tile" in message else None,
    )
    with pytest.raises(errors.Cancelled):
        logic.wait(TIMEOUT_SEC)
    pid = logic._supervisor.worker.pid
    results = [logic.segment(node, RunSettings(str(path), roi=roi, device="cpu")) for path in (DEMO_BUNDLE, renamed)]
    assert logic._supervisor.worker.pid == pid
    assert [result.record.result["bundle"]["name"] for result in results] == [
        json.loads((DEMO_BUNDLE / "bundle.json").read_text(encoding="utf-8"))["name"],
        "renamed",
    ]
    maps = [volumeFromNode(result.nodes.mhr).array for result in results]
    np.testing.assert_array_equal(*maps)
    logic.close()
