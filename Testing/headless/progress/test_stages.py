"""The fraction of a run follows its time, whatever was expected of the stages."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

from twintrack.progress.stages import Stages, process_began


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run(expected_s, took_s, steps=10, seed=None) -> tuple[list[float], list[float]]:
    """Let each stage take its time in equal (or random) steps; return times and fractions told, time from 0 to 1."""
    rng = np.random.default_rng(seed)
    clock, times, fractions = Clock(), [], []

    def told(fraction: float, _message: str) -> None:
        times.append(clock.now - 100.0)
        fractions.append(fraction)

    stages = Stages(told, expected_s, clock=clock)
    for name, seconds in took_s.items():
        shares = np.full(steps, 1.0) if seed is None else rng.exponential(size=steps)
        done = np.cumsum(shares) / shares.sum()
        with stages.stage(name) as report:
            for part, share in zip(done, shares / shares.sum(), strict=True):
                clock.now += seconds * share
                # A stage's own progress need not be even, and may fall.
                report(part if seed is None else rng.uniform(), "at work")
    stages.finish("done")
    return [time / max(times[-1], 1e-9) for time in times], fractions


def test_the_fraction_is_that_of_the_time_when_all_goes_as_expected():
    expected = {"read": 1.0, "look": 7.0, "write": 2.0}
    times, fractions = run(expected, expected)
    np.testing.assert_allclose(fractions, times, atol=1e-9)


def test_a_stage_that_is_over_early_hands_its_share_to_the_stages_that_take_their_time():
    _times, fractions = run({"look": 50.0, "write": 2.0}, {"look": 0.5, "write": 2.0})
    np.testing.assert_allclose(fractions[10:20], np.linspace(fractions[9], 1.0, 11)[1:], atol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_the_fraction_never_falls_and_ends_at_one(seed):
    rng = np.random.default_rng(seed)
    names = [f"stage {n}" for n in range(5)]
    expected = {name: float(rng.exponential()) for name in names}
    took = {name: float(rng.choice([0.0, rng.exponential(0.1), rng.exponential(20)])) for name in names}
    _times, fractions = run(expected, took, seed=seed)
    assert fractions == sorted(fractions)
    assert fractions[0] >= 0
    assert fractions[-1] == 1.0


def test_a_stage_that_takes_ten_times_longer_slows_the_fraction_down_but_leaves_room_for_the_rest():
    times, fractions = run({"look": 1.0, "write": 1.0}, {"look": 10.0, "write": 1.0})
    end_of_look = fractions[9]
    assert times[9] == pytest.approx(10 / 11)
    assert 0.75 < end_of_look < 0.97
    assert fractions[4] < 0.6


def test_a_corrected_expectation_counts_from_then_on():
    clock, fractions = Clock(), []
    stages = Stages(lambda fraction, _message: fractions.append(fraction), {"a": 5.0, "b": 5.0}, clock=clock)
    with stages.stage("a") as report:
        clock.now += 5.0
        report(1.0, "")
    stages.expect("b", 15.0)
    with stages.stage("b") as report:
        clock.now += 5.0
        report(1 / 3, "")
    # Half is done when the correction comes; a third of the 15 s then goes by.
    assert fractions == pytest.approx([0.5, 0.5 + 0.5 / 3])


def test_seconds_are_kept_for_each_stage_and_a_failed_one_raises_on():
    clock = Clock()
    stages = Stages(clock=clock)
    with stages.stage("a"):
        clock.now += 1.25
    with pytest.raises(KeyError), stages.stage("b"):
        raise KeyError("trouble")
    assert stages.seconds == {"a": 1.25}


def test_stages_of_the_same_kind_share_their_pace():
    """Reading took three times what was expected, so writing will; looking is another matter."""
    clock, fractions = Clock(), []
    expected = {"read": 2.0, "look": 4.0, "write": 2.0}
    stages = Stages(
        lambda fraction, _message: fractions.append(fraction), expected, alike=("read", "write"), clock=clock
    )
    with stages.stage("read"):
        clock.now += 6.0
    with stages.stage("look") as report:
        clock.now += 4.0
        report(1.0, "")
        before = fractions[-1]
    with stages.stage("write") as report:
        clock.now += 3.0
        report(0.5, "")
    # Half of what was left has gone by.
    assert 1 - fractions[-1] == pytest.approx((1 - before) / 2, rel=0.05)
    assert before < 0.8


def test_no_second_between_stages_is_lost():
    clock = Clock()
    stages = Stages(began=clock.now - 2.0, clock=clock)
    stages.count("import")
    clock.now += 0.5
    with stages.stage("read"):
        clock.now += 1.0
    clock.now += 0.25
    with stages.stage("look"):
        clock.now += 4.0
    with stages.stage("read"):
        clock.now += 3.0
    assert stages.seconds == {"import": 2.0, "read": 4.5, "look": 4.25}


@pytest.mark.process
def test_a_process_knows_when_it_began():
    code = "import time; from twintrack.progress.stages import process_began; "
    code += "print(time.perf_counter() - process_began(), flush=True)"
    start = time.perf_counter()
    told = subprocess.run(
        [sys.executable, "-c", "import time; time.sleep(0.5); " + code], capture_output=True, check=True
    )
    whole = time.perf_counter() - start
    assert 0.5 < float(told.stdout) < whole + 0.05
    assert process_began() <= time.perf_counter()
