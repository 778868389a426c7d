"""Try one reader with many inputs: each in a child of one loaded process, under limits of memory and time.

An input is made from the name of its kind and a number alone, so that every finding can be made again. What a child
does is a verdict: it read the input, refused it by a `TwinTrackError`, or did something else, which is a finding.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from fuzzing.reading import end_reading_child, fork_reading_children

MEMORY_BYTES = 4 * 1024**3
"""What a child may take beside what the loaded process has."""

LIMIT_S = 20.0
"""Seconds of the processor that a child may take, and seconds on the clock that it may wait."""

LONGEST_S = 6 * LIMIT_S
"""Seconds on the clock after which a child is ended that has not used up its processor time: others use the machine."""

ASLEEP_S = 2.0
"""A child that has taken less of the processor by `LIMIT_S` on the clock waits for something."""

FILE_BYTES = 6 * 1024**3
"""Largest file that a child may write, so that no input fills the disk of whoever runs this."""

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
"""What has no place in a line on a terminal."""

Make = Callable[[random.Random, Path, Path], object]
"""Makes an input from a generator and the folder of seeds, in a folder of its own; returns what the reader is given."""


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes
    ----------
    name : str
        For example ``nifti``.
    prepare : callable
        Writes valid seeds into an empty folder.
    make : callable
        See `Make`.
    read : callable
        Gives what was made to the reader, and checks what comes back; `TwinTrackError` is a refusal.
    command : callable
        Returns the command line (without the interpreter) for what was made, and what goes into its standard input.
    load : callable
        Imports what the reader needs, in the process that the children are forked from.
    """

    name: str
    prepare: Callable[[Path], None]
    make: Make
    read: Callable[[object, Path], None]
    command: Callable[[object, Path], tuple[list[str], bytes]]
    load: Callable[[], None] = field(default=lambda: None)


@dataclass(frozen=True)
class Verdict:
    """What came of one input.

    Attributes
    ----------
    kind : str
        Name of the kind.
    number : int
        Which input of the kind.
    outcome : str
        ``read``, ``refused``, or what is wrong: ``exception``, ``signal``, ``time``, ``memory``, ``message``,
        ``leftover``, ``output`` or ``harness``.
    detail : str
        The refusal, or the end of a traceback.
    seconds : float
        Processor time of the child and its own children, without that for making the input.
    peak_bytes : int
        Most memory it held, with what it shares with the loaded process.
    """

    kind: str
    number: int
    outcome: str
    detail: str = ""
    seconds: float = 0.0
    peak_bytes: int = 0

    @property
    def is_finding(self) -> bool:
        """Whether it neither read nor refused the input properly."""
        return self.outcome not in ("read", "refused")

    def __str__(self) -> str:
        return f"{self.kind} {self.number}: {self.outcome} ({self.seconds:.1f} s)\n{self.detail}"


def generator(kind: str, number: int) -> random.Random:
    """Return the generator of one input, the same on every machine."""
    return random.Random(f"{kind}/{number}")


@dataclass
class _Child:
    pid: int
    number: int
    folder: Path
    started: float
    asked: bool = False


def try_inputs(kind: Kind, numbers: Iterable[int], *, jobs: int = 1) -> Iterator[Verdict]:
    """Yield the verdict on each of the inputs `numbers` of `kind`, as they end.

    Parameters
    ----------
    kind : Kind
        What is tried.
    numbers : iterable of int
        Which inputs.
    jobs : int
        Children at a time.
    """
    kind.load()
    gc.collect()
    gc.freeze()  # so that the children's collections do not copy every page
    left, running = iter(numbers), list[_Child]()
    with tempfile.TemporaryDirectory(prefix="twintrack-fuzz-") as base:
        seeds = Path(base) / "seeds"
        seeds.mkdir()
        kind.prepare(seeds)
        more = True
        while more or running:
            while more and len(running) < jobs:
                number = next(left, None)
                if number is None:
                    more = False
                    break
                running.append(_start(kind, number, seeds, Path(base)))
            for child in list(running):
                verdict = _ended(kind, child)
                if verdict is not None:
                    running.remove(child)
                    remove(child.folder)
                    yield verdict
            time.sleep(0.001)


def _start(kind: Kind, number: int, seeds: Path, base: Path) -> _Child:
    folder = base / str(number)
    folder.mkdir()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        _be_child(kind, number, seeds, folder)
    return _Child(pid, number, folder, time.monotonic())


