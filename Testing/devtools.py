"""A page in a headless Chromium that a test looks at and works with, over the browser's own DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from browser import FLAGS, chromium

__all__ = ["Tab", "browsing"]

SIZE = (1400, 900)
PATIENCE_SEC = 600.0
LARGEST_MESSAGE = 1 << 26
OTHER, OTHER_PIXELS = 40, 50
"""So much in a channel is another color, and so many such pixels are another picture: more than JPEG makes of one."""


class Tab:
    """One page of the browser; what it does is waited for."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: Any) -> None:
        self._loop, self._connection, self._number = loop, connection, 0
        self.errors: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask the browser, and return its answer."""
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, parameters), PATIENCE_SEC))

    async def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        await self._connection.write_message(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            said = json.loads(await self._connection.read_message())
            if said.get("method") == "Runtime.exceptionThrown":
                self.errors.append(said["params"]["exceptionDetails"]["exception"].get("description", "error"))
            if said.get("method") == "Log.entryAdded" and said["params"]["entry"]["level"] == "error":
                self.errors.append(said["params"]["entry"]["text"])
            if said.get("id") == self._number:
                assert "error" not in said, said["error"]
                return said["result"]

    def open(self, address: str) -> None:
        """Go to a page."""
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call("Page.navigate", url=address)

    def value(self, script: str) -> Any:
        """Return what a script gives."""
        return self.call("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")

    def until(self, script: str) -> Any:
        """Wait until a script gives something true, and return it."""
        deadline = time.monotonic() + PATIENCE_SEC
        while not (found := self.value(script)):
            assert time.monotonic() < deadline, f"never: {script}; {self.errors}"
            time.sleep(0.05)
        return found

    def text(self, selector: str) -> str:
        """Return the text of an element."""
        return str(self.value(f"document.querySelector({json.dumps(selector)}).textContent"))

    def click(self, selector: str) -> None:
        """Press an element."""
        self.value(f"document.querySelector({json.dumps(selector)}).click()")

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Do something with the mouse: ``mousePressed``, ``mouseMoved``, ``mouseReleased`` or ``mouseWheel``."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def pixels(self, selector: str = "body") -> np.ndarray:
        """Return what is seen of an element, (row, column, RGB)."""
        from PIL import Image

        box = self.value(
            f"(({{x, y, width, height}}) => ({{x, y, width, height}}))"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        shot = self.call("Page.captureScreenshot", format="png", clip={**box, "scale": 1})
        return np.asarray(Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB"))

    def changes(self, selector: str, before: np.ndarray) -> bool:
        """Wait until an element shows something else than before; False if it never does."""
        deadline = time.monotonic() + PATIENCE_SEC
        while time.monotonic() < deadline:
            after = self.pixels(selector).astype(int)
            if (np.abs(before.astype(int) - after).max(axis=-1) > OTHER).sum() > OTHER_PIXELS:
                return True
        return False


@contextlib.contextmanager
def browsing(profile: Path) -> Iterator[Callable[[], Tab]]:
    """Start a browser, with its own files in the folder `profile`; skips where there is none.

    Yields
    ------
    callable
        Opens a new page.
    """
    program = chromium()
    from tornado.httpclient import AsyncHTTPClient, HTTPRequest
    from tornado.websocket import websocket_connect

    flags = ["--headless=new", *FLAGS, "--remote-debugging-port=0", "--no-first-run"]
    size = f"--window-size={SIZE[0]},{SIZE[1]}"
    browser = subprocess.Popen(
        [program, *flags, size, f"--user-data-dir={profile}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    loop = asyncio.new_event_loop()
    try:
        port = _port(profile / "DevToolsActivePort", browser)

        def tab() -> Tab:
            async def opened() -> Any:
                patience = {"connect_timeout": PATIENCE_SEC, "request_timeout": PATIENCE_SEC}
                asked = HTTPRequest(f"http://127.0.0.1:{port}/json/new?about:blank", method="PUT", body="", **patience)
                about = json.loads((await AsyncHTTPClient().fetch(asked)).body)
                return await websocket_connect(
                    about["webSocketDebuggerUrl"], connect_timeout=PATIENCE_SEC, max_message_size=LARGEST_MESSAGE
                )

            made = Tab(loop, loop.run_until_complete(opened()))
            made.call(
                "Emulation.setDeviceMetricsOverride", width=SIZE[0], height=SIZE[1], deviceScaleFactor=1, mobile=False
            )
            return made

        yield tab
    finally:
        browser.terminate()
        browser.wait(PATIENCE_SEC)
        loop.close()


def _port(file: Path, browser: subprocess.Popen[bytes]) -> int:
    deadline = time.monotonic() + PATIENCE_SEC
    while not file.is_file() or not file.read_text().strip():
        assert browser.poll() is None, "the browser ended"
        assert time.monotonic() < deadline, "the browser did not start"
        time.sleep(0.05)
    return int(file.read_text().split()[0])
