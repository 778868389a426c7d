"""Questions to a server, by `requests` alone: each phase with its time-out, asked again while the run lives.

Each question is carried by a thread of its own, so that cancel need not wait for a network; nothing but this
computer's own settings decides where it goes (no proxy variable, no ``.netrc``, no redirection, no cookie).
"""

from __future__ import annotations

import io
import json
import queue
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from twintrack import __version__
from twintrack.errors import InputError, OutputError, TwinTrackError
from twintrack.execution.server.endpoint import SHOWN_LETTERS, Credentials, trouble
from twintrack.execution.server.protocol import LEASE_S, Route, path_of
from twintrack.progress.callbacks import CancelToken
from twintrack.system.json_file import parse_json
from twintrack.system.terminal import one_line, printable
from twintrack.system.tls import is_untrusted

if TYPE_CHECKING:
    from requests import Response, Session

__all__ = ["ANSWER_S", "Connection", "Refused", "Said"]

CONNECT_S = 10.0
"""A server that has not been reached after this time is tried again; so is one to which nothing can be sent so long."""

ANSWER_S = 15.0
"""The same for one that says nothing, beyond the time for which it was asked to wait: so that there is time to ask
again before the run's lease ends."""

WHOLE_S = 300.0
"""Longest time for one question and its answer: a part of 8 MiB over 0.3 Mbit/s, or bytes that trickle in."""

AGAIN_S = LEASE_S - 5
"""For so long a connection that broke is tried again: then the server has dropped the run."""

PAUSE_S = 0.5
"""Between two tries."""

LOOK_S = 0.1
"""How often cancel is looked for while an answer is waited for; more often costs more than the questions."""

LARGEST_ANSWER = 2 << 20
"""Most bytes of an answer that is no file."""

SENT_BYTES = 1 << 16
"""How much goes to the network at a time; each has its own time-out."""

BUSY = (502, 503, 504)
"""Statuses of a server, or of what stands before it, that has no time: another time it may."""


class Said:
    """What a server said, a JSON object; what is missing or of another type is an error with one sentence."""

    def __init__(self, values: object, address: str) -> None:
        self._address = address
        if not isinstance(values, dict):
            raise self._strange("no object")
        self._values: dict[str, Any] = values

    def get(self, name: str, *kinds: type) -> Any:
        """Return a value of one of the kinds; ``bool`` is no number."""
        value = self._values.get(name)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise self._strange(name)
        return value

    def count(self, name: str, most: int) -> int:
        """Return a whole number from 0 to `most`."""
        value = int(self.get(name, int))
        if not 0 <= value <= most:
            raise self._strange(name)
        return value

    def text(self, name: str) -> str:
        """Return a short text that can be shown."""
        return one_line(printable(str(self.get(name, str))[:SHOWN_LETTERS]))

    def part(self, name: str) -> Said:
        """Return an object in it."""
        return Said(self.get(name, dict), self._address)

    def parts(self, name: str, most: int) -> list[Said]:
        """Return the objects of a list."""
        values = self.get(name, list)
        if len(values) > most:
            raise self._strange(name)
        return [Said(value, self._address) for value in values]

    def _strange(self, what: str) -> InputError:
        return InputError(
            f"the server's answer is not understood ({what}); tell whoever runs it", code="server-malformed",
            path=self._address,
        )  # fmt: skip


class Refused(Exception):
    """An answer that the one who asked wants to hear of: the server says no, with a code that was expected.

    Parameters
    ----------
    error : TwinTrackError
        What the server said.
    have : int or None
        How much of a file it has, where that is what is the matter.
    retry_s : float
        For how long it asks to be left alone.
    """

    def __init__(self, error: TwinTrackError, have: int | None, retry_s: float) -> None:
        super().__init__(str(error))
        self.error, self.code, self.have, self.retry_s = error, error.code, have, retry_s


class _TryAgainError(Exception):
    """An attempt that may succeed later: the connection broke, or the server has no time."""


