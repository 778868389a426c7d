"""The worker speaks JSON lines, obeys cancel, and ends when nobody listens any more."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from twintrack.io.volumes import write_volume
from twintrack.system.atomic import STAGING_PREFIX
from twintrack.volume import Geometry, Volume

pytestmark = pytest.mark.process

WITHIN_S = 300
"""How long anything is waited for, on a busy computer."""


@pytest.fixture(scope="module")
def request_file(make_bundle, tmp_path_factory) -> Path:
    """A request on a CT that takes the tiny networks some seconds."""
    folder = tmp_path_factory.mktemp("worker")
    geometry = Geometry((60, 60, 40), (1.5, 1.5, 3.0))
    array = np.random.default_rng(1).normal(0, 60, geometry.shape).astype(np.int16)
    write_volume(Volume(array, geometry), folder / "ct.nrrd")
    content = {
        "schema": 1,
        "input": str(folder / "ct.nrrd"),
        "bundle": str(make_bundle()),
        "out": str(folder / "out"),
        "roi": [5, 25, 5, 25, 5, 15],
        "calibrate": False,
    }
    path = folder / "request.json"
    path.write_text(json.dumps(content))
    return path


def start(request: Path, module: str = "twintrack.execution.worker") -> subprocess.Popen:
    command = [sys.executable, "-m", module, str(request)]
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1
    )


def changed(request: Path, tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "request.json"
    path.write_text(json.dumps(json.loads(request.read_text()) | {"out": str(tmp_path / "out")} | changes))
    return path


def events(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_run_reports_progress_and_ends_with_done(request_file):
    process = start(request_file)
    lines = events(process.stdout.read())
    assert process.wait(WITHIN_S) == 0
    *progress, last = lines
    assert last == {"event": "done", "out": json.loads(request_file.read_text())["out"]}
    fractions = [line["fraction"] for line in progress]
    assert {line["event"] for line in progress} == {"progress"}
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert (Path(last["out"]) / "result.json").exists()


@pytest.mark.parametrize("ending", ["cancel", "end of input"])
def test_cancel_and_a_closed_input_end_the_run(request_file, tmp_path, ending):
    process = start(changed(request_file, tmp_path, roi="full"))
    first = json.loads(process.stdout.readline())
    assert first["event"] == "progress"
    if ending == "cancel":
        process.stdin.write("cancel\n")
    else:
        process.stdin.close()
    rest = events(process.stdout.read())
    assert process.wait(WITHIN_S) == 130
    if ending == "cancel":  # a worker without a parent ends hard after some seconds, on a busy computer without a word
        assert rest[-1] == {"event": "cancelled"}
    assert not [path for path in (tmp_path / "out").glob("*") if not path.name.startswith(STAGING_PREFIX)]


def test_programs_of_others_find_the_worker_at_its_short_address(request_file, tmp_path):
    process = start(changed(request_file, tmp_path, input=str(tmp_path / "none.nii.gz")), "twintrack.worker")
    *_, last = events(process.stdout.read())
    assert (process.wait(WITHIN_S), last["event"], last["kind"]) == (2, "error", "InputError")


def test_bad_input_is_an_error_event_with_the_sentence(request_file, tmp_path):
    process = start(changed(request_file, tmp_path, input=str(tmp_path / "gone.nii.gz")))
    (*_, last) = events(process.stdout.read())
    assert process.wait(WITHIN_S) == 2
    assert last["event"] == "error"
    assert last["kind"] == "InputError"
    assert "gone.nii.gz: no such file" in last["message"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 2}, "schema 1"),
        ({"threshhold": 0.4}, "unknown setting"),
        ({"threshold": 4}, "above 0 and at most 1"),
        ({"input": "x" * 5000, "run_on": "http://127.0.0.1:1"}, "no such file"),
    ],
)
def test_a_request_that_is_not_understood_is_refused(request_file, tmp_path, changes, message):
    process = start(changed(request_file, tmp_path, **changes))
    (*_, last) = events(process.stdout.read())
    assert process.wait(WITHIN_S) == 2
    assert message in last["message"]
