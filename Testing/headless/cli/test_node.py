"""The command ``twintrack node`` between a real archive and the real service, killed and started again."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pydicom
import pytest

pytest.importorskip("pynetdicom", reason="pynetdicom is not installed")

from archive_server import PASSWORD, USER, Archive, free_port, running_archive
from twintrack.cli.app import run_command
from twintrack.dicom import write_ct_series

pytestmark = [pytest.mark.process, pytest.mark.network, pytest.mark.slow]

RECIPE = Path(__file__).parents[3] / "docs" / "node.md"
PATIENT, NUMBER = "Planted^Patient", "PLANTED-4711"
WAIT_S = 600.0


def until(what: Callable[[], object], seconds: float = WAIT_S) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, f"not within {seconds:g} s"
        time.sleep(0.1)


@contextmanager
def running(arguments: list[object], said: str, log: Path) -> Iterator[subprocess.Popen]:
    """Run a command that says something when it is ready; what it writes is added to `log`."""
    command = [sys.executable, "-m", "twintrack", *map(str, arguments)]
    before = log.stat().st_size if log.exists() else 0
    with log.open("a") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    try:
        until(lambda: said in log.read_text()[before:] or process.poll() is not None)
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        assert process.wait(timeout=300) in (0, -signal.SIGKILL)


@pytest.fixture(scope="module")
def ct(tmp_path_factory) -> list[Path]:
    """The demo's phantom, of a planted patient."""
    from twintrack.phantom import make_phantom
    from twintrack.studies.demo import DEMO_SEED

    folder = tmp_path_factory.mktemp("phantom") / "ct"
    volume = make_phantom(DEMO_SEED, raters=1).ct
    return list(write_ct_series(volume, folder, description="CT", patient_name=PATIENT, patient_id=NUMBER))


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("place")


@pytest.fixture(scope="module")
def service(place: Path) -> Iterator[str]:
    """The address of a service with the demo bundle, which knows the node alone, as a machine."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    port, tls, clients = free_port(), place / "certificates" / "server", place / "clients.json"
    (place / "spool").mkdir()
    make = ["certificates", place / "certificates", "--name", "localhost"]
    add = ["server", "add-client", "dicom-node", "--machine", "--clients", clients]
    for command in (make, [*add, "--certificate", place / "node-client", "--tls", tls]):
        assert run_command([str(word) for word in command]) == 0
    serve = ["serve", "--bundle", "demo", "--port", port, "--device", "cpu", "--spool", place / "spool"]
    serve += ["--tls", tls, "--clients", clients]
    with running([*serve, "--audit", place / "service.jsonl"], "ready at", place / "service.log"):
        yield f"https://localhost:{port}"


@pytest.fixture(scope="module")
def node_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def pacs(place: Path, node_port: int) -> Iterator[Archive]:
    """Orthanc as the recipe in the documents sets it up, but for the time that a series must be quiet."""
    (script,) = re.findall(r"```lua\n(.*?)```", RECIPE.read_text(encoding="utf-8"), re.DOTALL)
    (place / "twintrack.lua").write_text(script)
    peers = {"twintrack": ["TWINTRACK-TEST", "127.0.0.1", node_port]}
    (place / "orthanc").mkdir()
    with running_archive(
        place / "orthanc", DicomModalities=peers, StableAge=1, LuaScripts=[str(place / "twintrack.lua")]
    ) as archive:
        yield archive


def ends(place: Path) -> list[str]:
    audit = place / "node" / "audit.jsonl"
    return [json.loads(line)["end"] for line in audit.read_text().splitlines()] if audit.exists() else []


def test_an_archive_gets_three_objects_whatever_is_sent_again_or_killed(ct, place, service, node_port, pacs) -> None:
    import requests

    def node() -> object:
        arguments = ["node", place / "node", "--service", service, "--from", "ORTHANC", "--port", node_port]
        arguments += [
            "--pacs",
            pacs.address,
            "--pacs-aet",
            "ORTHANC",
            "--certificates",
            place / "node-client",
            "--quiet-s",
            "1",
            "--broken-s",
            "5",
            "-v",
        ]
        return running(arguments, "listens at", place / "node.log")

    def forward() -> None:
        what = {"LocalAet": "ORTHANC", "Resources": [series]}
        sent = requests.post(f"{pacs.root}/modalities/twintrack/store", json=what, auth=(USER, PASSWORD), timeout=600)
        sent.raise_for_status()

    def store(files: list[Path]) -> None:
        for path in files:
            answer = requests.post(f"{pacs.root}/instances", path.read_bytes(), auth=(USER, PASSWORD), timeout=600)
            answer.raise_for_status()

    whole = (1, 4, len(ct) + 3)
    with node() as process:
        store(ct)  # the archive forwards by itself
        until(lambda: "instances" in (place / "node.log").read_text())
        (series,) = pacs.ask("series")
        os.kill(process.pid, signal.SIGKILL)  # in the middle of the run
        process.wait(timeout=300)
    assert ends(place) == []
    with node():
        until(lambda: ends(place) == ["done"])
        assert pacs.counts() == whole
        forward()
        until(lambda: ends(place) == ["done", "known"])
        folders = [place / "node" / name for name in ("incoming", "received", "results")]
        until(lambda: not [entry for folder in folders for entry in folder.iterdir()])  # nothing is kept
    (place / "node").rename(place / "first")  # a node without a memory
    with node():
        forward()
        until(lambda: ends(place) == ["done"])
    assert pacs.counts() == whole
    modalities = sorted(pacs.ask(f"series/{name}")["MainDicomTags"]["Modality"] for name in pacs.ask("series"))
    assert modalities == ["CT", "OT", "SEG", "SR"]
    _nothing_is_planted(ct, place)


def _nothing_is_planted(ct: list[Path], place: Path) -> None:
    """No name, number or UID stands in what node and service wrote down."""
    header = pydicom.dcmread(ct[0])
    planted = [PATIENT, NUMBER, header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID]
    logs = [place / "node.log", place / "service.log", place / "service.jsonl"]
    kept = [path for folder in ("node", "first") for path in (place / folder).iterdir() if path.is_file()]
    assert {"audit.jsonl", "ledger.sqlite"} <= {path.name for path in kept}
    for path in (*logs, *kept):
        content = path.read_bytes()
        assert [word for word in planted if str(word).encode() in content] == [], path.name
    assert all(str(word) not in str(path) for path in place.rglob("*") for word in planted)
    assert (place / "service.jsonl").stat().st_size > 0


@pytest.mark.parametrize("without", ["--pacs", "--pacs-aet", "--service", "--from"])
def test_nothing_is_done_by_default(tmp_path, capsys, without: str) -> None:
    options = {"--service": "http://127.0.0.1:1", "--from": "PACS", "--pacs": "127.0.0.1:1", "--pacs-aet": "PACS"}
    given = [word for name, value in options.items() if name != without for word in (name, value)]
    assert run_command(["node", str(tmp_path / "node"), *given]) == 2
    assert without in capsys.readouterr().err
    assert not (tmp_path / "node").exists()
