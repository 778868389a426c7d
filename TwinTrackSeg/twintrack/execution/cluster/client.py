"""Where the work is done: a cluster on this machine, or a running Dask scheduler; checked before anything starts."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from twintrack.errors import InputError, OutputError
from twintrack.execution.cluster.nodes import gpu_count, gpu_plugin
from twintrack.execution.cluster.versions import GPU, WAIT_FOR_WORKERS_S, check_versions

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["GPU", "check_versions", "cluster_client", "dashboard", "slots"]

LOOPBACK = "127.0.0.1"

PROTECTED = ("tls", "wss", "inproc")
"""Kinds of address that nobody on the way can read or pose as; the last one does not leave the process."""

PAGES = ("distributed.http.scheduler.info", "distributed.http.scheduler.json", "distributed.http.statics")
"""Dask's pages about a scheduler, beside those that it makes with bokeh. The others would reach into other servers."""

CONNECT_S = 10
"""A scheduler that has not answered after this time is taken for unreachable."""

CORES_PER_WORKER = 4
BYTES_PER_WORKER = 6 << 30
"""What one worker of the local cluster should have where the networks run on the CPU."""

DASK = {
    # A case is a task without data: nothing to spill, and a worker that paused would never go on.
    **{f"distributed.worker.memory.{name}": False for name in ("target", "spill", "pause")},
    # The last messages of every connection are kept, by default 1,000, which is some 10 MB where each holds tasks.
    "distributed.admin.low-level-log-length": 50,
    # A worker would look on at its own work a hundred times a second, and keep what it saw: 2 MB a run in `serve`.
    "distributed.worker.profile.enabled": False,
    # A local worker that died would be given up for good after 15 s, and starting it again can take longer.
    "distributed.deploy.lost-worker-timeout": f"{WAIT_FOR_WORKERS_S:g}s",
    # A case whose worker died is handed back at once, and tried alone: see `one_on_each_worker` in `submit`.
    "distributed.scheduler.allowed-failures": 0,
    # Dask has workers give freed memory back at once (MALLOC_TRIM_THRESHOLD_), for which the C library then gets every
    # array from the system anew: a million pages in two cases. Here that is done after each: see `return_memory`.
    "distributed.nanny.pre-spawn-environ": dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"
    ),
}
"""Dask's settings, for this process and the workers that it starts."""


@contextmanager
def cluster_client(
    scheduler: str | None = None,
    *,
    workers: int | None = None,
    device: str = "auto",
    networks: bool = True,
    wait_s: float = WAIT_FOR_WORKERS_S,
    insecure: bool = False,
    pages: bool = False,
    announce: Callable[[str], None] | None = None,
) -> Iterator[Client]:
    """Yield a client of a running scheduler, or of a cluster of processes on this machine.

    The cluster of this machine speaks TLS with a key of its own, so that no other user of the machine joins it.

    Parameters
    ----------
    scheduler : str, optional
        Address, such as ``tcp://host:8786``; without it a local cluster is started, and ended with the block.
    workers : int, optional
        Processes of the local cluster; by default one a GPU, or what cores and memory allow on the CPU.
    device : str
        Where the networks run, to count the GPUs of this machine.
    networks : bool
        Whether workers need the resource `GPU`.
    wait_s : float
        How long a scheduler without workers is waited for to get the first one.
    insecure : bool
        Whether a scheduler on another computer may be spoken to without TLS.
    pages : bool
        Whether the local cluster shows Dask's pages on the loopback, to everybody who has an account on this machine.
    announce : callable, optional
        Told that it is waited for, and that there is no TLS.

    Raises
    ------
    InputError
        If the scheduler cannot be reached, is elsewhere without TLS, gets no workers, or runs other versions than this
        process; or if no key can be made for a local cluster.
    OutputError
        If a local cluster finds no place for its files.
    """
    import dask
    import distributed  # noqa: F401  (sets the level of its log when it is imported)

    for name in ("distributed", "distributed.client"):  # Dask gives the second a level of its own
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters comes back as an exception
    with (
        dask.config.set(DASK),
        _local(workers, device, networks, pages)
        if scheduler is None
        else _remote(scheduler, networks, wait_s, insecure, announce) as client,
    ):
        yield client


