"""Several things at a time in one process, told of in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from twintrack.progress.callbacks import CancelToken

__all__ = ["in_order"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    work: Callable[[Item], Result], items: Sequence[Item], *, threads: int, cancel: CancelToken | None = None
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
        begun = [pool.submit(checked, item) for item in items]
        try:
            for future in begun:
                yield future.result()
        finally:
            for future in begun:
                future.cancel()
