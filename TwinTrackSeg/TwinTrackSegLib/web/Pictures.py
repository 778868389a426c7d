"""Pictures of the views: drawn when a view has changed and the page can take one, 3D once the mouse rests."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from vtkmodules.util.numpy_support import vtk_to_numpy
from vtkmodules.vtkCommonCore import vtkCommand, vtkUnsignedCharArray

from TwinTrackSegLib.web.Scene import SPACE, VIEWS, ViewerScene

__all__ = ["MOST_PIXELS", "Pictures", "drawn", "encoded"]

FRAME_SEC = 1 / 30
FRAME_CPU_SEC = 0.01
"""Once a frame has taken so long, the remaining views wait for the next: a drag stays smooth on a slow processor."""

REST_SEC = 0.25
"""This long after the last change the mouse rests: then 3D follows, and pictures are sharp."""

MOVING_QUALITY, STILL_QUALITY = 70, 92
"""Of JPEG; the still picture has its colours at full resolution, too."""

LEAST_PIXELS, MOST_PIXELS = 16, 2048
"""Of a side of a view."""

BUTTONS = {0: "Left", 1: "Middle", 2: "Right"}
KINDS = ("move", "press", "release", "wheel", "leave")


def drawn(view: Any) -> NDArray[np.uint8]:
    """Draw a view and return the picture, (row, column, RGB), first row on top."""
    window = view.render_window()
    window.Render()
    width, height = window.GetSize()
    pixels = vtkUnsignedCharArray()
    window.GetPixelData(0, 0, width - 1, height - 1, 0, pixels, 0)
    return vtk_to_numpy(pixels).reshape(height, width, 3)[::-1]


def encoded(picture: NDArray[np.uint8], *, still: bool) -> bytes:
    """Return a picture as JPEG."""
    file = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(picture))
    image.save(file, "JPEG", quality=STILL_QUALITY if still else MOVING_QUALITY, subsampling=0 if still else 2)
    return file.getvalue()


class Pictures:
    """Draws what has changed, and no faster than the page shows it.

    Parameters
    ----------
    send : callable
        Called with a view's singleton tag and the picture as JPEG.
    """

    def __init__(self, send: Callable[[str, bytes], None]) -> None:
        self._send = send
        self._changed: set[str] = set()
        self._lastChange = 0.0
        self._rough: set[str] = set()
        self._waiting: set[str] = set()
        self._drawnAt = dict.fromkeys(VIEWS, 0.0)
        self._touched = ""
        self._open: set[str] = set()
        self._wake = asyncio.Event()
        self.scene = ViewerScene(self._asked)

    @property
    def complete(self) -> bool:
        """Whether the page has said how large each view is."""
        return len(self._open) == len(self.scene.views)

    def opened(self) -> None:
        """Take in a page: it has no picture yet, and says how large each is to be."""
        self._open.clear()
        self._waiting.clear()

    def resize(self, tag: str, width: int, height: int) -> None:
        """Let a view have so many pixels."""
        view = self.scene.views[tag]
        width, height = (min(max(side, LEAST_PIXELS), MOST_PIXELS) for side in (width, height))
        view.update_size(width, height)
        view.interactor().InvokeEvent(vtkCommand.WindowResizeEvent)
        self._open.add(tag)
        self._asked(tag)

    def shown(self, tag: str) -> None:
        """Take it that the page has shown the last picture of a view."""
        self._waiting.discard(tag)
        self._wake.set()

    def interact(self, tag: str, event: Mapping[str, Any]) -> None:
        """Pass on what the mouse does in a view.

        Parameters
        ----------
        tag : str
            The view.
        event : mapping
            ``kind`` (one of `KINDS`), ``x`` and ``y`` (pixels from the lower left corner), ``button``, ``ctrl``,
            ``shift``, ``alt`` and ``turn`` (of the wheel, forward is positive).
        """
        kind, button = event.get("kind"), BUTTONS.get(event.get("button", 0), "Left")
        if kind not in KINDS:
            return
        self._touched = tag if kind in ("press", "wheel") else "" if kind in ("release", "leave") else self._touched
        iren = self.scene.views[tag].interactor()
        x, y = (int(min(max(event.get(axis, 0), 0), MOST_PIXELS)) for axis in ("x", "y"))
        iren.SetEventInformation(x, y, int(bool(event.get("ctrl"))), int(bool(event.get("shift"))), "\0", 0, None)
        iren.SetAltKey(int(bool(event.get("alt"))))
        calls = {
            "move": "MouseMoveEvent",
            "press": f"{button}ButtonPressEvent",
            "release": f"{button}ButtonReleaseEvent",
            "wheel": "MouseWheelForwardEvent" if event.get("turn", 0) > 0 else "MouseWheelBackwardEvent",
            "leave": "LeaveEvent",
        }
        getattr(iren, calls[kind])()

    async def run(self) -> None:
        """Draw until the task is cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while due := self._due():
                begun, worked = time.monotonic(), time.process_time()
                for tag, still in due:
                    self._draw(tag, still)
                    await asyncio.sleep(0)
                    if time.process_time() - worked > FRAME_CPU_SEC:
                        break  # the others are drawn in the next frame, before this one again
                await asyncio.sleep(max(FRAME_SEC - (time.monotonic() - begun), 0.0))
            if self._rough or self._changed:
                asyncio.get_running_loop().call_later(REST_SEC / 2, self._wake.set)

    def _asked(self, tag: str) -> None:
        self._changed.add(tag)
        self._lastChange = time.monotonic()
        self._wake.set()

    def _due(self) -> list[tuple[str, bool]]:
        """Return the views that are drawn now, and whether sharp: the mouse rests then."""
        able, rests = self._open - self._waiting, time.monotonic() - self._lastChange > REST_SEC
        waiting = sorted(able & {*self._changed, *(self._rough if rests else ())}, key=self._drawnAt.__getitem__)
        return [(tag, rests) for tag in waiting if rests or tag != SPACE or self._touched == SPACE]

    def _draw(self, tag: str, still: bool) -> None:
        self._changed.discard(tag)
        (self._rough.discard if still else self._rough.add)(tag)
        self._waiting.add(tag)
        self._drawnAt[tag] = time.monotonic()
        self._send(tag, encoded(drawn(self.scene.views[tag]), still=still))
        self._changed.discard(tag)  # drawing itself modifies a view
