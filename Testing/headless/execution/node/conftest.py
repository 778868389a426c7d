"""A node in this process, whose service is a stand-in, and a small CT to send to it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import twintrack.execution.node.scp as scp
from archive_server import free_port
from twintrack.dicom import DimseTarget, write_ct_series
from twintrack.execution.node.complete import Waits
from twintrack.execution.node.node import running_node
from twintrack.execution.node.scp import Listening
from twintrack.execution.node.send import Archive as Target
from twintrack.settings import SegmentSettings
from twintrack.volume import Geometry, Volume

from .sending import NUMBER, PATIENT, StandIn, until

SLICES = 6


@pytest.fixture(scope="session")
def ct(tmp_path_factory) -> list[Path]:
    """A small series of a planted patient."""
    geometry = Geometry((24, 20, SLICES), (0.7, 0.9, 2.5), (-31.25, 17.5, -801.125))
    array = np.random.default_rng(7).integers(-900, 900, geometry.shape).astype(np.int16)
    folder = tmp_path_factory.mktemp("source") / "ct"
    write_ct_series(Volume(array, geometry), folder, description="source", patient_name=PATIENT, patient_id=NUMBER)
    return sorted(folder.iterdir())


@pytest.fixture
def service() -> StandIn:
    return StandIn()


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def started(tmp_path: Path, port: int, service: StandIn) -> Callable[..., object]:
    """Return a function that runs a node; its folder and port stay the same."""

    @contextmanager
    def run(target: Target, *, waits: Waits | None = None, **more: object) -> Iterator[Path]:
        how = replace(Listening("NODE", ("PACS", "OTHER"), port=port, reserve_bytes=1 << 20), **more)
        folder = tmp_path / "node"
        with running_node(
            folder, how, service, target, settings=SegmentSettings(), waits=waits or Waits(0.6, 3.0), look_s=0.1
        ):
            yield folder

    return run


@pytest.fixture
def nowhere() -> Target:
    """An archive that is switched off."""
    return Target(DimseTarget("127.0.0.1", free_port(), "NOBODY", "NODE"))


@pytest.fixture(scope="session")
def storescu() -> str:
    # pynetdicom installs a program of the same name beside Python.
    program = shutil.which("storescu", path="/usr/bin:/usr/local/bin:/opt/homebrew/bin")
    if program is None:
        pytest.skip("storescu (dcmtk) is not installed")
    return program


@pytest.fixture(autouse=True)
def no_thread_is_left(monkeypatch) -> Iterator[None]:
    monkeypatch.setattr(scp, "HANDSHAKE_S", 6.0)
    yield
    until(lambda: not [one for one in threading.enumerate() if "AcceptorThread" in one.name])
