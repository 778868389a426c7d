"""A real server, started as its owner does, that readers on this machine speak to by TLS."""

from __future__ import annotations

import io
import json
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
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
    """A running server, and the folder by which a reader and it know each other."""

    http: HttpServer
    client: Path

    @property
    def address(self) -> str:
        return self.http.address

    def folders(self) -> list[Path]:
        """Return the folders of the runs that have not ended."""
        return self.http.folders()

    def workers(self) -> list[psutil.Process]:
        """Return the processes that do the work."""
        found = []
        for child in psutil.Process(self.http.process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # has just ended, or is a zombie
                if "--serve" in child.cmdline():
                    found.append(child)
        return found


@pytest.fixture(scope="session")
def certificates(tmp_path_factory) -> Path:
    """The folder that `twintrack certificates` makes."""
    return make_certificates(tmp_path_factory.mktemp("tls") / "made", "127.0.0.1")


@pytest.fixture(scope="module")
def server(make_bundle, tmp_path_factory) -> Iterator[Server]:
    """A server with the tiny bundle, and a reader with a certificate."""
    folder = tmp_path_factory.mktemp("server")
    with running_http(make_bundle(), folder) as running:
        yield let_in(running)


def let_in(running: HttpServer, name: str = "reader") -> Server:
    """Let a reader in."""
    given = running.folder / name
    options = ["--clients", str(running.clients), "--certificate", str(given), "--tls", str(running.ca.parent)]
    assert run_command(["server", "add-client", name, *options]) == 0
    assert soon(running.with_certificate(given).is_known)
    return Server(running, given)


@pytest.fixture(scope="session")
def let_reader_in() -> Callable[[HttpServer], Server]:
    """`let_in`."""
    return let_in


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
