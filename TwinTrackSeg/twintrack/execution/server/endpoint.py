"""Where a server is, with which certificates it is spoken to, and whether it is there."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from twintrack.errors import InputError

if TYPE_CHECKING:
    from distributed.security import Security

__all__ = ["CERTIFICATE_FILES", "Place", "check_host", "check_pair", "parse_address", "probe", "security_of"]

CERTIFICATE_FILES = ("ca.pem", "cert.pem", "key.pem")
"""In a folder of certificates: the authority's certificate, one's own, and the key to it."""

PROBE_S = 5.0
"""A server that has not answered after this time is taken for unreachable."""


@dataclass(frozen=True)
class Place:
    """A server's address, taken apart.

    Attributes
    ----------
    scheme : str
        ``tcp`` or ``tls``.
    host : str
        Name or number.
    port : int
        TCP port.
    """

    scheme: str
    host: str
    port: int


def parse_address(address: str, certificates: str | Path | None) -> Place:
    """Take an address apart; without TLS only this computer itself will do.

    Raises
    ------
    InputError
        If it is no address, or asks for more or less protection than there is.
    """
    try:
        parts = urlsplit(address)
        scheme, host, port = parts.scheme, parts.hostname, parts.port
    except ValueError:
        scheme, host, port = "", None, None
    if scheme not in ("tcp", "tls") or not host or not port or parts.path.strip("/"):
        raise InputError(
            "not the address of a server; write it like tls://gpu.hospital.example:8786",
            code="address-malformed",
            path=address,
        )
    if scheme == "tls" and certificates is None:
        raise InputError(
            "needs a folder with certificates; give the one that the server's owner made",
            code="certificate-missing",
            path=address,
        )
    if scheme == "tcp":
        check_host(host, None, f"{address}: would send the CT over the network without protection; use tls://")
        if certificates is not None:
            raise InputError(
                "certificates are used with tls:// only; change the address, or leave them out",
                code="certificate-unneeded",
                path=address,
            )
    return Place(scheme, host, port)


def check_host(host: str, certificates: str | Path | None, sentence: str) -> None:
    """Refuse a host other than this computer's own loopback where there are no certificates.

    Raises
    ------
    InputError
        With the sentence `sentence`.
    """
    if certificates is not None or host == "localhost":
        return
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:  # a name: whatever it means today, it need not mean tomorrow
        pass
    raise InputError(sentence, code="host-unprotected")


def security_of(certificates: str | Path | None) -> Security | None:
    """Return Dask's settings for mutual TLS with a folder of certificates; None without one.

    Raises
    ------
    InputError
        If they cannot be used, or are out of date.
    """
    from distributed.security import Security

    if certificates is None:
        return None
    folder = Path(certificates).expanduser()
    missing = [name for name in CERTIFICATE_FILES if not (folder / name).is_file()]
    if missing:
        hint = "; give the folder server or client in it" if (folder / "client").is_dir() else ""
        raise InputError(
            f"holds no {' and no '.join(missing)}{hint}; twintrack certificates makes them",
            code="certificate-missing",
            path=folder,
        )
    ca, cert, key = (str((folder / name).absolute()) for name in CERTIFICATE_FILES)
    roles = ("client", "scheduler", "worker")
    own = {f"tls_{role}_cert": cert for role in roles} | {f"tls_{role}_key": key for role in roles}
    security = Security(require_encryption=True, tls_ca_file=ca, tls_min_version=ssl.TLSVersion.TLSv1_3, **own)
    try:
        security.get_connection_args("client")
    except (OSError, ValueError) as error:  # SSLError is an OSError
        raise InputError(
            f"certificates or key cannot be used ({_reason(error)}); make new ones",
            code="certificate-unusable",
            path=folder,
        ) from error
    return security


def check_pair(security: Security, folder: str) -> None:
    """Refuse a server's certificates that its own workers would not accept: a client's, or ones out of date.

    Raises
    ------
    InputError
        With what is wrong.
    """
    to_server, to_worker = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = security.get_listen_args("scheduler")["ssl_context"].wrap_bio(to_server, to_worker, server_side=True)
    worker = security.get_connection_args("worker")["ssl_context"].wrap_bio(to_worker, to_server)
    try:
        for side in (worker, server, worker, server):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or _reason(error)
        raise InputError(
            f"not a server's certificates ({reason}); give the folder server, or make new ones with "
            "`twintrack certificates`",
            code="certificate-unusable",
            path=folder,
        ) from error


def probe(address: str, place: Place, security: Security | None) -> None:
    """Speak to the server once, to say in one sentence what is wrong if something is.

    Raises
    ------
    InputError
        If nobody answers there, or the certificates of the two do not fit.
    """
    try:
        plain = socket.create_connection((place.host, place.port), timeout=PROBE_S)
    except OSError as error:
        raise InputError(
            f"no server can be reached there ({_reason(error)}); check the address, the network, and that "
            "`twintrack serve` runs",
            code="server-unreachable",
            path=address,
        ) from error
    with plain:
        try:
            _first_byte(plain, security)
        except ssl.SSLError as error:
            raise InputError(f"{_tls_problem(error)}", code="tls-failed", path=address) from error
        except OSError as error:
            other = "with tls:// and its certificates" if security is None else "with tcp://"
            raise InputError(
                f"what answers there does not speak like a server ({_reason(error)}); is it the right port, "
                f"or is it to be spoken to {other}?",
                code="not-a-server",
                path=address,
            ) from error


def _first_byte(plain: socket.socket, security: Security | None) -> None:
    """Wait until the server begins to speak, which it does after it has accepted the certificate."""
    if security is None:
        stream: Any = plain
    else:
        stream = security.get_connection_args("client")["ssl_context"].wrap_socket(plain)
    with stream:
        if not stream.recv(1):
            raise ConnectionResetError("it closed the connection")


def _tls_problem(error: ssl.SSLError) -> str:
    if "WRONG_VERSION_NUMBER" in str(error) or "RECORD_LAYER" in str(error):
        return "does not speak TLS; check the address, and that the server was started with --tls"
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate is not one of your authority's ({error.verify_message}); use the folder client "
            "that was made together with the server's"
        )
    return (
        f"the server does not accept your certificate ({_reason(error)}); use the folder client that was made together "
        "with the server's"
    )


def _reason(error: Exception) -> str:
    """Say what is wrong in a few words."""
    if isinstance(error, ssl.SSLError) and error.reason:
        return str(error.reason).replace("_", " ").lower()
    if isinstance(error, TimeoutError):
        return "no answer"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
