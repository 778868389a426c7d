"""A page without a browser: what it is told, and what it asks."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import Any

from tornado.httpclient import HTTPRequest
from tornado.websocket import WebSocketClosedError, websocket_connect

__all__ = ["SIZE", "Page"]

PATIENCE_SEC = 600.0
SIZE = {"width": 480, "height": 360}


class Page:
    """One connection to a viewer; used within a running loop.

    Attributes
    ----------
    state : dict
        What was told last.
    pictures : list of bytes
        Of all four views, by number.
    frames : int
        How many pictures came.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.state: dict[str, Any] = {}
        self.pictures: list[bytes] = [b""] * 4
        self.frames = 0
        self._closed = False

    @classmethod
    async def of(cls, port: int, key: str, *, origin: str | None = None, host: str | None = None) -> Page:
        """Connect as a page of the viewer does, or as another would."""
        headers = {"Origin": f"http://127.0.0.1:{port}" if origin is None else origin}
        if not headers["Origin"]:
            del headers["Origin"]
        if host is not None:
            headers["Host"] = host
        asked = HTTPRequest(f"ws://127.0.0.1:{port}/live?key={key}", headers=headers, connect_timeout=PATIENCE_SEC)
        return cls(await websocket_connect(asked, max_message_size=1 << 26))

    async def ask(self, what: str, **more: Any) -> None:
        """Ask for something; of a connection that was closed meanwhile, `hear` will tell."""
        with contextlib.suppress(WebSocketClosedError):
            await self._connection.write_message(json.dumps({"do": what, **more}))

    async def show(self) -> None:
        """Say how large the views are, and wait for their pictures."""
        for number in range(4):
            await self.ask("size", view=number, **SIZE)
        await self.until(lambda: all(self.pictures))

    async def hear(self, seconds: float) -> bool:
        """Take in one message; False where none comes within the time, or the connection was closed."""
        try:
            told = await asyncio.wait_for(self._connection.read_message(), seconds)
        except asyncio.TimeoutError:
            return False
        if told is None:
            self._closed = True
            return False
        if isinstance(told, str):
            self.state.update(json.loads(told))
        else:
            self.frames += 1
            self.pictures[told[0]] = told[1:]
            if self._connection.close_code is None:
                await self.ask("shown", view=told[0])
        return True

    async def until(self, isSo: Any) -> None:
        """Take in messages until something is so."""
        deadline = time.monotonic() + PATIENCE_SEC
        while not isSo():
            assert time.monotonic() < deadline, self.state.get("status")
            await self.hear(1.0)

    async def rest(self, seconds: float = 1.0) -> None:
        """Take in messages until there are none for a time."""
        while await self.hear(seconds):
            pass

    async def end(self) -> None:
        """Take in messages until the viewer closes the connection."""
        await self.until(lambda: self._closed)

    @property
    def closeCode(self) -> int | None:
        """With which code the viewer closed the connection."""
        return self._connection.close_code

    async def leave(self) -> None:
        """Close the connection, and wait until the viewer has taken note."""
        if not self._closed:
            self._connection.close()
            while not self._closed:
                await self.hear(1.0)
