"""How work on the cases of a manifest is shared out: here one case after the other, by `cohort` on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

from twintrack.progress.callbacks import CancelToken, Progress

__all__ = ["Items", "MapCases", "one_by_one"]

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)


class Items(Protocol[Item_co]):
    """Some items, gone through one by one; they need not all be in memory."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Item_co]: ...


class MapCases(Protocol):
    """Carries out ``work`` on parts of ``items`` and returns the sum (``+``) of what it gives, in the items' order."""

    def __call__(
        self,
        work: Callable[[Sequence[Item]], Any],
        items: Items[Item],
        progress: Progress,
        cancel: CancelToken,
        keep: Callable[[Any], None] | None = None,
        /,
    ) -> Any:
        """Return the sum; errors are those of the first item that has one.

        With `keep`, ``work`` returns a pair: what belongs to its items alone, which `keep` gets in the items' order as
        soon as it is there, and what is added up.
        """


def one_by_one(
    work: Callable[[Sequence[Item]], Any],
    items: Items[Item],
    progress: Progress,
    cancel: CancelToken,
    keep: Callable[[Any], None] | None = None,
) -> Any:
    """Carry out the work in this process, one item at a time."""
    total: Any = None
    for number, item in enumerate(items):
        cancel.check()
        progress(number / len(items), f"case {number + 1} of {len(items)}")
        found = work([item])
        if keep is not None:
            own, found = found
            keep(own)
        total = found if total is None else total + found
    return total
