"""Who may use the server: a file of clients, each known by a certificate or by a token, added and removed one by one.

The file holds hashes and nothing secret. A server reads it again as soon as it changes, so that who is removed is
refused within a second, also on a connection that is open.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from twintrack.errors import InputError, OutputError
from twintrack.system.atomic import force_to_disk
from twintrack.system.json_file import read_json, save_json
from twintrack.system.locks import folder_lock

__all__ = [
    "LOCAL",
    "Access",
    "Client",
    "add_client",
    "check_new",
    "fingerprint_of",
    "is_loopback",
    "new_token",
    "read_clients",
    "remove_client",
]

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""A client's name stands in the audit and in a certificate; it names a computer or a role better than a person."""

HASH = re.compile(r"[0-9a-f]{64}")

LARGEST_BYTES = 8 << 20
"""Of the file; a client with a certificate of RSA takes some 3 kB."""

MOST_CLIENTS = 1000


@dataclass(frozen=True)
class Client:
    """One who may use the server.

    Attributes
    ----------
    name : str
        Unique in the file.
    certificate_sha256 : str, optional
        Fingerprint of the certificate that it shows, in hexadecimal.
    certificate : str, optional
        The certificate itself (PEM), where it is its own authority: the server trusts it alone, not who issued it.
    token_sha256 : str, optional
        Hash of the token that it sends.
    is_machine : bool
        Whether its runs wait until those of people have begun; for a DICOM node.
    added : str
        Day.
    """

    name: str
    certificate_sha256: str | None = None
    certificate: str | None = None
    token_sha256: str | None = None
    is_machine: bool = False
    added: str = ""


LOCAL = Client("local")
"""Everybody on this computer, of a server that listens on the loopback and has no file of clients."""


class Access:
    """The clients that a server knows.

    Parameters
    ----------
    path : path or None
        The file of clients. Without one, everybody who reaches the server is `LOCAL`.

    Raises
    ------
    InputError
        If the file cannot be used.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self.clients: dict[str, Client] = {} if path else {LOCAL.name: LOCAL}
        self._by_hash: dict[str, Client] = {}
        if path is not None:
            self._take(read_clients(path))
            self._seen = _state(path)

    def look(self) -> bool:
        """Read the file again if it has changed; return whether it had.

        Raises
        ------
        InputError
            If it cannot be read now; the clients stay those it held before.
        """
        if self._path is None or (state := _state(self._path)) == self._seen:
            return False
        self._take(read_clients(self._path))
        self._seen = state  # not before: what could not be read is tried again, or who was removed would stay
        return True

    def of_certificate(self, der: bytes) -> Client | None:
        """Return whose certificate it is."""
        return self._by_hash.get(f"certificate {hashlib.sha256(der).hexdigest()}")

    def of_token(self, token: str) -> Client | None:
        """Return whose token it is."""
        return self._by_hash.get(f"token {hashlib.sha256(token.encode()).hexdigest()}")

    def authorities(self) -> list[str]:
        """Return the certificates (PEM) that are their own authorities."""
        return [client.certificate for client in self.clients.values() if client.certificate]

    def _take(self, clients: Iterable[Client]) -> None:
        self.clients = {client.name: client for client in clients}
        self._by_hash = {
            f"{what} {known}": client
            for client in self.clients.values()
            for what, known in (("certificate", client.certificate_sha256), ("token", client.token_sha256))
            if known
        }


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches it; a name's meaning may change, so but for one none is taken for it."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _state(path: Path) -> tuple[int, int, int] | None:
    """Return what tells a file from the one that was at its place before."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def read_clients(path: Path) -> list[Client]:
    """Read a file of clients; none if there is no such file.

    Raises
    ------
    InputError
        If it is not one that `add_client` wrote.
    """
    try:
        content = read_json(path, max_bytes=LARGEST_BYTES)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot be read as a list of clients ({error}); give a file that `twintrack server add-client` made",
            code="clients-unreadable",
            path=path,
        ) from error
    try:
        if content["schema"] != 1:
            raise ValueError("schema")
        clients = [_client(entry) for entry in content["clients"]]
        if len({client.name for client in clients}) < len(clients) or len(clients) > MOST_CLIENTS:
            raise ValueError("clients")
    except (TypeError, KeyError, ValueError) as error:
        raise InputError(
            "is no list of clients of this version; give a file that `twintrack server add-client` made",
            code="clients-malformed",
            path=path,
        ) from error
    return clients


