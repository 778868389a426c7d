"""The page and its one connection, on this computer's own address alone, for who has the key of this start.

Every request is asked for three things before anything else: that it names this very address (another name is a
website's that points here), that it comes from no other page, and that it has the key. Nothing can be uploaded, and
nothing is served but the page's own files, which are read once, and what was exported, each once made under a name that
cannot be guessed.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import secrets
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Protocol

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError, RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from TwinTrackSegLib.present.Viewing import secondPage

__all__ = ["HOST", "PageServer", "PageUser"]

HOST = "127.0.0.1"
KEY_BYTES = 32
GONE_SEC = 15.0
"""This long after the page was closed, and has not come back (a reload), all ends."""

MOST_ASKED_BYTES = 1 << 16

FILES = {"/": "viewer.html", "/viewer.js": "viewer.js", "/viewer.css": "viewer.css"}
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

KEY_IN_PAGE = "{{key}}"
SECOND_PAGE = 4001
"""Code with which a second page's connection is closed."""

logger = logging.getLogger(__name__)


class PageUser(Protocol):
    """What the page is for."""

    def welcome(self) -> None:
        """Take in a page that has come."""

    def do(self, asked: Mapping[str, Any]) -> None:
        """Do what the page asks."""

    def fileOf(self, name: str) -> Path | None:
        """Return what was exported under a name; None where there is nothing."""


class PageServer:
    """Serves one page.

    Parameters
    ----------
    port : int
        0 for any free one.

    Attributes
    ----------
    key : str
        The secret of this start.
    gone : asyncio.Event
        Set when the page was closed and did not come back.
    """

    def __init__(self, port: int = 0) -> None:
        self.key = secrets.token_urlsafe(KEY_BYTES)
        self.gone = asyncio.Event()
        self.user: PageUser | None = None
        self._page: _Connection | None = None
        self._leaving: asyncio.TimerHandle | None = None
        (self._socket,) = bind_sockets(port, HOST)
        files = {path: _read(name) for path, name in FILES.items()}
        application = Application(
            [
                *((path, _File, {"server": self, "name": FILES[path], "content": files[path]}) for path in files),
                ("/live", _Connection, {"server": self}),
                ("/file/([A-Za-z0-9_-]+)", _Exported, {"server": self}),
            ],
            default_handler_class=_Nothing,
            default_handler_args={"server": self},
            log_function=_logStatus,
            websocket_max_message_size=MOST_ASKED_BYTES,
        )
        self._http = HTTPServer(application, max_body_size=0, max_header_size=MOST_ASKED_BYTES)
        self._http.add_socket(self._socket)

    @property
    def origin(self) -> str:
        """The address without the key."""
        return f"http://{HOST}:{self._socket.getsockname()[1]}"

    @property
    def address(self) -> str:
        """The address that opens the page: who knows it is let in."""
        return f"{self.origin}/?key={self.key}"

    def tell(self, state: Mapping[str, Any]) -> None:
        """Send what the page is to show."""
        self._send(json.dumps(state))

    def show(self, view: int, picture: bytes) -> None:
        """Send a picture; the page says when it has shown it."""
        self._send(bytes([view]) + picture)

    async def close(self) -> None:
        """Take no more requests, and close the page's connection."""
        if self._leaving is not None:
            self._leaving.cancel()
        self._http.stop()
        if self._page is not None:
            self._page.close()
        await self._http.close_all_connections()

    def check(self, request: RequestHandler) -> None:
        """Let a request in, or raise.

        Raises
        ------
        HTTPError
            If it names another host, comes from another page, or has not the key.
        """
        headers = request.request.headers
        foreign = headers.get("Origin", self.origin) != self.origin
        if f"http://{headers.get('Host', '')}" != self.origin or foreign:
            raise HTTPError(403)
        given = request.get_query_argument("key", "")
        if not hmac.compare_digest(given.encode(), self.key.encode()):
            raise HTTPError(403)

    def enter(self, page: _Connection) -> bool:
        """Let a page in unless there is one; one that is just going, as at a reload, is none."""
        if self._page is not None and self._page.isOpen:
            return False
        self._page = page
        if self._leaving is not None:
            self._leaving.cancel()
        return True

    def isPage(self, page: _Connection) -> bool:
        """Whether this is the one page, and no second one."""
        return self._page is page

    def leave(self, page: _Connection) -> None:
        """Take it that the page was closed or left; unless it comes back, all ends."""
        if self._page is page:
            self._page = None
            self._leaving = asyncio.get_running_loop().call_later(GONE_SEC, self.gone.set)

    def _send(self, message: str | bytes) -> None:
        if self._page is not None:
            self._page.send(message)


