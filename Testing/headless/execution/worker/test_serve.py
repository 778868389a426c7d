"""A worker that stays: one request after the other on the same networks, whatever happened to the one before."""

from __future__ import annotations

import io
import json
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from twintrack.execution.answer import ORPHAN_ENDS_AFTER_S, Events
from twintrack.execution.worker.serve import serve
from twintrack.io.volumes import write_volume
from twintrack.system.atomic import STAGING_PREFIX
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.process

WITHIN_S = 300
"""How long anything is waited for, on a busy computer."""


@pytest.fixture(scope="module")
def request_json(plain_bundle, tmp_path_factory) -> dict:
    """A request that the tiny networks answer at once."""
    folder = tmp_path_factory.mktemp("served")
    geometry = Geometry((60, 60, 40), (1.5, 1.5, 3.0))
    array = np.random.default_rng(1).normal(0, 60, geometry.shape).astype(np.int16)
    write_volume(Volume(array, geometry), folder / "ct.nrrd")
    return {
        "schema": 1,
        "input": str(folder / "ct.nrrd"),
        "bundle": str(plain_bundle),
        "out": str(folder / "out ä"),
        "roi": [5, 25, 5, 25, 5, 15],
        "calibrate": False,
        "device": "cpu",
        "backend": "torch",
    }


