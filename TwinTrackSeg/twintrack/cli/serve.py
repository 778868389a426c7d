"""Sub-commands of a server for readers: serve, certificates."""

from __future__ import annotations

import signal
import socket
import threading
from pathlib import Path
from typing import Annotated

import typer

from twintrack.cli.options import Backend, BackendOption, Device, DeviceOption, Verbose, bundle_named, start_log
from twintrack.system.terminal import say, say_error

__all__ = ["certificates", "serve"]

WATCH_S = 4.0
"""How often a server looks whether it has all its processes."""


def serve(
    bundle: Annotated[
        Path,
        typer.Option(help="Model bundle that is kept loaded: a folder or a zip.", parser=bundle_named, metavar="PATH"),
    ],
    host: Annotated[
        str, typer.Option(help="Where to listen; 0.0.0.0 for all networks, which needs --tls.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any that is free.")] = 8786,
    tls: Annotated[
        Path | None, typer.Option("--tls", help="Folder with the server's certificates, as `certificates` makes it.")
    ] = None,
    device: DeviceOption = Device.AUTO,
    backend: BackendOption = Backend.AUTO,
    workers: Annotated[int, typer.Option(min=1, help="Cases at the same time; with GPUs one a GPU.")] = 1,
    verbose: Verbose = False,
) -> None:
    """Keep a bundle loaded and segment the CTs that readers send, until it is stopped (Ctrl-C, or SIGTERM)."""
    start_log(verbose)
    from twintrack.execution.server.job import OfferedModel
    from twintrack.execution.server.server import running_server

    stop, ready = threading.Event(), threading.Event()

    def end(*_arguments: object) -> None:
        stop.set()
        if not ready.is_set():  # loading takes its time: break it off
            raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, end)
    model = OfferedModel(str(bundle), "", device.value, backend.value)
    try:
        with running_server(
            model, host=host, port=port, certificates=tls, workers=workers, announce=say, warn=_warn
        ) as running:
            ready.set()
            say(f"ready at {running.address}")
            while not stop.wait(WATCH_S):
                running.watch()
    except KeyboardInterrupt:
        if not stop.is_set():
            raise
    say("stopped")


def _warn(sentence: str) -> None:
    say_error(f"warning: {sentence}")


def certificates(
    folder: Annotated[Path, typer.Argument(help="New folder; gets the folders server and client.")],
    name: Annotated[str | None, typer.Option(help="Name of the server's computer (by default this one's).")] = None,
    verbose: Verbose = False,
) -> None:
    """Make the certificates of a server and of its readers."""
    start_log(verbose)
    from twintrack.execution.server.certificates import DAYS, make_certificates

    made = make_certificates(folder, name or socket.gethostname())
    say(f"{made / 'server'}: stays on the server, for twintrack serve --tls")
    say(f"{made / 'client'}: for the readers' computers; who has it can use the server, and run programs on it")
    say(f"valid for {DAYS} days")
