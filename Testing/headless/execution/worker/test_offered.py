"""A worker of a server: one bundle, loaded before the first run, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys

import psutil
import pytest

pytestmark = pytest.mark.process

WITHIN_S = 300
"""How long anything is waited for, on a busy computer."""


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


def asked(process: subprocess.Popen, request: object) -> dict:
    """Say a line; return the event that answers it."""
    process.stdin.write(json.dumps(request) + "\n")
    while True:
        event = json.loads(process.stdout.readline())
        if event["event"] not in ("ready", "progress"):
            return event


def loading(bundle: object, **changes: object) -> dict:
    return {"load": str(bundle), "sha256": None, "device": "cpu", "backend": "torch", **changes}


def test_it_tells_what_it_has_loaded_and_keeps_to_it(worker, make_bundle, tmp_path):
    loaded = asked(worker, loading(make_bundle()))
    assert loaded["event"] == "loaded"
    assert loaded["bundle"]["name"] == "tiny"
    assert len(loaded["bundle"]["sha256"]) == 64
    request = {"input": str(tmp_path / "none.nrrd"), "out": str(tmp_path / "out")}
    for line, code in [
        (loading(make_bundle(name="other")), "request-malformed"),  # a second bundle
        ([1], "request-malformed"),
        ("cancelled", "request-malformed"),
        (request | {"run_on": "https://elsewhere", "tls": "/"}, "option-unknown"),
        (request | {"bundle": "/nowhere"}, "file-unreadable"),  # the CT: no other bundle is looked for
    ]:
        assert asked(worker, line)["fields"]["code"] == code
    if sys.platform == "linux":
        assert psutil.Process(worker.pid).rlimit(psutil.RLIMIT_CORE) == (0, 0)
    worker.stdin.close()
    assert worker.wait(WITHIN_S) == 0


@pytest.mark.parametrize(
    ("changes", "code"),
    [({"load": "none"}, "bundle-missing"), ({"sha256": "0" * 64}, "bundle-changed"), ({"load": 5}, "unexpected")],
)
def test_it_ends_when_it_cannot_load(worker, make_bundle, tmp_path, changes, code):
    if changes.get("load") == "none":
        changes = {"load": str(tmp_path / "none")}
    assert asked(worker, loading(make_bundle(), **changes))["fields"]["code"] == code
    assert worker.wait(WITHIN_S) == 2


def test_it_ends_after_an_error_that_nobody_foresaw(worker, make_bundle, tmp_path):
    asked(worker, loading(make_bundle()))
    told = asked(worker, {"input": "DOE\0JANE.nrrd", "out": str(tmp_path)})
    assert told["event"] == "unforeseen"
    assert told["kind"] == "ValueError"
    assert "JANE" not in json.dumps(told)
    assert json.loads(worker.stdout.readline())["fields"]["code"] == "unexpected"
    assert worker.wait(WITHIN_S) == 1
