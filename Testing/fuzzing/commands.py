"""The same inputs by the real command: exit code 0, or 2 with one line, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from fuzzing.harness import CONTROL, FILE_BYTES, LIMIT_S, MEMORY_BYTES, Kind, Verdict, generator, hangs, remove
from twintrack.execution.cohort.run import LOCK
from twintrack.system.ownership import RECORD

ENGINE = Path(__file__).resolve().parents[2] / "TwinTrackSeg"
DEMO = ENGINE / "twintrack" / "data" / "demo_bundle"

MAY_STAY = (RECORD, LOCK)
"""The list of a result's files, and the lock of a cohort's folder."""

LONGEST_LINE = 2500
"""Letters of an error: it may name a path, but not repeat a file."""

WAIT = b"\0wait"
"""In the place of what is entered: standard input stays open until the command ends."""

_LIMITED = """
import os, resource, sys
memory, seconds, size = map(int, sys.argv[1:4])
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.execv(sys.executable, [sys.executable, "-m", *sys.argv[4:]])
"""


def segment(made: object, folder: Path) -> list[str]:
    """Return the arguments that segment `made` into a folder beside it."""
    about = ["--bundle", str(DEMO), "--out", str(folder / "out"), "--roi", "full", "--device", "cpu"]
    return ["segment", str(made), *about]


def try_commands(kind: Kind, numbers: Iterable[int], *, jobs: int = 1) -> Iterator[Verdict]:
    """Yield the verdict on each of the inputs `numbers` of `kind`, given to the command."""
    kind.load()
    with tempfile.TemporaryDirectory(prefix="twintrack-fuzz-") as base, ThreadPoolExecutor(jobs) as pool:
        seeds = Path(base) / "seeds"
        seeds.mkdir()
        kind.prepare(seeds)
        yield from pool.map(lambda number: _one(kind, number, seeds, Path(base)), numbers)


def _one(kind: Kind, number: int, seeds: Path, base: Path) -> Verdict:
    folder = base / str(number)
    place, scratch = folder / "input", folder / "tmp"
    place.mkdir(parents=True)
    scratch.mkdir()
    started = time.monotonic()
    try:
        made = kind.make(generator(kind.name, number), seeds, place)
        arguments, entered = kind.command(made, place)
        outcome, detail = _outcome(arguments, entered, place, scratch)
    finally:
        remove(folder)
    return Verdict(kind.name, number, outcome, detail, time.monotonic() - started)


def _outcome(arguments: list[str], entered: bytes, place: Path, scratch: Path) -> tuple[str, str]:
    worker = arguments[0] == "--worker"
    module = ["twintrack.execution.worker", *arguments[1:]] if worker else ["twintrack", *arguments]
    limits = [str(MEMORY_BYTES), str(int(LIMIT_S)), str(FILE_BYTES)]
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": str(ENGINE), "PYTHONFAULTHANDLER": "1"}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "XDG_CACHE_HOME": str(place / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-c", _LIMITED, *limits, *module],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=place,
        env=environment,
        start_new_session=True,
    )
    try:
        said, complained = _talk(process, entered)
    except _HangsError:
        process.send_signal(signal.SIGABRT)
        try:
            complained = process.communicate(timeout=3)[1]
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            complained = process.communicate()[1]
        return "time", complained.decode(errors="replace")[-3000:]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if worker:
        return _judge_worker(process.returncode, said, complained, scratch)
    return _judge(process.returncode, complained, place, scratch)


class _HangsError(Exception):
    """A command does not end."""


def _talk(process: subprocess.Popen[bytes], entered: bytes) -> tuple[bytes, bytes]:
    """Enter the lines; a worker for one request must not see their end before it has ended."""
    assert process.stdin is not None
    started, stream = time.monotonic(), process.stdin
    pending: bytes | None = entered
    if entered == WAIT:
        pending, process.stdin = None, None
    try:
        while True:
            try:
                return process.communicate(pending, timeout=1)
            except subprocess.TimeoutExpired:
                pending = None
                if hangs(process.pid, started):
                    raise _HangsError from None
    finally:
        if entered == WAIT:
            stream.close()


def _judge(code: int, complained: bytes, place: Path, scratch: Path) -> tuple[str, str]:
    text = complained.decode("utf-8", errors="replace")
    shown = f"code {code}\n{text[-3000:]}"
    lines = [line for line in text.replace("\r", "\n").splitlines() if line.strip()]
    if code < 0:
        return ("time" if -code == signal.SIGXCPU else "signal"), shown
    if code not in (0, 2):
        return "exception", shown
    if "Traceback" in text or any(CONTROL.search(line.replace("\t", " ")) for line in lines):
        return "output", shown
    errors = [line for line in lines if line.startswith("error: ")]
    if code == 2 and (len(errors) != 1 or not text.rstrip("\n").endswith(errors[0]) or len(errors[0]) > LONGEST_LINE):
        return "output", shown
    if code == 0 and errors:
        return "output", shown
    left = sorted(path.name for path in scratch.iterdir())
    out = [path.name for path in place.glob("out*") if path.is_file() or any(path.iterdir())]
    partial = [
        path.name for path in place.rglob("*") if path.name.startswith(".twintrack") and path.name not in MAY_STAY
    ]
    if left or (code == 2 and out and not (place / "out" / "failures.csv").exists()) or partial:
        return "leftover", f"in TMPDIR {left}, beside the input {out} {partial}\n{shown}"
    return ("read" if code == 0 else "refused"), (errors[0] if errors else "")


def _judge_worker(code: int, said: bytes, complained: bytes, scratch: Path) -> tuple[str, str]:
    shown = f"code {code}\n{said[-1500:]!r}\n{complained.decode(errors='replace')[-3000:]}"
    if code < 0:
        return ("time" if -code == signal.SIGXCPU else "signal"), shown
    try:
        events: list[dict[str, Any]] = [json.loads(line) for line in said.splitlines()]
    except ValueError:
        return "output", shown
    if b"Traceback" in complained or any(str(event.get("message", "")).startswith("unexpected") for event in events):
        return "exception", shown
    if code not in (0, 2, 130):
        return "exception", shown
    left = sorted(path.name for path in scratch.iterdir())
    if left:
        return "leftover", f"in TMPDIR {left}\n{shown}"
    return ("read" if code == 0 else "refused"), ""