@dataclass(frozen=True)
class _Question:
    """One question: how it is sent, and what is done with the answer while the connection lasts."""

    route: Route
    url: str
    body: bytes | None
    headers: Mapping[str, str]
    query: Mapping[str, str]
    wait_s: float
    take: Callable[[Response], Any]


class Connection:
    """A server that can be asked.

    Parameters
    ----------
    address : str
        As `twintrack.execution.server.endpoint.check_address` returned it.
    access : Credentials
        By what the two know each other.
    cancel : CancelToken
        Looked for all the time; `Cancelled` is raised at once, whatever the network does.
    """

    def __init__(self, address: str, access: Credentials, cancel: CancelToken) -> None:
        self.address, self._access, self._cancel = address, access, cancel
        self._session = self._new_session()

    def ask(
        self,
        route: Route,
        *,
        run: str = "",
        number: int = 0,
        name: str = "",
        query: Mapping[str, str] | None = None,
        body: bytes | Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        wait_s: float = 0.0,
        again_s: float | None = None,
        expected: Collection[str] = (),
        take: Callable[[Response], Any] | None = None,
    ) -> Any:
        """Ask, again where the connection breaks; return the answer as `Said`, or what `take` makes of it.

        Parameters
        ----------
        route, run, number, name
            What is asked for.
        query : mapping, optional
            Further words of the question.
        body : bytes or mapping, optional
            What is sent; a mapping as JSON.
        headers : mapping, optional
            Further headers.
        wait_s : float
            How long the server is asked to wait in seconds.
        again_s : float, optional
            How long a connection that broke is tried again, `AGAIN_S` by default; 0 for not at all.
        expected : collection of str
            Codes of errors that are raised as `Refused`.
        take : callable, optional
            Gets the response while its body is still to be read; called anew with each try.

        Raises
        ------
        InputError
            If the server cannot be reached, or the connection is lost.
        TwinTrackError
            As the server raises it; `code` is one of the protocol's.
        Refused
            The same, for a code that is expected.
        Cancelled
            If the run is cancelled.
        """
        sent = json.dumps(body).encode() if isinstance(body, Mapping) else body
        kind = {"Content-Type": "application/json" if isinstance(body, Mapping) else "application/octet-stream"}
        question = _Question(
            route,
            self.address + path_of(route, run=run, number=number, name=quote(name)),
            sent,
            {**(kind if sent is not None else {}), **(headers or {})},
            query or {},
            wait_s,
            take or self._read,
        )
        again_s = AGAIN_S if again_s is None else again_s
        until = None
        while True:
            try:
                return self._once(question)
            except _TryAgainError as error:
                until = until or time.monotonic() + again_s
                if again_s <= 0:
                    raise trouble(self.address, error) from error
                if time.monotonic() + PAUSE_S > until:
                    raise InputError(
                        "the connection to the server was lost; start the run again", code="server-lost",
                        path=self.address,
                    ) from error  # fmt: skip
            except Refused as refused:
                if refused.code in expected:
                    raise
                raise refused.error from None
            self.pause(PAUSE_S)

    def pause(self, seconds: float) -> None:
        """Wait, unless the run is cancelled."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._cancel.check()
            time.sleep(min(LOOK_S, left))
        self._cancel.check()

    def farewell(self, route: Route, run: str, within_s: float) -> None:
        """Ask once more, cancelled or not, for as long as is given; what comes of it is not waited for any longer."""
        last = Connection(self.address, self._access, CancelToken())
        thread = threading.Thread(target=last._try_last, args=(route, run), daemon=True)
        thread.start()
        thread.join(within_s)

    def _try_last(self, route: Route, run: str) -> None:
        try:
            self.ask(route, run=run, again_s=0, take=lambda _response: None)
        except TwinTrackError:
            return

    def _once(self, question: _Question) -> Any:
        """Ask once, in a thread that is left alone where its answer is not wanted any more."""
        told: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        session = self._session

        def carry() -> None:
            try:
                told.put((self._send(session, question), None))
            except BaseException as error:
                told.put((None, error))

        threading.Thread(target=carry, daemon=True).start()
        until = time.monotonic() + question.wait_s + WHOLE_S
        while True:
            try:
                answer, error = told.get(timeout=LOOK_S)
                break
            except queue.Empty:
                if self._cancel.cancelled or time.monotonic() > until:
                    self._session = self._new_session()  # the other one belongs to the thread
                    self._cancel.check()
                    raise _TryAgainError from None
        self._cancel.check()
        if error is not None:
            raise error
        return answer

    def _send(self, session: Session, question: _Question) -> Any:
        import requests
        import urllib3

        try:
            response = session.request(
                question.route.verb,
                question.url,
                params=dict(question.query),
                data=None if question.body is None else io.BytesIO(question.body),
                headers=dict(question.headers),
                timeout=(CONNECT_S, ANSWER_S + question.wait_s),
                allow_redirects=False,
                stream=True,
            )
            with response:
                if response.status_code in question.route.statuses and response.status_code < 300:
                    return question.take(response)
                raise self._refusal(question.route, response)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            if is_untrusted(error):  # of no use to try again; other trouble with TLS may be the network's
                raise trouble(self.address, error) from error
            raise _TryAgainError(*error.args) from error

    def _read(self, response: Response) -> Said:
        """Read a short JSON object."""
        values = self._json(response)
        if values is None:
            raise self._no_server("no JSON")
        return Said(values, self.address)

    def _json(self, response: Response) -> object:
        content = b""
        for piece in response.raw.stream(1 << 14, decode_content=False):
            content += piece
            if len(content) > LARGEST_ANSWER:
                raise self._no_server("its answer has no end")
        if not content and response.status_code < 300:
            return {}
        try:
            return parse_json(content.decode("utf-8"))
        except (ValueError, RecursionError):
            return None

    def _refusal(self, route: Route, response: Response) -> Exception:
        """Return what a status says that is no success."""
        status, values = response.status_code, self._json(response)
        told = values.get("error") if isinstance(values, dict) else None
        if not isinstance(told, dict) or not all(isinstance(told.get(key), str) for key in ("code", "message", "kind")):
            return _TryAgainError(f"status {status}") if status in BUSY else self._no_server(f"status {status}")
        said = Said(told, self.address)
        code, message = said.text("code"), said.text("message")
        if status == 401:
            return InputError(
                "the server does not know you (any more); ask whoever runs it for a certificate or a token",
                code="client-unknown",
                path=self.address,
            )
        if status == 404 and route.is_of_run:
            return InputError("the server dropped the run; start it again", code="server-gave-up")
        if status == 507:
            return OutputError(
                f"the server has no room for the CT ({message}); tell whoever runs it", code="server-no-room"
            )
        fields = {"kind": said.text("kind"), "code": code, "message": message, "path": self.address}
        have = told.get("have")
        known = have if isinstance(have, int) and not isinstance(have, bool) and have >= 0 else None
        return Refused(TwinTrackError.of_fields(fields), known, _seconds(response))

    def _no_server(self, reason: str) -> InputError:
        return InputError(
            f"what answers there is not a TwinTrack server ({reason})", code="not-a-server", path=self.address
        )

    def _new_session(self) -> Session:
        import requests
        from requests.adapters import HTTPAdapter

        access = self._access
        secure = self.address.startswith("https:")

        class Adapter(HTTPAdapter):
            """Makes connections with `Credentials.context`."""

            def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
                if secure:
                    options["ssl_context"] = access.context()
                super().init_poolmanager(*arguments, blocksize=SENT_BYTES, **options)

        session = requests.Session()
        session.trust_env = False  # a variable, or a file in the home folder, must not lead the CT elsewhere
        session.verify = True if access.authority is None else str(access.authority)
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        session.headers = {  # type: ignore[assignment]
            "User-Agent": f"twintrack/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            **({} if access.token is None else {"Authorization": f"Bearer {access.token}"}),
        }
        session.mount(self.address, Adapter(max_retries=0))
        return session


def _seconds(response: Response) -> float:
    """Return for how long the server asks to be left alone, within reason."""
    try:
        return min(max(float(response.headers.get("Retry-After", "2")), 0.5), 30.0)
    except ValueError:
        return 2.0