def slots(client: Client, resource: str | None = None) -> int:
    """Return how many tasks the workers can have in hand at the same time."""
    infos = client.scheduler_info(n_workers=-1)["workers"].values()
    return sum(info["nthreads"] for info in infos if resource is None or resource in (info.get("resources") or {}))


@contextmanager
def _local(workers: int | None, device: str, networks: bool, pages: bool) -> Iterator[Client]:
    import dask
    from dask.system import CPU_COUNT
    from distributed import Client, Nanny, Scheduler, SpecCluster
    from distributed.system import MEMORY_LIMIT

    from twintrack.execution.cluster.nodes import (
        SchedulerWithoutPages,
        WorkerWithoutPages,
        run_security,
        scratch_folder,
    )

    gpus = gpu_count() if networks and device in ("auto", "cuda") else 0
    workers = workers or gpus or _cpu_workers(networks)
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(CPU_COUNT // workers, 1) if networks else 1)
    security, scratch = run_security(), scratch_folder()
    common = {"protocol": "tls://", "host": LOOPBACK, "security": security, "local_directory": str(scratch.path)}
    options = {
        **common,
        "worker_class": WorkerWithoutPages,
        "nthreads": 2 if gpus else 1,  # with two, one case is read or written while another is on the GPU
        "memory_limit": MEMORY_LIMIT // workers,
        "resources": {GPU: 1},
        "env": dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), threads),
        "silence_logs": logging.CRITICAL,
    }
    about = {"dashboard": pages, "dashboard_address": f"{LOOPBACK}:8787"}
    with scratch:
        with warnings.catch_warnings(), dask.config.set({"distributed.scheduler.http.routes": list(PAGES)}):
            warnings.simplefilter("ignore")  # a dashboard's port that is in use
            try:
                cluster = SpecCluster(
                    workers={number: {"cls": Nanny, "options": options} for number in range(workers)},
                    scheduler={"cls": Scheduler if pages else SchedulerWithoutPages, "options": {**common, **about}},
                    security=security,
                    silence_logs=logging.CRITICAL,
                )
            except (OSError, RuntimeError) as error:
                raise OutputError(
                    f"the local cluster cannot be started ({_cause(error)}); check the free space in "
                    f"{scratch.path.parent}, or set TMPDIR",
                    code="cluster-not-started",
                ) from error
        with cluster, Client(cluster) as client:
            if gpus > 1:
                client.register_plugin(gpu_plugin(gpus))
            yield client


