"""How far a run is, when its stages take different and at first unknown times."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from twintrack.progress.callbacks import Progress, no_progress

__all__ = ["Stages", "process_began"]

TRUST = 3
"""How fast a stage's own rate takes over from what was expected of it: its first steps are often not like others."""

PACE_S, MOST_PACE = 0.1, 5.0
"""The pace counts from stages of more than these seconds; no stage is taken to be more than so many times slower."""


class Stages:
    """Turns the progress of stages into the fraction done of the whole run, in terms of time.

    Between two reports the fraction takes the share that the time gone by has of all the time then thought to be left.
    So it never falls, runs evenly as long as the expectations hold, and runs faster or slower from the moment on at
    which the run proves shorter or longer.

    What is left of a stage follows its expected time at first, and the more the rate of its own progress, the further
    it is.

    Stages of the same kind share their pace: when those that have ended took twice what was expected, so will the
    others.

    No second is lost: what lies between two stages counts for the one that follows, and a stage that is begun again
    adds to its time.

    Parameters
    ----------
    progress : Progress
        Told of the fraction done of the run.
    expected_s : mapping of str to float
        Expected wall seconds of each stage.
    alike : collection of str
        Stages of the same kind.
    began : float, optional
        When the run began, on `clock`; now, if not given.
    clock : callable
        Seconds that never run back.

    Attributes
    ----------
    fraction : float
        Done so far, 0 to 1.
    seconds : dict of str to float
        Wall seconds of each stage that has ended; together, those from the beginning of the run to the end of the last
        stage.
    """

    def __init__(
        self,
        progress: Progress = no_progress,
        expected_s: Mapping[str, float] | None = None,
        *,
        alike: Collection[str] = (),
        began: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.fraction = 0.0
        self.seconds: dict[str, float] = {}
        self._progress = progress
        self._clock = clock
        self._expected_s = dict(expected_s or {})
        self._to_come = list(self._expected_s)
        self._alike = frozenset(alike)
        self._told = clock()
        self._counted = self._told if began is None else began

    def expect(self, stage: str, seconds: float) -> None:
        """Correct the expectation of a stage; for one that has ended, that tells the pace."""
        if stage in self._expected_s:
            self._expected_s[stage] = max(float(seconds), 0.0)

    @contextmanager
    def stage(self, name: str) -> Iterator[Progress]:
        """Begin a stage; yields what its own progress, 0 to 1, is reported to. It ends with the block."""
        expected = self._expected(name)
        self._to_come = [other for other in self._to_come if other != name]
        begun = self._clock()
        furthest = 0.0

        def report(fraction: float, message: str) -> None:
            nonlocal furthest
            furthest = max(furthest, min(max(fraction, 0.0), 1.0))
            self._advance(_left_s(furthest, self._clock() - begun, expected))
            self._progress(self.fraction, message)

        yield report
        self.count(name)
        self._advance(0.0)

    def count(self, name: str) -> None:
        """Add to the seconds of the stage `name` what has passed since the last one ended."""
        now = self._clock()
        self.seconds[name] = round(self.seconds.get(name, 0.0) + now - self._counted, 3)
        self._counted = now

    def finish(self, message: str) -> None:
        """Report that all is done."""
        self.fraction = 1.0
        self._progress(1.0, message)

    def _advance(self, stage_left_s: float) -> None:
        """Let the fraction follow the time since the last call, with so much of the stage left."""
        now = self._clock()
        gone, left = now - self._told, stage_left_s + sum(self._expected(name) for name in self._to_come)
        self._told = now
        if gone > 0:
            self.fraction = min(max(self.fraction, 1.0 - (1.0 - self.fraction) * left / (left + gone)), 1.0)

    def _expected(self, name: str) -> float:
        """Seconds that a stage is expected to take at the pace of this run."""
        expected = self._expected_s.get(name, 0.0)
        if name not in self._alike:
            return expected
        ended = [other for other in self._alike if other in self.seconds and other in self._expected_s]
        took = PACE_S + sum(self.seconds[other] for other in ended)
        pace = took / (PACE_S + sum(self._expected_s[other] for other in ended))
        return expected * min(max(pace, 1 / MOST_PACE), MOST_PACE)


def process_began() -> float:
    """Return when this process began, on the clock of `time.perf_counter`.

    Other systems than Linux do not tell it in the standard library: there the CPU seconds that the process has used
    stand for its age, which is less by what it waited for files.
    """
    now, age_s = time.perf_counter(), time.process_time()
    if sys.platform == "linux":
        with suppress(OSError, ValueError, IndexError):
            fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
            age_s = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    return now - age_s


def _left_s(fraction: float, took_s: float, expected_s: float) -> float:
    """Seconds left of a stage: as expected at its beginning, from half of it on nearly as its own rate tells."""
    if fraction <= 0:
        return max(expected_s, took_s)
    trust = 1.0 - (1.0 - fraction) ** TRUST
    return (1.0 - fraction) * ((1.0 - trust) * expected_s + trust * took_s / fraction)
