"""A worker process as the server sees it: what it says is not believed, and no child of it is left over."""

from __future__ import annotations

import asyncio
import json
import stat
import sys
import time
from contextlib import suppress

import psutil
import pytest

from twintrack.errors import TwinTrackError
from twintrack.execution.server import worker_process
from twintrack.execution.server.worker_process import LONGEST_LINE, WorkerDiedError, WorkerProcess, memory_of

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts"),
]

DONE = {"event": "done", "out": "/elsewhere"}


@pytest.fixture
def play(tmp_path, monkeypatch):
    """Return a function that puts a shell script in the worker's place, asks it once, and returns what it said."""

    def ask(script: str) -> tuple[dict, list[dict]]:
        (tmp_path / "python").write_text(f"#!/bin/sh\nread request\n{script}\n")
        (tmp_path / "python").chmod(stat.S_IRWXU)
        monkeypatch.setattr(worker_process.sys, "executable", str(tmp_path / "python"))
        told: list[dict] = []

        async def asked() -> dict:
            process = await WorkerProcess.start({}, unforeseen=lambda what: told.append({"unforeseen": what}))
            try:
                return await asyncio.wait_for(process.carry_out({"out": "/run/result"}, told.append), 60)
            finally:
                process.kill()
                await process.ended()

        return asyncio.run(asked()), told

    return ask


def say(*events: object) -> str:
    return "\n".join(f"echo '{json.dumps(event)}'" for event in events)


@pytest.mark.parametrize(
    "script",
    [
        "echo not JSON",
        "echo '[1, 2]'",
        "echo null",
        say({"event": "progress", "fraction": 0.1})[:-5],
        say({"event": "error"}),
        say({"event": "error", "kind": "InputError", "message": "no", "fields": [1]}),
        "printf '\\377\\376\\n'",
        f"head -c {LONGEST_LINE + 10} /dev/zero | tr '\\0' a",
        "printf '[%.0s' $(seq 2000); echo",
        "exit 0",
        "kill -SEGV $$",
    ],
)
def test_what_is_no_event_is_the_end_of_the_process(play, script):
    with pytest.raises(WorkerDiedError):
        play(f"{script}\nsleep 60")


def test_only_known_fields_of_the_right_type_go_on(play):
    progress = {"event": "progress", "fraction": 0.5, "message": ["no text"], "remaining_s": None, "cookie": "x"}
    last, told = play(say(progress, {"event": "other", "a": 1}, DONE))
    assert told == [{"event": "progress", "fraction": 0.5, "remaining_s": None}]
    assert last["event"] == "done"
    error = {"event": "error", "kind": "InputError", "message": "no", "fields": {"code": "a-code", "cookie": "x"}}
    last, _ = play(say(error))
    assert last == {"event": "error", "kind": "InputError", "message": "no", "fields": {"code": "a-code"}}


def test_its_result_is_where_it_was_asked_for(play):
    assert play(say(DONE))[0] == {"event": "done", "out": "/run/result"}


def test_children_end_with_it(play, tmp_path):
    play(f"sleep 300 &\necho $! > {tmp_path / 'child'}\n" + say(DONE) + "\nsleep 300")
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + 120
    with suppress(psutil.NoSuchProcess):
        while psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_where_it_cannot_be_started_a_sentence_says_so(monkeypatch):
    monkeypatch.setattr(worker_process.sys, "executable", "/nowhere/python")
    with pytest.raises(TwinTrackError) as raised:
        asyncio.run(WorkerProcess.start({}, print))
    assert raised.value.code == "worker-not-started"


def test_memory_of_children_counts():
    code = "import sys; data = bytearray(200_000_000); print(flush=True); sys.stdin.read()"
    with worker_process_of(f"import subprocess, sys; subprocess.call([sys.executable, '-c', {code!r}])") as parent:
        parent.stdout.readline()
        assert psutil.Process(parent.pid).memory_info().rss < 100_000_000
        assert memory_of(parent.pid) > 190_000_000
        parent.stdin.close()
    assert memory_of(parent.pid) == 0


def worker_process_of(code: str):
    from subprocess import PIPE, Popen

    return Popen([sys.executable, "-c", code], stdin=PIPE, stdout=PIPE)
