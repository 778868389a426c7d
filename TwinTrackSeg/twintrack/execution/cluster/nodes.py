"""Dask's scheduler and worker as a local cluster runs them: with a key of the run, and without pages.

Dask opens a port for web pages in every process, whatever its settings say, and takes work from whoever connects.
"""

from __future__ import annotations

import os
import ssl
from importlib.util import find_spec
from typing import Any

from distributed import Scheduler, Worker
from distributed.security import Security

from twintrack.errors import InputError, OutputError
from twintrack.system.openssl import has_openssl, self_signed
from twintrack.system.private_folder import PrivateFolder

__all__ = [
    "SchedulerWithoutPages",
    "WorkerWithoutPages",
    "gpu_count",
    "gpu_plugin",
    "own_gpu",
    "run_security",
    "scratch_folder",
]


class SchedulerWithoutPages(Scheduler):  # type: ignore[misc,unused-ignore]
    """A scheduler that opens no port for web pages."""

    def start_http_server(self, *_arguments: object, **_keywords: object) -> None:
        """Do nothing."""


class WorkerWithoutPages(Worker):  # type: ignore[misc,unused-ignore]
    """A worker that opens no port for web pages."""

    def start_http_server(self, *_arguments: object, **_keywords: object) -> None:
        """Do nothing."""


def scratch_folder() -> PrivateFolder:
    """Return a folder for Dask's own files.

    By default Dask takes ``dask-scratch-space`` in the common folder for temporary files, leaves it there, and looks
    for Python modules in it: whoever made it first decides what a run imports.

    Raises
    ------
    OutputError
        If it cannot be made.
    """
    import dask

    parent = dask.config.get("temporary-directory", None)
    try:
        return PrivateFolder(parent=parent)
    except OSError as error:
        raise OutputError(
            f"no temporary folder can be made for the local cluster's files ({error.strerror}); set TMPDIR",
            code="no-temporary-folder",
        ) from error


def run_security() -> Security:
    """Return Dask's settings for mutual TLS 1.3 with a key that is made now, and that this process alone knows.

    Workers get it through the pipe that starts them.

    Raises
    ------
    InputError
        If nothing is installed that makes a key.
    OutputError
        If there is no place for temporary files.
    """
    # Given all of them, nothing is taken from the user's settings for another cluster.
    versions = {"tls_min_version": ssl.TLSVersion.TLSv1_3, "tls_max_version": None, "tls_ciphers": None}
    if not has_openssl():
        if find_spec("cryptography") is None:
            raise InputError(
                "the key of the local cluster cannot be made without the program openssl; install it, or the Python "
                "package cryptography (pip install cryptography)",
                code="openssl-missing",
            )
        return Security.temporary(**versions)
    try:
        certificate, key = self_signed("TwinTrackSeg run")
    except OSError as error:
        raise OutputError(
            f"no temporary folder can be made for the local cluster's key ({error.strerror}); set TMPDIR",
            code="no-temporary-folder",
        ) from error
    roles = ("client", "scheduler", "worker")
    own = {f"tls_{role}_cert": certificate for role in roles} | {f"tls_{role}_key": key for role in roles}
    return Security(require_encryption=True, tls_ca_file=certificate, **own, **versions)


VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable with the GPUs that a process may use, by number or name."""


def gpu_count() -> int:
    """Return how many GPUs this process may use."""
    from twintrack.inference import may_have_gpu

    if not may_have_gpu():
        return 0
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def own_gpu(worker: int, gpus: int, visible: str | None) -> str:
    """Return which GPU a worker gets, as a value of `VISIBLE`; workers beyond the last GPU share them.

    Parameters
    ----------
    worker : int
        Number of the worker, from 0; one that is started again keeps it.
    gpus : int
        How many GPUs there are.
    visible : str or None
        `VISIBLE` so far: someone may have left us some GPUs of the machine only.
    """
    listed = [name.strip() for name in (visible or "").split(",") if name.strip()] or [str(n) for n in range(gpus)]
    return listed[worker % gpus]


def gpu_plugin(gpus: int) -> Any:
    """Return the Dask plugin that gives each worker of a local cluster its GPU, before the process touches one."""
    from distributed import WorkerPlugin

    class OwnGpu(WorkerPlugin):  # type: ignore[misc,unused-ignore]
        name = "twintrack-own-gpu"

        def setup(self, worker: Any) -> None:
            os.environ[VISIBLE] = own_gpu(int(worker.name), gpus, os.environ.get(VISIBLE))

    return OwnGpu()
