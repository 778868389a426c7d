"""The viewer as a program: opens CT and result, lets the browser in, and ends when the page is closed."""

from __future__ import annotations

import asyncio
import contextlib
import html
import signal
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from twintrack.system.private_folder import PrivateFolder
from TwinTrackSegLib.web.Page import PageServer
from TwinTrackSegLib.web.Viewer import Viewer

__all__ = ["Wanted", "view"]

DOOR = "open.html"
"""A file that only the user can read: a browser is told its name, since others of this computer see with which
arguments a program is started.
"""


@dataclass(frozen=True)
class Wanted:
    """What is to be seen.

    Attributes
    ----------
    ct : Path
        The CT: a volume file, a DICOM folder, ZIP or file.
    result : Path or None
        Result folder of the CT.
    bundle : Path or None
        Model bundle for further runs.
    port : int
        0 for any free one.
    browser : bool
        Whether to open the page.
    """

    ct: Path
    result: Path | None = None
    bundle: Path | None = None
    port: int = 0
    browser: bool = True


def view(wanted: Wanted, say: Callable[[str], None]) -> None:
    """Show a CT, and what is known of it, until the page is closed.

    Parameters
    ----------
    wanted : Wanted
        What is to be seen.
    say : callable
        Called with the page's address.

    Raises
    ------
    twintrack.errors.TwinTrackError
        If CT or result cannot be read.
    """
    asyncio.run(_serve(wanted, say))


async def _serve(wanted: Wanted, say: Callable[[str], None]) -> None:
    server = PageServer(wanted.port)
    viewer = Viewer(server.tell, server.show, wanted.bundle)
    try:
        viewer.open(wanted.ct, wanted.result)
        server.user = viewer
        _endBySignal(server.gone)
        say(server.address)
        with contextlib.ExitStack() as stack:
            if wanted.browser:
                webbrowser.open(_door(stack.enter_context(PrivateFolder()), server.address).as_uri())
            await server.gone.wait()
    finally:
        await viewer.close()
        await server.close()


def _door(folder: Path, address: str) -> Path:
    """Write the file that leads a browser to the page."""
    door = folder / DOOR
    target = html.escape(address, quote=True)
    door.write_text(
        f'<!doctype html><meta http-equiv="refresh" content="0; url={target}"><a href="{target}">TwinTrackSeg</a>\n',
        encoding="utf-8",
    )
    return door


def _endBySignal(gone: asyncio.Event) -> None:
    """Let an interrupt end it as a closed page does."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows; not on the main thread
            loop.add_signal_handler(number, gone.set)
