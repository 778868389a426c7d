"""Sums over many cases on a cluster: added up where they are made, up a tree, so that one sum comes back.

The tree depends on the number of items alone, never on which part is ready first nor on the number of workers, so that
every cluster gives the same bits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from typing import TYPE_CHECKING, Any

from twintrack.cohort.cluster import GPU, slots
from twintrack.cohort.flow import lost_scheduler
from twintrack.progress import CancelToken, Progress

if TYPE_CHECKING:
    from distributed import Client, Future

    from twintrack.spreading import Spread

__all__ = ["spread_over"]

FAN = 8
"""Sums that are added up by one task."""

MOST_IN_BATCH = 8
CASES_PER_STEP = 64
"""Cases that one task adds up: one of up to 127, two of up to 191, and so on; the number of workers plays no part."""

BATCHES_PER_SLOT = 4
"""Batches in hand for each processor."""


def spread_over(client: Client, *, networks: bool = False) -> Spread:
    """Return what carries out work on the workers of a cluster.

    Parameters
    ----------
    client : distributed.Client
        Connected to the cluster.
    networks : bool
        Whether the work needs the resource `GPU`.
    """
    places = max(slots(client, GPU if networks else None), 1)
    resources = {GPU: 1} if networks else None

    def spread(
        work: Callable[[Sequence[Any]], Any], items: Sequence[Any], progress: Progress, cancel: CancelToken
    ) -> Any:
        size = min(max(len(items) // CASES_PER_STEP, 1), MOST_IN_BATCH)
        tree = _Tree(client)
        running: deque[tuple[int, Future[Any]]] = deque()
        for start in range(0, len(items), size):
            cancel.check()
            leaf = client.submit(work, items[start : start + size], pure=False, resources=resources)
            tree.push(leaf)
            running.append((min(start + size, len(items)), leaf))
            if len(running) >= BATCHES_PER_SLOT * places:
                _wait(client, running, len(items), progress)
        while running:
            cancel.check()
            _wait(client, running, len(items), progress)
        return tree.total().result()

    return spread


class _Tree:
    """Sums of sums, as the digits of a number to the base `FAN`: memory grows with its number of digits."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._levels: list[list[Future[Any]]] = []

    def push(self, part: Future[Any], level: int = 0) -> None:
        if level == len(self._levels):
            self._levels.append([])
        self._levels[level].append(part)
        if len(self._levels[level]) == FAN:
            total = self._sum(self._levels[level])
            self._levels[level] = []
            self.push(total, level + 1)

    def total(self) -> Future[Any]:
        """Return the sum of all parts, the earlier ones first."""
        return self._sum([part for level in reversed(self._levels) for part in level])

    def _sum(self, parts: list[Future[Any]]) -> Future[Any]:
        return self._client.submit(_added, parts, pure=False)


def _added(parts: Sequence[Any]) -> Any:
    return reduce(add, parts)


def _wait(client: Client, running: deque[tuple[int, Future[Any]]], items: int, progress: Progress) -> None:
    """Wait for the oldest batch; raise what it raised."""
    from distributed import wait

    number, leaf = running.popleft()
    wait([leaf])
    if leaf.status in ("cancelled", "lost"):
        raise lost_scheduler(client)
    error = leaf.exception()
    if error is not None:
        raise error
    progress(number / items, f"{number} of {items} cases")
