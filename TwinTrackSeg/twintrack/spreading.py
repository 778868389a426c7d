"""How work on the cases of a manifest is shared out: here one case after the other, by `cohort` on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from twintrack.progress import CancelToken, Progress

__all__ = ["Spread", "one_by_one"]

Item = TypeVar("Item")


class Spread(Protocol):
    """Carries out ``work`` on parts of ``items`` and returns the sum (``+``) of what it gives, in the items' order."""

    def __call__(
        self, work: Callable[[Sequence[Item]], Any], items: Sequence[Item], progress: Progress, cancel: CancelToken, /
    ) -> Any:
        """Return the sum; errors are those of the first item that has one."""


def one_by_one(
    work: Callable[[Sequence[Item]], Any], items: Sequence[Item], progress: Progress, cancel: CancelToken
) -> Any:
    """Carry out the work in this process, one item at a time."""
    total: Any = None
    for number, item in enumerate(items):
        cancel.check()
        progress(number / len(items), f"case {number + 1} of {len(items)}")
        found = work([item])
        total = found if total is None else total + found
    return total
