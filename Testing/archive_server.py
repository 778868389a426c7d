"""A real archive for the tests: Orthanc on free loopback ports, with its DICOMweb plug-in where that is installed."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

USER, PASSWORD = "tester", "not-a-secret"
START_S = 180.0
PORTS_FROM, PORTS = 18000, 14000
"""Below those that systems give to connections: nobody else gets one between its choice and its use."""
PLUGIN_FOLDERS = ("/usr/share/orthanc/plugins", "/usr/local/share/orthanc/plugins")


@dataclass(frozen=True)
class Archive:
    """A running Orthanc."""

    dicom_port: int
    http_port: int
    log: Path

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.dicom_port}"

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    def ask(self, what: str) -> Any:
        """Return what its own interface says, such as ``statistics`` or ``series/…``."""
        import requests

        answer = requests.get(f"{self.root}/{what}", auth=(USER, PASSWORD), timeout=120)
        answer.raise_for_status()
        return answer.json()

    def counts(self) -> tuple[int, int, int]:
        """Return how many studies, series and instances it holds."""
        found = self.ask("statistics")
        return found["CountStudies"], found["CountSeries"], found["CountInstances"]

    @property
    def web(self) -> str:
        return f"{self.root}/dicom-web"


def free_port() -> int:
    """Return a loopback port that nobody listens on, another one each time; processes begin far from each other."""
    while True:
        port = PORTS_FROM + (os.getpid() * 997 + next(_numbers)) % PORTS
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


_numbers = itertools.count()


def web_plugin() -> Path | None:
    """Return the DICOMweb plug-in, if it is installed."""
    found = [path for folder in PLUGIN_FOLDERS for path in Path(folder).glob("libOrthancDicomWeb*")]
    return found[0] if found else None


@contextmanager
def running_archive(folder: Path, **more: Any) -> Iterator[Archive]:
    """Start Orthanc with its files in `folder`, and stop it at the end; skips where it is not installed.

    `more` settings are added to its configuration.
    """
    program = shutil.which("Orthanc") or shutil.which("Orthanc", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("Orthanc is not installed")
    archive = Archive(free_port(), free_port(), folder / "log")
    plugin = web_plugin()
    settings = {
        "Name": "TwinTrackSeg tests",
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": archive.http_port,
        "DicomPort": archive.dicom_port,
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowGet": True,
        "UnknownSopClassAccepted": False,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [str(plugin)] if plugin else [],
        "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        **more,
    }
    (folder / "orthanc.json").write_text(json.dumps(settings), encoding="utf-8")
    with archive.log.open("w") as log:
        process = subprocess.Popen([program, str(folder / "orthanc.json")], stdout=log, stderr=log)
        try:
            _wait(archive, process)
            yield archive
        finally:
            process.terminate()
            process.wait(timeout=START_S)


def _wait(archive: Archive, process: subprocess.Popen[bytes]) -> None:
    """Wait until it answers by HTTP (with a refusal, because no user is given)."""
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{archive.http_port}/system", timeout=10)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"Orthanc did not start: {archive.log.read_text(errors='replace')[-2000:]}")
