"""Sees that a server has as many processes as were asked for; Dask starts one anew that has died, but not always."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distributed import SpecCluster

__all__ = ["Watch"]

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
