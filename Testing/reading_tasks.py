"""What the tests let a reading child do: read well, and go wrong in each way that a native reader can."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from twintrack.errors import InputError

TASKS = frozenset(
    f"reading_tasks:{name}"
    for name in ("ramp", "chatter", "refuse", "odd", "bomb", "hang", "signalled", "segfault", "steps", "own_id", "hold")
)


@dataclass(frozen=True)
class Ramp:
    """A result such as a series is: a large array deep inside, and small things."""

    parts: dict[str, np.ndarray]
    name: str


class OddError(Exception):
    """One that cannot be unpickled."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first + second)


def ramp(count: int, *, name: str = "") -> Ramp:
    values = np.arange(count, dtype=np.int32)
    return Ramp({"large": values, "small": values[:3].copy(), "cube": np.ones((3, 40, 50), order="F")}, name)


def chatter() -> str:
    print("to standard output")  # noqa: T201
    print("to standard error", file=sys.stderr)  # noqa: T201
    os.write(1, b"to file 1\n")
    os.write(2, b"to file 2\n")
    logging.getLogger("twintrack.there").warning("a remark on %d slices", 3)
    logging.getLogger("twintrack.there").debug("a detail")
    return sys.stdin.read() + "nothing to read"


def refuse(path: Path) -> None:
    raise InputError("two patients in one series", code="patients-mixed", path=path)


def odd() -> None:
    raise OddError("not", "foreseen")


def bomb(size: int) -> int:
    return len(bytearray(size))


def hang(pid_file: str) -> None:
    Path(pid_file).write_text(str(os.getpid()))
    time.sleep(60)


def hold(pid_file: str) -> None:
    """Compute in native code that never gives the interpreter back."""
    Path(pid_file).write_text(str(os.getpid()))
    ctypes.PyDLL(None).sleep(60)


def signalled(name: str) -> None:
    os.kill(os.getpid(), getattr(signal, name))
    time.sleep(60)


def segfault() -> None:
    ctypes.string_at(0)


def steps(count: int, *, progress: Callable[[float, str], None]) -> int:
    for step in range(count):
        progress(step / count, f"slice {step}")
    return count


def own_id() -> int:
    return os.getpid()
