"""The GPUs of this machine, one for each process of a local cluster."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["gpu_count", "gpu_plugin", "own_gpu"]

VISIBLE = "CUDA_VISIBLE_DEVICES"
"""Environment variable with the GPUs that a process may use, by number or name."""


def gpu_count() -> int:
    """Return how many GPUs this process may use."""
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
