"""A server that keeps the HTTP contract with nothing but Python's library, and breaks it where a test wants that.

It computes nothing: each run is done at once, with the files that the test gave. What the real service does is tested
with the real service; this one is for links that break in a certain moment, and for servers that lie.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from twintrack import __version__
from twintrack.execution.server.protocol import ERROR_STATUS, PART_BYTES, PART_HASH

Fault = Callable[["Handler", str, int], bool]
"""Called with each question, what is asked (``about``, ``submit``, ``send`` ...) and the how manieth of these it is;
says whether it has dealt with it."""


@dataclass
class Run:
    """A run: its files as far as they are there, and where it is."""

    sizes: list[int]
    content: list[bytearray]
    submission: dict[str, Any]
    state: str = "uploading"


@dataclass
class Contract:
    """What the server says and has seen."""

    result: dict[str, bytes]
    about: dict[str, Any]
    fault: Fault | None = None
    news: dict[str, Any] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    kept: dict[str, Run] = field(default_factory=dict)
    address: str = ""


class Handler(BaseHTTPRequestHandler):
    """Answers one connection's questions."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    contract: Contract

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        except OSError:
            self.close_connection = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def say(self, status: int, body: object = None, content: bytes | None = None, **headers: str) -> None:
        """Send an answer."""
        data = content if content is not None else b"" if body is None else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def refuse(self, code: str, **more: object) -> None:
        """Send an error of the contract."""
        self.say(ERROR_STATUS[code], {"error": {"code": code, "message": code, "kind": "InputError", **more}})

    def cut(self) -> None:
        """End the connection without a word."""
        self.close_connection = True
        self.connection.close()

    def body(self) -> bytes:
        """Return what was sent."""
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _answer(self) -> None:
        contract, parts = self.contract, urlsplit(self.path)
        words = [unquote(word) for word in parts.path.strip("/").split("/")][1:]
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        what = _what(self.command, words)
        contract.asked[what] += 1
        contract.seen.append((self.command, self.path, dict(self.headers)))
        if contract.fault is not None and contract.fault(self, what, contract.asked[what]):
            return
        if what == "about":
            self.say(200, contract.about)
        elif what == "submit":
            self._submit()
        elif words[1:2] and words[1] in contract.runs:
            getattr(self, f"_{what}")(words[1], words[2:], query)
        else:
            self.body()
            self.refuse("not-there")

    def _submit(self) -> None:
        submission = json.loads(self.body())
        known = next((r for r, run in self.contract.runs.items() if run.submission["key"] == submission["key"]), None)
        if known is not None:
            self.say(200, {"run": known})
            return
        name, sizes = secrets.token_hex(16), [file["bytes"] for file in submission["files"]]
        run = Run(sizes, [bytearray() for _ in sizes], submission)
        self.contract.runs[name] = self.contract.kept[name] = run
        self.say(201, {"run": name, "parts": PART_BYTES})

    def _send(self, name: str, words: list[str], query: dict[str, str]) -> None:
        there, data = self.contract.runs[name].content[int(words[1])], self.body()
        if int(query["offset"]) != len(there):
            self.refuse("part-offset", have=len(there))
        elif hashlib.sha256(data).hexdigest() != self.headers[PART_HASH]:
            self.refuse("part-hash")
        else:
            there += data
            self.say(200, {"have": len(there)})

    def _begin(self, name: str, _words: list[str], _query: dict[str, str]) -> None:
        run = self.contract.runs[name]
        if run.state != "uploading":
            self.refuse("upload-over")
        elif [len(content) for content in run.content] != run.sizes:
            self.refuse("upload-incomplete")
        else:
            run.state = "done"
            self.say(202, {})

    def _news(self, name: str, _words: list[str], _query: dict[str, str]) -> None:
        files = [
            {"name": file, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for file, content in self.contract.result.items()
        ]
        told = {"run": name, "state": self.contract.runs[name].state, "before": None, "seq": 1, "fraction": 0.0}
        self.say(200, {**told, "message": "", "error": None, "files": files, **self.contract.news})

    def _fetch(self, _name: str, words: list[str], _query: dict[str, str]) -> None:
        content = self.contract.result["/".join(words[1:])]
        start, stop = (int(word) for word in self.headers["Range"].removeprefix("bytes=").split("-"))
        data = content[start : stop + 1]
        self.say(206, content=data, Content_Range=f"bytes {start}-{start + len(data) - 1}/{len(content)}")

    def _drop(self, name: str, _words: list[str], _query: dict[str, str]) -> None:
        del self.contract.runs[name]
        self.contract.dropped.append(name)
        self.say(204)


def _what(verb: str, words: list[str]) -> str:
    if words == ["about"]:
        return "about"
    if words == ["runs"]:
        return "submit"
    by_word = {"files": "send", "begin": "begin", "result": "fetch"}
    return by_word.get(words[2], "") if words[2:] else {"GET": "news", "DELETE": "drop"}.get(verb, "")


ABOUT = {
    "schema": 1,
    "server": f"twintrack {__version__}",
    "bundle": {"name": "tiny", "version": "1", "sha256": "0" * 64},
    "limits": {"part_bytes": PART_BYTES, "files": 100, "bytes": 1 << 30, "runs": 4},
    "kinds": [],
    "roles": [],
    "settings": [],
}


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_arguments: object) -> None:
        """Say nothing of a connection that broke: that is what tests do."""


@contextmanager
def contract_server(
    result: dict[str, bytes], *, certificates: Path | None = None, about: dict[str, Any] | None = None
) -> Iterator[Contract]:
    """Run such a server on the loopback; with a folder of certificates by TLS."""
    contract = Contract(result, about or dict(ABOUT))
    handler = type("OwnHandler", (Handler,), {"contract": contract})
    server = _Server(("127.0.0.1", 0), handler)
    if certificates is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "cert.pem", certificates / "key.pem")
        context.load_verify_locations(certificates / "ca.pem")
        context.verify_mode = ssl.CERT_OPTIONAL
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    contract.address = f"http{'' if certificates is None else 's'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield contract
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
