"""Where a server may be, who may be spoken to without protection, by what the two know each other."""

from __future__ import annotations

import shutil
import socket
import ssl
import threading

import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.execution.server.connection import Connection
from twintrack.execution.server.endpoint import Credentials, check_address
from twintrack.execution.server.protocol import ABOUT
from twintrack.progress.callbacks import CancelToken

TOKEN = "a-token.of-32~letters_0123456789"


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("http://127.0.0.1:8786", "http://127.0.0.1:8786"),
        ("http://localhost:1/", "http://localhost:1"),
        ("http://[::1]:8786", "http://[::1]:8786"),
        ("https://gpu.example:8786", "https://gpu.example:8786"),
        ("https://gpu.example", "https://gpu.example"),
        ("HTTPS://GPU.example/", "https://gpu.example"),
    ],
)
def test_an_address_is_taken_without_what_does_not_count(address, same):
    assert check_address(address) == same


@pytest.mark.parametrize(
    ("address", "error"),
    [
        ("http://10.0.0.7:8786", ("host-unprotected", "https://")),
        ("http://gpu:8786", ("host-unprotected",)),
        ("http://localhost.example:8786", ("host-unprotected",)),
        ("http://0.0.0.0:8786", ("host-unprotected",)),
        ("tls://gpu.example:8786", ("address-old", "https://gpu.example:8786")),
        ("tcp://127.0.0.1:8786", ("address-old", "https://127.0.0.1:8786")),
        ("gpu:8786", ("address-malformed",)),
        ("ws://127.0.0.1:8786", ("address-malformed",)),
        ("https://gpu:99999", ("address-malformed",)),
        ("https://[gpu:8786", ("address-malformed",)),
        ("https://me:secret@gpu:8786", ("address-malformed",)),
        ("https://gpu:8786/elsewhere", ("address-malformed",)),
        ("https://gpu:8786?x=1", ("address-malformed",)),
        ("https://gpü:8786", ("address-malformed",)),
        ("https://", ("address-malformed",)),
        ("", ("address-malformed",)),
    ],
)
def test_any_other_address_is_refused_by_itself(address, error):
    with raises_error(InputError, *error):
        check_address(address)


@pytest.mark.process
def test_a_folder_of_certificates_says_who_is_who(certificates):
    access = Credentials.of("https://gpu:1", certificates / "client")
    assert access.authority == certificates / "client" / "ca.pem"
    assert access.pair == (certificates / "client" / "cert.pem", certificates / "client" / "key.pem")
    assert access.context().minimum_version == ssl.TLSVersion.TLSv1_3
    assert access.context().check_hostname


@pytest.mark.process
def test_a_token_lies_in_the_folder_or_in_a_file_of_its_own(certificates, tmp_path):
    shutil.copy(certificates / "client" / "ca.pem", tmp_path)
    (tmp_path / "token.txt").write_text(TOKEN + "\n")
    inside = Credentials.of("https://gpu:1", tmp_path)
    assert (inside.token, inside.pair, inside.authority) == (TOKEN, None, tmp_path / "ca.pem")
    alone = Credentials.of("https://gpu:1", None, tmp_path / "token.txt")
    assert (alone.token, alone.authority) == (TOKEN, None)
    assert TOKEN not in repr(alone)


@pytest.mark.process
@pytest.mark.parametrize(
    ("address", "spoil", "error"),
    [
        ("https://gpu:1", None, ("certificate-missing",)),
        ("http://127.0.0.1:1", "nothing", ("certificate-unneeded", "https://")),
        ("https://gpu:1", "the folder above", ("certificate-missing", "client")),
        ("https://gpu:1", "no authority", ("certificate-missing", "ca.pem")),
        ("https://gpu:1", "no key", ("certificate-missing", "key.pem")),
        ("https://gpu:1", "another's key", ("certificate-unusable",)),
        ("https://gpu:1", "no certificate", ("certificate-unusable",)),
        ("https://gpu:1", "short token", ("token-malformed", "token.txt")),
        ("https://gpu:1", "two tokens", ("token-malformed",)),
        ("https://gpu:1", "binary token", ("token-malformed",)),
    ],
)
def test_what_cannot_be_used_is_one_sentence(address, spoil, error, certificates, tmp_path):
    folder = shutil.copytree(certificates, tmp_path / "made") / "client"
    tokens = {"short token": b"abc", "two tokens": f"{TOKEN} {TOKEN}".encode(), "binary token": b"\xff\x00" * 40}
    if spoil == "no authority":
        (folder / "ca.pem").unlink()
    elif spoil == "no key":
        (folder / "key.pem").unlink()
    elif spoil == "another's key":
        shutil.copy(certificates / "server" / "key.pem", folder)
    elif spoil == "no certificate":
        (folder / "cert.pem").write_text("hello")
    elif spoil in tokens:
        (folder / "token.txt").write_bytes(tokens[spoil])
    given = None if spoil is None else folder.parent if spoil == "the folder above" else folder
    with raises_error(InputError, *error):
        Credentials.of(address, given)


def answers_with(speech: bytes | None, listener: socket.socket) -> threading.Thread:
    """Let who calls hear something, and hang up."""

    def talk() -> None:
        stream, _ = listener.accept()
        with stream:
            if speech is not None:
                stream.recv(1000)
                stream.sendall(speech)

    thread = threading.Thread(target=talk)
    thread.start()
    return thread


@pytest.mark.process
@pytest.mark.parametrize(
    ("secure", "speech", "error"),
    [
        (True, b"220 mail.example ESMTP\r\n", ("tls-failed", "TLS")),
        (True, None, ("not-a-server", "certificate")),
        (False, b"220 mail.example ESMTP\r\n", ("not-a-server", "https://")),
        (False, None, ("not-a-server",)),
        (False, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", ("not-a-server",)),
        (False, b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n", ("not-a-server",)),
        (False, b"HTTP/1.1 407 Proxy\r\nContent-Length: 0\r\n\r\n", ("not-a-server", "407")),
    ],
)
def test_who_speaks_something_else_is_found_out(certificates, secure, speech, error):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http{'s' if secure else ''}://127.0.0.1:{listener.getsockname()[1]}"
        access = Credentials.of(address, certificates / "client" if secure else None)
        thread = answers_with(speech, listener)
        with raises_error(InputError, *error, path=address):
            Connection(address, access, CancelToken()).ask(ABOUT, again_s=0)
        thread.join()


def test_nobody_there_is_one_sentence():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with raises_error(InputError, "server-unreachable", "Connection refused"):
        Connection(f"http://127.0.0.1:{port}", Credentials(), CancelToken()).ask(ABOUT, again_s=0)
