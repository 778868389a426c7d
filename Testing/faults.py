"""Runs of the engine in a child process in which something goes wrong at a chosen moment, and what must hold after."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from twintrack.execution.answer import Events
from twintrack.execution.worker.run_request import answer_request
from twintrack.io.volumes import read_volume, write_volume
from twintrack.progress.callbacks import CancelToken
from twintrack.results.folder import RESULT_FILES
from twintrack.system.ownership import RECORD
from twintrack.volume import Geometry, Volume

GEOMETRY = Geometry((48, 44, 24), (1.5, 1.5, 3.0), (-30.0, 12.0, 5.0))
VESSELS = "vessels.nrrd"


@dataclass(frozen=True)
class Ended:
    """How a run ended: its exit code (negative for a signal) and its events."""

    code: int
    events: list[dict[str, Any]]

    @property
    def sentence(self) -> str:
        """The error that the user sees."""
        return str(self.events[-1].get("message", "")) if self.events else ""


class _Stream:
    """Where the child's events go: a file, and a callback for the messages of progress."""

    def __init__(self, path: Path, act: Callable[[str], None]) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._act = act

    def write(self, line: str) -> None:
        self._file.write(line)
        self._file.flush()
        event = json.loads(line)
        if event["event"] == "progress":
            self._act(event["message"])

    def flush(self) -> None:
        pass


def ct_file(folder: Path, geometry: Geometry = GEOMETRY, *, vessels: bool = True) -> Path:
    """Write a small CT that can be segmented with a region given by hand, and two vessels beside it."""
    array = np.random.default_rng(1).normal(0, 60, geometry.shape).astype(np.int16)
    write_volume(Volume(array, geometry), folder / "ct.nrrd")
    if vessels:
        lumens = np.zeros(geometry.shape, np.uint8)
        lumens[:, 10:16, 10:16], lumens[:, 26:30, 20:24] = 1, 2
        write_volume(Volume(lumens, geometry), folder / VESSELS)
    return folder / "ct.nrrd"


def given_vessels(ct: Path) -> dict[str, Any]:
    """Name the vessels beside a CT, if there are any.

    What networks of random weights take for vessels is measured for a quarter of a minute a run; these take a second.
    """
    beside = ct.with_name(VESSELS)
    return {"vessels": str(beside), "vessel_names": {"SMA": 1, "PORTA": 2}} if beside.exists() else {}


def request(ct: Path, bundle: Path, out: Path, **changes: Any) -> dict[str, Any]:
    """Return a request that takes about a second."""
    quick = {"roi": [5, 30, 5, 30, 4, 16], "calibrate": False, "backend": "torch", "device": "cpu"}
    values = quick | given_vessels(ct)
    return {"schema": 1, "input": str(ct), "bundle": str(bundle), "out": str(out), **values, **changes}


def _child(content: dict[str, Any], log: Path, act: Callable[[str], None]) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    os._exit(answer_request(content, Events(_Stream(log, act)), CancelToken()))  # type: ignore[arg-type]


def start(content: dict[str, Any], log: Path, act: Callable[[str], None] = lambda message: None) -> Any:
    """Begin a run in a child process; `act` is called there with each message of progress."""
    process = multiprocessing.get_context("fork").Process(target=_child, args=(content, log, act))
    process.start()
    return process


def finish(process: Any, log: Path) -> Ended:
    """Wait for a run that was started."""
    process.join(600)
    assert process.exitcode is not None, "the run hangs"
    lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return Ended(process.exitcode, [json.loads(line) for line in lines])


def run(content: dict[str, Any], log: Path, act: Callable[[str], None] = lambda message: None) -> Ended:
    """Carry out a run in a child process."""
    return finish(start(content, log, act), log)


def at(message: str, act: Callable[[], None]) -> Callable[[str], None]:
    """Return a callback that acts once, at the first progress with `message`."""
    done: list[str] = []

    def once(heard: str) -> None:
        if heard == message and not done:
            done.append(heard)
            act()

    return once


def state(out: Path) -> dict[str, str]:
    """Return the hash of every file below `out`."""
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(out.rglob("*"))
        if path.is_file()
    }


def assert_whole(out: Path, geometry: Geometry = GEOMETRY) -> dict[str, Any]:
    """Check by reading them that all files of a result are complete; return ``result.json``."""
    from matplotlib.image import imread

    result: dict[str, Any] = json.loads((out / "result.json").read_text(encoding="utf-8"))
    for name in ("probability", "segmentation", *(["vessels"] if result.get("vessel_values") else [])):
        assert read_volume(out / f"{name}.nii.gz").geometry.same_grid(geometry)
    assert imread(out / "overview.png").size > 0
    assert (out / "report.html").read_text(encoding="utf-8").rstrip().endswith(" -->")
    if (out / "invasion.json").exists():
        json.loads((out / "invasion.json").read_text(encoding="utf-8"))
    assert {path.name for path in out.iterdir()} <= {*RESULT_FILES, RECORD}
    return result
