"""Who is slow is left, who opens too much is closed, and what is open is counted."""

from __future__ import annotations

import asyncio
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from tornado.web import Application, RequestHandler

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.execution.server import listening
from twintrack.execution.server.certificates import make_certificates
from twintrack.execution.server.listening import Connections, listening_sockets, tls_context
from twintrack.execution.server.service import Options

OTHER_S = 60.0
"""What is waited for at most: not a limit of the server that this is about, however busy the computer is."""


class Answer(RequestHandler):
    def get(self) -> None:
        self.finish("yes")

    post = get


@contextmanager
def listens(context=None) -> Iterator[tuple[Connections, int]]:
    """Run `Connections` in a loop of its own; yield it and its port."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def begin() -> tuple[Connections, int]:
        found = Connections(Application([("/", Answer)], log_function=lambda handler: None), context, 1000)
        sockets = listening_sockets("127.0.0.1", 0)
        found.open(sockets)
        return found, sockets[0].getsockname()[1]

    found, port = asyncio.run_coroutine_threadsafe(begin(), loop).result(OTHER_S)
    try:
        yield found, port
    finally:
        asyncio.run_coroutine_threadsafe(found.shut(), loop).result(OTHER_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(OTHER_S)
        loop.close()


def connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), OTHER_S)


def closed_after(connection: socket.socket) -> float:
    """Return after how many seconds the server closes a connection, without an answer that the client could use."""
    began = time.monotonic()
    connection.settimeout(OTHER_S)
    while True:
        try:
            if not connection.recv(1000):
                return time.monotonic() - began
        except ConnectionResetError:
            return time.monotonic() - began


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        (b"", "HEADER_S"),
        (b"GET / HTTP/1.1\r\nHost:", "HEADER_S"),
        (b"POST / HTTP/1.1\r\nContent-Length: 500\r\n\r\nx", "BODY_S"),
    ],
)
def test_a_slow_client_is_cut_off(monkeypatch, said, limit):
    for name in ("HEADER_S", "BODY_S"):
        monkeypatch.setattr(listening, name, 0.3 if name == limit else 10 * OTHER_S)
    with listens() as (_, port), connect(port) as connection:
        connection.sendall(said)
        assert closed_after(connection) < OTHER_S


def test_the_limits_are_those_of_a_client_on_a_slow_line():
    assert listening.HEADER_S <= 35
    assert listening.BODY_S <= 65


@pytest.mark.process
def test_a_handshake_that_does_not_come_is_not_waited_for(monkeypatch, certificates):
    monkeypatch.setattr(listening, "HANDSHAKE_S", 0.3)
    monkeypatch.setattr(listening, "HEADER_S", 10 * OTHER_S)
    with listens(tls_context(certificates / "server", [])) as (doors, port), connect(port) as connection:
        assert closed_after(connection) < OTHER_S
        assert (doors.opened, doors.broken) == (0, 1)


def test_an_address_has_so_many_connections_and_gets_them_back(monkeypatch):
    monkeypatch.setattr(listening, "OF_ADDRESS", 3)
    monkeypatch.setattr(listening, "HEADER_S", 10 * OTHER_S)
    with listens() as (doors, port):
        first = [connect(port) for _ in range(3)]
        with connect(port) as one_more:
            assert closed_after(one_more) < OTHER_S
        assert (doors.opened, doors.refused) == (3, 1)
        for connection in first:
            connection.close()
        deadline = time.monotonic() + OTHER_S
        while doors.opened:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with connect(port) as again:
            again.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200 OK" in again.recv(1000)
        assert doors.refused == 1


def test_a_place_that_is_taken_or_none_is_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with raises_error(InputError, "port-taken", taken.getsockname()[1]):
            listening_sockets("127.0.0.1", taken.getsockname()[1])
    with raises_error(InputError, "port-taken"):
        listening_sockets("no host at all", 0)


def test_certificates_that_are_none_are_refused(tmp_path):
    with raises_error(InputError, "certificate-unusable", path=tmp_path):
        tls_context(tmp_path, [])


@pytest.mark.process
def test_a_clients_certificate_or_one_of_another_authority_is_no_servers(certificates, tmp_path):
    tls_context(certificates / "server", [])
    with raises_error(InputError, "certificate-unusable", "unsuitable"):
        tls_context(certificates / "client", [])
    mixed = shutil.copytree(certificates / "server", tmp_path / "mixed")
    shutil.copy(make_certificates(tmp_path / "other", "gpu.example") / "server" / "ca.pem", mixed / "ca.pem")
    with raises_error(InputError, "certificate-unusable", "issuer"):
        tls_context(mixed, [])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "gpu.example", ""])
def test_other_computers_need_certificates_and_a_list_of_clients(host, tmp_path):
    with raises_error(InputError, "host-unprotected", host):
        Options(host=host).check()
    with raises_error(InputError, "clients-missing"):
        Options(host=host, certificates=tmp_path).check()
    Options(host=host, certificates=tmp_path, clients=tmp_path / "clients.json").check()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_this_computer_alone_needs_none(host):
    Options(host=host).check()
