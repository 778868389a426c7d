"""The started command, with the example CT and its result: everything here is asked of a process of its own."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psutil
import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent / "mrml", HERE.parent / "present", HERE.parent.parent / "TwinTrackSeg"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

START_SEC = 600.0


@dataclass(frozen=True)
class Example:
    """A CT as a DICOM series, and the folder of its result, which holds it."""

    result: Path
    ct: Path


@dataclass
class Started:
    """A viewer that runs."""

    process: subprocess.Popen[str]
    address: str
    said: list[str]

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(urlsplit(self.address).port or 0)

    @property
    def key(self) -> str:
        """What lets a page in."""
        return parse_qs(urlsplit(self.address).query)["key"][0]

    @property
    def cpuSec(self) -> float:
        """Seconds of the processor that it has taken."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    @contextlib.contextmanager
    def held(self) -> Iterator[list[psutil.Process]]:
        """Let the processes that it has started stand still for a while.

        Not one that is still a copy of its parent, which waits until it has become another program.
        """
        held = []
        parent = psutil.Process(self.process.pid)
        for process in parent.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.cmdline() != parent.cmdline():
                    process.suspend()
                    held.append(process)
        try:
            yield held
        finally:
            for process in held:
                process.resume()

    def end(self) -> int:
        """Interrupt it, and return how it ended."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(START_SEC)


def written_example(folder: Path, write: Callable[[Path, Any], Path]) -> Example:
    """Write the example CT, and a result of it by `write`, which gets the result's folder and the CT's node."""
    from mrml_environment import preparedScene

    from twintrack.dicom import write_ct_series
    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt
    from TwinTrackSegLib.mrml.VolumeConversion import volumeFromNode

    scene = preparedScene()
    node = makeExampleCt()
    result = write(folder / "result", node)
    write_ct_series(volumeFromNode(node), result / "ct", description="Example")
    scene.Clear(False)
    return Example(result, result / "ct")


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """The example CT and its result in files, with the maps of two readers and three samples."""
    from rater_example import writeSampleResult

    return written_example(tmp_path_factory.mktemp("example"), writeSampleResult)


@pytest.fixture(scope="session")
def named_example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """The example CT, and a result whose vessels have their names by anatomy."""
    from named_example import writeNamedResult

    return written_example(tmp_path_factory.mktemp("named"), writeNamedResult)


@contextlib.contextmanager
def started(*arguments: object) -> Iterator[Started]:
    """Start ``twintrack view`` without a browser; it is ended at last."""
    command = [sys.executable, "-m", "twintrack", "view", *map(str, arguments), "--no-browser", "-v"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=dict(os.environ)
    )
    said: list[str] = []
    addresses: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in process.stdout or ():
            (addresses.put if line.startswith("http") else said.append)(line.strip())
        addresses.put("")

    listening = threading.Thread(target=listen, daemon=True)
    listening.start()
    try:
        address = addresses.get(timeout=START_SEC)
        assert address, said
        yield Started(process, address, said)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        listening.join()


@pytest.fixture(scope="module")
def viewer(example: Example) -> Iterator[Started]:
    """One viewer of the example's result for all tests of a file."""
    with started(example.result) as running:
        yield running


@pytest.fixture(scope="session")
def start() -> Callable[..., contextlib.AbstractContextManager[Started]]:
    """Start a viewer of one's own."""
    return started
