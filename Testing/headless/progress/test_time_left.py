"""The time left is told late enough, follows the rate, and does not jump."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from twintrack.progress.time_left import LEAST_FRACTION, TimeLeft, round_time


def told(times, fractions) -> list[float | None]:
    """What is said at each time, the run beginning at 0."""
    now = iter([0.0, *times])
    left = TimeLeft(clock=lambda: next(now))
    return [left.update(float(fraction)) for fraction in fractions]


def test_at_a_steady_rate_the_time_left_is_exact():
    times = np.linspace(0.5, 50.0, 100)
    said = told(times, times / 50.0)
    for time, seconds in zip(times, said, strict=True):
        if time / 50 >= LEAST_FRACTION:
            assert seconds == pytest.approx(50.0 - time, abs=1e-6)
        else:
            assert seconds is None


def test_nothing_is_said_before_there_is_anything_to_go_by():
    assert told([0.01, 0.02], [0.3, 0.5]) == [None, None]
    assert told([100.0, 200.0], [0.0, 0.05]) == [None, None]


@pytest.mark.parametrize("factor", [0.5, 2.0, 4.0])
def test_after_a_change_of_rate_the_second_half_is_told_within_a_factor_of_two(factor):
    """The first fifth of the fraction goes by at another rate than the rest."""
    fractions = np.linspace(0.01, 1.0, 100)
    steps = np.where(fractions <= 0.2, 1.0, factor)
    times = np.cumsum(steps)
    said = told(times, fractions)
    for time, seconds in zip(times[:-1], said[:-1], strict=True):
        if time > times[-1] / 2:
            assert 0.5 < seconds / (times[-1] - time) < 2


@pytest.mark.parametrize("seed", range(10))
def test_bursts_and_stalls_give_finite_times_that_do_not_jump(seed):
    rng = np.random.default_rng(seed)
    steps = rng.choice([0.0, 0.001, 1.0, 20.0], size=200)
    fractions = np.sort(rng.uniform(size=200))
    said = told(np.cumsum(steps), fractions)
    spoken = [(seconds, step) for seconds, step in zip(said, steps, strict=True) if seconds is not None]
    assert all(np.isfinite(seconds) and seconds >= 0 for seconds, _ in spoken)
    for (before, _), (after, step) in itertools.pairwise(spoken):
        if step <= 0.001:  # what is said in one breath agrees
            assert abs(after - before) <= 0.05 * before + 0.01


def test_a_finished_run_has_no_time_left():
    assert told([0.1, 5.0], [0.5, 1.0]) == [None, 0.0]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, (1, "s")), (3.2, (4, "s")), (31, (35, "s")), (89, (90, "s")), (91, (2, "min")), (5400, (2, "h"))],
)
def test_times_are_rounded_up_as_people_say_them(seconds, text):
    assert round_time(seconds) == text
