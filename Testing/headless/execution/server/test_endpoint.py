"""Where a server may be, who may be spoken to without protection, and what listens there."""

from __future__ import annotations

import socket

import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.execution.server.endpoint import parse_address, probe, security_of
from twintrack.execution.server.job import OfferedModel
from twintrack.execution.server.server import running_server

pytestmark = pytest.mark.process


@pytest.mark.parametrize(
    "address", ["tcp://127.0.0.1:8786", "tcp://localhost:1", "tcp://[::1]:8786", "tcp://127.9.9.9:5"]
)
def test_this_computer_may_be_spoken_to_without_certificates(address):
    place = parse_address(address, None)
    assert place.scheme == "tcp"
    assert place.port == int(address.rsplit(":", 1)[1])


@pytest.mark.parametrize(
    ("address", "certificates", "error"),
    [
        ("tcp://10.0.0.7:8786", None, ("host-unprotected",)),
        ("tcp://gpu:8786", None, ("host-unprotected",)),
        ("tcp://localhost.example:8786", None, ("host-unprotected",)),
        ("tcp://0.0.0.0:8786", None, ("host-unprotected",)),
        ("tcp://10.0.0.7:8786", "certs", ("host-unprotected",)),
        ("tls://127.0.0.1:8786", None, ("certificate-missing",)),
        ("tcp://127.0.0.1:8786", "certs", ("certificate-unneeded", "//")),
        ("gpu:8786", None, ("address-malformed",)),
        ("tls://gpu", "certs", ("address-malformed",)),
        ("ws://127.0.0.1:8786", None, ("address-malformed",)),
        ("inproc://1", None, ("address-malformed",)),
        ("tls://gpu:99999", "certs", ("address-malformed",)),
        ("tls://[gpu:8786", "certs", ("address-malformed",)),
        ("", None, ("address-malformed",)),
    ],
)
def test_any_other_address_is_refused_by_itself(address, certificates, error):
    with raises_error(InputError, *error):
        parse_address(address, certificates)


@pytest.mark.parametrize("host", ["0.0.0.0", "gpu.example", "192.168.1.4", "::"])
def test_a_server_without_certificates_listens_to_this_computer_only(host):
    with raises_error(InputError, "host-unprotected"), running_server(OfferedModel("bundle", ""), host=host):
        pass


def test_a_port_in_use_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = raises_error(InputError, "port-taken", "127.0.0.1", port)
        with refused, running_server(OfferedModel("bundle", ""), port=port):
            pass


def test_who_speaks_something_else_is_found_out(certificates):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tls://127.0.0.1:{silent.getsockname()[1]}"
        security = security_of(certificates / "client")
        silent.settimeout(5)

        import threading

        def talk() -> None:
            stream, _ = silent.accept()
            stream.sendall(b"220 mail.example ESMTP\r\n")
            stream.close()

        thread = threading.Thread(target=talk)
        thread.start()
        with raises_error(InputError, "tls-failed", "TLS"):
            probe(address, parse_address(address, certificates / "client"), security)
        thread.join()
