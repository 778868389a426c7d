"""Certificates are private, fit each other, and what is none is named."""

from __future__ import annotations

import shutil
import ssl

import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.execution.server.certificates import make_certificates
from twintrack.execution.server.endpoint import CERTIFICATE_FILES

pytestmark = pytest.mark.process


def test_certificates_are_private_and_nobody_can_make_more(certificates):
    files = sorted(path for path in certificates.rglob("*"))
    assert {path.relative_to(certificates).as_posix() for path in files if path.is_file()} == {
        f"{role}/{name}" for role in ("server", "client") for name in CERTIFICATE_FILES
    }
    for path in [certificates, *files]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
    assert not [path for path in certificates.parent.iterdir() if path != certificates]


def test_the_certificates_pass_the_strict_rules_of_newer_pythons(certificates):
    context = ssl.create_default_context(cafile=certificates / "client" / "ca.pem")
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_cert_chain(certificates / "client" / "cert.pem", certificates / "client" / "key.pem")
    listening = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "server" / "ca.pem")
    listening.verify_flags |= ssl.VERIFY_X509_STRICT
    listening.verify_mode = ssl.CERT_REQUIRED
    listening.load_cert_chain(certificates / "server" / "cert.pem", certificates / "server" / "key.pem")
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(down, up, server_hostname="127.0.0.1")
    server = listening.wrap_bio(up, down, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    assert client.version() == server.version() == "TLSv1.3"


def test_certificates_are_never_written_over(certificates):
    before = (certificates / "server" / "key.pem").read_bytes()
    with raises_error(InputError, "folder-exists"):
        make_certificates(certificates, "gpu.example")
    assert (certificates / "server" / "key.pem").read_bytes() == before


@pytest.mark.parametrize("name", ["", "a b", "x\nkeyUsage=keyCertSign", "DNS:x,DNS:y"])
def test_a_name_that_is_none_is_refused(tmp_path, name):
    with raises_error(InputError, "host-name"):
        make_certificates(tmp_path / "new", name)
    assert not list(tmp_path.iterdir())


def test_without_openssl_there_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with raises_error(InputError, "openssl-missing"):
        make_certificates(tmp_path / "new", "gpu.example")
