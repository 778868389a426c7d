"""What is answered to each request: one handler for all routes of `twintrack.execution.server.protocol.ROUTES`."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast

from tornado.http1connection import HTTP1Connection
from tornado.web import Application, RequestHandler, stream_request_body

from twintrack import __version__
from twintrack.errors import InputError, TwinTrackError
from twintrack.execution.server import protocol
from twintrack.execution.server.access import LOCAL, Access, Client, is_loopback
from twintrack.execution.server.audit import Log, place_of
from twintrack.execution.server.pool import Pool
from twintrack.execution.server.protocol import ERROR_STATUS, PART_BYTES, PART_HASH, ROUTES, Route, State
from twintrack.execution.server.run import Part, Result, Run, no_room
from twintrack.execution.server.runs import Runs
from twintrack.execution.server.submission import LARGEST_BYTES, read_submission

__all__ = ["Served", "make_application"]

RETRY_S = {"server-quota": 10, "server-not-ready": 15}
"""What a client is told to wait before it tries again."""

SEND_BYTES = 1 << 18
SEND_S = 60.0
"""How much of a result is sent at a time, and how long a client may take for it."""

HEADERS = {
    "Server": f"twintrack/{__version__}",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


@dataclass
class Served:
    """What all handlers share.

    Attributes
    ----------
    pool, runs, access, log
        The parts of the service.
    answered : Counter
        Requests by route and status, for the metrics.
    """

    pool: Pool
    runs: Runs
    access: Access
    log: Log
    answered: Counter[tuple[str, int]] = field(default_factory=Counter)


def make_application(served: Served) -> Application:
    """Return tornado's application with a handler for each path of the routes."""
    paths: dict[str, dict[str, Route]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.verb] = route
    rules = [(_pattern(path), Handler, {"served": served, "routes": routes}) for path, routes in paths.items()]
    return Application(
        rules,
        default_handler_class=Handler,
        default_handler_args={"served": served, "routes": {}},
        compress_response=False,
    )


def _pattern(path: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda found: f"(?P<{found[1]}>{'.+' if found[1] == 'name' else '[^/]+'})", path) + "$"