def _cause(error: BaseException) -> str:
    """Return what the file system said, or else the error itself; Dask wraps it several times."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, OSError) and inner.strerror:
            return inner.strerror
        inner = inner.__cause__ or inner.__context__
    return str(error)


@contextmanager
def _remote(
    address: str, networks: bool, wait_s: float, insecure: bool, announce: Callable[[str], None] | None
) -> Iterator[Client]:
    from distributed import Client

    _check_protection(address, insecure, announce)
    try:
        _check_answer(address)
        client = Client(address, timeout=CONNECT_S)
    except (OSError, ValueError, TypeError) as error:
        raise _unreachable(address, error) from error
    with client:
        check_versions(address, _versions(client))
        _wait_for_worker(address, client, wait_s, announce)
        check_versions(address, _versions(client))
        if networks and not slots(client, GPU):
            raise InputError(
                f'none of its workers may run networks; start them with --resources "{GPU}=1" --nthreads 2',
                code="cluster-no-worker",
                path=address,
            )
        yield client


def _check_protection(address: str, insecure: bool, announce: Callable[[str], None] | None) -> None:
    """Refuse a scheduler without TLS that is not on this computer, unless the user wants just that.

    Raises
    ------
    InputError
        If it is such a one, or nobody knows where it is.
    """
    kind, _, place = address.rpartition("://")
    if kind in PROTECTED:
        return
    try:
        host = urlsplit(f"//{place}").hostname or ""
        if _is_loopback(host):
            return
    except (OSError, ValueError) as error:
        raise _unreachable(address, error) from error
    if not insecure:
        raise InputError(
            "without TLS whoever is on the network between can read what is sent, and run programs on the "
            "workers and on this computer; set up TLS and give tls://, or give --insecure-scheduler where you trust "
            "everybody on that network",
            code="cluster-unprotected",
            path=address,
        )
    if announce is not None:
        announce(
            f"warning: {address} is spoken to without TLS: whoever is on the network between can run programs on its "
            "workers and on this computer"
        )


def _is_loopback(host: str) -> bool:
    """Whether a host, by all of its addresses, is this computer itself."""
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return all(ipaddress.ip_address(str(place[4][0]).partition("%")[0]).is_loopback for place in found)


def _unreachable(address: str, error: Exception) -> InputError:
    return InputError(
        f"no Dask scheduler can be reached there ({_reason(error)}); check the address, and that `dask scheduler` runs",
        code="cluster-unreachable",
        path=address,
    )


def _check_answer(address: str) -> None:
    """Make sure that a scheduler answers: in front of any other server Dask waits without end.

    Raises
    ------
    InputError
        If TLS is asked for without certificates.
    OSError, ValueError, TypeError
        If nothing answers, or it is no scheduler.
    """
    from distributed import Security
    from distributed.comm.core import connect

    options = Security().get_connection_args("client")
    if address.startswith("tls:") and options.get("ssl_context") is None:
        raise InputError(
            "TLS needs certificates; name them in Dask's settings distributed.comm.tls.ca-file, "
            ".client.cert and .client.key",
            code="certificate-missing",
            path=address,
        )

    async def greet() -> None:
        comm = await connect(address, timeout=CONNECT_S, **options)
        await comm.close()

    async def greet_in_time() -> None:
        try:
            await asyncio.wait_for(greet(), CONNECT_S + 1)
        except asyncio.TimeoutError as error:
            raise OSError("what answers is no Dask scheduler, or too busy") from error

    with ThreadPoolExecutor(1) as thread:  # a loop of its own, also where one runs already
        thread.submit(asyncio.run, greet_in_time()).result()


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def _wait_for_worker(address: str, client: Client, wait_s: float, announce: Callable[[str], None] | None) -> None:
    """Wait for the first worker; the task that it gets makes a cluster that grows by need start one."""
    if client.scheduler_info(n_workers=-1)["workers"]:
        return
    if announce is not None:
        announce(f"the cluster has no workers; waiting {wait_s:g} s for the first")
    call = client.submit(os.getpid, pure=False)
    try:
        call.result(timeout=wait_s)
    except TimeoutError as error:
        raise InputError(
            f"has no workers, and none came within {wait_s:g} s; start some with "
            f'`dask worker {address} --resources "{GPU}=1" --nthreads 2`',
            code="cluster-no-worker",
            path=address,
        ) from error


def _versions(client: Client) -> Any:
    """Return what Dask knows of the packages everywhere, and of workers the version of the TwinTrack that they import.

    Dask looks at what was installed, which need not be what is imported; and a worker of another version need not have
    a function of ours to ask.
    """
    versions: Any = client.get_versions()
    engines = client.run(eval, "__import__('twintrack').__version__", on_error="return")
    versions["workers"] = {worker: found for worker, found in versions["workers"].items() if worker in engines}
    for worker, found in versions["workers"].items():
        found["packages"]["twintrack"] = engines[worker] if isinstance(engines[worker], str) else None
    return versions


def dashboard(client: Client) -> str:
    """Return the address of the dashboard, empty if there is none; without bokeh Dask has plain pages only."""
    from importlib.util import find_spec

    link = str(client.dashboard_link or "")
    if not link:
        return ""
    return link if find_spec("bokeh") else link.removesuffix("/status") + "/info/main/workers.html"


def _cpu_workers(networks: bool) -> int:
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT

    if not networks:
        return max(CPU_COUNT, 1)
    return max(min(CPU_COUNT // CORES_PER_WORKER, MEMORY_LIMIT // BYTES_PER_WORKER), 1)
