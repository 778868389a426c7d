"""A real server for readers over HTTPS, started as its owner starts it, and clients of it that speak plain HTTP."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import secrets
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import requests

from twintrack.cli.app import run_command
from twintrack.execution.server.protocol import BEGIN, DROP, FILE, PART_BYTES, PART_HASH, RUN, RUN_NAME, RUNS, path_of

WITHIN_S = 300.0


@dataclass
class HttpServer:
    """A running server: its addresses, its file of clients, where CTs lie, and what it wrote."""

    address: str
    admin: str
    folder: Path
    process: subprocess.Popen

    @property
    def clients(self) -> Path:
        return self.folder / "clients.json"

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    @property
    def log(self) -> str:
        return (self.folder / "stderr.txt").read_text()

    @property
    def audit(self) -> list[dict]:
        return [json.loads(line) for line in (self.folder / "audit.log").read_text().splitlines()]

    @property
    def ca(self) -> Path:
        return self.folder / "tls" / "server" / "ca.pem"

    def metrics(self) -> str:
        return requests.get(f"{self.admin}/metrics", timeout=60).text

    def folders(self) -> list[Path]:
        """Return the folders of runs."""
        return [
            path
            for root in self.spool.glob(".twintrack-scratch-*")
            for path in root.iterdir()
            if RUN_NAME.fullmatch(path.name)
        ]

    def report(self) -> dict:
        """Return what was seen of the process, once it has ended."""
        return json.loads((self.folder / "report.json").read_text())

    def add(self, name: str, capsys, *more: str) -> HttpClient:
        """Add a client with a token; return it."""
        assert run_command(["server", "add-client", name, "--token", "--clients", str(self.clients), *more]) == 0
        found = HttpClient(self, capsys.readouterr().out.split()[-1], name=name)
        assert soon(found.is_known)
        return found

    def with_certificate(self, folder: Path) -> HttpClient:
        return HttpClient(self, None, folder)


class HttpClient:
    """A client that says exactly what a test tells it to."""

    def __init__(self, server: HttpServer, token: str | None, certificate: Path | None = None, name: str = "") -> None:
        self.server, self.token, self.name = server, token, name
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(server.ca)
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"
        if certificate:
            self.session.cert = (str(certificate / "cert.pem"), str(certificate / "key.pem"))

    def ask(self, verb: str, path: str, **more) -> requests.Response:
        return self.session.request(verb, self.server.address + path, timeout=60, **more)

    def is_known(self) -> bool:
        try:
            return self.ask("GET", "/v1/about").status_code == 200
        except requests.exceptions.ConnectionError:  # a certificate that the server does not trust yet
            return False

    def folder_of(self, run: str) -> Path:
        """Return where the server keeps a run's files."""
        (root,) = self.server.spool.glob(".twintrack-scratch-*")
        return root / run

    def submit(self, *sizes: int, key: str | None = None, kind: str = "nrrd", **settings) -> requests.Response:
        files = [{"role": "ct", "bytes": size} for size in sizes]
        content = {"schema": 1, "key": key or secrets.token_hex(16), "kind": kind, "files": files}
        return self.ask("POST", RUNS.path, json={**content, "settings": settings, "bundle_sha256": None})

    def new_run(self, *sizes: int, **settings) -> str:
        answer = self.submit(*sizes, **settings)
        assert answer.status_code == 201, answer.text
        return answer.json()["run"]

    def send(self, run: str, data: bytes, offset: int = 0, number: int = 0, digest: str = "") -> requests.Response:
        headers = {PART_HASH: digest or hashlib.sha256(data).hexdigest()}
        return self.ask("PUT", f"{path_of(FILE, run=run, number=number)}?offset={offset}", data=data, headers=headers)

    def begin(self, run: str) -> requests.Response:
        return self.ask("POST", path_of(BEGIN, run=run))

    def upload(self, ct: Path, **settings) -> str:
        """Begin a run of a small CT; return its name."""
        data = ct.read_bytes()
        assert len(data) <= PART_BYTES
        run = self.new_run(len(data), **settings)
        assert self.send(run, data).status_code == 200
        assert self.begin(run).status_code == 202
        return run

    def news(self, run: str, after: int = 0, wait: float = 0) -> dict:
        answer = self.ask("GET", f"{path_of(RUN, run=run)}?after={after}&wait={wait}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def until(self, run: str, *states: str, within_s: float = WITHIN_S) -> dict:
        """Return the news once the run is in one of these states."""
        deadline, told = time.monotonic() + within_s, self.news(run)
        while told["state"] not in states:
            assert time.monotonic() < deadline, told
            told = self.news(run, told["seq"], 5)
        return told

    def drop(self, run: str) -> int:
        return self.ask("DELETE", path_of(DROP, run=run)).status_code

    def connection(self) -> http.client.HTTPSConnection:
        """Return a connection that checks nothing of what is sent over it."""
        place = urlsplit(self.server.address)
        context = ssl.create_default_context(cafile=str(self.server.ca))
        return http.client.HTTPSConnection(place.hostname, place.port, timeout=30, context=context)


@contextmanager
def running_http(bundle: Path, folder: Path, *more: str) -> Iterator[HttpServer]:
    """Run a server that other computers could reach, and end it in order."""
    server = start_http(bundle, folder, *more)
    try:
        yield server
        server.process.terminate()
        assert server.process.wait(WITHIN_S) == 0, server.log
        assert not list(server.spool.iterdir())
    finally:
        kill(server.process)


def start_http(bundle: Path, folder: Path, *more: str) -> HttpServer:
    """Start a server in a folder, in which it finds what one before it left there."""
    (folder / "spool").mkdir(exist_ok=True)
    if not (folder / "tls").exists():
        assert run_command(["certificates", str(folder / "tls"), "--name", "localhost"]) == 0
    options = {
        "--bundle": bundle,
        "--host": "0.0.0.0",
        "--port": 0,
        "--admin-port": 0,
        "--tls": folder / "tls" / "server",
        "--clients": folder / "clients.json",
        "--audit": folder / "audit.log",
        "--spool": folder / "spool",
        "--device": "cpu",
        "--backend": "torch",
    }
    watched = [Path(__file__).with_name("watched_serve.py"), folder / "report.json", folder]
    command = [sys.executable, *watched, *(word for pair in options.items() for word in pair), *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "TMPDIR": str(folder / "spool")}
    with (folder / "stderr.txt").open("w") as errors:
        process = subprocess.Popen(
            [str(word) for word in command], stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
        )
    told = {}
    assert process.stdout is not None
    for line in process.stdout:
        words, _, address = line.rpartition(" at ")
        told[words] = address.strip()
        if words == "ready":
            break
    assert "ready" in told, (folder / "stderr.txt").read_text()
    port = told["ready"].rpartition(":")[2]
    return HttpServer(f"https://localhost:{port}", told["health and metrics"], folder, process)


def kill(process: subprocess.Popen) -> None:
    """End a server and its workers, whatever state they are in."""
    if process.poll() is None:
        children = psutil.Process(process.pid).children(recursive=True)
        process.kill()
        for child in children:
            with suppress(psutil.NoSuchProcess):  # has ended with its parent
                child.kill()
    process.wait(WITHIN_S)
    if process.stdout is not None:
        process.stdout.close()


def soon(condition, within_s: float = WITHIN_S) -> bool:
    """Whether a condition comes true within some seconds."""
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())