@pytest.fixture
def worker():
    """A serving process, killed at the end of the test if it still runs."""
    process = subprocess.Popen(
        [sys.executable, "-m", "twintrack.execution.worker", "--serve"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        bufsize=1,
    )
    with process:
        yield process
        process.kill()


def ask(process: subprocess.Popen, request: object) -> None:
    process.stdin.write((request if isinstance(request, str) else json.dumps(request)) + "\n")


def answered(process: subprocess.Popen) -> dict:
    """Read events up to the one that ends a request."""
    while True:
        event = json.loads(process.stdout.readline())
        if event["event"] not in ("ready", "progress"):
            return event


class Conversation:
    """Lines and events of a server in this process; what is said next may depend on an event."""

    def __init__(self) -> None:
        self.events: list[dict] = []
        self.on_event = lambda event: None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._heard = threading.Event()

    def say(self, line: object) -> None:
        """Say a line and wait until it was taken note of."""
        self._heard.clear()
        self._lines.put(line if isinstance(line, str) else json.dumps(line))
        assert self._heard.wait(WITHIN_S)

    def end(self) -> None:
        self._lines.put(None)

    def lines(self):
        while (line := self._lines.get()) is not None:
            yield line + "\n"
            self._heard.set()  # the listener came back for the next one

    def stream(self) -> io.StringIO:
        conversation = self

        class Stream(io.StringIO):
            def write(self, text: str) -> int:
                event = json.loads(text)
                conversation.events.append(event)
                conversation.on_event(event)
                return len(text)

        return Stream()

    def hold(self) -> int:
        """Serve until `end`; return the exit code."""
        return serve(self.lines(), Events(self.stream()))

    def finals(self) -> list[str]:
        return [event["event"] for event in self.events if event["event"] not in ("ready", "progress")]


@pytest.fixture
def loads(monkeypatch) -> list[tuple[str, str]]:
    """Which members of which bundle are really loaded, in order."""
    from twintrack.inference.network_store import NetworkStore

    seen, original = [], NetworkStore._load

    def load(self, bundle, stage, name, fold):
        seen.append((bundle.name, fold))
        return original(self, bundle, stage, name, fold)

    monkeypatch.setattr(NetworkStore, "_load", load)
    return seen


def converse(requests: list[object]) -> Conversation:
    """Serve the requests, each said when the one before has ended."""
    conversation, waiting = Conversation(), list(requests)

    def next_one(event: dict) -> None:
        if event["event"] != "progress":
            threading.Thread(target=conversation.say, args=(waiting.pop(0),)).start() if waiting else conversation.end()

    conversation.on_event = next_one
    assert conversation.hold() == 0
    return conversation


def test_a_second_request_finds_its_networks_loaded_and_another_bundle_is_loaded_anew(
    request_json, make_bundle, tmp_path, loads
):
    other = str(make_bundle(name="other", folds=("1", "2"), vessel_labels={}))
    requests = [request_json, request_json, request_json | {"bundle": other, "out": str(tmp_path / "other")}]
    assert converse(requests).finals() == ["done", "done", "done"]
    assert loads == [("tiny", "0"), ("tiny", "1"), ("tiny", "2"), ("other", "1"), ("other", "2")]
    assert json.loads((tmp_path / "other" / "result.json").read_text())["bundle"]["name"] == "other"


def test_where_it_runs_is_said_once_in_a_run_unless_it_changes(request_json):
    events = converse([request_json, request_json]).events
    told = [event for event in events if "device" in event]
    assert len(told) == 2  # once in each run
    assert {(event["event"], event["device"]["device"], *event["notes"]) for event in told} == {("progress", "cpu")}
    assert "device" in events[1]  # with the first thing that is said of a run


def test_a_step_down_for_lack_of_memory_is_said_with_the_next_progress():
    from twintrack.execution.answer import _Whereabouts
    from twintrack.inference import NetworkStore

    store = NetworkStore("cpu", "torch")
    where = _Whereabouts(store)
    assert where.news()["notes"] == []
    assert where.news() == {}
    store.batch = 4
    store.step_down(RuntimeError("out of memory"))
    assert where.news()["notes"] == ["the GPU ran out of memory; 2 tiles at a time"]
    assert where.news() == {}


def test_the_same_request_gives_the_same_map_warm_and_cold(request_json, tmp_path):
    outs = [str(tmp_path / name) for name in ("cold", "warm")]
    assert converse([request_json | {"out": out} for out in outs]).finals() == ["done", "done"]
    cold, warm = ((Path(out) / "probability.nii.gz").read_bytes() for out in outs)
    assert cold == warm


BAD = [
    ({"input": "/no/such/ct.nrrd"}, "no such file"),
    ({"bundle": "/no/such/bundle"}, "bundle"),
    ({"roi": [0, 999, 0, 9, 0, 9]}, "does not fit"),
    ({"threshold": 7}, "threshold"),
    ({"device": "warp drive"}, "device"),
    ({"schema": 3}, "schema 1"),
]
NO_REQUESTS = ["{broken", '"text"', "[1, 2]", '{"cancel": false}']


def test_after_errors_the_next_request_is_answered(request_json):
    bad = [request_json | changes for changes, _ in BAD]
    conversation = converse([*bad, *NO_REQUESTS, request_json])
    assert conversation.finals() == ["error"] * (len(BAD) + len(NO_REQUESTS)) + ["done"]
    errors = [event for event in conversation.events if event["event"] == "error"]
    assert {error["kind"] for error in errors} <= {"InputError", "BundleError", "RoiError"}
    for (_, message), error in zip(BAD, errors, strict=False):
        assert message in error["message"]


def test_an_unexpected_error_drops_the_networks_and_the_worker_stays(request_json, loads, monkeypatch, capsys):
    import twintrack.results.folder as results

    original, calls = results.describe, []

    def fails_once(*arguments):
        calls.append(1)
        if len(calls) == 1:
            raise ZeroDivisionError("a bug")
        return original(*arguments)

    monkeypatch.setattr(results, "describe", fails_once)
    conversation = converse([request_json, request_json])
    assert conversation.finals() == ["error", "done"]
    assert "unexpected: a bug" in next(e["message"] for e in conversation.events if e["event"] == "error")
    assert len(loads) == 6
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["cancel", '{"cancel": true}'])
def test_cancel_is_answered_within_one_tile_and_the_worker_stays(request_json, words):
    conversation, waiting = Conversation(), [request_json | {"roi": "full"}, request_json]

    def reply(event: dict) -> None:
        if event["event"] == "progress" and "tile 3 of" in event["message"] and len(conversation.finals()) == 0:
            conversation.say(words)  # returns when it was heard, in the middle of the run
        elif event["event"] != "progress":
            threading.Thread(target=conversation.say, args=(waiting.pop(0),)).start() if waiting else conversation.end()

    conversation.on_event = reply
    assert conversation.hold() == 0
    assert conversation.finals() == ["cancelled", "done"]
    first = conversation.events[: [e["event"] for e in conversation.events].index("cancelled")]
    after = [e["message"] for e in first[[*map(is_third_tile, first)].index(True) + 1 :]]
    assert not any("tile" in message for message in after)


