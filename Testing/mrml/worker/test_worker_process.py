"""Running a worker: progress, results, errors, cancel, crash, chatter; and nothing is left behind.

A few lines of Python stand for the model here, because only the handling of the process is tested.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

import pytest

pytest.importorskip("slicer")
from expected_errors import raises_error
from twintrack import errors
from twintrack.system.private_folder import PrivateFolder
from TwinTrackSegLib.mrml.SelfTest import makeExampleCt
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.worker import TemporaryFiles
from TwinTrackSegLib.mrml.worker.RunSettings import RunSettings
from TwinTrackSegLib.mrml.worker.WorkerProcess import WorkerCrash

pytestmark = pytest.mark.process

SETTINGS = RunSettings(bundle="somewhere")
TIMEOUT_SEC = 180
SLEEPS_FOREVER = "say(event='progress', fraction=0.1, message='working')\ntime.sleep(600)\n"


@pytest.fixture
def temporaryRoot(tmp_path, monkeypatch):
    """The folder in which runs make their private folders."""
    root = tmp_path / "private root"
    root.mkdir()
    monkeypatch.setattr(TemporaryFiles, "_root", lambda: str(root))
    return root


def pollUntil(logic: TwinTrackSegLogic, condition) -> None:
    deadline = time.monotonic() + TIMEOUT_SEC
    while not condition():
        assert time.monotonic() < deadline
        logic.poll()
        time.sleep(0.01)


def isAlive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def failure(scene, command, kind):
    """Run `command` on the example and return the exception of type `kind` it must end in."""
    logic = TwinTrackSegLogic(command)
    with pytest.raises(kind) as caught:
        logic.segment(makeExampleCt(), SETTINGS)
    assert not logic.running
    return caught.value


def test_progress_arrives_in_order_on_the_callers_thread(scene, scriptedWorker, temporaryRoot):
    body = "for n in range(5): say(event='progress', fraction=n / 4, message=f'step {n}')\nsay(event='cancelled')\n"
    logic = TwinTrackSegLogic(scriptedWorker(body))
    told = []
    logic.start(makeExampleCt(), SETTINGS, lambda *event: told.append((*event, threading.current_thread())))
    with pytest.raises(errors.Cancelled):
        logic.wait(TIMEOUT_SEC)
    assert [event[:2] for event in told] == [(n / 4, f"step {n}") for n in range(5)]
    assert {event[2] for event in told} == {threading.main_thread()}


def test_request_says_what_was_asked_and_the_ct_lies_in_a_folder_only_the_user_can_read(
    scene, scriptedWorker, temporaryRoot, tmp_path
):
    body = "open(os.environ['COPY_TO'], 'w').write(json.dumps(request))\ntime.sleep(600)\n"
    copy = tmp_path / "request copy.json"
    os.environ["COPY_TO"] = str(copy)
    logic = TwinTrackSegLogic(scriptedWorker(body))
    try:
        logic.start(makeExampleCt(), RunSettings("b", threshold=0.4, roi=(1, 9, 2, 8, 3, 7), device="cpu"))
        pollUntil(logic, lambda: copy.exists() and copy.stat().st_size > 0)
    finally:
        del os.environ["COPY_TO"]
    folder = next(temporaryRoot.iterdir())
    if os.name != "nt":
        assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "ct.nrrd").is_file()
    logic.abort()
    request = json.loads(copy.read_text())
    assert request == {
        "schema": 1,
        "input": str(folder / "ct.nrrd"),
        "bundle": "b",
        "out": str(folder / "result"),
        "roi": [1, 9, 2, 8, 3, 7],
        "threshold": 0.4,
        "device": "cpu",
        "calibrate": True,
        "case": "Example CT",
        "rules": "nccn",
        "samples": 0,
        **dict.fromkeys(("vessels", "vessel_names", "calibrator", "run_on", "tls")),
        **dict.fromkeys(("keep_score", "rater_maps", "dicom"), False),
    }


@pytest.mark.parametrize("kind", ["InputError", "BundleError", "RoiError", "OutputError"])
def test_an_error_event_becomes_the_engines_exception_with_its_sentence(scene, scriptedWorker, temporaryRoot, kind):
    sentence = "bundle.zip: no pancreas found; give a region"
    body = f"say(event='error', kind={kind!r}, message={sentence!r})\nsys.exit(2)\n"
    error = failure(scene, scriptedWorker(body), errors.TwinTrackError)
    assert type(error) is getattr(errors, kind)
    assert str(error) == sentence
    assert list(temporaryRoot.iterdir()) == []


def test_an_unknown_kind_of_error_still_shows_its_sentence(scene, scriptedWorker, temporaryRoot):
    body = "say(event='error', kind='ZeroDivisionError', message='division by zero')\nsys.exit(1)\n"
    assert str(failure(scene, scriptedWorker(body), errors.TwinTrackError)) == "division by zero"


@pytest.mark.skipif(os.name == "nt", reason="there are no signals")
def test_a_killed_worker_is_reported_as_ended_by_the_system(scene, scriptedWorker, temporaryRoot):
    error = failure(scene, scriptedWorker("os.kill(os.getpid(), signal.SIGKILL)\n"), WorkerCrash)
    assert "SIGKILL" in str(error)
    assert "memory" in str(error)
    assert list(temporaryRoot.iterdir()) == []


def test_a_worker_that_ends_without_a_word_is_an_error_and_its_last_words_are_kept(
    scene, scriptedWorker, temporaryRoot
):
    logic = TwinTrackSegLogic(scriptedWorker("print('the last words', file=sys.stderr)\nsys.exit(3)\n"))
    with raises_error(WorkerCrash, "worker-crashed"):
        logic.segment(makeExampleCt(), SETTINGS)
    assert logic.log == ["the last words"]


def test_a_program_that_cannot_be_started_is_an_error_and_leaves_nothing(scene, temporaryRoot):
    error = failure(scene, ["/no/such/python"], WorkerCrash)
    assert "/no/such/python" in str(error)
    assert list(temporaryRoot.iterdir()) == []


def test_chatter_between_the_events_is_ignored(scene, scriptedWorker, temporaryRoot):
    body = (
        "sys.stdout.buffer.write(b'\\xff\\xfe not utf-8\\n')\n"
        "print('Downloading: 50%'); print('[1, 2]'); print('{\"event\": \"progress\"}'); print('{broken')\n"
        "print(json.dumps({'event': 'progress', 'fraction': 'half'})); print(json.dumps({'event': 'dance'}))\n"
        "say(event='progress', fraction=0.5, message='half')\n"
        "say(event='error', kind='RoiError', message='the end')\n"
    )
    told = []
    logic = TwinTrackSegLogic(scriptedWorker(body))
    with raises_error(errors.RoiError, "worker-failed"):
        logic.segment(makeExampleCt(), SETTINGS, lambda *event: told.append(event))
    assert told == [(0.5, "half")]


def test_a_worker_that_floods_both_pipes_does_not_block(scene, scriptedWorker, temporaryRoot):
    body = (
        "for n in range(20000):\n"
        "    print('x' * 60); print('y' * 60, file=sys.stderr)\n"
        "say(event='error', kind='RoiError', message='the end')\n"
    )
    assert str(failure(scene, scriptedWorker(body), errors.RoiError)) == "the end"


def test_garbage_and_lines_without_end_are_ignored_and_not_kept(scene, scriptedWorker, temporaryRoot):
    body = (
        "print('x' * 10_000_000); print('[' * 200_000); print('{\"event\": ' * 50_000)\n"
        "print('x' * 10_000_000, file=sys.stderr)\n"
        'print(\'{"event": "progress", "fraction": NaN}\')\n'
        "say(event='progress', fraction=0.5, message='half', remaining_s=10 ** 400)\n"
        "say(event='error', kind='RoiError', message='the end')\n"
    )
    told = []
    logic = TwinTrackSegLogic(scriptedWorker(body))
    with raises_error(errors.RoiError, "worker-failed"):
        logic.segment(makeExampleCt(), SETTINGS, lambda *event: told.append(event))
    assert told == [(0.5, "half")]
    assert sum(len(line) for line in logic.log) < 1_000_000
    assert list(temporaryRoot.iterdir()) == []


def test_what_a_slicer_that_crashed_left_behind_is_removed_by_the_next_run(scene, scriptedWorker, temporaryRoot):
    crashed = PrivateFolder(parent=temporaryRoot)
    (crashed.path / "ct.nrrd").write_text("a patient's CT")
    crashed.leave()
    failure(scene, scriptedWorker("say(event='error', kind='RoiError', message='the end')\n"), errors.RoiError)
    assert list(temporaryRoot.iterdir()) == []


def test_cancel_is_obeyed_by_a_worker_that_listens(scene, scriptedWorker, temporaryRoot):
    body = (
        "say(event='progress', fraction=0.1, message='working')\n"
        "assert sys.stdin.readline().strip() == 'cancel'\n"
        "say(event='cancelled')\nsys.exit(130)\n"
    )
    logic = TwinTrackSegLogic(scriptedWorker(body), graceSec=TIMEOUT_SEC)
    told = []
    logic.start(makeExampleCt(), SETTINGS, lambda *event: told.append(event))
    pollUntil(logic, lambda: told)
    logic.cancel()
    logic.cancel()
    with pytest.raises(errors.Cancelled):
        logic.wait(TIMEOUT_SEC)
    assert not logic.running
    assert list(temporaryRoot.iterdir()) == []


@pytest.mark.skipif(sys.platform != "linux", reason="process states are read from /proc")
def test_cancel_kills_a_worker_that_does_not_listen_and_its_children(scene, scriptedWorker, temporaryRoot, tmp_path):
    note = tmp_path / "child.pid"
    body = (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(note)!r}, 'w').write(str(child.pid))\n" + SLEEPS_FOREVER
    )
    logic = TwinTrackSegLogic(scriptedWorker(body), graceSec=0.2)
    told = []
    logic.start(makeExampleCt(), SETTINGS, lambda *event: told.append(event))
    pollUntil(logic, lambda: told)
    worker, child = logic._run.pid, int(note.read_text())
    assert isAlive(worker)
    assert isAlive(child)
    logic.cancel()
    with pytest.raises(errors.Cancelled):
        logic.wait(TIMEOUT_SEC)
    deadline = time.monotonic() + TIMEOUT_SEC
    while isAlive(child) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not isAlive(child)
    assert not Path(f"/proc/{worker}").exists()
    assert list(temporaryRoot.iterdir()) == []


def test_abort_ends_the_run_at_once(scene, scriptedWorker, temporaryRoot):
    logic = TwinTrackSegLogic(scriptedWorker(SLEEPS_FOREVER), graceSec=TIMEOUT_SEC)
    logic.start(makeExampleCt(), SETTINGS)
    started = time.monotonic()
    logic.abort()
    assert time.monotonic() - started < TIMEOUT_SEC / 2
    assert not logic.running
    assert logic.poll() is False
    assert list(temporaryRoot.iterdir()) == []


def test_a_second_run_is_refused_while_one_is_going_on(scene, scriptedWorker, temporaryRoot):
    logic = TwinTrackSegLogic(scriptedWorker(SLEEPS_FOREVER))
    logic.start(makeExampleCt(), SETTINGS)
    with raises_error(errors.InputError, "run-in-progress"):
        logic.start(makeExampleCt(), SETTINGS)
    logic.abort()


def test_wait_gives_up_after_its_time_and_the_run_goes_on(scene, scriptedWorker, temporaryRoot):
    logic = TwinTrackSegLogic(scriptedWorker(SLEEPS_FOREVER))
    logic.start(makeExampleCt(), SETTINGS)
    with pytest.raises(TimeoutError):
        logic.wait(timeoutSec=0.1)
    assert logic.running
    logic.abort()


def test_a_ct_removed_during_the_run_drops_the_result(scene, scriptedWorker, temporaryRoot, tmp_path):
    node = makeExampleCt()
    body = "sys.stdin.readline()\nsay(event='done', out='nowhere')\n"
    logic = TwinTrackSegLogic(scriptedWorker(body))
    logic.start(node, SETTINGS)
    scene.RemoveNode(node)
    logic._run._worker._process.stdin.write("go on\n")
    logic._run._worker._process.stdin.flush()
    with raises_error(errors.InputError, "ct-removed"):
        logic.wait(TIMEOUT_SEC)
    assert list(temporaryRoot.iterdir()) == []


def test_an_input_that_is_no_ct_starts_nothing(scene, temporaryRoot):
    logic = TwinTrackSegLogic(["/no/such/python"])
    with raises_error(errors.InputError, "no-input-chosen"):
        logic.start(None, SETTINGS)
    assert not logic.running
    assert list(temporaryRoot.iterdir()) == []


def test_waiting_without_a_run_is_an_error(scene):
    with raises_error(errors.InputError, "no-run"):
        TwinTrackSegLogic(["unused"]).wait()


def test_an_error_names_the_volume_and_not_the_private_file(scene, scriptedWorker, temporaryRoot):
    body = (
        "fields = dict(kind='InputError', message='too small', code='volume-size', path=request['input'])\n"
        "say(event='error', kind='InputError', message=request['input'] + ': too small', fields=fields)\nsys.exit(2)\n"
    )
    error = failure(scene, scriptedWorker(body), errors.InputError)
    assert (error.code, str(error)) == ("volume-size", "volume 'Example CT': too small")


def test_the_real_worker_speaks_the_same_language(scene, temporaryRoot, tmp_path):
    logic = TwinTrackSegLogic()
    with raises_error(errors.BundleError, "bundle-missing"):
        logic.segment(makeExampleCt(), RunSettings(str(tmp_path / "no bundle here")))
    assert list(temporaryRoot.iterdir()) == []
