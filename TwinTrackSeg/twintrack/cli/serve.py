"""Sub-commands of a server for readers: serve, certificates."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twintrack.cli.cohort import InsecureOption, SchedulerOption
from twintrack.cli.options import Backend, BackendOption, Device, DeviceOption, Verbose, bundle_named, start_log
from twintrack.system.terminal import say

if TYPE_CHECKING:
    import asyncio

    from twintrack.execution.server.pool import Pool
    from twintrack.execution.server.service import Options, Service

__all__ = ["certificates", "serve"]

GB = 1_000_000_000


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
    clients: Annotated[
        Path | None,
        typer.Option(help="File of clients, as `server add-client` makes it.", envvar="TWINTRACK_CLIENTS"),
    ] = None,
    device: DeviceOption = Device.AUTO,
    backend: BackendOption = Backend.AUTO,
    workers: Annotated[int, typer.Option(min=1, help="Cases at the same time; with GPUs one a GPU.")] = 1,
    scheduler: SchedulerOption = None,
    insecure_scheduler: InsecureOption = False,
    memory_gb: Annotated[
        float | None,
        typer.Option(min=0.5, help="Memory that one case may take.", show_default="a share of the computer's"),
    ] = None,
    run_minutes: Annotated[float, typer.Option(min=0.1, help="Time that one case may take.")] = 30.0,
    runs: Annotated[int, typer.Option(min=1, help="Cases of a client at a time, waiting ones included.")] = 4,
    upload_gb: Annotated[float, typer.Option(min=0.001, help="Largest upload of a case.")] = 4.0,
    reserve_gb: Annotated[float, typer.Option(min=0.0, help="What stays free on the disk of --spool.")] = 2.0,
    spool: Annotated[
        Path | None, typer.Option(help="Where CTs lie while they are worked on.", show_default="TMPDIR")
    ] = None,
    admin_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Port on the loopback for /live, /ready and /metrics.")
    ] = None,
    audit: Annotated[Path | None, typer.Option(help="File that gets a line for each case.")] = None,
    verbose: Verbose = False,
) -> None:
    """Keep a bundle loaded and segment the CTs that clients send, until it is stopped (Ctrl-C, or SIGTERM).

    SIGHUP reads bundle, clients and certificates anew.
    """
    start_log(verbose)
    import asyncio

    from twintrack.execution.server.pool import Offered, Pool, WorkerLimits
    from twintrack.execution.server.protocol import Limits
    from twintrack.execution.server.service import Options

    options = Options(
        host=host,
        port=port,
        certificates=tls,
        clients=clients,
        admin_port=admin_port,
        audit=audit,
        spool=spool,
        limits=Limits(runs=runs, bytes=int(upload_gb * GB)),
        reserve_bytes=int(reserve_gb * GB),
    )
    options.check()
    limits = WorkerLimits(memory_bytes=None if memory_gb is None else int(memory_gb * GB), run_s=60.0 * run_minutes)
    offered = Offered(bundle, device.value, backend.value, scheduler, insecure_scheduler)
    asyncio.run(_serve(options, lambda warn: Pool(offered, workers=workers, limits=limits, warn=warn), bundle))


async def _serve(options: Options, make_pool: Callable[[Callable[[str], None]], Pool], bundle: Path) -> None:
    """Serve until a signal ends it."""
    import asyncio

    from twintrack.execution.server.audit import Log
    from twintrack.execution.server.service import running_service

    stop = asyncio.Event()
    log = Log()
    loop = asyncio.get_running_loop()
    this = asyncio.current_task()
    assert this is not None
    pool = make_pool(lambda sentence: log.write("warning", message=sentence))
    is_ready = False

    def end() -> None:
        stop.set()
        if not is_ready:  # loading takes its time: break it off
            this.cancel()

    if hasattr(signal, "SIGHUP"):
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
    try:
        await pool.start()
        async with running_service(pool, options, log) as service:
            is_ready = True
            if hasattr(signal, "SIGHUP"):
                loop.add_signal_handler(signal.SIGHUP, lambda: _reload(service, bundle))
            if service.admin_address:
                say(f"health and metrics at {service.admin_address}")
            say(f"ready at {service.address}")
            tell_systemd("READY=1")
            await stop.wait()
            tell_systemd("STOPPING=1")
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    finally:
        await pool.stop()
    say("stopped")


def tell_systemd(state: str) -> None:
    """Tell systemd how it stands, if that started this process and wants to know (``Type=notify``)."""
    place = os.environ.get("NOTIFY_SOCKET")
    if place:
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.sendto(state.encode("ascii"), "\0" + place[1:] if place.startswith("@") else place)


_reloading: set[asyncio.Task[None]] = set()
"""Exchanges of the bundle that are under way; the loop alone would forget them."""


def _reload(service: Service, bundle: Path) -> None:
    import asyncio

    service.reload()
    task = asyncio.ensure_future(service.exchange(bundle))
    _reloading.add(task)
    task.add_done_callback(_reloading.discard)


def certificates(
    folder: Annotated[Path, typer.Argument(help="New folder; gets the folders server and client.")],
    name: Annotated[str | None, typer.Option(help="Name of the server's computer (by default this one's).")] = None,
    verbose: Verbose = False,
) -> None:
    """Make the certificates of a server, and one for a client."""
    start_log(verbose)
    from twintrack.execution.server.certificates import DAYS, make_certificates

    made = make_certificates(folder, name or socket.gethostname())
    say(f"{made / 'server'}: stays on the server, for twintrack serve --tls")
    say(f"{made / 'client'}: for a client's computer, once twintrack server add-client --register has let it in")
    say(f"valid for {DAYS} days")
