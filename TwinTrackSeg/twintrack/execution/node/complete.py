"""When a series is complete: a sender does not say so, and one that breaks off does not either.

A series is complete when every association that brought a slice of it was released, and it has been quiet since. If
one broke, the rest is waited for, and what came is thrown away when nobody brings it: half a series would give a result
that looks like that of a whole one.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from twintrack.execution.node.ledger import Ledger, Series, Stage, hashed

__all__ = ["Arrivals", "Verdict", "Waits", "judge"]

logger = logging.getLogger(__name__)

INCOMING = "incoming"
"""Folder of the series that came, each in a folder of its own."""


@dataclass(frozen=True)
class Waits:
    """How long a series is waited for.

    Attributes
    ----------
    quiet_s : float
        After the last association that touched it was released.
    broken_s : float
        After an association broke.
    """

    quiet_s: float = 60.0
    broken_s: float = 600.0


class Verdict(Enum):
    """What is to be done with a series that is arriving."""

    WAIT = "wait"
    RUN = "run"
    DISCARD = "discard"


def judge(series: Series, now_s: float, waits: Waits) -> Verdict:
    """Say whether a series is complete, given up, or still coming."""
    if series.open:
        return Verdict.WAIT
    if series.broken_s is not None:
        gone_s = now_s - max(series.broken_s, series.touched_s)
        return Verdict.DISCARD if gone_s >= waits.broken_s else Verdict.WAIT
    return Verdict.RUN if now_s - series.touched_s >= waits.quiet_s else Verdict.WAIT


class Arrivals:
    """Takes instances in, and hands over the series that are complete.

    Parameters
    ----------
    folder : Path
        The node's own; only its account may read it.
    ledger : Ledger
        Where is noted what came and what became of it.
    waits : Waits
        How long a series is waited for.
    clock : callable
        Seconds, of any origin.
    """

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        waits: Waits,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._incoming = folder / INCOMING
        self._incoming.mkdir(mode=0o700, exist_ok=True)
        self._ledger, self._waits, self._clock = ledger, waits, clock
        self._opened: dict[str, float] = {}
        self._lock = threading.Lock()
        ledger.start_again(clock())
        self.clean_up()

    def folder_of(self, name: str) -> Path:
        """Return the folder with the files of series `name`."""
        return self._incoming / name

    def opened(self, association: str) -> None:
        """Note that an association began."""
        self._opened[association] = self._clock()

    def take(self, association: str, caller: str, study: str, series: str, instance: str, file: Path) -> None:
        """Put the file of an instance to its series; one that came before is replaced.

        Parameters
        ----------
        association, caller
            What brought it: a name of the association, and the AE title of its sender.
        study, series, instance
            UIDs; kept as hashes alone.
        file : Path
            On the node's own disk; it is moved.
        """
        now_s, name = self._clock(), hashed(instance)
        size = file.stat().st_size
        with self._lock:  # the series may not be found complete between the two
            opened_s = self._opened.get(association, now_s)
            holder = self._ledger.arrival(hashed(study, series), caller, association, opened_s, now_s)
            place = self.folder_of(holder)
            place.mkdir(mode=0o700, exist_ok=True)
            file.replace(place / name)
            self._ledger.add(holder, name, size, now_s)

    def ended(self, association: str, *, broken: bool) -> None:
        """Note that an association was released, or broke."""
        if self._opened.pop(association, None) is not None:
            self._ledger.ended(association, broken=broken, now_s=self._clock())

    def look(self) -> int:
        """Hand over what is complete and throw away what was given up; return how many series were handed over."""
        handed = 0
        for series in self._ledger.at(Stage.ARRIVING):
            with self._lock:
                now = [found for found in self._ledger.at(Stage.ARRIVING) if found.id == series.id]
                verdict = judge(now[0], self._clock(), self._waits) if now else Verdict.WAIT
                if verdict is Verdict.RUN:
                    self._join_earlier(series)
                    self._ledger.join(series)
                    self._ledger.move(series.id, Stage.WAITING)
                    handed += 1
                elif verdict is Verdict.DISCARD:
                    self._ledger.end(series, Stage.BROKEN)
            if verdict is Verdict.DISCARD:
                logger.warning("run %s: an association broke and nobody sent the rest; discarded", series.id)
        self.clean_up()
        return handed

    def _join_earlier(self, series: Series) -> None:
        """Add what came of the same series before, as far as its files are still there: the slices are late ones."""
        own = self._ledger.instances(series.id)
        for earlier in self._ledger.earlier(series):
            for name, size in self._ledger.instances(earlier).items():
                with suppress(FileNotFoundError):
                    if name not in own:
                        os.link(self.folder_of(earlier) / name, self.folder_of(series.id) / name)
                        self._ledger.add(series.id, name, size, series.touched_s)

    def clean_up(self) -> None:
        """Delete the files of series that have been run or given up, and what no row tells of."""
        for place in self._incoming.iterdir():
            if not self._ledger.needs(place.name):
                shutil.rmtree(place, ignore_errors=True) if place.is_dir() else place.unlink(missing_ok=True)
