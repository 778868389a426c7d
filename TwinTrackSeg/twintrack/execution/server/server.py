"""The server: a Dask scheduler that clients speak to, and workers on the same machine that keep a bundle loaded."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twintrack import __version__
from twintrack.bundle.model_bundle import Bundle
from twintrack.errors import InputError, OutputError
from twintrack.execution.cluster.nodes import gpu_count, gpu_plugin
from twintrack.execution.cluster.versions import GPU
from twintrack.execution.server.endpoint import check_host, check_pair, security_of
from twintrack.execution.server.job import OfferedModel, load_model, loading_problem
from twintrack.execution.server.spool import PROBLEM, SPOOL, Spool
from twintrack.system.private_folder import PrivateFolder

if TYPE_CHECKING:
    from distributed import Client, SpecCluster
    from distributed.security import Security

__all__ = ["Running", "Watch", "running_server"]

LOOPBACK = "127.0.0.1"

STOP_S = 10.0
"""How long the end waits for workers to end by themselves."""

NEEDS_TLS = (
    "other computers can reach that, and a server for them needs certificates; make some with `twintrack certificates` "
    "and give them with --tls"
)

SCRATCH = ".dask"
"""Dask's own folder for temporary files, beside the runs' folders."""

DEATHS = 5
"""How many processes may die before a case that waits there is given up. One that was begun is not begun a second time
(see `twintrack.execution.server.job.carry_out`); the others had nothing to do with it."""

SETTINGS = {
    "distributed.deploy.lost-worker-timeout": "3650 days",  # see `twintrack.execution.server.server` instead
    "distributed.worker.profile.enabled": False,  # it would look on a hundred times a second and keep what it saw
    **{f"distributed.worker.memory.{name}": False for name in ("target", "spill", "pause", "terminate")},
}


@dataclass(frozen=True)
class Running:
    """A server that is ready.

    Attributes
    ----------
    address : str
        Where clients reach it.
    watch : callable
        To be called every few seconds; see `twintrack.execution.server.server.Watch`.
    """

    address: str
    watch: Callable[[], None]


@contextmanager
def running_server(
    model: OfferedModel,
    *,
    host: str = LOOPBACK,
    port: int = 8786,
    certificates: str | Path | None = None,
    workers: int = 1,
    announce: Callable[[str], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> Iterator[Running]:
    """Serve a bundle as long as the block lasts; yield once all workers have the bundle loaded.

    Parameters
    ----------
    model : OfferedModel
        Bundle and device; its hash is filled in here.
    host, port
        Where to listen; port 0 takes any that is free.
    certificates : path, optional
        Folder for mutual TLS; needed for any host but this computer's loopback.
    workers : int
        Processes that work on a case each.
    announce : callable, optional
        Told what happens until the server is ready.
    warn : callable, optional
        Told of trouble from then on.

    Raises
    ------
    InputError, BundleError
        If the host, the certificates or the bundle cannot be used.
    OutputError
        If there is no place for the clients' CTs.
    """
    check_host(host, certificates, f"{host}: {NEEDS_TLS}")
    security = security_of(certificates)
    if security is not None:
        check_pair(security, str(certificates))
    _check_free(host, port)
    announce = announce or _say_nothing
    with Bundle.open(model.bundle) as opened, _private_root() as root:
        announce(f"loading {opened.name} {opened.version} (sha256 {opened.sha256})")
        offered = replace(model, bundle=str(opened.path.absolute()), sha256=opened.sha256)
        with _cluster(host, port, security, workers, model.device, root) as cluster, _client(cluster) as client:
            about = {"version": __version__, "bundle": opened.describe(), "workers": workers}
            client.run_on_scheduler(_open_spool, str(root), about)
            client.register_plugin(_warm_plugin(offered))
            warn = warn or _say_nothing
            client.subscribe_topic(PROBLEM, lambda event: warn(str(event[1])))
            try:
                yield Running(str(cluster.scheduler_address), Watch(cluster, warn).look)
            finally:
                client.run_on_scheduler(_close_spool)


def _say_nothing(line: str) -> None:
    """Announce to nobody."""


@contextmanager
def _private_root() -> Iterator[Path]:
    try:
        folder = PrivateFolder()
    except OSError as error:
        raise OutputError(
            f"no temporary folder can be made for the CTs ({error.strerror}); set TMPDIR", code="no-temporary-folder"
        ) from error
    with folder as root:
        yield root


def _check_free(host: str, port: int) -> None:
    """Refuse a port that cannot be listened on; Dask would take another one, or say it at length."""
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as trial:
            if sys.platform != "win32":
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(place)
    except OSError as error:
        raise InputError(
            f"{host}:{port}: cannot be used by the server ({error.strerror}); choose another host or port",
            code="port-taken",
        ) from error


@contextmanager
def _cluster(
    host: str, port: int, security: Security | None, workers: int, device: str, root: Path
) -> Iterator[SpecCluster]:
    """Start the scheduler in this process, and workers that nobody but it can reach."""
    import dask
    from distributed import Nanny, SpecCluster
    from distributed.security import Security

    from twintrack.execution.cluster.nodes import SchedulerWithoutPages, WorkerWithoutPages

    for name in ("distributed", "tornado.application"):  # their messages quote what they could not handle
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    common = {
        "protocol": "tcp://" if security is None else "tls://",
        "security": security or Security(),
        "dashboard": False,
    }
    options = {
        **common,
        "worker_class": WorkerWithoutPages,
        "host": LOOPBACK,
        "nthreads": 1,
        "resources": {GPU: 1},
        "memory_limit": None,
        "env": _threads(workers),
        "silence_logs": logging.CRITICAL + 1,
    }
    where = {"host": host, "port": port}
    scheduler = {"cls": SchedulerWithoutPages, "options": {**common, **where, "allowed_failures": DEATHS}}
    with dask.config.set({**SETTINGS, "temporary-directory": str(root / SCRATCH)}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cluster = SpecCluster(
                workers={number: {"cls": Nanny, "options": options} for number in range(workers)},
                scheduler=scheduler,
                security=security,
                silence_logs=logging.CRITICAL + 1,
            )
        try:
            gpus = gpu_count() if device in ("auto", "cuda") and workers > 1 else 0
            if gpus:
                with _client(cluster) as client:
                    client.register_plugin(gpu_plugin(gpus))
            yield cluster
        finally:
            with suppress(TimeoutError, asyncio.TimeoutError):  # a worker that is being started ends with this process
                cluster.close(timeout=STOP_S)


def _client(cluster: SpecCluster) -> Client:
    from distributed import Client

    return Client(cluster, set_as_default=False)


def _threads(workers: int) -> dict[str, str]:
    """Return how many threads a worker's libraries may use, as environment variables."""
    from dask.system import CPU_COUNT

    threads = os.environ.get("OMP_NUM_THREADS") or str(max(CPU_COUNT // workers, 1))
    return dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)


def _open_spool(root: str, about: dict[str, Any], dask_scheduler: Any = None) -> None:
    """Put the spool into the scheduler, where it is told when a client's connection ends, however that happens."""
    from distributed import SchedulerPlugin

    class SpoolPlugin(SchedulerPlugin):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            self.spool = Spool(Path(root), about)

        def add_worker(self, scheduler: Any, worker: str) -> None:  # noqa: ARG002
            self.spool.count(len(scheduler.workers))

        def remove_worker(self, scheduler: Any, worker: str, **_keywords: Any) -> None:  # noqa: ARG002
            self.spool.count(len(scheduler.workers))

        def remove_client(self, scheduler: Any, client: str) -> None:  # noqa: ARG002
            self.spool.leave(client)

    dask_scheduler.add_plugin(SpoolPlugin(), name=SPOOL)


def _close_spool(dask_scheduler: Any = None) -> None:
    dask_scheduler.plugins[SPOOL].spool.close()


def _warm_plugin(model: OfferedModel) -> Any:
    """Return what lets each worker, also one that takes a dead one's place, load the bundle before it gets a case."""
    from distributed import WorkerPlugin

    class Warm(WorkerPlugin):  # type: ignore[misc,unused-ignore]
        name = "twintrack-model"

        async def setup(self, worker: Any) -> None:
            try:
                await asyncio.to_thread(load_model, model)
            except Exception as error:
                worker.log_event(PROBLEM, loading_problem(error))
                raise  # ends the start of the server; later, Dask lets the worker go on, and each case tries again

    return Warm()


NOT_BACK = "a process that does the work has ended and has not come back; another one is started"


class Watch:
    """Replaces processes for good that have ended; Dask's own parent of one that dies while it is starting gives up.

    Parameters
    ----------
    cluster : SpecCluster
        With the processes.
    warn : callable
        Told of each replacement.
    """

    def __init__(self, cluster: SpecCluster, warn: Callable[[str], None]) -> None:
        self._cluster, self._warn = cluster, warn
        self._ended: set[Any] = set()
        self._closing: set[asyncio.Future[Any]] = set()

    def look(self) -> None:
        """Replace each process that had ended at the last look and still has; to be called every few seconds."""
        self._cluster.sync(self._look)

    async def _look(self) -> None:
        workers = self._cluster.workers
        ended = {name for name, nanny in workers.items() if not nanny.is_alive()}
        lost, self._ended = ended & self._ended, ended
        for name in lost:
            closing = asyncio.ensure_future(workers.pop(name).close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            self._warn(NOT_BACK)
        self._ended -= lost
        if set(self._cluster.worker_spec) - set(workers):  # those, and any that could not be started the last time
            self._cluster.scale(len(self._cluster.worker_spec))  # as many as before: does nothing for what is starting
