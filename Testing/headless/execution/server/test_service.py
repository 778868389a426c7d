"""The whole service as a process: who vanishes, who is removed, what is left of it, and what it never loads."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import ssl
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import requests

from http_server import WITHIN_S, HttpServer, kill, running_http, soon, start_http
from twintrack.cli.app import run_command
from twintrack.execution.server import pool, runs, service
from twintrack.execution.server.protocol import LEASE_S

pytestmark = pytest.mark.process

HEAVY = {"cloudpickle", "distributed", "dask", "torch", "SimpleITK", "nnunetv2", "numpy", "pydicom", "scipy"}

SLOW = {"roi": "full", "every_tile": True, "calibrate": False}
"""Settings with which the tiny networks have work for a while."""


def worker_of(server: HttpServer) -> psutil.Process:
    """Return the only process that does a server's work."""
    (found,) = (one for one in psutil.Process(server.process.pid).children() if "--serve" in one.cmdline())
    return found


def test_who_is_first_in_turn_is_told_before_whom_it_is(clients, ct):
    anna, ben, node = clients(), clients(), clients("--machine")
    begun = anna.upload(ct, **SLOW)
    anna.until(begun, "running")
    waiting = {"node": node.upload(ct, **SLOW)}
    waiting |= {"anna 1": anna.upload(ct, **SLOW), "anna 2": anna.upload(ct, **SLOW), "ben": ben.upload(ct, **SLOW)}
    told = {name: {"n": node, "b": ben}.get(name[0], anna).news(run)["before"] for name, run in waiting.items()}
    assert told == {"ben": 0, "anna 1": 1, "anna 2": 2, "node": 3}


def test_a_cancel_is_answered_at_once_and_the_next_run_begins(anna, ct):
    first = anna.upload(ct, **SLOW)
    second = anna.upload(ct, **SLOW)
    anna.until(first, "running")
    assert soon(lambda: anna.news(first)["fraction"])
    worker = worker_of(anna.server)
    worker.suspend()  # it cannot be what the answer waits for
    try:
        assert anna.drop(first) == 204
    finally:
        worker.resume()
    anna.until(second, "running")
    assert soon(lambda: not anna.folder_of(first).exists())


def test_a_client_that_is_removed_is_refused_within_a_second_and_its_run_ends(http, anna, ct):
    assert service.LOOK_S < 1.0  # on a computer that has time for it
    run = anna.upload(ct, **SLOW)
    anna.until(run, "running")
    assert run_command(["server", "remove-client", anna.name, "--clients", str(http.clients)]) == 0
    assert soon(lambda: not anna.is_known())
    assert soon(lambda: not anna.folder_of(run).exists())
    last = http.audit[-1]
    assert (last["who"], last["run"], last["end"]) == (anna.name, run, "cancelled")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="stops a process")
def test_what_a_client_that_was_killed_left_is_gone_before_forty_seconds(anna, ct):
    uploading, running = anna.new_run(10), anna.upload(ct, **SLOW)
    anna.until(running, "running")
    worker_of(anna.server).suspend()  # else it may be done before the client is missed; a result is kept for longer
    folders = [anna.folder_of(run) for run in (uploading, running)]
    anna.news(uploading)
    began = time.monotonic()
    assert all(folder.is_dir() for folder in folders)
    assert LEASE_S + runs.LOOK_S + pool.CANCEL_S < 40  # on a computer that has time for it
    assert soon(lambda: not any(folder.exists() for folder in folders))
    assert time.monotonic() - began > LEASE_S - 10
    assert [anna.news(run)["state"] for run in (uploading, running)] == ["expired"] * 2
    assert {line["end"] for line in anna.server.audit if line["run"] in (uploading, running)} == {"expired"}
    assert soon(lambda: "twintrack_workers_free 1\n" in anna.server.metrics())


def test_a_server_that_was_killed_leaves_nothing_and_others_folders_stay(make_bundle, tmp_path, ct, capsys):
    bundle, spool = make_bundle(), tmp_path / "spool"
    spool.mkdir()
    others = [spool / ".twintrack-scratch-mine", spool / "notes", spool / ".twintrack-scratch-full"]
    for folder in others:
        folder.mkdir()
        (folder / "thesis.txt").write_text("of somebody else")
    killed = start_http(bundle, tmp_path)
    try:
        anna = killed.add("anna", capsys)
        run = anna.upload(ct, **SLOW)
        anna.until(run, "running")
        (folder,) = killed.folders()
        assert (folder / "ct.nrrd").is_file()
    finally:
        killed.process.kill()
        killed.process.wait()
    assert folder.is_dir()
    workers = [child for child in psutil.process_iter() if _is_worker_of(child, tmp_path)]
    assert soon(lambda: not any(worker.is_running() for worker in workers))
    second = start_http(bundle, tmp_path)
    try:
        assert not folder.exists()
        assert [(folder / "thesis.txt").read_text() for folder in others] == ["of somebody else"] * 3
        assert not second.folders()
    finally:
        second.process.terminate()
        second.process.wait(WITHIN_S)
        kill(second.process)
    for folder in others:
        shutil.rmtree(folder)
    assert not list(spool.iterdir())


def _is_worker_of(process: psutil.Process, folder: Path) -> bool:
    with suppress(psutil.Error):
        return "--serve" in process.cmdline() and str(folder) in process.environ().get("TMPDIR", "")
    return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="takes a second address of the loopback")