def _be_child(kind: Kind, number: int, seeds: Path, folder: Path) -> None:
    """Make the input and read it; never returns."""
    os.setsid()
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    verdict, making_s = ("harness", "no verdict"), 0.0
    try:
        faulthandler.enable()
        place, scratch = folder / "input", folder / "tmp"
        place.mkdir()
        scratch.mkdir()
        os.environ["TMPDIR"] = tempfile.tempdir = str(scratch)
        os.chdir(place)
        made = kind.make(generator(kind.name, number), seeds, place)
        making_s = time.process_time()
        fork_reading_children()
        limit_child()
        verdict = _judged(lambda: kind.read(made, place))
        end_reading_child()
        left = sorted(path.name for path in scratch.iterdir())
        if left and verdict[0] in ("read", "refused"):
            verdict = ("leftover", f"left in TMPDIR: {left}")
    except BaseException:
        verdict = ("harness", traceback.format_exc())
    finally:
        with open(folder / "verdict", "w", encoding="utf-8", errors="backslashreplace") as stream:  # noqa: PTH123
            json.dump([*verdict, making_s], stream)
        os._exit(0)


def limit_child(baseline: int | None = None) -> None:
    """Limit the calling process: memory beside what it has, processor time, size of files, no core file."""
    if baseline is None:
        with open("/proc/self/statm") as stream:  # noqa: PTH123
            baseline = int(stream.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (baseline + MEMORY_BYTES,) * 2)
    used = int(time.process_time()) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (used + int(LIMIT_S), used + int(LIMIT_S) + 5))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _judged(read: Callable[[], None]) -> tuple[str, str]:
    from twintrack.errors import TwinTrackError

    try:
        read()
    except TwinTrackError as error:
        return judge_message(str(error))
    except MemoryError:
        return "memory", traceback.format_exc()
    except BaseException:
        return "exception", traceback.format_exc()
    return "read", ""


def judge_message(message: str) -> tuple[str, str]:
    """Return the verdict on a refusal; its length and control characters are for the edge (see `commands`)."""
    return ("refused", message[:1000]) if message.strip() else ("message", "says nothing")


def _ended(kind: Kind, child: _Child) -> Verdict | None:
    """Return the verdict on a child that has ended or takes too long, None while it may go on."""
    pid, status, usage = os.wait4(child.pid, os.WNOHANG)
    late = hangs(child.pid, child.started)
    if pid == 0:
        if not late:
            return None
        if not child.asked:  # let it say where it is
            os.kill(child.pid, signal.SIGABRT)
            child.asked, child.started = True, time.monotonic() - LONGEST_S
            return None
        time.sleep(1)
        os.killpg(child.pid, signal.SIGKILL)
        _, status, usage = os.wait4(child.pid, 0)
    with suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)  # what it may have left running
    seconds, peak = usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024
    outcome, detail, making_s = "signal", f"ended without a verdict, status {status}", 0.0
    with suppress(OSError, ValueError):
        outcome, detail, making_s = json.loads((child.folder / "verdict").read_text(encoding="utf-8"))
    seconds -= making_s
    about = {"kind": kind.name, "number": child.number, "seconds": seconds, "peak_bytes": peak}
    log = child.folder / "log"
    said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    if child.asked or os.WIFSIGNALED(status) or seconds > LIMIT_S:
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0
        slow = child.asked or number == signal.SIGXCPU or seconds > LIMIT_S
        return Verdict(outcome="time" if slow else "signal", detail=f"signal {number}\n{said[-3000:]}", **about)
    return Verdict(outcome=outcome, detail=detail if making_s else f"{detail}\n{said[-3000:]}", **about)


def hangs(group: int, started: float) -> bool:
    """Whether a group of processes waits for something that does not come; a busy machine makes none of them hang."""
    elapsed = time.monotonic() - started
    if elapsed < LIMIT_S + 2:
        return False
    return elapsed > LONGEST_S or _processor_seconds(group) < ASLEEP_S


def _processor_seconds(group: int) -> float:
    """Return the processor time of the processes of a group."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):
            fields = path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            if int(fields[2]) == group:
                ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def remove(folder: Path) -> None:
    """Remove an input's folder, whatever lies in it."""
    for path in folder.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)


def summary(verdicts: Iterable[Verdict]) -> str:
    """Return one line on what came of the inputs of one kind."""
    listed = list(verdicts)
    counts: dict[str, int] = {}
    for verdict in listed:
        counts[verdict.outcome] = counts.get(verdict.outcome, 0) + 1
    said = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    seconds = sum(verdict.seconds for verdict in listed)
    longest = max((verdict.seconds for verdict in listed), default=0.0)
    peak = max((verdict.peak_bytes for verdict in listed), default=0)
    return f"{len(listed)} inputs, {seconds:.0f} CPU s (longest {longest:.1f} s), peak {peak / 1e9:.2f} GB: {said}"
