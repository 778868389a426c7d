"""Killing the whole run at any moment and starting again gives the tables of a run that nobody disturbed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from twintrack.atomic import STAGING_PREFIX
from twintrack.cohort import run_cohort

CASES = [f"p{number}" for number in range(4)]
KILLS = 2


def start(manifest: Path, bundle: Path, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "twintrack", "cohort", str(manifest), "--bundle", str(bundle), "--out", str(out)]
    options = ["--workers", "1", "--roi", "full", "--no-calibration", "--device", "cpu", "--backend", "torch"]
    return subprocess.Popen([*command, *options], stderr=subprocess.PIPE, text=True, start_new_session=True)


def records(out: Path) -> set[Path]:
    return set((out / "cases").glob("*/case.json"))


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
def test_a_run_killed_at_random_moments_ends_with_the_same_tables(
    make_cohort, bundle_folder, address, settings, tmp_path
):
    manifest, out, moments = make_cohort(CASES, broken=("p2",)), tmp_path / "killed", random.Random(5)
    for kill in range(KILLS):
        before = len(records(out))
        process = start(manifest, bundle_folder, out)
        with process:
            deadline = time.monotonic() + 120
            while len(records(out)) <= before and process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(moments.uniform(0.0, 0.6))
            os.kill(process.pid, signal.SIGKILL)  # the command alone: what it started has to end by itself
            while children_of(process.pid) and time.monotonic() < deadline:
                time.sleep(0.1)
        assert not children_of(process.pid), "the workers outlive the command"
        assert len(records(out)) > before, f"the start after kill {kill} finished no case"
    with start(manifest, bundle_folder, out) as process:
        said = process.communicate(timeout=180)[1]
    assert process.returncode == 0, said
    undisturbed = tmp_path / "undisturbed"
    run_cohort(manifest, bundle_folder, undisturbed, settings, scheduler=address)
    for name in ("cohort.csv", "failures.csv"):
        assert (out / name).read_bytes() == (undisturbed / name).read_bytes()
    assert not list(out.rglob(f"{STAGING_PREFIX}*"))
