"""The server: HTTPS in front of worker processes that keep a bundle loaded.

Nothing in this process opens a file that a client sent, unpickles anything, or imports what could: the parts that
compute live in the workers of `twintrack.execution.server.pool`.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tornado.httpserver import HTTPServer

from twintrack.errors import InputError, OutputError, TwinTrackError
from twintrack.execution.server.access import Access, is_loopback
from twintrack.execution.server.app import Served, make_application
from twintrack.execution.server.audit import Audit, Log
from twintrack.execution.server.listening import Connections, listening_sockets, tls_context
from twintrack.execution.server.metrics import Sample, admin_application
from twintrack.execution.server.pool import Pool
from twintrack.execution.server.protocol import PART_BYTES, Limits
from twintrack.execution.server.runs import RESERVE_BYTES, Runs
from twintrack.system.private_folder import PrivateFolder

__all__ = ["LOOPBACK", "Options", "Service", "running_service"]

LOOPBACK = "127.0.0.1"

LOOK_S = 0.5
"""How often the file of clients is looked at."""

TORNADO = ("tornado.access", "tornado.application", "tornado.general")
"""Loggers whose messages quote what they could not handle."""


@dataclass(frozen=True)
class Options:
    """Where a service listens, and what it keeps.

    Attributes
    ----------
    host, port
        Where clients reach it; port 0 takes any that is free.
    certificates : path, optional
        Folder with the server's certificate; needed for any host but this computer's loopback.
    clients : path, optional
        The file of clients (`twintrack.execution.server.access`); needed with `certificates`.
    admin_port : int, optional
        Port on the loopback for health and metrics.
    audit : path, optional
        Where a line for each run is added.
    spool : path, optional
        Where the runs' folders lie for a while; the system's place for temporary files by default.
    limits : Limits
        What each client may take.
    reserve_bytes : int
        What stays free on the disk of `spool`.
    """

    host: str = LOOPBACK
    port: int = 8786
    certificates: Path | None = None
    clients: Path | None = None
    admin_port: int | None = None
    audit: Path | None = None
    spool: Path | None = None
    limits: Limits = field(default_factory=Limits)
    reserve_bytes: int = RESERVE_BYTES

    def check(self) -> None:
        """Refuse what would let others in unprotected.

        Raises
        ------
        InputError
            With what is missing.
        """
        if self.certificates is None and not is_loopback(self.host):
            raise InputError(
                f"{self.host}: other computers can reach that, and a server for them needs certificates; make some "
                "with `twintrack certificates` and give them with --tls",
                code="host-unprotected",
            )
        if self.certificates is not None and self.clients is None:
            raise InputError(
                "a server with certificates needs its file of clients; make it with `twintrack server add-client` and "
                "give it with --clients",
                code="clients-missing",
            )


class Service:
    """A service that listens; made by `running_service`.

    Attributes
    ----------
    address, admin_address : str
        Where clients, and this computer's programs, reach it.
    """

    def __init__(self, pool: Pool, options: Options, root: Path, log: Log) -> None:
        self._pool, self._options, self._log = pool, options, log
        self._access = Access(options.clients)
        self._audit = Audit(options.audit)
        context = self._context()
        sockets = listening_sockets(options.host, options.port)
        self._admin: HTTPServer | None = None
        self.admin_address = ""
        if options.admin_port is not None:
            admin_sockets = listening_sockets(LOOPBACK, options.admin_port)
            self._admin = HTTPServer(
                admin_application(self.is_ready, self._samples), idle_connection_timeout=30.0, max_body_size=0
            )
            self._admin.add_sockets(admin_sockets)
            self.admin_address = f"http://{LOOPBACK}:{admin_sockets[0].getsockname()[1]}"
        self._runs = Runs(
            pool, root, limits=options.limits, audit=self._audit, log=log, reserve_bytes=options.reserve_bytes
        )
        self._served = Served(pool, self._runs, self._access, log)
        self._connections = Connections(make_application(self._served), context, PART_BYTES)
        self._connections.open(sockets)
        shown = f"[{options.host}]" if ":" in options.host else options.host
        scheme = "http" if context is None else "https"
        self.address = f"{scheme}://{shown}:{sockets[0].getsockname()[1]}"
        self._watcher = asyncio.ensure_future(self._watch())

    def is_ready(self) -> bool:
        """Whether a run that is submitted now is carried out."""
        return self._pool.ready

    def reload(self) -> None:
        """Read clients and certificates again, and open the audit anew; what cannot be read stays as it was."""
        for read_again in (self._access.look, self._renew_context, self._audit.open):
            try:
                read_again()
            except TwinTrackError as error:
                self._log.write("reload-failed", code=error.code, message=str(error))
        self._runs.keep_only(self._access.clients)

    async def exchange(self, bundle: Path) -> None:
        """Offer another bundle; runs that have begun end with the one they began with."""
        try:
            await self._pool.exchange(bundle)
        except TwinTrackError as error:
            self._log.write("exchange-failed", code=error.code, message=str(error))
            return
        self._log.write("exchanged", **self._pool.about)

    async def close(self) -> None:
        """End everything but the pool."""
        self._watcher.cancel()
        await self._runs.close()
        await self._connections.shut()
        if self._admin is not None:
            self._admin.stop()
            await self._admin.close_all_connections()
        self._audit.close()

    def _context(self) -> ssl.SSLContext | None:
        folder = self._options.certificates
        return None if folder is None else tls_context(folder, self._access.authorities())

    def _renew_context(self) -> None:
        self._connections.context = self._context()

    async def _watch(self) -> None:
        """See to it that who is removed from the file is refused at once."""
        told = ""
        while True:
            await asyncio.sleep(LOOK_S)
            before = list(self._access.clients)
            has_changed = False
            try:
                has_changed = self._access.look()
                if has_changed:
                    self._renew_context()
                told = ""
            except TwinTrackError as error:
                if str(error) != told:  # the file is read again at each look
                    told = str(error)
                    self._log.write("clients-unreadable", code=error.code, message=told)
            if has_changed:
                self._runs.keep_only(self._access.clients)
                now = list(self._access.clients)
                self._log.write(
                    "clients", added=sorted({*now} - {*before}), removed=sorted({*before} - {*now}), count=len(now)
                )

    def _samples(self) -> Iterable[Sample]:
        runs, doors = self._runs, self._connections
        for state, count in sorted(runs.states().items()):
            yield "twintrack_runs", "gauge", "Runs that the server knows, by state.", {"state": state}, count
        for state, count in sorted(runs.ended.items()):
            yield "twintrack_runs_ended_total", "counter", "Runs that ended, by how.", {"state": state}, count
        yield from runs.seconds.samples("twintrack_run_seconds", "Wall seconds of work of a run.")
        told = "Requests, by route and status."
        for (route, status), count in sorted(self._served.answered.items()):
            yield "twintrack_requests_total", "counter", told, {"route": route, "status": str(status)}, count
        for name, kind, what, value in (
            ("received_bytes_total", "counter", "Bytes of CTs that came in.", runs.received_bytes),
            ("connections", "gauge", "Open connections.", doors.opened),
            ("connections_refused_total", "counter", "Connections beyond the number for an address.", doors.refused),
            ("handshakes_broken_total", "counter", "Connections that never came to speak.", doors.broken),
            ("worker_deaths_total", "counter", "Processes that ended before their time.", self._pool.deaths),
            ("workers_free", "gauge", "Processes that could begin a run now.", self._pool.free),
            ("free_bytes", "gauge", "Bytes free on the disk of the runs' folders.", runs.free_bytes),
            ("ready", "gauge", "Whether runs are carried out.", self.is_ready()),
            ("clients", "gauge", "Clients in the file.", len(self._access.clients)),
        ):
            yield f"twintrack_{name}", kind, what, {}, float(value)


@asynccontextmanager
async def running_service(pool: Pool, options: Options, log: Log | None = None) -> AsyncIterator[Service]:
    """Serve as long as the block lasts; the pool is the caller's, and has started.

    Parameters
    ----------
    pool : Pool
        Carries runs out.
    options : Options
        Where to listen.
    log : Log, optional
        What happens.

    Raises
    ------
    InputError, OutputError
        If certificates, clients, port or a place cannot be used.
    """
    options.check()
    for name in TORNADO:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        private = PrivateFolder(parent=options.spool)
    except OSError as error:
        raise OutputError(
            f"no folder can be made for the CTs ({error.strerror}); give another place with --spool",
            code="no-temporary-folder",
            path=options.spool,
        ) from error
    with private as root:
        service = Service(pool, options, root, log or Log())
        try:
            yield service
        finally:
            await service.close()