@stream_request_body
class Handler(RequestHandler):
    """Answers one request.

    `prepare` decides who asks, for which run, and whether the body is taken in at all; only then the body is read.
    """

    served: Served
    _who: Client
    _run: Run
    _number: int
    _name: str

    def initialize(self, served: Served, routes: dict[str, Route]) -> None:
        """Take what all share, and the routes of this path by their verbs."""
        self.served, self._routes = served, routes
        self._route: Route | None = None
        self._refusal: TwinTrackError | None = None
        self._body = bytearray()
        self._part: Part | None = None

    def set_default_headers(self) -> None:
        """Say as little as possible."""
        for name, value in HEADERS.items():
            self.set_header(name, value)

    def prepare(self) -> None:
        """Decide before the body is read."""
        client = None
        try:
            client = self._client()
            self._look_up(client)
            self._check_length()
            if self._route is protocol.FILE:
                self._begin_part()
        except TwinTrackError as error:
            length = self.request.headers.get("Content-Length", "0")
            is_known = "Transfer-Encoding" not in self.request.headers and re.fullmatch("[0-9]{1,9}", length)
            if is_known and int(length) <= (0 if client is None else PART_BYTES):
                self._refusal = error  # told when the body has been read and thrown away: the connection can stay
            else:
                self._answer_at_once(error)

    def _client(self) -> Client:
        """Return who asks.

        Raises
        ------
        InputError
            If it is nobody that the server knows.
        """
        access = self.served.access
        if access.clients.get(LOCAL.name) is LOCAL:
            self._check_no_page()
            return LOCAL
        kind, _, token = self.request.headers.get("Authorization", "").partition(" ")
        client = access.of_token(token.strip()) if kind.lower() == "bearer" else None
        if client is None and (shown := self._certificate()):
            client = access.of_certificate(shown)
        if client is None:
            raise InputError(
                "the server does not know this client; ask whoever runs it for a way in", code="identity-unknown"
            )
        return client

    def _check_no_page(self) -> None:
        """Refuse a page in a browser of this computer: where everybody is let in, any website's pages would be too.

        They tell their origin, or call the server by a name of their own that leads here.
        """
        if "Origin" in self.request.headers or not is_loopback(self.request.host_name):
            raise InputError("pages in a browser cannot use this server", code="identity-unknown")

    def _certificate(self) -> bytes | None:
        shown = self.request.get_ssl_certificate(binary_form=True) if self.request.protocol == "https" else None
        return shown if isinstance(shown, bytes) else None

    def _look_up(self, client: Client) -> None:
        """Find run, route and file; whatever is not the client's own is not there."""
        names = {key: value for key, value in self.path_kwargs.items() if value is not None}
        if not self._routes:
            raise _not_there()
        if "run" in names:
            run = self.served.runs.of(client, names["run"])
            if run is None:
                raise _not_there()
            run.renew()
            self._run = run
        self._who = client
        if self.request.method not in self._routes:
            raise InputError(f"here only {', '.join(sorted(self._routes))} can be asked", code="verb-unknown")
        if "number" in names:
            number = names["number"]
            if not re.fullmatch(r"[0-9]{1,6}", number) or int(number) >= len(self._run.have):
                raise _not_there()
            self._number = int(number)
        self._name = names.get("name", "")
        self._route = self._routes[str(self.request.method)]

    def _check_length(self) -> None:
        """Refuse a body whose length is not told, or too large, before it is read."""
        headers = self.request.headers
        if "Transfer-Encoding" in headers or (self._route is protocol.FILE and "Content-Length" not in headers):
            raise InputError("the length of a body must be told (Content-Length)", code="part-length")
        length, most = headers.get("Content-Length", "0"), PART_BYTES if self._route is protocol.FILE else LARGEST_BYTES
        if not re.fullmatch(r"[0-9]{1,20}", length):
            raise InputError("the length of the body is no number", code="request-malformed")
        if int(length) > most:
            raise InputError(f"a body may have {most} bytes here", code="part-too-large")

    def _begin_part(self) -> None:
        digest = self.request.headers.get(PART_HASH, "").lower()
        if not re.fullmatch(r"[0-9a-f]{64}", digest):
            raise InputError(
                f"the header {PART_HASH} must hold the part's SHA-256 in hexadecimal", code="request-malformed"
            )
        offset = int(self._number_of("offset"))
        length = int(self.request.headers["Content-Length"])
        try:
            self._part = Part(self._run, self._number, offset, length, digest)
        except OSError as error:
            raise self._no_room(error) from error

    def _no_room(self, error: OSError) -> TwinTrackError:
        found = no_room(str(error.strerror))
        self.served.runs.fail(self._run, found)
        return found

    def data_received(self, chunk: bytes) -> None:
        """Take in some of the body."""
        if self._refusal is not None:
            return
        if self._part is None:
            self._body += chunk
            return
        try:
            self._part.write(chunk)
        except OSError as error:
            self._part.close()
            self._refusal = self._no_room(error)

    def on_connection_close(self) -> None:
        """Let go of a file whose connection has broken."""
        self._let_go()

    def on_finish(self) -> None:
        """Count, and let go of a file."""
        self._let_go()
        self.served.answered[self._route.name if self._route else "none", self.get_status()] += 1

    def _let_go(self) -> None:
        if self._part is not None:
            self._part.close()

    async def _dispatch(self, **_names: str) -> None:
        """Answer, now that the body is there."""
        try:
            if self._refusal is not None:
                raise self._refusal
            assert self._route is not None
            await ANSWERS[self._route.name](self)
        except TwinTrackError as error:
            self._answer_error(error)

    get = post = put = delete = head = options = patch = _dispatch

    # The answers, by the names of the routes.

    async def _about(self) -> None:
        runs = self.served.runs
        limits = {"part_bytes": PART_BYTES, **vars(runs.limits)}
        self._answer(
            {
                "schema": protocol.SCHEMA,
                "server": f"twintrack {__version__}",
                "bundle": {name: self.served.pool.about.get(name) for name in ("name", "version", "sha256")},
                "limits": limits,
                "kinds": list(protocol.KIND_WORDS),
                "roles": list(protocol.ROLES),
                "settings": list(protocol.SETTINGS),
            }
        )

    async def _submit(self) -> None:
        submission = read_submission(bytes(self._body), self.served.runs.limits)
        run, is_new = self.served.runs.submit(self._who, submission)
        self._answer({"run": run.name, "parts": {"bytes": PART_BYTES}}, 201 if is_new else 200)

    async def _news(self) -> None:
        after, wait_s = (
            int(self._number_of("after")),
            min(float(self._number_of("wait", r"[0-9]{1,9}(\.[0-9]{1,9})?")), protocol.WAIT_S),
        )
        await self._run.later_than(after, wait_s)
        self._answer(self._run.to_json())

    async def _send(self) -> None:
        assert self._part is not None
        have = self._part.finish()
        self.served.runs.received_bytes += int(self.request.headers["Content-Length"])
        self._answer({"have": have})

    async def _begin(self) -> None:
        self.served.runs.begin(self._run)
        self._answer({"run": self._run.name, "state": self._run.state.value}, 202)

    async def _fetch(self) -> None:
        if self._run.state is not State.DONE:
            raise InputError(f"there is no result; the run is {self._run.state.value}", code="result-not-there")
        result = self._run.results.get(self._name)
        if result is None:
            raise _not_there()
        start, stop = _range(self.request.headers.get("Range"), result.bytes)
        self.set_header("Content-Type", "application/octet-stream")
        self.set_header("Accept-Ranges", "bytes")
        self.set_header("Content-Length", str(stop - start))
        if (start, stop) != (0, result.bytes):
            self.set_status(206)
            self.set_header("Content-Range", f"bytes {start}-{stop - 1}/{result.bytes}")
        await self._send_file(result, start, stop)

    async def _send_file(self, result: Result, start: int, stop: int) -> None:
        with result.path.open("rb") as stream:
            stream.seek(start)
            while start < stop:
                data = stream.read(min(SEND_BYTES, stop - start))
                if not data:
                    raise OSError("the result has been removed")  # ends the connection: the length was told
                if self.served.runs.of(self._who, self._run.name) is not self._run:
                    raise OSError("the run was dropped, or its client removed")  # as above
                start += len(data)
                self.write(data)
                self._run.renew()
                await asyncio.wait_for(self.flush(), SEND_S)
        await self.finish()

    async def _drop(self) -> None:
        self.served.runs.drop(self._run)
        self.set_status(204)
        await self.finish()

    # How an answer is written.

    def _number_of(self, name: str, pattern: str = "[0-9]{1,18}") -> str:
        """Return a number of the query, 0 by default."""
        text = self.get_query_argument(name, "0") or ""
        if not re.fullmatch(pattern, text):
            raise InputError(f"{name} must be a number that is not below 0", code="request-malformed")
        return text

    def _answer(self, content: dict[str, Any], status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(content))

    def _answer_error(self, error: TwinTrackError) -> None:
        told: dict[str, Any] = {"code": error.code, "message": error.message, "kind": error.fields()["kind"]}
        status = ERROR_STATUS.get(error.code, 422)
        if error.code == "part-offset":
            told["have"] = self._run.have[self._number]
        if error.code in RETRY_S:
            self.set_header("Retry-After", str(RETRY_S[error.code]))
        if status == 401:
            self.set_header("WWW-Authenticate", "Bearer")
        if status == 405:
            self.set_header("Allow", ", ".join(sorted(self._routes)))
        self._answer({"error": told}, status)

    def _answer_at_once(self, error: TwinTrackError) -> None:
        """Answer without the body, and close: what is still to come would be taken for the next request."""
        cast(HTTP1Connection, self.request.connection).set_max_body_size(1 << 62)
        self.set_header("Connection", "close")
        self._answer_error(error)

    def write_error(self, status_code: int, **arguments: Any) -> None:
        """Tell what tornado refuses, and what nobody foresaw, in the same form."""
        if status_code >= 500:
            found = arguments.get("exc_info", (None, None, None))[1]
            if found is not None:
                self.served.log.write("unforeseen", where=place_of(found))
            error = TwinTrackError("the server met an error; tell whoever runs it", code="server-broken")
        else:
            error = InputError("the request cannot be understood", code="request-malformed")
        told = {"code": error.code, "message": error.message, "kind": error.fields()["kind"]}
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps({"error": told}))

    def compute_etag(self) -> None:
        """Give no answer a name: none is kept by anybody."""

    def log_exception(self, *_arguments: Any) -> None:
        """Leave it to `write_error`: tornado's own words quote the request."""


ANSWERS: dict[str, Callable[[Handler], Awaitable[None]]] = {
    route.name: getattr(Handler, f"_{route.name}") for route in ROUTES
}


def _not_there() -> InputError:
    return InputError("there is no such thing here", code="not-there")


def _range(header: str | None, size: int) -> tuple[int, int]:
    """Return first byte and end of what is asked for of a file; of several ranges, the whole file.

    Raises
    ------
    InputError
        If the range lies outside.
    """
    found = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", (header or "").strip())
    if found is None or not any(found.groups()):
        return 0, size
    first, last = found.groups()
    if not first:
        start, stop = max(size - int(last), 0), size
    else:
        start, stop = int(first), min(int(last) + 1 if last else size, size)
    if start >= stop:
        raise InputError(f"the file has {size} bytes", code="range-outside")
    return start, stop
