"""A real server, started as its owner does, that readers on this machine speak to by TLS."""

from __future__ import annotations

import io
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import pytest

from http_server import HttpClient, HttpServer, running_http, soon
from twintrack.cli.app import run_command
from twintrack.execution.answer import Events
from twintrack.execution.server.certificates import make_certificates
from twintrack.execution.worker.run_request import answer_request
from twintrack.io.volumes import write_volume
from twintrack.progress.callbacks import CancelToken
from twintrack.volume import Geometry, Volume


@dataclass
class Server:
    """A running server: its address, its readers' certificates, where CTs lie, and what it wrote."""

    address: str
    client: Path
    temporary: Path
    process: subprocess.Popen
    log: Path

    def workers(self) -> list[psutil.Process]:
        """Return the processes that do the work."""
        found = []
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # has just ended, or is a zombie
                if "spawn_main" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    def folders(self) -> list[Path]:
        """Return the folders of the runs that have not ended."""
        return [path for root in self.temporary.glob(".twintrack-scratch-*") for path in root.glob("[!.]*")]


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> Path:
    """The folder that `twintrack certificates` makes."""
    return make_certificates(tmp_path_factory.mktemp("tls") / "made", "127.0.0.1")


@pytest.fixture(scope="session")
def start_server(certificates, tmp_path_factory) -> Callable[..., AbstractContextManager[Server]]:
    """Return a function that runs a server, which other computers could reach, with a bundle and further options."""

    @contextmanager
    def start(bundle: Path, *more: str) -> Iterator[Server]:
        temporary, log = tmp_path_factory.mktemp("server"), tmp_path_factory.mktemp("log") / "stderr.txt"
        options = ["--host", "0.0.0.0", "--port", "0", "--tls", certificates / "server", "--device", "cpu", *more]
        command = [sys.executable, "-m", "twintrack", "serve", "--bundle", bundle, *options, "--backend", "torch"]
        environment = os.environ | {"TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        with (
            log.open("w") as errors,
            subprocess.Popen(
                [str(word) for word in command], stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            ) as process,
        ):
            ready = next((line for line in process.stdout if line.startswith("ready at ")), None)
            assert ready is not None, log.read_text()
            port = ready.strip().rsplit(":", 1)[1]
            yield Server(f"tls://127.0.0.1:{port}", certificates / "client", temporary, process, log)
            process.terminate()
            assert process.wait(60) == 0
            assert not list(temporary.iterdir())

    return start


@pytest.fixture(scope="module")
def server(start_server, make_bundle) -> Iterator[Server]:
    """A server with the tiny bundle."""
    with start_server(make_bundle()) as running:
        yield running


@pytest.fixture(scope="session")
def ct(tmp_path_factory) -> Path:
    """A CT that takes the tiny networks some seconds where they look everywhere; its name tells whose it is."""
    path = tmp_path_factory.mktemp("cts") / "DOE_JANE.nrrd"
    array = np.random.default_rng(1).normal(0, 60, (40, 60, 60)).astype(np.int16)
    write_volume(Volume(array, Geometry((60, 60, 40), (1.5, 1.5, 3.0))), path)
    return path


@pytest.fixture(scope="session")
def vessels(ct) -> Path:
    """A vessel map of that CT: measuring what the tiny networks take for vessels would take long."""
    array = np.zeros((40, 60, 60), np.uint8)
    array[:, 10:16, 10:14] = 5
    write_volume(Volume(array, Geometry((60, 60, 40), (1.5, 1.5, 3.0))), ct.with_name("vessels.nii.gz"))
    return ct.with_name("vessels.nii.gz")


@pytest.fixture(scope="session")
def slow() -> dict:
    """What to ask for to have time for something else meanwhile."""
    return {"roi": "full", "every_tile": True}


@pytest.fixture(scope="module")
def whole_request(server, ct, vessels, tmp_path_factory) -> dict:
    """A request to the server that is quickly done."""
    there = {"run_on": server.address, "tls": str(server.client), "bundle": None, "keep_score": True}
    quick = {"roi": [5, 25, 5, 25, 5, 15], "calibrate": False, "device": "cpu", "backend": "torch"}
    own = {"input": str(ct), "vessels": str(vessels), "vessel_names": {"SMA": 5}, "case": "DOE^JANE 17"}
    return {"schema": 1, "out": str(tmp_path_factory.mktemp("whole") / "out"), **own, **there, **quick}


@pytest.fixture
def request_there(whole_request, tmp_path) -> Callable[..., dict]:
    """Return a function that changes that request."""
    return lambda **changes: {**whole_request, "out": str(tmp_path / "out"), **changes}


class Answer:
    """What a worker says to a request, as its parent hears it."""

    def __init__(self, request: dict, cancel: CancelToken | None = None, hear: Callable[[dict], None] | None = None):
        self.events: list[dict] = []
        self._hear = hear
        self.code = answer_request(request, self, cancel or CancelToken())

    def say(self, **event: object) -> None:
        stream = io.StringIO()
        Events(stream).say(**event)
        self.events.append(json.loads(stream.getvalue()))
        if self._hear is not None:
            self._hear(self.events[-1])

    @property
    def last(self) -> dict:
        return self.events[-1]


@pytest.fixture(scope="session")
def ask() -> type[Answer]:
    """`Answer`."""
    return Answer


@pytest.fixture(scope="session")
def http(make_bundle, tmp_path_factory) -> Iterator[HttpServer]:
    """A server that speaks HTTPS, with the tiny bundle and one process; what it must never do is watched to the end."""
    with running_http(make_bundle(), tmp_path_factory.mktemp("http"), "--upload-gb", "1000000") as running:
        yield running
    assert running.report()["seen"] == []


@pytest.fixture
def clients(http, capsys) -> Iterator[Callable[..., HttpClient]]:
    """Return a function that adds a client; what the test left of their runs is dropped."""
    added, before = [], set(http.folders())

    def add(*options: str) -> HttpClient:
        added.append(f"client-{secrets.token_hex(4)}")
        return http.add(added[-1], capsys, *options)

    yield add
    for name in added:
        run_command(["server", "remove-client", name, "--clients", str(http.clients)])
    assert soon(lambda: set(http.folders()) <= before)


@pytest.fixture
def anna(clients) -> HttpClient:
    """A client."""
    return clients()


@pytest.fixture
def ben(clients) -> HttpClient:
    """Another one."""
    return clients()
