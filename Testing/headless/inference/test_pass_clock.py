"""On a card's queue no more than two batches wait; their time and their tiles are told when the card is done."""

from __future__ import annotations

import pytest

from twintrack.errors import Cancelled
from twintrack.inference.pass_clock import AHEAD, EventClock, WallClock
from twintrack.inference.tiling import TileMeter
from twintrack.progress.callbacks import CancelToken


class Card:
    """A card that works off what it is asked for when somebody waits for it; an event lies in its queue."""

    def __init__(self) -> None:
        self.asked, self.over, self.pass_ms, self.now_ms = 0, 0, 5.0, 0.0

    def event(self, enable_timing: bool = False, blocking: bool = False) -> Event:
        return Event(self)


class Event:
    def __init__(self, card: Card) -> None:
        self.card, self.place, self.time_ms = card, 0, 0.0

    def record(self) -> None:
        self.card.asked += 1
        self.place, self.time_ms = self.card.asked, self.card.now_ms

    def synchronize(self) -> None:
        self.card.over = max(self.card.over, self.place)

    def elapsed_time(self, other: Event) -> float:
        assert other.place <= self.card.over, "the card is not there yet: torch raises"
        return other.time_ms - self.time_ms


def run_batches(card: Card, clock: EventClock, batches: int, passes: int = 1) -> None:
    for _ in range(batches):
        for _ in range(passes):
            with clock.network():
                card.now_ms += card.pass_ms
        card.now_ms += 100  # sums, which are no network
        clock.done(4)


def test_tiles_are_told_when_the_card_is_done_and_two_batches_late_at_most() -> None:
    card, told = Card(), []
    meter = TileMeter(40, "Testing", lambda fraction, _: told.append(fraction), CancelToken())
    clock = EventClock(meter, card.event)
    run_batches(card, clock, AHEAD)
    assert (card.over, meter.done) == (0, 0)  # nobody has waited
    run_batches(card, clock, 8)
    assert 0 < card.over < card.asked  # waited for an old batch, with newer ones in the queue
    assert meter.done == 4 * (10 - AHEAD)
    clock.finish()
    assert told == pytest.approx([n / 10 for n in range(1, 11)])


def test_time_in_the_networks_is_the_cards_and_that_of_the_passes_alone() -> None:
    card = Card()
    meter = TileMeter(12, "Testing", lambda *_: None, CancelToken())
    clock = EventClock(meter, card.event)
    run_batches(card, clock, 3, passes=8)
    clock.finish()
    assert meter.network_s == pytest.approx(3 * 8 * 0.005)


def test_a_user_who_cancels_waits_for_no_more_than_the_batches_in_the_queue() -> None:
    card, cancel = Card(), CancelToken()
    meter = TileMeter(40, "Testing", lambda fraction, _: cancel.cancel() if fraction >= 0.2 else None, cancel)
    clock = EventClock(meter, card.event)
    for _ in range(2 + AHEAD):
        meter.before()
        run_batches(card, clock, 1)
    with pytest.raises(Cancelled):  # told of the second batch
        meter.before()


def test_a_pass_that_is_over_when_it_returns_is_told_at_once() -> None:
    meter = TileMeter(2, "Testing", lambda *_: None, CancelToken())
    clock = WallClock(meter)
    with clock.network():
        sum(range(10_000))
    clock.done(1)
    assert meter.done == 1
    assert meter.network_s > 0
