"""Two network namespaces with a cable between them: the link goes down and comes back, or the server is stopped."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from http_server import soon
from twintrack.cli.app import run_command
from twintrack.execution.server.certificates import make_certificates
from twintrack.execution.server.protocol import LEASE_S
from twintrack.progress.callbacks import CancelToken

pytestmark = pytest.mark.process

HERE, THERE, PORT = "10.213.77.1", "10.213.77.2", 8786


def ip(*words: str) -> bool:
    """Call the program ``ip``; return whether it did."""
    return not subprocess.run(["ip", *words], capture_output=True, check=False).returncode


@dataclass
class Cable:
    """The cable between this namespace and the server's, at whose end it is pulled: ours would look for another way."""

    name: str
    space: str

    def cut(self) -> None:
        assert ip("-n", self.space, "link", "set", self.other, "down")

    def mend(self) -> None:
        assert ip("-n", self.space, "link", "set", self.other, "up")

    @property
    def other(self) -> str:
        """The name of its other end."""
        return f"{self.name}b"


@pytest.fixture(scope="module")
def cable() -> Iterator[Cable]:
    """A second namespace, with a cable to it; only who may make one runs these tests."""
    made = Cable(f"tt{os.getpid() % 100000}", f"tt{os.getpid()}")
    if not shutil.which("ip") or not ip("netns", "add", made.space):
        pytest.skip("no network namespace can be made here")
    try:
        other, inside = made.other, ("-n", made.space)
        steps = (
            ("link", "add", made.name, "type", "veth", "peer", "name", other),
            ("link", "set", other, "netns", made.space),
            ("addr", "add", f"{HERE}/24", "dev", made.name),
            ("link", "set", made.name, "up"),
            (*inside, "addr", "add", f"{THERE}/24", "dev", other),
            (*inside, "link", "set", other, "up"),
            (*inside, "link", "set", "lo", "up"),
        )
        if not all(ip(*step) for step in steps):
            pytest.skip("no cable can be laid here")
        yield made
    finally:
        ip("netns", "del", made.space)
        ip("link", "del", made.name)


@dataclass
class FarServer:
    """A server in the other namespace."""

    address: str
    client: Path
    spool: Path
    process: subprocess.Popen

    def folders(self) -> list[Path]:
        return [path for root in self.spool.glob(".twintrack-scratch-*") for path in root.glob("[!.]*")]

    def inputs(self) -> list[Path]:
        """Return what lies there of CTs; a result that was just done is kept for a while."""
        return [path for folder in self.folders() for path in folder.glob("*") if path.name != "result"]


@contextmanager
def far_server(cable: Cable, bundle: Path, folder: Path) -> Iterator[FarServer]:
    """Run a server at the other end."""
    tls, clients, client, spool = (folder / name for name in ("tls", "clients.json", "client", "spool"))
    spool.mkdir(parents=True)
    make_certificates(tls, THERE)
    options = ["--clients", str(clients), "--certificate", str(client), "--tls", str(tls / "server")]
    assert run_command(["server", "add-client", "reader", *options]) == 0
    words = [
        "serve",
        "--bundle",
        bundle,
        "--host",
        THERE,
        "--port",
        PORT,
        "--tls",
        tls / "server",
        "--clients",
        clients,
    ]
    words += ["--spool", spool, "--device", "cpu", "--backend", "torch"]
    command = ["ip", "netns", "exec", cable.space, sys.executable, "-m", "twintrack", *map(str, words)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert any(line.startswith("ready at ") for line in process.stdout)
            yield FarServer(f"https://{THERE}:{PORT}", client, spool, process)
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(60)
            process.kill()


def listens() -> bool:
    """Whether the server can be reached."""
    try:
        socket.create_connection((THERE, PORT), timeout=5).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def server(cable, make_bundle, tmp_path_factory) -> Iterator[FarServer]:
    with far_server(cable, make_bundle(), tmp_path_factory.mktemp("far")) as running:
        yield running


@pytest.fixture
def begin(server, ct, vessels, ask, tmp_path, slow):
    """Return a function that begins a run there, and returns when a worker works on it."""

    def begin(**changes: object) -> tuple[threading.Thread, list]:
        assert soon(listens)  # a cable that was mended carries again some seconds after
        request = {"schema": 1, "input": str(ct), "vessels": str(vessels), "vessel_names": {"SMA": 5}, "bundle": None}
        request |= {
            "run_on": server.address,
            "tls": str(server.client),
            "out": str(tmp_path / "out"),
            **slow,
            **changes,
        }
        request["calibrate"] = False
        works, told = threading.Event(), []

        def hear(event: dict) -> None:
            if event.get("fraction", 0) > 0.15 or event["event"] != "progress":
                works.set()

        thread = threading.Thread(target=lambda: told.append(ask(request, CancelToken(), hear)), daemon=True)
        thread.start()
        assert works.wait(300)
        assert not told, told[0].last
        return thread, told

    return begin


def test_a_link_that_is_down_for_some_seconds_is_not_noticed(cable, begin, server):
    thread, told = begin()
    cable.cut()
    time.sleep(8)
    cable.mend()
    thread.join(600)
    assert told[0].last["event"] == "done"
    assert soon(lambda: not server.folders())  # first of the tests: nothing of another run is there


def test_a_link_that_stays_down_is_told_and_nothing_stays_there(cable, begin, server, monkeypatch):
    monkeypatch.setattr("twintrack.execution.server.connection.CONNECT_S", 3.0)
    monkeypatch.setattr("twintrack.execution.server.connection.ANSWER_S", 3.0)
    thread, told = begin(vessels=None, vessel_names=None)
    monkeypatch.setattr("twintrack.execution.server.connection.AGAIN_S", 10.0)
    cable.cut()
    try:
        thread.join(120)
        assert told
        assert told[0].last["fields"]["code"] == "server-lost", told[0].last
        assert soon(lambda: not server.inputs(), 5 * LEASE_S)
    finally:
        cable.mend()


def test_a_server_that_is_stopped_is_told(begin, server, monkeypatch):
    """The last test."""
    thread, told = begin(vessels=None, vessel_names=None)
    monkeypatch.setattr("twintrack.execution.server.connection.AGAIN_S", 5.0)
    server.process.terminate()
    thread.join(120)
    assert told[0].last["fields"]["code"] in ("server-lost", "server-gave-up")
    assert soon(lambda: not list(server.spool.iterdir()))
