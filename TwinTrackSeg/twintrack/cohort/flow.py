"""Many tasks through a cluster with a bounded number of them in hand, so that no one's memory grows with the cohort."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

from twintrack.errors import InputError

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["lost_scheduler", "through_cluster"]

Task = TypeVar("Task")


def through_cluster(
    client: Client,
    function: Callable[[Task], object],
    tasks: Iterable[Task],
    *,
    window: int,
    resources: Mapping[str, float] | None = None,
) -> Iterator[tuple[Task, Future[Any]]]:
    """Carry out `function` on each task, at most `window` at a time; yield tasks with their futures as they end.

    Raises
    ------
    InputError
        If the scheduler is lost on the way.
    """
    from distributed import as_completed

    left = iter(tasks)
    waiting: dict[Any, Task] = {}

    def submit(task: Task) -> Future[Any]:
        future = client.submit(function, task, pure=False, resources=resources)
        waiting[future.key] = task
        return future

    ended = as_completed([submit(task) for task in islice(left, window)])
    for future in ended:
        if future.status in ("cancelled", "lost"):
            raise lost_scheduler(client)
        yield waiting.pop(future.key), future
        future.release()
        for task in islice(left, 1):
            ended.add(submit(task))


def lost_scheduler(client: Client) -> InputError:
    """Return the error of a scheduler that went away."""
    address = client.scheduler.address if client.scheduler is not None else "the scheduler"
    return InputError(f"{address}: the scheduler went away; run the same command again, it goes on where it stopped")
