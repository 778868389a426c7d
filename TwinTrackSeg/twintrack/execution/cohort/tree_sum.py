"""Sums over many cases on a cluster: added up where they are made, up a tree, so that one sum comes back.

The tree depends on the number of items alone, never on which part is ready first nor on the number of workers, so that
every cluster gives the same bits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import reduce
from itertools import islice
from operator import add, itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from twintrack.execution.cluster.client import GPU, dashboard, slots
from twintrack.execution.cluster.submit import submit_pickled
from twintrack.execution.cluster.versions import WAIT_FOR_WORKERS_S
from twintrack.execution.cluster.waiting import ClusterWait
from twintrack.execution.cohort.worker_checks import check_workers_read_row
from twintrack.inference.loaded_model import return_memory
from twintrack.io.manifest import ManifestRow
from twintrack.progress.callbacks import CancelToken, Progress

if TYPE_CHECKING:
    from distributed import Client, Future

    from twintrack.studies.map_cases import Items, MapCases

__all__ = ["map_over"]

FAN = 8
"""Sums that are added up by one task."""

HEIGHT = 2
"""Levels of sums that the cluster adds up."""

MOST_IN_BATCH = 8
CASES_PER_STEP = 64
"""Cases that one task adds up: one of up to 127, two of up to 191, and so on; the number of workers plays no part."""

BATCHES_PER_SLOT = 4
"""Batches in hand for each processor."""

ANEW = "run the same command again"


def map_over(
    client: Client,
    *,
    bundle: Path | None = None,
    announce: Callable[[str], None] | None = None,
    wait_s: float = WAIT_FOR_WORKERS_S,
) -> MapCases:
    """Return what carries out work on the workers of a cluster.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    bundle : Path, optional
        Bundle whose networks the work needs, and with them the resource `GPU`.
    announce : callable, optional
        Told the dashboard's address when work begins.
    wait_s : float
        How long a cluster that has lost all of its workers is waited for.
    """
    places = max(slots(client, None if bundle is None else GPU), 1)
    resources = None if bundle is None else {GPU: 1}

    def map_cases(
        work: Callable[[Sequence[Any]], Any],
        items: Items[Any],
        progress: Progress,
        cancel: CancelToken,
        keep: Callable[[Any], None] | None = None,
    ) -> Any:
        first = next(iter(items))
        if isinstance(first, ManifestRow):
            check_workers_read_row(client, first, bundle)
        if announce is not None and (link := dashboard(client)):
            announce(f"dashboard: {link}")
        size = min(max(len(items) // CASES_PER_STEP, 1), MOST_IN_BATCH)
        left, number = iter(items), 0
        resource = None if bundle is None else GPU
        waiting = ClusterWait(
            client,
            wait_s=wait_s,
            resource=resource,
            again=ANEW,
            progress=progress,
            announce=announce,
            cancel=cancel,
        )
        tree = _Tree(client, waiting)
        running: deque[_Batch] = deque()
        while batch := list(islice(left, size)):
            cancel.check()
            number += len(batch)
            leaf = submit_pickled(client, "batch", _then_return_memory, work, batch, resources=resources)
            own = None if keep is None else client.submit(itemgetter(0), leaf, pure=False)
            tree.push(leaf if keep is None else client.submit(itemgetter(1), leaf, pure=False))
            running.append(_Batch(number, leaf, own))
            if len(running) >= BATCHES_PER_SLOT * places:
                _wait(running, len(items), waiting, keep)
                tree.collect()
        while running:
            cancel.check()
            _wait(running, len(items), waiting, keep)
        return tree.total()

    return map_cases


class _Batch(NamedTuple):
    """Work on some items: how many there are up to its last one, the work, and what of it is for the client alone."""

    number: int
    leaf: Future[Any]
    own: Future[Any] | None


class _Tree:
    """Sums of sums, as the digits of a number to the base `FAN`; those of `HEIGHT` levels are added up here.

    Dask remembers how to make a sum again, with all that it was made of, as long as there is the sum: a tree that stays
    on the cluster would let the scheduler's memory grow with the cohort.
    """

    def __init__(self, client: Client, waiting: ClusterWait) -> None:
        self._client, self._waiting = client, waiting
        self._levels: list[list[Future[Any]]] = [[] for _ in range(HEIGHT)]
        self._whole: deque[Future[Any]] = deque()
        self._total: Any = None

    def push(self, part: Future[Any], level: int = 0) -> None:
        """Add a part; what came before it is on the left."""
        if level == HEIGHT:
            self._whole.append(part)
            return
        self._levels[level].append(part)
        if len(self._levels[level]) == FAN:
            total = self._sum(self._levels[level])
            self._levels[level] = []
            self.push(total, level + 1)

    def collect(self) -> None:
        """Take the sums that are ready, without waiting for any."""
        while self._whole and self._whole[0].status == "finished":
            self._take()

    def total(self) -> Any:
        """Return the sum of all parts."""
        rest = [part for level in reversed(self._levels) for part in level]
        if rest:
            self._whole.append(self._sum(rest))
        while self._whole:
            self._take()
        return self._total

    def _take(self) -> None:
        found = self._waiting.result(self._whole.popleft())
        self._total = found if self._total is None else self._total + found
        del found
        return_memory()  # a sum can be large, and lies between all the small things that came meanwhile

    def _sum(self, parts: list[Future[Any]]) -> Future[Any]:
        return self._client.submit(_added, parts, pure=False)


def _added(parts: Sequence[Any]) -> Any:
    return reduce(add, parts)


def _then_return_memory(work: Callable[[Sequence[Any]], Any], items: Sequence[Any]) -> Any:
    """Carry out work on a worker, and give the memory back that it needed."""
    try:
        return work(items)
    finally:
        return_memory()


def _wait(running: deque[_Batch], items: int, waiting: ClusterWait, keep: Callable[[Any], None] | None) -> None:
    """Wait for the oldest batch; raise what it raised, or hand on what is for the client."""
    from distributed import KilledWorker

    batch = running.popleft()
    try:
        if keep is None or batch.own is None:
            waiting.end(batch.leaf)
        else:
            keep(waiting.result(batch.own))
    except KilledWorker as error:
        raise waiting.error("several workers died with the same cases; give them more memory and") from error
    waiting.report(batch.number / items, f"{batch.number} of {items} cases")
