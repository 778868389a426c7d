"""Many tasks through a cluster with a bounded number of them in hand, so that no one's memory grows with the cohort."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from twintrack.cohort.packed import submit_packed
from twintrack.cohort.patience import Patience

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["through_cluster"]

Task = TypeVar("Task")


def through_cluster(
    client: Client,
    function: Callable[[Task], object],
    tasks: Iterable[Task],
    *,
    window: int,
    resources: Mapping[str, float] | None = None,
    patience: Patience | None = None,
) -> Iterator[tuple[Task, Future[Any]]]:
    """Carry out `function` on each task, at most `window` at a time; yield tasks with their futures as they end.

    Raises
    ------
    InputError
        If the scheduler, or for too long every worker, is lost on the way.
    """
    patience = patience or Patience(client)
    left = iter(tasks)
    waiting: dict[Any, tuple[Task, Future[Any]]] = {}
    ended: deque[Future[Any]] = deque()
    number_ended = threading.Semaphore(0)

    def end(future: Future[Any]) -> None:
        ended.append(future)
        number_ended.release()

    def submit(task: Task) -> None:
        future = submit_packed(client, function.__name__, function, task, resources=resources)
        waiting[future.key] = task, future
        future.add_done_callback(end)

    for task in islice(left, window):
        submit(task)
    while waiting:
        patience.wait(lambda seconds: number_ended.acquire(timeout=seconds))
        future = ended.popleft()
        patience.check(future)
        yield waiting.pop(future.key)
        future.release()
        for task in islice(left, 1):
            submit(task)
