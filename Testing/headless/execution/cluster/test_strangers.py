"""Nobody else on this computer can join a cohort's run or see pages of it; no scheduler elsewhere without TLS."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import distributed
import psutil
import pytest

from expected_errors import raises_error
from twintrack.cli.app import main
from twintrack.errors import InputError, OutputError
from twintrack.execution.cluster import client as cluster
from twintrack.execution.cluster import nodes as dask_nodes
from twintrack.execution.cluster.client import cluster_client
from twintrack.system.openssl import SelfSigned, has_openssl, self_signed

pytestmark = pytest.mark.process

RUN = """
import os, sys
from twintrack.execution.cluster.client import cluster_client, dashboard
if __name__ == "__main__":
    with cluster_client(workers=2, device="cpu", pages="pages" in sys.argv) as client:
        print(client.scheduler.address, dashboard(client), flush=True)
        for _ in sys.stdin:
            print(sorted(client.run(os.getpid, on_error="ignore").values()), flush=True)
"""
"""Opens the cluster of a run, and looks whether it works for each line that it reads."""

ANSWER_S = 60.0

needs_openssl = pytest.mark.skipif(not has_openssl(), reason="openssl is not installed")


class Run:
    """The cluster of a run in a process of its own."""

    def __init__(self, folder: Path, *options: str) -> None:
        script, self.temporary = folder / "run.py", folder / "tmp"
        script.write_text(RUN, encoding="utf-8")
        (self.temporary / "dask-scratch-space").mkdir(parents=True)  # a stranger's: Dask would import modules from it
        environment = os.environ | {"TMPDIR": str(self.temporary), "TEMP": str(self.temporary)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "bufsize": 1}
        self.process = subprocess.Popen([sys.executable, str(script), *options], **pipes, env=environment)
        self.address, _, self.dashboard = self.process.stdout.readline().strip().partition(" ")

    def processes(self) -> list[psutil.Process]:
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]

    def ports(self) -> list[int]:
        """All ports that any of the processes listens on."""
        found = []
        for process in self.processes():
            found += [each.laddr.port for each in process.net_connections("inet") if each.status == "LISTEN"]
        return sorted(found)

    def workers(self) -> str:
        """The numbers of the workers' processes, from the workers."""
        self.process.stdin.write("go\n")
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.stdin.close()
        assert self.process.wait(timeout=180) == 0


@pytest.fixture(scope="module")
def start(tmp_path_factory) -> Iterator[Callable[..., Run]]:
    """Return what opens the cluster of a run."""
    started: list[Run] = []

    def once(*options: str) -> Run:
        started.append(Run(tmp_path_factory.mktemp("run"), *options))
        return started[-1]

    yield once
    for run in started:
        run.process.kill()
        run.process.wait()
        for pipe in (run.process.stdin, run.process.stdout):
            pipe.close()


@pytest.fixture(scope="module")
def running(start) -> Run:
    """The cluster of a run, without pages."""
    return start()


@pytest.fixture(scope="module")
def impostor() -> SelfSigned:
    """A certificate with the name of the run's, and a key of the stranger's own."""
    return self_signed("TwinTrackSeg run")


def told_plain(port: int, sent: bytes = b"", within_s: float = 1.0) -> bytes:
    """What a port says to a stranger without TLS; nothing, or an alert of TLS, if it refuses him."""
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as stream:
        stream.settimeout(within_s)
        heard = b""
        try:
            stream.sendall(sent)
            heard = stream.recv(64)
        except OSError:
            pass
        return b"" if heard[:1] == b"\x15" else heard


