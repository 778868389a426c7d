"""Commands killed at any moment: nothing of the user's is lost, and the next run ends as if nothing had happened.

Each command runs over a folder with an earlier result of its own and files of the user, and is killed with all of its
processes, at a moment of the clock or before the n-th change of a file. The moments come from a seed.

TWINTRACK_KILLS=20 is the number for a release; TWINTRACK_KILL_FRESH=1 starts a new interpreter for each run, which
takes some ten times as long.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import ROI, small_ct
from twintrack.dicom import write_ct_series
from twintrack.io.volumes import write_volume
from twintrack.system.atomic import STAGING_PREFIX
from twintrack.system.ownership import RECORD
from twintrack.volume import Geometry, Volume

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(sys.platform != "linux", reason="kills groups of processes and looks into /proc"),
]

KILLS = int(os.environ.get("TWINTRACK_KILLS", "2"))
FRESH = bool(os.environ.get("TWINTRACK_KILL_FRESH"))
KILLS_A_GROUP = 2
"""So often a command is killed before it may end: a killed run also clears up after a killed one."""

PATIENCE_S = 600
ALONE_S = 60
"""After that no process of a killed run is left."""

FACTORY = """
import json, os, sys, tempfile, warnings
import torch, distributed, highdicom, scipy.ndimage, scipy.spatial, skimage.measure, skimage.morphology, jinja2
import matplotlib.backends.backend_agg, dynamic_network_architectures.architectures.unet, nnunetv2.inference
import nnunetv2.utilities.get_network_from_plans, nnunetv2.utilities.label_handling.label_handling
import nnunetv2.preprocessing.cropping.cropping, nnunetv2.preprocessing.resampling.default_resampling
import twintrack.cli.app, twintrack.results.folder, twintrack.inference, twintrack.execution.cohort, twintrack.dicom
import twintrack.studies.calibrate, twintrack.studies.evaluate.run, twintrack.results.dicom_objects, twintrack.phantom
import twintrack.studies.make_bundle.create, twintrack.results.report.html, twintrack.invasion
import twintrack.results.report.overview, twintrack.dicom.write.structured_report
for line in sys.stdin:
    wish = json.loads(line)
    child = os.fork()
    if child:
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
        continue
    os.setsid()
    os.environ["TMPDIR"] = tempfile.tempdir = wish["tmp"]  # Python tries out a folder that it was not told
    log = os.open(wish["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    changes = 0
    def watch(event, arguments):
        global changes
        if event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate") or (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        ):
            changes += 1  # first: an interrupt is raised in the next line
            if changes == wish["changes"] + 1:
                os.killpg(0, wish["signal"])
    sys.addaudithook(watch)
    try:
        twintrack.cli.app.main(wish["arguments"])
    finally:
        with open(wish["log"] + ".changes", "w") as stream:
            stream.write(str(changes))
"""
"""Forks a run for each line that it reads, because the packages take most of the time of a command to import."""


@dataclass(frozen=True)
class Command:
    """A command, how it ran before and how it runs now, and what it writes.

    Attributes
    ----------
    before, now : list of str
        The arguments of the earlier run and of the one that is killed.
    last : tuple of str
        Where one of these files is, all files of its folder are of one run.
    varying : tuple of str
        Ends of the names of files that hold times, identities or paths, and so differ from run to run.
    """

    before: list[str]
    now: list[str]
    last: tuple[str, ...] = ()
    varying: tuple[str, ...] = ()


@dataclass
class Ended:
    """How a run ended."""

    code: int
    seconds: float
    changes: int
    said: str


@dataclass
class Runs:
    """Starts commands in a session of their own, in a folder for temporary files of their own."""

    work: Path
    factory: Any = None
    serial: int = 0
    tmp: Path = field(init=False)

    def __post_init__(self) -> None:
        self.tmp = self.work / "tmp"
        (self.tmp / ".twintrack-scratch-mine").mkdir(parents=True)
        (self.tmp / ".twintrack-scratch-mine" / "notes.txt").write_text("mine")

    def run(
        self,
        arguments: list[str],
        act: Callable[[int], None] | None = None,
        changes: int = -1,
        number: int = signal.SIGKILL,
    ) -> Ended:
        """Run a command to its end; `act` gets its process number while it runs.

        Before the change of a file with the number `changes` it gets the signal `number`.
        """
        self.serial += 1
        log = self.work / f"log{self.serial}.txt"
        started = time.monotonic()
        if FRESH:
            with log.open("wb") as stream:
                process = subprocess.Popen(
                    [sys.executable, "-m", "twintrack", *arguments],
                    stdout=stream,
                    stderr=stream,
                    start_new_session=True,
                    env=os.environ | {"TMPDIR": str(self.tmp)},
                )
                pid, wait = process.pid, lambda: process.wait(PATIENCE_S)
                if act is not None:
                    act(pid)
                code = wait()
        else:
            wish = {"arguments": arguments, "tmp": str(self.tmp), "log": str(log), "changes": changes, "signal": number}
            self.factory.stdin.write(json.dumps(wish) + "\n")
            self.factory.stdin.flush()
            pid = int(self.factory.stdout.readline())
            if act is not None:
                act(pid)
            code = int(self.factory.stdout.readline())
        seconds = time.monotonic() - started
        counted = Path(f"{log}.changes")
        number = int(counted.read_text()) if counted.exists() else 0
        return Ended(code, seconds, number, log.read_text(errors="replace"))

    def wait_until_alone(self, what: str) -> None:
        """Wait until no process is left that a run started."""
        deadline = time.monotonic() + ALONE_S
        while left := processes_with(self.tmp):
            assert time.monotonic() < deadline, f"{what}: {left} are left"
            time.sleep(0.05)


def processes_with(tmp: Path) -> dict[int, str]:
    """Return the processes that were started with that folder for temporary files, and what they run."""
    found, word = {}, f"TMPDIR={tmp}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if word in (entry / "environ").read_bytes().split(b"\0"):
                    found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()[:200]
    return found


def temporary(folder: Path) -> dict[str, str]:
    """Return what is in a folder for temporary files.

    Without the moment's copy of the key that Dask makes for OpenSSL: it is worth nothing once its run has ended.
    """
    return {name: value for name, value in state(folder).items() if not name.startswith("tmp")}


def state(folder: Path) -> dict[str, str]:
    """Return the hash of every file, and every empty folder."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif not any(path.iterdir()):
            found[name] = "empty folder"
    return found


def seen(found: dict[str, str]) -> dict[str, str]:
    """Leave out what lies in unfinished folders, which no user sees."""
    return {name: value for name, value in found.items() if STAGING_PREFIX not in name}


def assert_results_are_whole(out: Path, last: tuple[str, ...]) -> None:
    """What looks complete is complete: its files are those of the list, and of one run."""
    for listed in out.rglob(RECORD):
        if STAGING_PREFIX in listed.as_posix():
            continue
        files = json.loads(listed.read_text(encoding="utf-8"))["files"]
        folder = listed.parent
        for name in last:
            if not (folder / name).exists():
                continue
            mine = {path: file for path, file in files.items() if file["command"] == files[name]["command"]}
            assert len({file["run"] for file in mine.values()}) == 1, f"{folder}: mixed"
            for path, file in mine.items():
                assert hashlib.sha256((folder / path).read_bytes()).hexdigest() == file["sha256"], f"{folder}: {path}"


def moments(seed: int, number: int, whole: float) -> list[float]:
    """Choose moments of something that is `whole` long, half of them in its last third, where files are written."""
    chosen = random.Random(seed)
    return [chosen.uniform(2 / 3 if chosen.random() < 0.5 else 0.0, 1.0) * whole for _ in range(number)]


def drawn(folder: Path) -> Path:
    """Write a manifest of three cases whose two raters follow score and map; return it."""
    folder.mkdir()
    rows = []
    geometry = Geometry((24, 24, 12), (1.0, 1.0, 2.0))
    for number in range(3):
        rng = np.random.default_rng(number)
        score = rng.uniform(0.01, 0.99, geometry.shape).astype(np.float32)
        row = {"case": f"c{number}", "score": f"s{number}.nii.gz", "probability": f"s{number}.nii.gz"}
        write_volume(Volume(score, geometry), folder / row["score"])
        for rater in (1, 2):
            row[f"annotation_{rater}"] = f"a{number}_{rater}.nii.gz"
            mask = (rng.uniform(size=score.shape) < score**2).astype(np.uint8)
            write_volume(Volume(mask, geometry), folder / row[f"annotation_{rater}"])
        rows.append(row)
    vessels = np.zeros(geometry.shape, np.uint8)
    vessels[:, 10:16, 10:14] = 5
    write_volume(Volume(vessels, geometry), folder / "vessels.nii.gz")
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / "manifest.csv"


def cohort_of(folder: Path) -> Path:
    """Write a manifest of three tiny CTs, the last of which cannot be segmented; return it."""
    folder.mkdir()
    geometry = Geometry((26, 30, 14), (1.4, 1.3, 3.1), (-10.0, 20.0, -50.0))
    lines = ["case,image"]
    for number in range(3):
        array = np.random.default_rng(number).normal(0, 80, geometry.shape).astype(np.int16) * (number < 2)
        write_volume(Volume(array, geometry), folder / f"ct{number}.nii.gz")
        lines.append(f"c{number},ct{number}.nii.gz")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Iterator[Runs]:
    runs = Runs(tmp_path_factory.mktemp("kill"))
    if FRESH:
        yield runs
        return
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", FACTORY], **pipes, env=environment) as runs.factory:
        yield runs


@pytest.fixture(scope="module")
def commands(runs, plain_bundle, coarse_results, fine_results) -> tuple[Path, dict[str, Command]]:
    """The folder of the inputs, and the commands; OUT stands for their folder.

    The bundle predicts no vessels: measuring them writes nothing.
    """
    inputs = runs.work / "inputs"
    inputs.mkdir()
    write_ct_series(small_ct((1, 0, 0, 0, 1, 0, 0, 0, 1)), inputs / "ct", description="small")
    for name, folder in (("bundle", plain_bundle), ("coarse", coarse_results), ("fine", fine_results)):
        shutil.copytree(folder, inputs / name)
    manifest, cohort = drawn(inputs / "cases"), cohort_of(inputs / "cohort")
    cpu = ["--bundle", str(inputs / "bundle"), "--no-calibration", "--device", "cpu", "--backend", "torch"]
    for bins in ("10", "20"):
        made = ["--out", str(inputs / f"calibrator{bins}.json"), "--bins", bins, "--bootstrap", "0"]
        assert runs.run(["calibrate", str(manifest), *made]).code == 0
    segment = ["segment", str(inputs / "ct"), *cpu, "--roi", ROI]
    assert runs.run([*segment, "--out", str(inputs / "result")]).code == 0

    def both(words: list[str], before: list[str], now: list[str], *last: str, varying: tuple[str, ...] = ()) -> Command:
        return Command([*words, *before], [*words, *now], last, varying)

    def scores(number: int) -> str:
        return str(inputs / "cases" / f"s{number}.nii.gz")

    calibrate = ["calibrate", str(manifest), "--bootstrap", "20", "--sketch", "OUT/s.npz", "--plot", "OUT/p.png"]
    export = ["export", str(inputs / "result"), "--series", str(inputs / "ct"), "--out", "OUT"]
    create = ["bundle", "create", "--coarse", str(inputs / "coarse"), "--fine", str(inputs / "fine"), "--overwrite"]
    whole = ["cohort", str(cohort), *cpu, "--out", "OUT", "--workers", "1", "--roi", "full", "--redo"]
    vessels = ["--vessels", str(inputs / "cases" / "vessels.nii.gz"), "--vessel-names", "SMA=5"]
    of_cohort = ("cohort.json", "timings.csv", "cohort.parquet", "index.html", *("result.json", "report.html"))
    return inputs, {
        "segment": both(
            [*segment, "--out", "OUT"],
            ["--threshold", "0.3", "--keep-score"],
            ["--threshold", "0.5", "--dicom"],
            *("result.json",),
            varying=("result.json", "report.html", ".dcm"),
        ),
        "calibrate": both([*calibrate, "--out", "OUT/c.json"], ["--bins", "10"], ["--bins", "20"]),
        "export": both(export, [], ["--fractional"], "probability.dcm", varying=(".dcm",)),
        "cohort": both(
            whole,
            ["--threshold", "0.3", "--keep-score"],
            ["--threshold", "0.5"],
            *("case.json", "index.html", "cohort.json"),
            varying=(*of_cohort, "case.json"),
        ),
        "evaluate": both(
            ["evaluate", str(manifest), "--out", "OUT", "--bootstrap", "50"],
            ["--seed", "0"],
            ["--seed", "1"],
            "summary.json",
        ),
        "phantom": both(
            ["phantom", "--cases", "1", "--raters", "1", "--out", "OUT"],
            ["--seed", "1"],
            ["--seed", "2"],
            "manifest.csv",
        ),
        "apply": both(
            ["apply", scores(0), "--out", "OUT/map.nii.gz", "--calibrator"],
            [str(inputs / "calibrator10.json")],
            [str(inputs / "calibrator20.json")],
        ),
        "invasion": Command(
            ["invasion", scores(0), *vessels, "--out", "OUT/i.json"],
            ["invasion", scores(1), *vessels, "--out", "OUT/i.json"],
        ),
        "bundle-folder": both([*create, "--out", "OUT/b"], ["--half"], [], varying=("created",)),
        "bundle-zip": both([*create, "--out", "OUT/b.zip"], ["--half"], [], varying=(".zip",)),
    }


NAMES = ["segment", "calibrate", "export", "cohort", "evaluate", "phantom", "apply", "invasion"]
NAMES += ["bundle-folder", "bundle-zip"]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_command_killed_at_any_moment_loses_nothing_and_the_next_run_ends_as_ever(
    name, runs, commands, record_property
):
    inputs, command = commands[0], commands[1][name]
    given, others = state(inputs), temporary(runs.tmp)
    out, kept = runs.work / name, runs.work / f"{name}-before"

    def arguments(words: list[str]) -> list[str]:
        return [word.replace("OUT", str(out)) if word.startswith("OUT") else word for word in words]

    assert runs.run(arguments(command.before)).code == 0
    mine = {"mine.txt": "mine", "notes/mine.nii.gz": "mine too", ".hidden": "mine as well"}
    for place, words in mine.items():
        (out / place).parent.mkdir(exist_ok=True)
        (out / place).write_text(words)
    shutil.copytree(out, kept)
    undisturbed = runs.run(arguments(command.now))
    assert undisturbed.code == 0, undisturbed.said
    before, now = state(kept), state(out)
    assert before != now

    def assert_nothing_is_lost() -> None:
        assert state(inputs) == given
        there = seen(state(out))
        assert {place: (out / place).read_text() for place in mine} == mine
        assert {path: value for path, value in temporary(runs.tmp).items() if path in others} == others
        for path, value in there.items():
            if not path.endswith((*command.varying, RECORD)):
                assert value in (before.get(path), now.get(path)), path
        assert_results_are_whole(out, command.last)

    def assert_it_ended_as_ever(ended: Ended) -> None:
        assert ended.code == 0, ended.said
        assert_nothing_is_lost()
        there = state(out)
        assert there.keys() == now.keys()
        steady = [path for path in now if not path.endswith((*command.varying, RECORD))]
        assert {path: there[path] for path in steady} == {path: now[path] for path in steady}
        assert temporary(runs.tmp) == others, "something is left in the folder for temporary files"

    killed, seconds, seed = 0, [], NAMES.index(name)
    by_clock = moments(seed, KILLS, undisturbed.seconds)
    by_change = [int(moment) for moment in moments(seed + 100, KILLS, undisturbed.changes)]
    for number in range(KILLS):
        if number % KILLS_A_GROUP == 0:
            shutil.rmtree(out)
            shutil.copytree(kept, out)

        def act(pid: int, number: int = number) -> None:
            if FRESH or number % 2 == 0:
                time.sleep(by_clock[number])
                with suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)

        limit = -1 if FRESH or number % 2 == 0 else by_change[number]
        ended = runs.run(arguments(command.now), act, limit)
        assert ended.code in (-signal.SIGKILL, 0), ended.said
        killed += ended.code != 0
        runs.wait_until_alone(f"kill {number}")
        assert_nothing_is_lost()
        if number % KILLS_A_GROUP == KILLS_A_GROUP - 1 or number == KILLS - 1:
            ended = runs.run(arguments(command.now))
            seconds.append(ended.seconds)
            assert_it_ended_as_ever(ended)
            runs.wait_until_alone("the end")
    figures = {"killed": killed, "changes": undisturbed.changes, "seconds": round(float(np.mean(seconds)), 2)}
    for key, value in figures.items():
        record_property(key, value)


@pytest.mark.slow
@pytest.mark.skipif(FRESH, reason="needs to know when files change")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_is_asked_to_end_leaves_what_was_there(number, runs, commands):
    command, out, others = commands[1]["evaluate"], runs.work / f"asked{number}", temporary(runs.tmp)

    def arguments(words: list[str]) -> list[str]:
        return [word.replace("OUT", str(out)) for word in words]

    assert runs.run(arguments(command.before)).code == 0
    before = state(out)
    for changes in (0, 2, 5, 9):
        ended = runs.run(arguments(command.now), changes=changes, number=number)
        assert (ended.code, ended.said) == (130, "cancelled\n")
        assert seen(state(out)) == before
        assert {name: value for name, value in temporary(runs.tmp).items() if name in others} == others
    # What an interrupt in the moment of its making left is known by its marker, and goes with the next run.
    assert runs.run(arguments(command.now)).code == 0
    assert not list(out.glob(f"{STAGING_PREFIX}*"))
    assert temporary(runs.tmp) == others
