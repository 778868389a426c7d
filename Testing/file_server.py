"""A server of files over HTTPS that misbehaves as it is told to, for the download of models."""

from __future__ import annotations

import re
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from twintrack.cli.app import run_command


@dataclass
class FileServer:
    """What is served, what goes wrong, and what was asked.

    Attributes
    ----------
    files : dict
        Content by name.
    faults : list
        What is done in place of each next answer: a status, or a function of the handler; None for a good answer.
    asked : list
        Path and headers of the requests.
    ranges, etag, redirect : as the server has them
        Whether parts are given; the validator; where requests are sent to.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[object] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    ranges: bool = True
    etag: str = '"one"'
    redirect: str = ""
    address: str = ""
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def ranges_of(self, name: str) -> list[str]:
        return [headers.get("Range", "all") for path, headers in self.asked if name in path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: FileServer

    def do_GET(self) -> None:
        state = self.state
        with state.lock:
            state.asked.append((self.path, dict(self.headers)))
            fault = state.faults.pop(0) if state.faults else None
        if state.redirect:
            self.answer(302, Location=state.redirect + self.path)
        elif isinstance(fault, int):
            self.answer(fault)
        elif callable(fault):
            fault(self)
        else:
            self.give()

    def content(self) -> tuple[int, int, bytes]:
        """Return where the part begins (-1 for the whole), how large the file is, and the bytes that are asked for."""
        data = self.state.files[self.path.partition("?")[0].lstrip("/")]
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        condition = self.headers.get("If-Range")
        if not self.state.ranges or asked is None or (condition and condition != self.state.etag):
            return -1, len(data), data
        start = int(asked[1])
        return start, len(data), data[start : int(asked[2]) + 1 if asked[2] else len(data)]

    def head(self, length: int | None = None, shift: int = 0, total: int | None = None) -> bytes:
        """Send the head of a good answer, with lies where they are asked for; return the body."""
        try:
            start, size, body = self.content()
        except KeyError:
            self.answer(404)
            return b""
        part = start >= 0
        self.send_response(206 if part else 200)
        if part:
            first = start + shift
            self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{total or size}")
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if self.state.etag:
            self.send_header("ETag", self.state.etag)
        self.end_headers()
        return body

    def give(self) -> None:
        self.put(self.head())

    def put(self, data: bytes) -> None:
        self.state.sent += len(data)
        self.wfile.write(data)

    def answer(self, status: int, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def cut_after(count: int) -> Callable[[Handler], None]:
    """Send some bytes of the body and hang up."""

    def fault(handler: Handler) -> None:
        handler.put(handler.head()[:count])
        handler.wfile.flush()
        handler.close_connection = True
        handler.connection.close()

    return fault


def stall_after(count: int) -> Callable[[Handler], None]:
    """Send some bytes of the body and say nothing more."""

    def fault(handler: Handler) -> None:
        handler.put(handler.head()[:count])
        handler.wfile.flush()
        with suppress(OSError):
            handler.rfile.read(1)  # until who asked hangs up
        handler.close_connection = True

    return fault


def lie(**what: int) -> Callable[[Handler], None]:
    """Announce another length, another part or another size than is sent."""

    def fault(handler: Handler) -> None:
        handler.put(handler.head(**what))
        handler.close_connection = True

    return fault


def busy(status: int, after: str) -> Callable[[Handler], None]:
    """Ask to be left alone for some time."""
    return lambda handler: handler.answer(status, Retry_After=after)


def packed(handler: Handler) -> None:
    """Send the body in an encoding that nobody asked for."""
    _, _, body = handler.content()
    handler.answer(206, Content_Encoding="gzip", Content_Range=f"bytes 0-{len(body) - 1}/{len(body)}")


def make_certificates(folder: Path) -> Path:
    """Make an authority and a certificate for localhost; return the folder with them."""
    assert run_command(["certificates", str(folder / "tls"), "--name", "localhost"]) == 0
    return folder / "tls" / "server"


@contextmanager
def serving(tls: Path) -> Iterator[FileServer]:
    """Run a server on a free port of this computer."""
    state = FileServer()
    handler = type("BoundHandler", (Handler,), {"state": state})
    server = ThreadingHTTPServer(("localhost", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls / "cert.pem", tls / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    state.address = f"https://localhost:{server.server_address[1]}"
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
