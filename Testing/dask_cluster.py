"""A real Dask cluster by TLS: scheduler and workers as processes of their own, that share no folder with a server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from twintrack.system.private_folder import MARKER

START_S = 180.0

HOOK = """
import os, sys
own, report = os.environ["NOT_MINE"], os.environ["OPENED"]
def hook(event, arguments):
    if event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(own):
        with os.fdopen(os.open(report, os.O_WRONLY | os.O_APPEND | os.O_CREAT), "w") as stream:
            stream.write(arguments[0] + "\\n")
sys.addaudithook(hook)
"""
"""Writes down which files of the server a process of the cluster opens."""


@dataclass
class TlsCluster:
    """A cluster, what its keys are, and what its processes opened of the server's."""

    folder: Path
    address: str = ""
    scheduler: subprocess.Popen | None = None
    workers: list[subprocess.Popen] = field(default_factory=list)

    @property
    def opened(self) -> list[str]:
        report = self.folder / "opened.txt"
        return report.read_text().splitlines() if report.exists() else []

    @property
    def scratch(self) -> list[Path]:
        """Return the folders of runs and bundles that the workers have."""
        return list((self.folder / "scratch").glob(".twintrack-scratch-*"))

    @property
    def log(self) -> str:
        return "\n".join(path.read_text() for path in self.folder.glob("*.log"))

    def engines(self) -> list[psutil.Process]:
        """Return the processes that do the work."""
        found = []
        for worker in self.workers:
            children: list[psutil.Process] = []
            with suppress(psutil.Error):
                children = psutil.Process(worker.pid).children()  # an engine has some of its own
            for child in children:
                with suppress(psutil.Error):  # has just ended
                    found += [child] if "--serve" in child.cmdline() else []
        return found

    def busy_engine(self) -> psutil.Process:
        """Return the one whose worker holds a CT: another worker may have an engine that waits."""
        (worker,) = (json.loads((place / MARKER).read_text())["process"] for place in self.scratch if _has_ct(place))
        (found,) = (engine for engine in self.engines() if engine.ppid() == worker)
        return found

    def hung(self) -> int:
        """Return how many engines were ended because they answered no cancel for three seconds."""
        return self.log.count("did not end when it was cancelled")

    def worker_of(self, engine: psutil.Process) -> subprocess.Popen:
        """Return the worker that keeps an engine."""
        (found,) = [worker for worker in self.workers if engine.ppid() == worker.pid]
        return found

    def environment(self, server: Path) -> dict[str, str]:
        """Return the environment of a process that must not look into the folder `server`."""
        (self.folder / "scratch").mkdir(exist_ok=True)
        (self.folder / "site").mkdir(exist_ok=True)
        (self.folder / "site" / "sitecustomize.py").write_text(HOOK)
        path = f"{self.folder / 'site'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
        own = {"NOT_MINE": str(server), "OPENED": str(self.folder / "opened.txt"), "PYTHONPATH": path}
        return own | {"TMPDIR": str(self.folder / "scratch")}

    def add_worker(self, *, server: Path) -> None:
        """Start a worker; `server` is the folder that it must not look into."""
        options = ["--nthreads", "1", "--resources", "GPU=1", "--no-nanny", "--no-dashboard", "--memory-limit", "0"]
        self.workers.append(self._start("worker", self.address, *options, **self.environment(server)))
        log = self.folder / "worker.log"
        count = len(self.workers)
        _until(lambda: log.read_text().count("Registered to") >= count, log)

    def _start(self, *words: str, **more: str) -> subprocess.Popen:
        with (self.folder / f"{words[0]}.log").open("a") as log:
            environment = {**os.environ, "OMP_NUM_THREADS": "1", **more}
            command = [sys.executable, "-m", "dask", *words]
            return subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=self.folder)


@contextmanager
def tls_cluster(keys: Path, folder: Path, monkeypatch) -> Iterator[TlsCluster]:
    """Run a scheduler with the certificates of `twintrack certificates`, which Dask's settings then name here too."""
    for role, place in {"scheduler": "server", "worker": "server", "client": "client"}.items():
        for file in ("cert", "key"):
            name = f"DASK_DISTRIBUTED__COMM__TLS__{role.upper()}__{file.upper()}"
            monkeypatch.setenv(name, str(keys / place / f"{file}.pem"))
    monkeypatch.setenv("DASK_DISTRIBUTED__COMM__TLS__CA_FILE", str(keys / "server" / "ca.pem"))
    cluster = TlsCluster(folder)
    try:
        place = ["--protocol", "tls", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
        cluster.scheduler = cluster._start("scheduler", *place)
        log = folder / "scheduler.log"
        _until(lambda: "Scheduler at:" in log.read_text(), log)
        cluster.address = next(line.split()[-1] for line in log.read_text().splitlines() if "Scheduler at:" in line)
        yield cluster
    finally:
        for process in [*cluster.workers, cluster.scheduler]:
            if process is not None:
                process.kill()
                process.wait()


def _has_ct(place: Path) -> bool:
    return any(place.glob("*.nrrd"))


def _until(condition, log: Path) -> None:
    deadline = time.monotonic() + START_S
    while not condition():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)