class _Checked(RequestHandler):
    """A request that is let in, or answered with nothing but its status."""

    def initialize(self, server: PageServer) -> None:
        self.server = server

    def set_default_headers(self) -> None:
        for name, value in HEADERS.items():
            self.set_header(name, value)
        self.clear_header("Server")

    def prepare(self) -> None:
        self.server.check(self)

    def write_error(self, status_code: int, **_more: Any) -> None:
        self.finish(str(status_code))


class _Nothing(_Checked):
    def prepare(self) -> None:
        super().prepare()
        raise HTTPError(404)


class _File(_Checked):
    """One of the page's own files."""

    def initialize(self, server: PageServer, name: str, content: str) -> None:
        super().initialize(server)
        self._name, self._content = name, content

    def get(self) -> None:
        self.set_header("Content-Type", f"{TYPES[Path(self._name).suffix]}; charset=utf-8")
        self.finish(self._content.replace(KEY_IN_PAGE, self.server.key))


class _Exported(_Checked):
    """What was exported, for the browser to save."""

    def get(self, name: str) -> None:
        file = self.server.user.fileOf(name) if self.server.user is not None else None
        if file is None:
            raise HTTPError(404)
        quoted = json.dumps(file.name.encode("ascii", "replace").decode())
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Content-Disposition", f"attachment; filename={quoted}")
        self.finish(file.read_bytes())


class _Connection(WebSocketHandler):
    """The page's connection: it asks in JSON, and is told states in JSON and pictures in bytes."""

    def initialize(self, server: PageServer) -> None:
        self.server = server

    def prepare(self) -> None:
        if "Origin" not in self.request.headers:
            raise HTTPError(403)
        self.server.check(self)

    def check_origin(self, origin: str) -> bool:
        return origin == self.server.origin

    def write_error(self, status_code: int, **_more: Any) -> None:
        self.finish(str(status_code))

    def open(self, *_arguments: str, **_more: str) -> None:
        self.set_nodelay(True)
        if not self.server.enter(self):
            self.send(json.dumps({"refused": secondPage()}))
            self.close(SECOND_PAGE)
        elif self.server.user is not None:
            self.server.user.welcome()

    @property
    def isOpen(self) -> bool:
        """Whether the page has neither said that it goes nor gone."""
        return self.ws_connection is not None and not self.ws_connection.is_closing()

    def on_message(self, message: str | bytes) -> None:
        try:
            asked = json.loads(message) if isinstance(message, str) else None
        except ValueError:
            asked = None
        if isinstance(asked, dict) and self.server.user is not None and self.server.isPage(self):
            self.server.user.do(asked)

    def on_close(self) -> None:
        self.server.leave(self)

    def send(self, message: str | bytes) -> None:
        """Send unless the page has just gone."""
        try:
            sent = self.write_message(message, binary=isinstance(message, bytes))
        except WebSocketClosedError:
            return
        sent.add_done_callback(_noticed)


def _noticed(sent: asyncio.Future[None]) -> None:
    """Take an error that a page left in the middle of a message: its end is noticed by itself."""
    sent.exception()


def _read(name: str) -> str:
    return (resources.files("TwinTrackSegLib.web") / "page" / name).read_text(encoding="utf-8")


def _logStatus(handler: RequestHandler) -> None:
    """Log a request without its address, which has the key in it."""
    logger.info("%s %d", handler.request.method, handler.get_status())