def _client(entry: Mapping[str, Any]) -> Client:
    client = Client(**entry)
    hashes = [known for known in (client.certificate_sha256, client.token_sha256) if known is not None]
    right = NAME.fullmatch(client.name) and hashes and all(HASH.fullmatch(known) for known in hashes)
    if client.certificate is not None:
        right = right and fingerprint_of(client.certificate) == client.certificate_sha256
    if not right or not isinstance(client.is_machine, bool) or not isinstance(client.added, str):
        raise ValueError(client.name)
    return client


def fingerprint_of(pem: str) -> str:
    """Return the SHA-256 of a certificate, which is shown in connections and cannot be made anew for another key.

    Raises
    ------
    ValueError
        If the text is no certificate in PEM.
    """
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def new_token() -> tuple[str, str]:
    """Return a random token, and its hash: a guess of one among 2**256 needs no slow hash."""
    token = secrets.token_urlsafe(32)
    return token, hashlib.sha256(token.encode()).hexdigest()


def check_new(path: Path, name: str) -> list[Client]:
    """Make sure that a name may be added to a file; return the clients that it has.

    Raises
    ------
    InputError
        If there is one of that name already, or it is no name.
    """
    if not NAME.fullmatch(name):
        raise InputError(
            "a client's name has 1 to 64 letters, digits, dots, hyphens and underscores; choose another",
            code="client-name",
            where=name,
        )
    clients = read_clients(path)
    if any(known.name == name for known in clients):
        raise InputError(
            "is a client already; remove it first, or choose another name", code="client-known", where=name
        )
    return clients


def add_client(path: Path, client: Client) -> None:
    """Add a client to a file, which is made if it is not there.

    Raises
    ------
    InputError
        If there is one of that name or that certificate already, or the name is none.
    """
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise not_writable(path, error) from error
    with folder_lock(path.absolute().parent):
        clients = check_new(path, client.name)
        if len(clients) >= MOST_CLIENTS:
            raise InputError(
                f"has {MOST_CLIENTS} clients, and no room for more; remove some first", code="clients-full", path=path
            )
        for known in clients:
            if client.certificate_sha256 and known.certificate_sha256 == client.certificate_sha256:
                raise InputError(
                    f"has the certificate of the client {known.name}; each client needs its own",
                    code="client-known",
                    where=client.name,
                )
        today = datetime.now(timezone.utc).date().isoformat()
        _write(path, [*clients, Client(**{**asdict(client), "added": today})])


def remove_client(path: Path, name: str) -> None:
    """Remove a client from a file; a server that runs refuses it from then on, and drops its runs.

    Raises
    ------
    InputError
        If there is none of that name.
    """
    if not path.is_file():
        raise InputError("no such file of clients; give the server's", code="file-missing", path=path)
    with folder_lock(path.absolute().parent):
        clients = read_clients(path)
        if all(client.name != name for client in clients):
            raise InputError(
                f"is no client; {path} has {', '.join(client.name for client in clients) or 'none'}",
                code="client-unknown",
                where=name,
            )
        _write(path, [client for client in clients if client.name != name])


def _write(path: Path, clients: list[Client]) -> None:
    """Replace the file as a whole; the caller holds the folder's lock, and has read what lies there."""
    entries = [{key: value for key, value in asdict(client).items() if value} for client in clients]
    new = path.with_name(f".{path.name}.new")
    try:
        save_json(new, {"schema": 1, "clients": entries})
        new.chmod(0o644)  # holds no secret, and the server runs as another user
        force_to_disk(new)
        new.replace(path)
    except OSError as error:
        raise not_writable(path, error) from error


def not_writable(path: Path, error: OSError) -> OutputError:
    """Say that something cannot be written."""
    return OutputError(f"cannot be written ({error.strerror}); choose another place", code="not-writable", path=path)
