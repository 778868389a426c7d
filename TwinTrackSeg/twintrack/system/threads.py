"""Several things at a time in one process, told of in order; and what must not be done by several threads."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from twintrack.progress.callbacks import CancelToken

__all__ = ["in_order", "one_blas_thread"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def one_blas_thread() -> None:
    """Let NumPy's matrix products use one thread, unless the environment says how many; before NumPy is imported.

    The products of the engine are small. OpenBLAS gives them to threads that afterwards wait for the next one by
    spinning, some 14 ms each time: a sixth of the processor seconds of a run, and time that other threads do not get.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def in_order(
    work: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    threads: int,
    cost: Callable[[Item], float] | None = None,
    cancel: CancelToken | None = None,
) -> Iterator[Result]:
    """Yield ``work(item)`` for every item, in their order, with up to `threads` of them being worked on at a time.

    An error comes up where its item's turn is; nothing is then begun any more.

    Parameters
    ----------
    work : callable
        Changes nothing that another call uses.
    items : sequence
        What it is called with.
    threads : int
        With 1 all is done in the caller's own thread, each item when it is asked for.
    cost : callable, optional
        About how long an item takes, next to others. With several threads the longest are begun first, so that none of
        them is left for the end, when it would be worked on alone.
    cancel : CancelToken, optional
        Checked before each item.

    Raises
    ------
    Cancelled
        If `cancel` was triggered.
    """

    def checked(item: Item) -> Result:
        if cancel is not None:
            cancel.check()
        return work(item)

    if threads == 1 or len(items) < 2:
        yield from map(checked, items)
        return
    with ThreadPoolExecutor(threads) as pool:
        order = sorted(range(len(items)), key=lambda n: 0.0 if cost is None else -cost(items[n]))
        begun = {number: pool.submit(checked, items[number]) for number in order}
        try:
            for number in range(len(items)):
                yield begun[number].result()
        finally:
            for future in begun.values():
                future.cancel()
