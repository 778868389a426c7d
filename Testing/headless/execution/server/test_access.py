"""The file of clients: hashes alone, one client at a time, read again when it changes."""

from __future__ import annotations

import errno
import json
import os
import ssl
from pathlib import Path

import pytest

import twintrack.execution.server.access as access_module
from expected_errors import raises_error
from twintrack.cli.app import run_command
from twintrack.errors import InputError
from twintrack.execution.server.access import (
    LOCAL,
    Access,
    Client,
    add_client,
    fingerprint_of,
    new_token,
    read_clients,
    remove_client,
)


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "of the server" / "clients.json"


def changed(path: Path) -> None:
    """See to it that a change is seen by a clock that is too coarse for tests."""
    later = path.stat().st_mtime_ns + 10_000_000
    os.utime(path, ns=(later, later))


def test_a_token_is_known_by_its_hash_and_stands_nowhere(path):
    token, digest = new_token()
    add_client(path, Client("anna", token_sha256=digest))
    access = Access(path)
    assert access.of_token(token).name == "anna"
    assert access.of_token(token + "x") is None
    assert access.of_token("") is None
    assert token not in path.read_text()
    assert new_token()[0] != token


def test_clients_come_and_go_one_by_one_while_the_server_reads(path):
    tokens = {name: new_token() for name in ("anna", "ben")}
    add_client(path, Client("anna", token_sha256=tokens["anna"][1]))
    access = Access(path)
    add_client(path, Client("ben", token_sha256=tokens["ben"][1], is_machine=True))
    changed(path)
    assert access.look()
    assert not access.look()
    assert access.of_token(tokens["ben"][0]).is_machine
    remove_client(path, "anna")
    changed(path)
    assert access.look()
    assert access.of_token(tokens["anna"][0]) is None
    assert [client.name for client in read_clients(path)] == ["ben"]


def test_a_file_that_cannot_be_read_lets_in_those_of_before(path):
    token, digest = new_token()
    add_client(path, Client("anna", token_sha256=digest))
    access = Access(path)
    path.write_text("{")
    with raises_error(InputError, "clients-unreadable", path=path):
        access.look()
    assert access.of_token(token).name == "anna"
    path.unlink()
    assert access.look()  # nobody is left
    assert access.of_token(token) is None


def test_a_removal_that_could_not_be_read_at_once_is_not_forgotten(path, monkeypatch):
    token, digest = new_token()
    add_client(path, Client("anna", token_sha256=digest))
    access = Access(path)
    remove_client(path, "anna")
    changed(path)

    def no_file_is_free(*_arguments, **_options):
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patch:
        patch.setattr(access_module, "read_json", no_file_is_free)
        with raises_error(InputError, "clients-unreadable", path=path):
            access.look()
    assert access.look()
    assert access.of_token(token) is None


def test_a_full_file_takes_no_more_and_can_still_be_read(path):
    path.parent.mkdir()
    entries = [{"name": f"client-{number}", "token_sha256": f"{number:064x}"} for number in range(1000)]
    path.write_text(json.dumps({"schema": 1, "clients": entries}))
    with raises_error(InputError, "clients-full", "1000", path=path):
        add_client(path, Client("anna", token_sha256=new_token()[1]))
    remove_client(path, "client-7")
    add_client(path, Client("anna", token_sha256=new_token()[1]))
    assert len(read_clients(path)) == 1000


def test_without_a_file_everybody_on_this_computer_is_the_same_client():
    assert Access(None).clients == {"local": LOCAL}


def test_a_file_that_is_not_there_lets_nobody_in(path):
    assert Access(path).clients == {}


@pytest.mark.parametrize("name", ["", "../x", "a b", "x" * 65, ".hidden", "DOE^JANE", "a\n"])
def test_a_name_that_is_none_is_refused(path, name):
    with raises_error(InputError, "client-name"):
        add_client(path, Client(name, token_sha256=new_token()[1]))
    assert not path.exists()


def test_a_name_is_given_once_and_removed_once(path):
    add_client(path, Client("anna", token_sha256=new_token()[1]))
    with raises_error(InputError, "client-known", where="anna"):
        add_client(path, Client("anna", token_sha256=new_token()[1]))
    with raises_error(InputError, "client-unknown", "anna", where="ben"):
        remove_client(path, "ben")


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"schema": 2, "clients": []},
        {"schema": 1, "clients": [7]},
        {"schema": 1, "clients": [{"name": "anna"}]},
        {"schema": 1, "clients": [{"name": "anna", "token_sha256": "abc"}]},
        {"schema": 1, "clients": [{"name": "anna", "token_sha256": "0" * 64, "is_machine": "yes"}]},
        {"schema": 1, "clients": [{"name": "anna", "token_sha256": "0" * 64, "role": "admin"}]},
        {"schema": 1, "clients": [{"name": "anna", "token_sha256": "0" * 64}] * 2},
        {"schema": 1, "clients": [{"name": "anna", "certificate_sha256": "0" * 64, "certificate": "x"}]},
    ],
)
def test_another_file_is_refused_and_never_replaced(path, content):
    path.parent.mkdir()
    path.write_text(json.dumps(content))
    with raises_error(InputError, "clients-malformed", path=path):
        add_client(path, Client("ben", token_sha256=new_token()[1]))
    assert json.loads(path.read_text()) == content


@pytest.mark.process
def test_a_certificate_of_one_s_own_is_made_listed_and_known(path, certificates, tmp_path, capsys):
    folder = tmp_path / "for anna"
    arguments = ["server", "add-client", "anna", "--clients", path, "--certificate", folder]
    assert run_command([*map(str, arguments), "--tls", str(certificates / "server")]) == 0
    assert sorted(file.name for file in folder.iterdir()) == ["ca.pem", "cert.pem", "key.pem"]
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}
    pem = (folder / "cert.pem").read_text()
    access = Access(path)
    assert access.of_certificate(ssl.PEM_cert_to_DER_cert(pem)).name == "anna"
    assert access.authorities() == [pem]
    assert "PRIVATE" not in path.read_text()
    capsys.readouterr()
    assert run_command(["server", "clients", "--clients", str(path)]) == 0
    assert fingerprint_of(pem) in capsys.readouterr().out
    assert run_command(["server", "clients", "--clients", str(path), "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)["clients"]
    assert (told["name"], told["certificate_sha256"]) == ("anna", fingerprint_of(pem))


@pytest.mark.process
def test_a_hospital_s_own_certificate_is_registered_once(path, certificates, capsys):
    pem = certificates / "client" / "cert.pem"
    arguments = ["--clients", str(path), "--register", str(pem)]
    assert run_command(["server", "add-client", "anna", *arguments]) == 0
    assert Access(path).of_certificate(ssl.PEM_cert_to_DER_cert(pem.read_text())).name == "anna"
    assert run_command(["server", "add-client", "ben", *arguments]) == 2
    assert "anna" in capsys.readouterr().err


@pytest.mark.parametrize("ways", [[], ["--token", "--register", "x.pem"]])
def test_a_client_has_one_way_in(path, ways, capsys):
    assert run_command(["server", "add-client", "anna", "--clients", str(path), *ways]) == 2
    assert not path.exists()
