"""A complete series becomes a run of the service, once for each set of slices, bundle, version and settings."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from twintrack.errors import Cancelled, OutputError, TwinTrackError
from twintrack.execution.node.complete import Arrivals
from twintrack.execution.node.ledger import Ledger, Series, Stage, hashed
from twintrack.execution.node.send import Sender, back_off_s
from twintrack.settings import SegmentSettings

__all__ = ["Offer", "Runner", "Segmenter", "ServiceAway"]

logger = logging.getLogger(__name__)

ATTEMPTS = 3
"""So often is tried what went wrong for a reason that may pass, such as a worker that died."""


class ServiceAway(Exception):
    """The service cannot be reached, or cannot take a run now; it is asked again until it can."""


@dataclass(frozen=True)
class Offer:
    """What the service would segment with.

    Attributes
    ----------
    version : str
        Of the program.
    bundle_sha256 : str
        Of the bundle.
    """

    version: str
    bundle_sha256: str


class Segmenter(Protocol):
    """The service, as the node needs it."""

    def offer(self) -> Offer:
        """Ask what it would segment with; raises `ServiceAway`."""

    def segment(self, source: Path, out: Path, settings: SegmentSettings, offer: Offer) -> None:
        """Segment the CT in folder `source`, with what was offered alone, and write the DICOM objects into `out`.

        Raises
        ------
        ServiceAway
            If it cannot be asked, or offers something else by now.
        TwinTrackError
            What the engine says of the CT.
        Cancelled
            If `stop` was called.
        """

    def stop(self) -> None:
        """Give up what is being done; from any thread."""


class Runner:
    """Runs what is waiting, one series after the other.

    Parameters
    ----------
    ledger, arrivals, sender
        Where series come from and results go.
    service : Segmenter
        What does the work.
    settings : SegmentSettings
        Of every run.
    clock : callable
        Seconds, as the ledger has them.
    """

    def __init__(
        self,
        ledger: Ledger,
        arrivals: Arrivals,
        sender: Sender,
        service: Segmenter,
        settings: SegmentSettings,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ledger, self._arrivals, self._sender = ledger, arrivals, sender
        self._service, self._settings, self._clock = service, settings, clock

    def look(self) -> bool:
        """Run the next series that is due; return whether there was one."""
        series = self._ledger.next_run(self._clock())
        if series is None:
            return False
        try:
            offer = self._service.offer()
            stage = self._known(series, self._run_of(offer))
            if stage is None:
                self._run(series, offer)
            else:
                self._end(series, stage)
        except ServiceAway as away:
            if series.attempts == 0:
                logger.warning("run %s: the service cannot be used (%s); asked again until it can", series.id, away)
            self._ledger.put_off(series, self._clock() + back_off_s(series.attempts))
        except Cancelled:
            self._ledger.put_off(series, self._clock())
        except OutputError as error:  # the node's own disk; the service's is `ServiceAway`
            if series.attempts == 0:
                logger.warning("run %s: the result cannot be kept (%s); tried again", series.id, error.code)
            self._ledger.put_off(series, self._clock() + back_off_s(series.attempts))
        except TwinTrackError as error:
            self._end(series, Stage.FAILED, error.code)
        except Exception as error:  # what it says may name the patient
            if series.attempts + 1 < ATTEMPTS:
                logger.warning("run %s: went wrong (%s); tried again", series.id, type(error).__name__)
                self._ledger.put_off(series, self._clock() + back_off_s(series.attempts))
            else:
                self._end(series, Stage.FAILED, "unexpected")
        return True

    def _run_of(self, offer: Offer) -> str:
        """Return the hash of everything but the CT that makes a result what it is."""
        return hashed(offer.version, offer.bundle_sha256, json.dumps(self._settings.to_json(), sort_keys=True))

    def _known(self, series: Series, run: str) -> Stage | None:
        """Say why a series need not be run, or cannot be: its slices have been, or most of them are gone."""
        own, before = frozenset(self._ledger.instances(series.id)), self._ledger.runs(series, run)
        if any(own <= earlier for earlier in before):
            return Stage.KNOWN
        return Stage.LATE if before and not own >= before[0] else None

    def _run(self, series: Series, offer: Offer) -> None:
        out = self._sender.folder_of(series.id)
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(mode=0o700)
        logger.info("run %s: %d instances", series.id, len(self._ledger.instances(series.id)))
        try:
            self._service.segment(self._arrivals.folder_of(series.id), out, self._settings, offer)
        except BaseException:
            shutil.rmtree(out, ignore_errors=True)
            raise
        if not any(out.iterdir()):
            logger.warning("run %s: the map is 0 everywhere, so that there is no object to send", series.id)
        self._ledger.move(series.id, Stage.DELIVERING, run=self._run_of(offer))

    def _end(self, series: Series, stage: Stage, code: str | None = None) -> None:
        self._ledger.end(series, stage, code)
        if stage is Stage.FAILED:
            logger.warning("run %s: not segmented (%s)", series.id, code)
        elif stage is Stage.LATE:
            logger.warning(
                "run %s: slices of a series that has been run and deleted; send the whole series again", series.id
            )
        else:
            logger.info("run %s: was run before", series.id)