def is_third_tile(event: dict) -> bool:
    return "tile 3 of" in event.get("message", "")


def test_a_cancel_that_comes_late_does_not_touch_the_next_request(request_json):
    conversation, waiting = Conversation(), [request_json, request_json]

    def talk() -> None:
        conversation.say("cancel")
        conversation.say(waiting.pop(0))

    conversation.on_event = lambda event: (
        None
        if event["event"] == "progress"
        else (threading.Thread(target=talk).start() if waiting else conversation.end())
    )
    assert conversation.hold() == 0
    assert conversation.finals() == ["done", "done"]


def test_a_step_that_does_not_heed_a_cancel_is_ended_with_the_process_and_said_to_be_cancelled():
    """The process would otherwise sleep on: the main thread has no way to hear of the cancel."""
    script = (
        "import sys, threading, time\n"
        "from twintrack.execution import answer\n"
        "from twintrack.execution.answer import Events\n"
        "answer.PATIENCE_S = 0.1\n"
        "answer.end_hard_unless(threading.Event(), Events(sys.stdout), answer.PATIENCE_S)\n"
        "time.sleep(600)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert json.loads(done.stdout) == {"event": "cancelled"}


def test_cancel_also_reaches_requests_that_wait(request_json):
    conversation = Conversation()
    saying = threading.Thread(target=lambda: [conversation.say(request_json | {"roi": "full"}) for _ in "ab"])

    def reply(event: dict) -> None:
        if event["event"] == "ready":
            saying.start()
        elif is_third_tile(event) and not conversation.finals():
            saying.join(WITHIN_S)  # or the second request might come after the cancel
            conversation.say("cancel")
        elif len(conversation.finals()) == 2:
            conversation.end()

    conversation.on_event = reply
    assert conversation.hold() == 0
    assert conversation.finals() == ["cancelled", "cancelled"]


def test_progress_tells_the_time_left_late_and_never_falls(request_json):
    progress = [e for e in converse([request_json]).events if e["event"] == "progress"]
    fractions = [event["fraction"] for event in progress]
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert progress[0]["remaining_s"] is None
    assert progress[-1]["remaining_s"] == 0
    assert all(event["remaining_s"] is None or event["remaining_s"] >= 0 for event in progress)


def test_the_process_says_ready_answers_and_ends_with_its_input(worker, request_json):
    ready = json.loads(worker.stdout.readline())
    assert ready["event"] == "ready"
    assert ready["devices"][-1]["device"] == "cpu"
    assert 0 < ready["devices"][-1]["free_bytes"] <= ready["devices"][-1]["total_bytes"]
    ask(worker, request_json)
    assert answered(worker) == {"event": "done", "out": request_json["out"]}
    worker.stdin.close()
    assert worker.wait(WITHIN_S) == 0


def test_the_end_of_input_in_the_middle_of_a_run_ends_the_process(worker, request_json, tmp_path):
    ask(worker, request_json | {"roi": "full", "out": str(tmp_path / "out")})
    while json.loads(worker.stdout.readline())["event"] != "progress":
        pass
    worker.stdin.close()
    last = worker.stdout.read().splitlines()[-1:]
    if worker.wait(WITHIN_S) == 0:
        assert json.loads(last[0]) == {"event": "cancelled"}
    assert worker.returncode in (0, 130)  # 130: it had not ended by itself in time, on a busy computer
    assert not [path for path in (tmp_path / "out").glob("*") if not path.name.startswith(STAGING_PREFIX)]


PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-m", "twintrack.execution.worker", "--serve"], stdin=subprocess.PIPE,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux whether the worker lives")
def test_no_worker_outlives_its_parent_by_five_seconds():
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    pid = int(parent.stdout.readline())
    time.sleep(1)
    assert Path(f"/proc/{pid}").exists()
    parent.kill()
    parent.wait()
    assert ORPHAN_ENDS_AFTER_S < 5  # from when it sees that; it may still have to begin to look, on a busy computer
    deadline = time.monotonic() + WITHIN_S
    while _alive(pid):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
