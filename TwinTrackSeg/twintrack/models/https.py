"""Questions to a public server: HTTPS alone, through the system's proxies, with the certificates the system trusts.

Nothing here is done unless a person asked for a download by name. No cookie, no ``.netrc``, no certificate that is not
checked; a redirection that leads away from HTTPS is refused.
"""

from __future__ import annotations

import os
import ssl
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from twintrack import __version__
from twintrack.errors import InputError
from twintrack.system.terminal import one_line
from twintrack.system.tls import causes, is_untrusted

if TYPE_CHECKING:
    from requests import Response, Session

__all__ = ["TryAgainError", "ask", "check_https", "open_session"]

CONNECT_S, ANSWER_S = 30.0, 30.0
"""How long a server is waited for: to the connection, and for each next piece of an answer."""

MOST_REDIRECTS = 5

BUSY = (408, 425, 429, 500, 502, 503, 504)
"""Statuses of a server that may have time at another time."""

GONE = (404, 410)

AUTHORITY_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
"""Files of certificates that are trusted beside the system's; OpenSSL itself reads SSL_CERT_FILE and SSL_CERT_DIR."""


class TryAgainError(Exception):
    """An attempt that may succeed later.

    Parameters
    ----------
    reason : str
        In a few words.
    wait_s : float or None
        For how long the server asks to be left alone.
    """

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.wait_s = reason, wait_s


def check_https(url: str) -> str:
    """Return an address if it is one of HTTPS, without credentials.

    Raises
    ------
    InputError
        Otherwise.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc
    except ValueError:
        good = False
    if not good or not url.isascii() or not url.isprintable() or " " in url:
        raise InputError(
            "must be an address that begins with https://, without user and password", code="address-malformed",
            path=one_line(url),
        )  # fmt: skip
    return url


def open_session(ca_file: str | Path | None = None) -> Session:
    """Return a session that speaks HTTPS with the trust of the system.

    Parameters
    ----------
    ca_file : path, optional
        Certificates of further authorities (PEM), such as that of a hospital's proxy which looks into TLS.

    Raises
    ------
    InputError
        If such a file cannot be read.
    """
    import requests
    from requests.adapters import HTTPAdapter

    context = _context(ca_file)

    class Adapter(HTTPAdapter):
        """Makes connections, direct ones and through a proxy, with the system's trust."""

        def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
            super().init_poolmanager(*arguments, **options, ssl_context=context)

        def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
            return super().proxy_manager_for(proxy, **options, ssl_context=context)

    session = requests.Session()
    session.trust_env = False  # proxies are looked up by `ask`; a .netrc is nobody's business here
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers = {  # type: ignore[assignment]
        "User-Agent": f"twintrack/{__version__}",
        "Accept": "*/*",
        "Accept-Encoding": "identity",  # what is counted and hashed is the file itself
    }
    session.adapters.clear()  # plain HTTP has none
    session.mount("https://", Adapter(max_retries=0))
    return session


def _context(ca_file: str | Path | None) -> ssl.SSLContext:
    import truststore

    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    given = [str(ca_file or ""), *(os.environ.get(name, "") for name in AUTHORITY_VARIABLES)]
    for path in (Path(text).expanduser() for text in given if text):
        try:
            if path.is_dir():
                context.load_verify_locations(capath=str(path))
            else:
                context.load_verify_locations(cafile=str(path))
        except (OSError, ssl.SSLError) as error:
            raise InputError(
                f"cannot be read as certificates ({error.strerror or error}); give a PEM file",
                code="certificate-unreadable",
                path=path,
            ) from error
    return context


def ask(session: Session, url: str, headers: dict[str, str] | None = None) -> Response:
    """Send GET and return the answer, a success, while its body is still to be read; follow HTTPS alone.

    Raises
    ------
    TryAgainError
        If the connection broke or the server has no time.
    InputError
        If there is no use in trying again.
    """
    import requests
    import urllib3
    from requests.utils import get_environ_proxies

    for _ in range(MOST_REDIRECTS + 1):
        check_https(url)
        try:
            answer = session.get(
                url,
                headers=headers,
                proxies=get_environ_proxies(url),
                timeout=(CONNECT_S, ANSWER_S),
                allow_redirects=False,
                stream=True,
            )
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise _failure(url, error) from error
        if answer.is_redirect:
            target = urljoin(url, answer.headers["Location"])
            answer.close()
            if urlsplit(target).scheme != "https":
                raise InputError(
                    "leads to an address without HTTPS, where anybody on the way could change the file; that is not "
                    "followed",
                    code="redirect-unprotected",
                    path=url,
                )
            url = target
            continue
        if answer.status_code in (200, 206):
            return answer
        answer.close()
        raise _refusal(url, answer)
    raise InputError("leads from one address to the next without end", code="redirect-unending", path=url)


def _refusal(url: str, answer: Response) -> Exception:
    """Return what a status says that is no success."""
    status = answer.status_code
    if status in BUSY:
        return TryAgainError(f"the server is busy (status {status})", _seconds(answer))
    if status == 407:
        return _proxy_refused(url)
    if status in GONE:
        return InputError(
            f"is not there (any more, status {status}); look for the file at the publisher's page, and give it to "
            "twintrack model add",
            code="download-gone",
            path=url,
        )
    if status in (401, 403, 451):
        return InputError(
            f"is refused (status {status}), by the server or by a proxy before it; ask who runs the network, or fetch "
            "the file elsewhere and give it to twintrack model add",
            code="download-refused",
            path=url,
        )
    return InputError(f"is answered in a way that is of no use (status {status})", code="download-status", path=url)


def _failure(url: str, error: BaseException) -> Exception:
    """Return what is the matter with a connection."""
    if is_untrusted(error):
        return InputError(
            "the server's certificate is not one that this computer trusts; where a proxy of the network looks into "
            "TLS, give its authority's certificate with --ca-file",
            code="certificate-untrusted",
            path=url,
        )
    if any("407" in str(cause) for cause in causes(error)):  # how http.client says what a proxy answered to CONNECT
        return _proxy_refused(url)
    reasons = [cause for cause in causes(error) if isinstance(cause, OSError) and cause.strerror]
    reason = str(reasons[-1].strerror) if reasons else type(error).__name__
    return TryAgainError(f"no connection ({one_line(reason)[:100]})")


def _proxy_refused(url: str) -> InputError:
    return InputError(
        "the proxy wants a user name and a password (status 407); ask who runs the network how HTTPS_PROXY is set, or "
        "fetch the file elsewhere and give it to twintrack model add",
        code="proxy-refused",
        path=url,
    )


def _seconds(answer: Response) -> float | None:
    """Return for how long the server asks to be left alone: seconds, or a date (RFC 9110, 10.2.3)."""
    from email.utils import parsedate_to_datetime

    text = answer.headers.get("Retry-After", "")
    if text.isascii() and text.isdecimal():  # a stranger's word: neither nan nor infinity is a number of seconds
        return float(text)
    try:
        from datetime import datetime, timezone

        return max((parsedate_to_datetime(text) - datetime.now(timezone.utc)).total_seconds(), 0.0)
    except (ValueError, TypeError):
        return None
