"""Killing the whole run at any moment and starting again gives the tables of a run that nobody disturbed."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from twintrack.execution.cohort import run_cohort
from twintrack.system.atomic import REPLACING, STAGING_PREFIX
from twintrack.system.private_folder import MARKER

pytestmark = pytest.mark.process

CASES = [f"p{number}" for number in range(4)]
KILLS = 5
PATIENCE_S = 600
"""For anything that takes a second or two on an idle computer."""

FACTORY = """
import os, sys, warnings
import torch, nnunetv2, distributed
import twintrack.results.folder, twintrack.inference
from twintrack.execution.cohort import run_cohort
from twintrack.settings import SegmentSettings
warnings.simplefilter("ignore")
for _ in sys.stdin:
    child = os.fork()
    if child:
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    settings = SegmentSettings(roi="full", calibrate=False, device="cpu", backend="torch")
    options = {"processes": False, "resources": {"GPU": 1}, "dashboard_address": ":0", "silence_logs": 50}
    with distributed.LocalCluster(n_workers=1, threads_per_worker=2, **options) as cluster:
        run_cohort(*sys.argv[1:], settings, scheduler=cluster.scheduler_address)
    os._exit(0)
"""
"""Starts a run for each line that it reads: client, scheduler and worker in one process that is there at once, because
the packages are imported before it splits off. Says its number, and in the end how it ended."""


def records(out: Path) -> dict[str, int]:
    """When each case that is complete was written."""
    found = {}
    for path in (out / "cases").glob("[!.]*/case.json"):
        found[path.parent.name] = path.stat().st_mtime_ns
    return found


def half_written(out: Path) -> set[str]:
    """Folders of cases that are being written, or that a killed run left."""
    return {path.name for path in out.glob(f"cases/*/{STAGING_PREFIX}*")}


def wait_for(something: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not something():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.fixture(scope="module")
def undisturbed(write_study, plain_bundle, address, settings, tmp_path_factory) -> tuple[Path, dict[str, bytes]]:
    """The manifest, and the tables of a run over it that nobody disturbs."""
    folder = tmp_path_factory.mktemp("kill")
    manifest, out = write_study(CASES, folder / "study", broken=("p2",)), folder / "undisturbed"
    run_cohort(manifest, plain_bundle, out, settings, scheduler=address)
    return manifest, tables(out)


def tables(out: Path) -> dict[str, bytes]:
    return {name: (out / name).read_bytes() for name in ("cohort.csv", "failures.csv")}


@pytest.fixture
def start(undisturbed, plain_bundle, tmp_path) -> Iterator[Callable[[], Callable[[], int]]]:
    """Return what starts a run and gives its process number, and later how it ended."""
    command = [sys.executable, "-c", FACTORY, str(undisturbed[0]), str(plain_bundle), str(tmp_path / "killed")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
    with subprocess.Popen(command, **pipes, env=os.environ | {"OMP_NUM_THREADS": "1"}) as factory:

        def once() -> tuple[int, Callable[[], int]]:
            factory.stdin.write("go\n")
            return int(factory.stdout.readline()), lambda: int(factory.stdout.readline())

        yield once


@pytest.mark.skipif(not hasattr(os, "fork"), reason="splits processes")
def test_a_run_killed_at_random_moments_ends_with_the_same_tables(start, undisturbed, tmp_path):
    out, moments = tmp_path / "killed", random.Random(5)
    whole: dict[str, int] = {}
    for _ in range(KILLS):
        before = half_written(out)
        process, ended = start()
        wait_for(lambda before=before: half_written(out) - before or len(records(out)) == len(CASES), "no case begun")
        time.sleep(moments.uniform(0.0, 0.8))  # in mid-case, while a folder is moved into place, or between two
        with suppress(ProcessLookupError):  # it was faster
            os.kill(process, signal.SIGKILL)
        assert ended() in (-signal.SIGKILL, 0)
        whole |= records(out)
    assert start()[1]() == 0
    assert tables(out) == undisturbed[1]
    assert {name: stamp for name, stamp in records(out).items() if name in whole} == whole, "a finished case was lost"
    assert not list(out.rglob(f"{STAGING_PREFIX}*"))


def left_by_a_killed_run(folder: Path, aside: str = "") -> Path:
    """Make what a run leaves in `folder` that is killed while it writes, or has just put `aside` out of the way."""
    left = folder / f"{STAGING_PREFIX}killed"
    earlier = left / f"{REPLACING}0123456789abcdef"
    earlier.mkdir(parents=True)
    maker = {"program": "twintrack", "folder": left.name, "host": socket.gethostname(), "process": 2**22 + 1}
    (left / MARKER).write_text(json.dumps(maker))
    if aside:
        (folder / aside).rename(earlier / aside)
    return left


def test_a_run_killed_while_it_replaced_its_description_goes_on(undisturbed, plain_bundle, address, settings, tmp_path):
    (manifest, expected), out = undisturbed, tmp_path / "out"
    shutil.copytree(manifest.parent.parent / "undisturbed", out)
    about = json.loads((out / "cohort.json").read_text())
    (out / "cohort.json").write_text(json.dumps(about | {"state": "running"}))
    described = left_by_a_killed_run(out, "cohort.json")
    half = left_by_a_killed_run(out / "cases" / "p0")  # of a case whose earlier result is still what is asked for
    moved = left_by_a_killed_run(out / "cases" / "p1", "case.json")
    summary = run_cohort(manifest, plain_bundle, out, settings, scheduler=address, overwrite=True)
    assert summary.unchanged == len(CASES)
    assert tables(out) == expected
    assert not any(folder.exists() for folder in (described, half, moved))


def children_of(session: int) -> list[int]:
    """Processes of a session that still run, from Linux's own list."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parts = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(parts[3]) == session and parts[0] != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for left-over processes in /proc")
def test_when_the_command_is_killed_its_workers_end_and_another_run_goes_on(
    undisturbed, plain_bundle, address, settings, tmp_path
):
    (manifest, expected), out = undisturbed, tmp_path / "killed"
    command = [sys.executable, "-m", "twintrack", "cohort", str(manifest), "--bundle", str(plain_bundle)]
    options = ["--workers", "1", "--roi", "full", "--no-calibration", "--device", "cpu", "--backend", "torch"]
    with subprocess.Popen([*command, "--out", str(out), *options], start_new_session=True) as process:
        wait_for(lambda: records(out) or process.poll() is not None, "no case was finished")
        os.kill(process.pid, signal.SIGKILL)  # the command alone: what it started has to end by itself
        wait_for(lambda: not children_of(process.pid), "the workers outlive the command")
    whole = records(out)
    assert whole
    assert run_cohort(manifest, plain_bundle, out, settings, scheduler=address).unchanged >= len(whole)
    assert tables(out) == expected
    assert whole.items() <= records(out).items(), "a finished case was done again"
