"""Connections: who may open one, how many, and how long a silent one is kept.

The service sees each connection before a byte of HTTP is read. A stranger who opens a thousand of them and says
nothing is held to a number for each address, and each of those to some seconds for the handshake.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from socket import socket
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerConnectionDelegate
from tornado.iostream import IOStream, SSLIOStream, StreamClosedError
from tornado.netutil import add_accept_handler, bind_sockets, ssl_wrap_socket

from twintrack.errors import InputError

__all__ = ["BODY_S", "HANDSHAKE_S", "HEADER_S", "Connections", "listening_sockets", "tls_context"]

HANDSHAKE_S, HEADER_S, BODY_S = 10.0, 30.0, 60.0
"""How long a client may take for its handshake, until its next request's header is there, and for a body of 8 MiB."""

OF_ADDRESS, IN_ALL = 64, 512
"""Most connections of one address, and of all together; a process may usually have 1,024 files open."""

CHUNK_BYTES = 1 << 18
"""How much of a body is read at a time."""

MOST_BUFFERED_BYTES = 4 << 20
"""How much of an answer or a body may wait in memory, for each connection."""

LARGEST_HEADER_BYTES = 16 << 10


def tls_context(certificates: Path, authorities: list[str]) -> ssl.SSLContext:
    """Return the settings for TLS 1.3 with a server's certificate, which asks clients for theirs.

    Parameters
    ----------
    certificates : path
        Folder with ``cert.pem``, ``key.pem`` and ``ca.pem``, the authority of clients' certificates.
    authorities : list of str
        Certificates (PEM) of clients that are their own authority.

    Raises
    ------
    InputError
        If they cannot be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_OPTIONAL  # a client with a token shows none
    context.num_tickets = 0  # each connection shows its certificate anew
    try:
        context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
        if (certificates / "ca.pem").is_file():
            context.load_verify_locations(certificates / "ca.pem")
        for pem in authorities:
            context.load_verify_locations(cadata=pem)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"certificate or key cannot be used ({reason}); give the folder `server` that twintrack certificates "
            "makes, or one with the hospital's cert.pem and key.pem",
            code="certificate-unusable",
            path=certificates,
        ) from error
    if (certificates / "ca.pem").is_file():
        _check_own(context, certificates)
    return context


def _check_own(context: ssl.SSLContext, certificates: Path) -> None:
    """Refuse a certificate that no client would accept: one for clients, one out of date, or of another authority."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False  # by which name clients call the server is not known here
    asking.load_verify_locations(certificates / "ca.pem")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = asking.wrap_bio(to_client, to_server)
    try:
        for side in (client, server, client):
            with suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLError as error:
        reason = getattr(error, "verify_message", "") or str(error.reason)
        raise InputError(
            f"not a server's certificate ({reason}); give the folder `server` that twintrack certificates makes, or "
            "make new ones",
            code="certificate-unusable",
            path=certificates,
        ) from error


def listening_sockets(host: str, port: int) -> list[socket]:
    """Return sockets that listen.

    Raises
    ------
    InputError
        If the place is taken, or is none.
    """
    try:
        found = bind_sockets(port, host, backlog=256)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{host}:{port}: cannot be used by the server ({reason}); choose another host or port",
            code="port-taken",
        ) from error
    return found


class Connections(HTTPServer):
    """tornado's HTTP server behind a door that counts.

    Use `open` and `shut`; `context` may be replaced at any time, for connections from then on.

    Attributes
    ----------
    context : SSLContext or None
        None for plain HTTP.
    opened, refused : int
        Connections now, and those that were closed at once since the start.
    broken : int
        Handshakes that failed or took too long.
    """

    def initialize(  # type: ignore[override]
        self, application: HTTPServerConnectionDelegate, context: ssl.SSLContext | None, largest_body_bytes: int
    ) -> None:
        """Take the place of a constructor; see `HTTPServer`."""
        super().initialize(
            application,
            chunk_size=CHUNK_BYTES,
            max_header_size=LARGEST_HEADER_BYTES,
            idle_connection_timeout=HEADER_S,
            body_timeout=BODY_S,
            max_body_size=largest_body_bytes,
            max_buffer_size=MOST_BUFFERED_BYTES,
        )
        self.context = context
        self.opened = self.refused = self.broken = 0
        self._of_address: Counter[str] = Counter()
        self._doors: list[tuple[socket, Callable[[], None]]] = []
        self._handshakes: set[asyncio.Task[None]] = set()

    def open(self, sockets: list[socket]) -> None:
        """Take in connections."""
        self._doors = [(place, add_accept_handler(place, self._enter)) for place in sockets]

    async def shut(self) -> None:
        """Close everything."""
        for place, close in self._doors:
            close()
            place.close()
        for task in self._handshakes:
            task.cancel()
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.close_all_connections(), 2.0)

    def _enter(self, connection: socket, address: Any) -> None:
        who = str(address[0])
        if self.opened >= IN_ALL or self._of_address[who] >= OF_ADDRESS:
            self.refused += 1
            connection.close()
            return
        self.opened += 1
        self._of_address[who] += 1
        task = asyncio.ensure_future(self._greet(connection, address, who))
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _greet(self, connection: socket, address: Any, who: str) -> None:
        """Let a connection speak HTTP once its handshake is done."""
        stream: IOStream | None = None
        try:
            connection.setblocking(False)
            if self.context is None:
                stream = IOStream(connection, max_buffer_size=MOST_BUFFERED_BYTES, read_chunk_size=CHUNK_BYTES)
            else:
                wrapped = ssl_wrap_socket(connection, self.context, server_side=True, do_handshake_on_connect=False)
                stream = SSLIOStream(wrapped, max_buffer_size=MOST_BUFFERED_BYTES, read_chunk_size=CHUNK_BYTES)
                await asyncio.wait_for(stream.wait_for_handshake(), HANDSHAKE_S)
        except BaseException as error:
            self.broken += 1
            self._leave(who)
            (stream or connection).close()
            if not isinstance(error, OSError | asyncio.TimeoutError | StreamClosedError):
                raise
            return
        self.handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        """Count one less; tornado calls it once for each connection that spoke HTTP."""
        super().on_close(server_conn)
        self._leave(str(server_conn.context.address[0]))  # type: ignore[attr-defined]

    def _leave(self, who: str) -> None:
        self.opened -= 1
        self._of_address[who] -= 1
        if not self._of_address[who]:
            del self._of_address[who]
