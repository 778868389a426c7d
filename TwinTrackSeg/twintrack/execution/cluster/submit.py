"""Many tasks through a cluster with a bounded number of them in hand, so that no one's memory grows with the cohort."""

from __future__ import annotations

import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from twintrack.execution.cluster.waiting import ClusterWait

if TYPE_CHECKING:
    from distributed import Client, Future

__all__ = ["DEATHS", "one_on_each_worker", "submit_pickled", "through_cluster"]

Task = TypeVar("Task")

DEATHS = 2
"""How many workers die with a task that is alone there before it is taken for the cause; one can die for reasons of its
own, such as the end of its time in a queue."""

FETCH_S = 10.0
"""How long a small result may be on its way; if its worker dies meanwhile, the task is carried out again."""


def through_cluster(
    client: Client,
    function: Callable[[Task], object],
    tasks: Iterable[Task],
    *,
    window: int,
    resources: Mapping[str, float] | None = None,
    waiting: ClusterWait | None = None,
) -> Iterator[tuple[Task, Future[Any]]]:
    """Carry out `function` on each task, at most `window` at a time; yield tasks with their futures as they end.

    When a worker dies Dask blames all that waited there (`KilledWorker`): they are to be tried alone.

    Raises
    ------
    InputError
        If the scheduler, or for too long every worker, is lost on the way.
    """
    waiting = waiting or ClusterWait(client)
    left = iter(tasks)
    pending: dict[Any, tuple[Task, Future[Any]]] = {}
    ended: deque[Future[Any]] = deque()
    number_ended = threading.Semaphore(0)

    def end(future: Future[Any]) -> None:
        ended.append(future)
        number_ended.release()

    def submit(task: Task) -> None:
        future = submit_pickled(client, function.__name__, function, task, resources=resources)
        pending[future.key] = task, future
        future.add_done_callback(end)

    for task in islice(left, window):
        submit(task)
    while pending:
        waiting.wait(lambda seconds: number_ended.acquire(timeout=seconds))
        future = ended.popleft()
        waiting.check(future)
        yield pending.pop(future.key)
        future.release()
        for task in islice(left, 1):
            submit(task)


@dataclass(frozen=True)
class _Alone(Generic[Task]):
    """A task that is the only one on its worker, and how many workers died with it before."""

    task: Task
    future: Future[Any]
    deaths: int


def one_on_each_worker(
    client: Client,
    function: Callable[[Task], object],
    tasks: Iterable[Task],
    *,
    resource: str,
    waiting: ClusterWait,
) -> Iterator[tuple[Task, Any]]:
    """Carry out `function` on each task while it has a worker to itself; yield tasks with what it gives as they end.

    Each task is bound to a worker and takes the whole of its resource, so that a death there has one possible cause:
    nothing else waits for that worker. Where `DEATHS` workers died with a task, None is yielded.

    Parameters
    ----------
    client : distributed.Client
        Connected to a cluster that has nothing else to do for this run.
    function : callable
        Returns something small, never None.
    tasks : iterable
        What it is called with.
    resource : str
        What workers offer, and a task takes.
    waiting : ClusterWait
        Waits.

    Raises
    ------
    InputError
        If the scheduler, or for too long every worker, is lost on the way.
    """
    from distributed import CancelledError, KilledWorker
    from distributed import TimeoutError as TooLong

    left = deque((task, 0) for task in tasks)
    running: dict[str, _Alone[Task]] = {}
    stirred = threading.Event()
    workers: dict[str, float] = {}

    def something_happened(seconds: float) -> bool:
        stirred.wait(seconds)
        stirred.clear()
        return any(each.future.done() for each in running.values()) or _offers(client, resource) != workers

    while left or running:
        workers = _offers(client, resource)
        for worker in [worker for worker in workers if worker not in running][: len(left)]:
            task, deaths = left.popleft()
            whole = {resource: workers[worker]}
            future = submit_pickled(client, function.__name__, function, task, resources=whole, worker=worker)
            running[worker] = _Alone(task, future, deaths)
            future.add_done_callback(lambda _: stirred.set())
        waiting.wait(something_happened)
        there = _offers(client, resource)
        for worker, each in list(running.items()):
            waiting.check(each.future)
            result: Any = None
            if each.future.done():
                error = each.future.exception()
                if error is None:
                    try:
                        result = each.future.result(timeout=FETCH_S)
                    except (TooLong, CancelledError, OSError):
                        if worker in there:
                            continue
                elif not isinstance(error, KilledWorker):
                    raise error
            elif worker in there:
                continue
            del running[worker]
            each.future.release()
            if result is None and each.deaths + 1 < DEATHS:
                left.append((each.task, each.deaths + 1))
            else:
                yield each.task, result


def _offers(client: Client, resource: str) -> dict[str, float]:
    """Return how much of a resource each worker has that has some."""
    infos = client.scheduler_info(n_workers=-1)["workers"]
    offers = {worker: (info.get("resources") or {}).get(resource, 0) for worker, info in infos.items()}
    return {worker: offer for worker, offer in offers.items() if offer}


def submit_pickled(
    client: Client,
    name: str,
    function: Callable[..., object],
    *arguments: object,
    resources: Mapping[str, float] | None,
    worker: str | None = None,
) -> Future[Any]:
    """Let a worker, or that very one, call `function`; the scheduler sees a name and some bytes.

    A scheduler makes Python objects of what it is sent, and remembers the last 1,000 messages of every connection.
    """
    from distributed.protocol.pickle import dumps

    pickled = dumps((function, arguments))
    where = {} if worker is None else {"workers": [worker]}
    return client.submit(_call, pickled, key=f"{name}-{uuid.uuid4().hex}", resources=resources, **where)


def _call(pickled: bytes) -> object:
    from distributed.protocol.pickle import loads

    function, arguments = loads(pickled)
    return function(*arguments)
