"""Several at a time give what one after the other gives, in order, and end as it ends."""

from __future__ import annotations

import os
import threading
import time

import pytest

from twintrack.errors import Cancelled
from twintrack.progress.callbacks import CancelToken
from twintrack.system.threads import in_order, one_blas_thread


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(threads):
    def work(number: int) -> int:
        time.sleep(0.02 if number % 2 == 0 else 0.0)
        return number * number

    assert list(in_order(work, range(8), threads=threads)) == [number * number for number in range(8)]


def test_two_are_worked_on_at_once():
    both = threading.Barrier(2, timeout=120)
    assert list(in_order(lambda _: both.wait() >= 0, range(2), threads=2)) == [True, True]


def test_the_longest_is_begun_first_and_results_stay_in_order():
    begun, free = [], threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        assert free.wait(120)
        return number

    results = in_order(work, [1, 5, 2, 9], threads=2, cost=float)
    threading.Timer(0.1, free.set).start()
    assert list(results) == [1, 5, 2, 9]
    assert sorted(begun[:2]) == [5, 9]


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_comes_up_in_its_turn_and_nothing_is_begun_after_it(threads):
    begun = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.05)
        if number == 1:
            raise KeyError(number)
        return number

    results = in_order(work, range(40), threads=threads)
    assert next(results) == 0
    with pytest.raises(KeyError):
        next(results)
    assert len(begun) <= 2 + 2 * threads


@pytest.mark.parametrize("threads", [1, 2])
def test_a_cancelled_run_stops_at_the_next_item(threads):
    cancel, done = CancelToken(), []

    def work(number: int) -> int:
        done.append(number)
        if number == 2:
            cancel.cancel()
        return number

    with pytest.raises(Cancelled):
        list(in_order(work, range(40), threads=threads, cancel=cancel))
    assert len(done) <= 3 + threads


def test_products_get_one_thread_unless_the_environment_says_how_many(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    one_blas_thread()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "3"
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    one_blas_thread()
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1"