def told_tls(port: int, certificate: SelfSigned | None, folder: Path, *, old: bool = False) -> bytes:
    """What a port says to a stranger who speaks TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if old:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        (folder / "own.pem").write_text(certificate.certificate + certificate.key, encoding="ascii")
        context.load_cert_chain(folder / "own.pem")
    with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_S) as stream:
        try:
            with context.wrap_socket(stream) as secret:
                return secret.recv(64)
        except TimeoutError:
            pytest.fail(f"port {port} neither answers nor refuses")
        except OSError:
            return b""


def check_refused(run: Run, impostor: SelfSigned, folder: Path) -> None:
    ports = run.ports()
    assert len(ports) >= 5, "scheduler, two nannies, two workers"
    for port in ports:
        assert told_plain(port) == b"", port
        assert told_plain(port, b"GET / HTTP/1.0\r\n\r\n") == b"", port
        assert told_tls(port, None, folder) == b"", port
        assert told_tls(port, impostor, folder) == b"", port
        assert told_tls(port, impostor, folder, old=True) == b"", port


@needs_openssl
def test_every_port_of_a_run_refuses_strangers_also_after_a_death(running, impostor, tmp_path):
    run = running
    assert run.address.startswith("tls://127.0.0.1:")
    assert run.dashboard == ""
    check_refused(run, impostor, tmp_path)
    before = run.workers()
    os.kill(int(before.strip("[]").split(",")[0]), signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
    deadline = time.monotonic() + 180
    while (after := run.workers()) == before or after.count(",") != 1:
        assert time.monotonic() < deadline, "the worker did not come back"
        time.sleep(0.2)
    check_refused(run, impostor, tmp_path)
    assert run.workers() == after, "strangers disturbed the run"


@needs_openssl
def test_a_dask_client_with_a_certificate_of_its_own_cannot_join(running, impostor):
    from distributed import Client, Security

    own = {"tls_client_cert": impostor.certificate, "tls_client_key": impostor.key}
    for security in (None, Security(require_encryption=True, tls_ca_file=impostor.certificate, **own)):
        scheme = "tcp" if security is None else "tls"
        with pytest.raises((OSError, TypeError)):
            Client(f"{scheme}://{running.address.partition('://')[2]}", security=security, timeout=3)


@needs_openssl
def test_the_key_is_in_no_command_line_environment_or_file(running):
    for process in running.processes():
        assert "PRIVATE KEY" not in " ".join(process.cmdline())
        assert "PRIVATE KEY" not in " ".join(process.environ().values())
    for path in running.temporary.rglob("*"):
        assert not path.is_file() or b"PRIVATE KEY" not in path.read_bytes()
    assert not list(running.temporary.glob(".twintrack-scratch-*/*.pem"))


@needs_openssl
def test_dask_works_in_a_folder_of_the_run_and_not_in_one_that_a_stranger_made(running):
    assert list((running.temporary / "dask-scratch-space").iterdir()) == []
    (own,) = running.temporary.glob(".twintrack-scratch-*")
    assert os.name == "nt" or own.stat().st_mode & 0o77 == 0
    assert any(own.rglob("workerwithoutpages-*"))


@needs_openssl
def test_workers_keep_freed_memory_for_the_next_array_and_give_products_one_thread(running):
    workers = [each.environ() for each in running.processes() if "spawn_main" in " ".join(each.cmdline())]
    assert len(workers) == 2
    for environment in workers:
        assert "MALLOC_TRIM_THRESHOLD_" not in environment
        assert environment["OPENBLAS_NUM_THREADS"] == "1"


def test_pages_are_open_only_when_they_are_asked_for(start):
    run = start("pages")
    page = urllib.request.urlopen(run.dashboard, timeout=ANSWER_S)
    assert page.status == 200
    assert run.dashboard.startswith("http://127.0.0.1:")
    own = int(run.dashboard.split(":")[2].split("/")[0])
    others = [port for port in run.ports() if port != own]
    assert len(others) >= 5
    assert [told_plain(port, b"GET / HTTP/1.0\r\n\r\n") for port in others] == [b""] * len(others)
    run.end()


def test_a_port_without_tls_would_be_noticed(address, impostor, tmp_path):
    port = int(address.rpartition(":")[2])
    assert told_plain(port, within_s=ANSWER_S) != b""


def test_without_a_program_that_makes_a_key_it_is_said_what_to_install(monkeypatch):
    monkeypatch.setattr(dask_nodes, "has_openssl", lambda: False)
    monkeypatch.setattr(dask_nodes, "find_spec", lambda _: None)
    with raises_error(InputError, "openssl-missing"):
        dask_nodes.run_security()


def test_where_openssl_is_missing_another_package_makes_the_key(monkeypatch):
    pytest.importorskip("cryptography")
    monkeypatch.setattr(dask_nodes, "has_openssl", lambda: False)
    assert (
        dask_nodes.run_security().get_listen_args("scheduler")["ssl_context"].minimum_version == ssl.TLSVersion.TLSv1_3
    )


@pytest.mark.parametrize(
    "address", ["tcp://192.0.2.7:8786", "192.0.2.7:8786", "ws://192.0.2.7:1", "tcp://[2001:db8::7]:1"]
)
def test_a_scheduler_elsewhere_needs_tls(address):
    with (
        raises_error(InputError, "cluster-unprotected", "TLS", "--insecure-scheduler"),
        cluster.cluster_client(address),
    ):
        pass


@pytest.mark.parametrize("address", ["tcp://127.9.9.9:1", "tcp://localhost:1", "localhost:1", "tcp://[::1]:1"])
def test_a_scheduler_on_this_computer_does_not(address, monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    with raises_error(InputError, "cluster-unreachable"), cluster.cluster_client(address):
        pass


def test_a_name_counts_as_this_computer_only_with_all_of_its_addresses(monkeypatch):
    here, there = (2, 1, 6, "", ("127.0.0.1", 0)), (2, 1, 6, "", ("192.0.2.7", 0))
    for found in ([here, there], [there]):
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, found=found, **__: found)
        with raises_error(InputError, "cluster-unprotected", "TLS"), cluster.cluster_client("tcp://two-faced:8786"):
            pass


@pytest.mark.parametrize("command", ["cohort", "calibrate", "evaluate"])
def test_the_commands_say_it_in_one_line_and_go_on_where_the_user_wants_it(
    command, make_cohort, tmp_path, capsys, monkeypatch
):
    from twintrack.bundle.model_bundle import demo_bundle_path

    monkeypatch.setattr(cluster, "CONNECT_S", 0.3)
    manifest = make_cohort(["p1"])
    header, row = manifest.read_text(encoding="utf-8").splitlines()
    image = row.split(",")[1]  # read as a rater's mask, if anything were read
    manifest.write_text(f"{header},annotation_1,probability\n{row},{image},{image}\n", encoding="utf-8")
    arguments = [command, str(manifest), "--out", str(tmp_path / "out"), "--scheduler", "tcp://192.0.2.7:1"]
    arguments += ["--bundle", str(demo_bundle_path())] * (command != "evaluate")
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: tcp://192.0.2.7:1: without TLS")
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--insecure-scheduler"])
    assert ended.value.code == 2
    warning, line = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: tcp://192.0.2.7:1 is spoken to without TLS")
    assert line.startswith("error: tcp://192.0.2.7:1: no Dask scheduler can be reached there")


def test_a_cluster_that_finds_no_room_for_its_files_is_one_sentence(monkeypatch):
    def full(*_arguments: object, **_options: object) -> None:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise RuntimeError("Cluster failed to start") from error

    monkeypatch.setattr(distributed, "SpecCluster", full)
    with (
        raises_error(OutputError, "cluster-not-started", "TMPDIR"),
        cluster_client(),
    ):
        pass