def test_a_thousand_connections_that_say_nothing_shut_nobody_else_out(http, anna):
    process = psutil.Process(http.process.pid)
    process.rlimit(psutil.RLIMIT_NOFILE, (1024, 1024))
    port, logged = int(http.address.rpartition(":")[2]), len(http.log)
    silent: list[socket.socket] = []
    most_files, deadline = 0, time.monotonic() + 20
    try:
        while time.monotonic() < deadline:
            while len(silent) < 1000:
                attacker = socket.socket()
                attacker.bind(("127.0.0.2", 0))
                attacker.setblocking(False)
                with suppress(BlockingIOError):
                    attacker.connect(("127.0.0.1", port))
                silent.append(attacker)
            fresh = requests.Session()
            fresh.headers["Authorization"] = f"Bearer {anna.token}"
            assert fresh.get(f"{http.address}/v1/about", verify=str(http.ca), timeout=20).status_code == 200
            fresh.close()
            most_files = max(most_files, process.num_fds())
            for attacker in silent[:100]:
                attacker.close()
            del silent[:100]
            time.sleep(0.2)
    finally:
        for attacker in silent:
            attacker.close()
    assert most_files < 300
    assert len(http.log) - logged < 10_000
    assert "twintrack_connections_refused_total" in http.metrics()


def test_nothing_of_a_patient_is_written_anywhere(http, anna, ct, tmp_path):
    planted = "DOE^JANE"
    named = tmp_path / "ct.nrrd"
    header, gap, voxels = ct.read_bytes().partition(b"\n\n")
    named.write_bytes(header + f"\nPatientName:={planted}\nInstitution:={planted}".encode() + gap + voxels)
    seen: set[str] = set()
    ended = []
    for settings in (
        {"series": planted},
        {"vessel_names": {planted: 3}},
        {"rules": planted},
        {"roi": [5, 6, 5, 6, 5, 6]},
    ):
        run = anna.upload(named, **settings)
        while (told := anna.news(run, 0, 0))["state"] in ("queued", "running"):
            seen |= {str(path) for path in http.spool.rglob("*")}
            time.sleep(0.02)
        ended.append(told["state"])
    assert "failed" in ended
    anna.ask("GET", f"/v1/{planted}")
    anna.ask("POST", "/v1/runs", data=planted.encode())
    written = http.log + str(http.audit) + http.metrics() + "".join(seen)
    assert anna.server.audit[-1]["end"] in ("done", "failed")
    assert seen
    for part in ("DOE", "JANE"):
        assert part not in written


def test_health_and_numbers_are_told_on_the_loopback_alone(http, anna):
    assert [requests.get(f"{http.admin}/{path}", timeout=60).status_code for path in ("live", "ready")] == [200, 200]
    anna.new_run(5)
    told = http.metrics()
    assert 'twintrack_runs{state="uploading"}' in told
    assert "twintrack_ready 1\n" in told
    for line in told.splitlines():
        assert line.startswith("# ") or float(line.rsplit(" ", 1)[1]) >= 0
    port = int(http.admin.rpartition(":")[2])
    listening = [place for place in psutil.Process(http.process.pid).net_connections() if place.status == "LISTEN"]
    assert {place.laddr.ip for place in listening if place.laddr.port == port} == {"127.0.0.1"}


@pytest.mark.skipif(sys.platform == "win32", reason="has no such signal")
def test_the_process_loads_nothing_that_could_run_a_stranger_s_code(make_bundle, tmp_path, ct, capsys):
    with running_http(make_bundle(), tmp_path) as server:
        anna = server.add("anna", capsys)
        run = anna.upload(ct, roi=[5, 25, 5, 25, 5, 15], calibrate=False)
        assert anna.until(run, "done", "failed")["state"] == "done"
        os.kill(server.process.pid, signal.SIGHUP)
        assert soon(lambda: '"exchanged"' in server.log)
        assert anna.until(run, "done")["state"] == "done"
        again = anna.submit(10, key=secrets.token_hex(16))
        assert again.status_code == 201
    report = server.report()
    assert report["seen"] == []
    assert {name.partition(".")[0] for name in report["modules"]} & HEAVY == set()
    assert server.process.returncode == 0


def test_a_certificate_that_no_one_listed_opens_nothing(http, anna, tmp_path):
    assert run_command(["certificates", str(tmp_path / "foreign"), "--name", "localhost"]) == 0
    own = http.with_certificate(http.folder / "tls" / "client")  # of the server's authority, and not in the file
    assert own.ask("GET", "/v1/about").status_code == 401
    foreign = http.with_certificate(tmp_path / "foreign" / "client")
    with pytest.raises(requests.exceptions.ConnectionError):
        foreign.ask("GET", "/v1/about")


def test_an_old_version_of_tls_and_plain_http_are_refused(http, anna):
    place = ("127.0.0.1", int(http.address.rpartition(":")[2]))
    old = ssl.create_default_context(cafile=str(http.ca))
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with socket.create_connection(place, 60) as plain, pytest.raises(ssl.SSLError):
        old.wrap_socket(plain, server_hostname="localhost")
    with pytest.raises(requests.exceptions.ConnectionError):
        requests.get(f"http://localhost:{place[1]}/v1/about", timeout=60)
    assert anna.is_known()
