"""Time in the networks and tiles done: told at once where a pass is over when it returns, later on a graphics card."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from twintrack.inference.tiling import TileMeter

__all__ = ["AHEAD", "EventClock", "PassClock", "WallClock"]

AHEAD = 2
"""Batches that may wait in a card's queue: it never runs dry, and a user who cancels waits for no more than these."""


class PassClock(Protocol):
    """Tells a `TileMeter` what passes through a network took, and which tiles are done."""

    def network(self) -> AbstractContextManager[None]:
        """Enclose a pass through the network."""

    def done(self, tiles: int) -> None:
        """Say that all there is to do with some tiles has been asked for."""

    def finish(self) -> None:
        """Wait for what is not done yet."""


class WallClock:
    """For a processor whose passes are over when they return."""

    def __init__(self, meter: TileMeter) -> None:
        self._meter = meter

    @contextmanager
    def network(self) -> Iterator[None]:
        """Enclose a pass through the network."""
        start = time.perf_counter()
        yield
        self._meter.network_s += time.perf_counter() - start

    def done(self, tiles: int) -> None:
        """Count tiles."""
        self._meter.after(tiles)

    def finish(self) -> None:
        """Do nothing: all is done."""


class EventClock:
    """For a CUDA card, which works off a queue: by events in it, of which the one of `AHEAD` batches ago is waited for.

    The card is never waited for with an empty queue, as it would be by a synchronisation after each pass.

    Parameters
    ----------
    meter : TileMeter
        Told of a batch when the card is done with it.
    event : callable, optional
        Makes an event that takes the time, given ``enable_timing`` and ``blocking``; by default
        ``torch.cuda.Event``.
    """

    def __init__(self, meter: TileMeter, event: Callable[..., Any] | None = None) -> None:
        if event is None:
            import torch

            event = torch.cuda.Event
        self._meter, self._event = meter, event
        self._passes: list[tuple[Any, Any]] = []
        self._queue: deque[tuple[list[tuple[Any, Any]], Any, int]] = deque()

    @contextmanager
    def network(self) -> Iterator[None]:
        """Enclose a pass through the network."""
        start, stop = (self._event(enable_timing=True) for _ in range(2))
        start.record()
        yield
        stop.record()
        self._passes.append((start, stop))

    def done(self, tiles: int) -> None:
        """Put a mark behind what was asked for, and wait until no more than `AHEAD` batches are queued."""
        over = self._event(blocking=True)  # the host sleeps until then
        over.record()
        self._queue.append((self._passes, over, tiles))
        self._passes = []
        while len(self._queue) > AHEAD:
            self._take()

    def finish(self) -> None:
        """Wait for the batches that are still queued."""
        while self._queue:
            self._take()

    def _take(self) -> None:
        passes, over, tiles = self._queue.popleft()
        over.synchronize()
        self._meter.network_s += sum(start.elapsed_time(stop) for start, stop in passes) / 1000  # from ms
        self._meter.after(tiles)
