"""A server with two processes: readers side by side, and what becomes of them when a process dies or cannot load."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from twintrack.execution.server import connection
from twintrack.execution.server.endpoint import security_of
from twintrack.io.volumes import read_volume
from twintrack.progress.callbacks import CancelToken

pytestmark = pytest.mark.process

WITHIN_S = 300


@pytest.fixture(scope="module")
def bundle(bundle_folder, tmp_path_factory) -> Path:
    """A bundle that tests may take away."""
    return Path(shutil.copytree(bundle_folder, tmp_path_factory.mktemp("own") / "bundle"))


@pytest.fixture(scope="module")
def server(start_server, bundle):
    with start_server(bundle, "--workers", "2") as running:
        yield running


class Reader(threading.Thread):
    """A reader who asks for something, and whose program is told to go on, or to give up."""

    def __init__(self, ask, request):
        super().__init__(daemon=True)
        self.cancel, self.events, self.told, self.out = CancelToken(), [], None, Path(request["out"])
        self._ask, self._request = ask, request
        self.start()

    def run(self):
        self.told = self._ask(self._request, self.cancel, self.events.append)

    def has(self, words):
        """Whether that was said within some time."""
        return soon(lambda: any(words in event.get("message", "") for event in self.events))

    def works(self):
        """Whether a process works on the CT within some time."""
        return self.has("Scoring")

    def end(self):
        """Return the last event."""
        self.join(WITHIN_S)
        assert self.told is not None
        return self.told.last


def soon(condition) -> bool:
    deadline = time.monotonic() + WITHIN_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


@pytest.fixture
def reader(request_there, ask, tmp_path):
    """Return a function that has another reader ask for something."""
    number = iter(range(100))
    return lambda **changes: Reader(ask, request_there(out=str(tmp_path / f"{next(number)}"), **changes))


def kill_all(processes) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()


@contextmanager
def daskclient(server):
    """Dask's own way to the server's processes."""
    from distributed import Client

    security = security_of(server.client)
    with Client(server.address, security=security, set_as_default=False, direct_to_workers=False) as client:
        yield client


def test_two_readers_at_a_time_and_a_third_who_waits(server, reader, slow, ask, bundle, whole_request, tmp_path):
    one = reader(**slow)
    assert one.works()
    request = tmp_path / "two.json"
    two = _own_program(request, whole_request | slow | {"out": str(tmp_path / "two")})
    assert any("Scoring" in line for line in two.stdout)
    assert one.is_alive()  # both at the same time
    third = reader()
    assert third.has("waiting for the server, 2 before this one")
    two.kill()  # his process has room for the third
    two.communicate()
    assert third.works()
    assert one.is_alive()  # so that it was not the end of this one that made room
    one.cancel.cancel()
    assert one.end() == {"event": "cancelled"}
    assert third.end()["event"] == "done"
    assert soon(lambda: not server.folders())
    here = {key: value for key, value in whole_request.items() if key not in ("run_on", "tls")}
    assert ask(here | {"bundle": str(bundle), "out": str(tmp_path / "here")}).code == 0
    for name in ("probability.nii.gz", "score.nii.gz", "segmentation.nii.gz", "vessels.nii.gz"):
        np.testing.assert_array_equal(read_volume(third.out / name).array, read_volume(tmp_path / "here" / name).array)


def _own_program(path: Path, request: dict) -> subprocess.Popen:
    import json

    path.write_text(json.dumps(request))
    command = [sys.executable, "-m", "twintrack.execution.worker", str(path)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _spoil() -> int:
    """Make each run of this process fail as on a GPU that an earlier run has left unusable; return the process."""
    import twintrack.results.folder

    def fail(*_arguments, **_keywords):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    twintrack.results.folder.segment_file = fail
    return os.getpid()


def test_a_process_that_met_what_nobody_foresaw_takes_no_other_case(server, reader):
    with daskclient(server) as client:
        spoilt = set(client.run(_spoil).values())
    assert len(spoilt) == 2
    readers = [reader() for _ in range(4)]
    told = [each.end() for each in readers]
    failed = [event for event in told if event["event"] == "error"]
    assert len(failed) == 2
    for event in failed:
        assert event["kind"] == "RuntimeError"
        assert event["message"] == "unexpected: CUDA error: an illegal memory access was encountered"
    assert sum(event["event"] == "done" for event in told) == 2
    assert spoilt.isdisjoint(worker.pid for worker in server.workers())
    assert (
        "a run met an error that nobody foresaw (RuntimeError); its process is started anew" in server.log.read_text()
    )


def test_a_bundle_that_is_gone_is_told_until_it_is_back(server, reader, slow, bundle):
    busy = [reader(**slow), reader(**slow)]
    assert all(each.works() for each in busy)
    third = reader()
    assert third.has("2 before this one")
    away = bundle.rename(bundle.with_name("away"))
    kill_all(server.workers())
    for each in busy:
        assert "the server's process died in the middle of the run" in each.end()["message"]
    told = third.end()
    assert told["kind"] == "TwinTrackError"
    assert told["message"].startswith(f"the server cannot load its model ({bundle}: no such bundle")
    assert told["message"].endswith("tell whoever runs it")
    assert f"warning: {told['message']}" in server.log.read_text()
    away.rename(bundle)
    assert reader().end()["event"] == "done"
    assert soon(lambda: not server.folders())


def test_processes_that_cannot_be_started_are_started_when_they_can(server, reader):
    """Dask's parent of a process gives up for good if there is no room for the process's own files."""
    (scratch,) = server.temporary.glob(".twintrack-scratch-*/.dask")
    away = scratch.rename(scratch.with_name(".away"))
    scratch.write_text("no folder")
    kill_all(server.workers())
    assert soon(lambda: "has ended and has not come back; another one is started" in server.log.read_text())
    scratch.unlink()
    away.rename(scratch)
    assert reader().end()["event"] == "done"


def test_a_server_that_is_silent_is_given_up_and_who_cancels_meanwhile_is_no_error(server, reader, slow, monkeypatch):
    monkeypatch.setattr(connection, "ANSWER_S", 10)
    one, two = reader(**slow), reader(**slow)
    assert one.works()
    assert two.works()
    server.process.send_signal(signal.SIGSTOP)  # as after a cut of the network: nobody answers, nobody hangs up
    try:
        two.cancel.cancel()
        assert "the connection to the server was lost" in one.end()["message"]
        assert two.end() == {"event": "cancelled"}
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert soon(lambda: not server.folders())


def test_readers_are_told_that_the_server_was_stopped(server, reader, slow):
    """The last test."""
    one = reader(**slow)
    assert one.works()
    server.process.terminate()
    told = one.end()
    assert told["kind"] == "InputError"
    stopped = "the server has been stopped; start the run again when it is back"
    assert told["message"] in (stopped, f"{server.address}: the connection to the server was lost; start the run again")
