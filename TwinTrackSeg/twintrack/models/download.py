"""A part of a file, fetched so that what has come is never fetched again, whatever ends the attempt."""

from __future__ import annotations

import errno
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from twintrack.errors import InputError, OutputError
from twintrack.models.https import TryAgainError, ask

if TYPE_CHECKING:
    from requests import Response, Session

__all__ = ["NoPartsError", "Remote", "RemoteChangedError", "fetch", "look_up", "read_range", "writing"]

TRIES = 5
"""So often in a row an attempt may bring nothing before the download is given up; what has come stays."""

PAUSE_S = 1.0
"""Before the second attempt; twice as long before each further one."""

LONGEST_PAUSE_S = 120.0
"""A server that asks to be left alone for longer is asked again by the user, not by the program."""

PIECE = 1 << 16
"""Bytes that are written at a time; what broke off within them is fetched again."""

CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")

_log = logging.getLogger(__name__)

T = TypeVar("T")


class NoPartsError(Exception):
    """The server gives the file as a whole only."""


class RemoteChangedError(Exception):
    """The file is another one than when its first part was fetched."""


@dataclass(frozen=True)
class Remote:
    """A file on a server, as it was when it was first looked at.

    Attributes
    ----------
    url : str
        Its address.
    size : int or None
        Its bytes; None where the server does not say.
    validator : str
        Its strong ETag, or else the date of its last change: sent along (If-Range), so that parts of two files are not
        put together. Empty where the server has neither; then size, checksum and hash have to tell.
    parts : bool
        Whether the server gives parts of it.
    """

    url: str
    size: int | None
    validator: str
    parts: bool


def look_up(session: Session, url: str) -> Remote:
    """Ask for a file's size, and whether parts of it can be had.

    Raises
    ------
    InputError
        If it cannot be had.
    """

    def once() -> Remote:
        with ask(session, url, {"Range": "bytes=0-0"}) as answer:
            validator = _validator(answer)
            if answer.status_code == 206:
                return Remote(url, _range_of(answer)[2], validator, True)
            length = answer.headers.get("Content-Length", "")
            return Remote(url, int(length) if length.isdecimal() else None, validator, False)

    return _again(url, once, lambda: 0)


def read_range(session: Session, remote: Remote, start: int, stop: int) -> bytes:
    """Return some bytes of a file, few enough for memory.

    Raises
    ------
    InputError
        If they cannot be had.
    RemoteChangedError
        If the file changed.
    """

    def once() -> bytes:
        content = b""
        for piece in _body(session, remote, start, stop):
            content += piece
        if len(content) < stop - start:
            raise TryAgainError("the connection broke")
        return content

    return _again(remote.url, once, lambda: 0)


def fetch(
    session: Session, remote: Remote, path: Path, start: int, stop: int | None, told: Callable[[int], None]
) -> None:
    """Fetch the bytes from `start` to `stop` into a file; what of them lies there already is not asked for.

    Parameters
    ----------
    session, remote
        Where from.
    path : Path
        The file with the part, whole or begun.
    start, stop : int
        The part; a `stop` of None means to the end, wherever that is.
    told : callable
        Gets the number of bytes that are there.

    Raises
    ------
    InputError
        If the server does not give them; what has come stays.
    OutputError
        If the disk is full or cannot be written; what has come stays.
    RemoteChangedError
        If the file changed since.
    """

    def here() -> int:
        return path.stat().st_size if path.exists() else 0

    if stop is not None and here() > stop - start:
        path.unlink()

    def once() -> None:
        have = here() if remote.parts else 0
        with writing(path.parent), path.open("ab" if have else "wb") as stream:
            told(have)
            if stop is not None and have == stop - start:
                return
            for piece in _body(session, remote, start + have, stop):
                stream.write(piece)
                have += len(piece)
                told(have)
        if stop is not None and have < stop - start:
            raise TryAgainError("the connection broke")

    _again(remote.url, once, here if remote.parts else lambda: 0)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn errors of the disk into one sentence.

    Raises
    ------
    OutputError
        Says that what has come is kept.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutputError(
                "the disk is full; make room and run the same again: what has been downloaded is kept",
                code="no-disk-space",
                path=folder,
            ) from error
        raise OutputError(
            f"cannot be written ({error.strerror or error}); what has been downloaded is kept", code="not-writable",
            path=folder,
        ) from error  # fmt: skip


def _body(session: Session, remote: Remote, start: int, stop: int | None) -> Iterator[bytes]:
    """Yield the bytes of one answer, no more than were asked for."""
    import requests
    import urllib3

    headers = {}
    if remote.parts and (start > 0 or stop is not None):
        headers["Range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if remote.validator:
            headers["If-Range"] = remote.validator
    with ask(session, remote.url, headers) as answer:
        _check_answer(answer, remote, start, stop, asked="Range" in headers)
        left = None if stop is None else stop - start
        try:
            for piece in answer.raw.stream(PIECE, decode_content=False):
                yield piece if left is None else piece[:left]
                if left is not None:
                    left -= len(piece)
                    if left < 0:
                        raise TryAgainError("the server sent more than was asked for")
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            raise TryAgainError("the connection broke") from error


def _check_answer(answer: Response, remote: Remote, start: int, stop: int | None, *, asked: bool) -> None:
    if answer.headers.get("Content-Encoding", "identity") not in ("", "identity"):
        raise TryAgainError("the answer was packed, though that was not asked for")
    if not asked:
        return
    if answer.status_code == 200:
        if _validator(answer) != remote.validator:
            raise RemoteChangedError(remote.url)
        if start > 0 or stop != remote.size:
            raise NoPartsError(remote.url)
        return
    first, _, size = _range_of(answer)
    if size != remote.size:
        raise RemoteChangedError(remote.url)
    if first != start:
        raise TryAgainError("the server sent another part than was asked for")


def _validator(answer: Response) -> str:
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")


def _range_of(answer: Response) -> tuple[int, int, int]:
    found = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if found is None:
        raise TryAgainError("the server does not say which part it sent")
    first, last, size = (int(digits) for digits in found.groups())
    return first, last, size


def _again(url: str, once: Callable[[], T], here: Callable[[], int]) -> T:
    """Do something that may fail on the way, until it succeeds or several attempts in a row bring nothing."""
    failures, before = 0, here()
    while True:
        try:
            return once()
        except TryAgainError as error:
            have = here()
            failures = 1 if have > before else failures + 1
            before = have
            wait_s = PAUSE_S * 2 ** (failures - 1) if error.wait_s is None else error.wait_s
            if failures >= TRIES or wait_s > LONGEST_PAUSE_S:
                later = f" in {wait_s / 60:.0f} minutes" if wait_s > LONGEST_PAUSE_S else " later"
                raise InputError(
                    f"{error.reason}; run the same again{later} to go on, what has been downloaded is kept",
                    code="download-broken",
                    path=url,
                ) from error
            _log.info("%s; again in %.0f s", error.reason, wait_s)
            time.sleep(wait_s)
