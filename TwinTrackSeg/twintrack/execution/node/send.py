"""Results go into the archive: again and again until they are there, and deleted here once they are."""

from __future__ import annotations

import logging
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from twintrack.dicom.send.delivery import Delivery
from twintrack.dicom.send.dimse import DimseTarget, send_dimse
from twintrack.dicom.send.stow import check_url, send_stow
from twintrack.errors import InputError, TwinTrackError
from twintrack.execution.node.ledger import Ledger, Series, Stage

__all__ = ["Archive", "Sender", "back_off_s"]

logger = logging.getLogger(__name__)

RESULTS = "results"
"""Folder of the objects that have not been delivered, those of each run in a folder of its own."""

FIRST_S, LONGEST_S = 5.0, 600.0
"""Between two attempts: at the beginning, and at most."""

KEPT_S = 7 * 24 * 3600.0
"""Results that the archive does not take for so long are deleted: they are a patient's. The time is that of the pauses
between attempts: a clock may jump, and while the node is off nothing was refused."""


def back_off_s(attempts: int) -> float:
    """Return how long to wait after so many failed attempts."""
    return min(FIRST_S * 2.0 ** min(attempts, 20), LONGEST_S)


def waited_s(attempts: int) -> float:
    """Return how long was waited in all before the attempt after so many failed ones."""
    doubling = min(attempts, int(math.log2(LONGEST_S / FIRST_S)) + 1)
    return FIRST_S * (2.0**doubling - 1) + (attempts - doubling) * LONGEST_S


@dataclass(frozen=True)
class Archive:
    """Where results go: exactly one of the two.

    Attributes
    ----------
    dimse : DimseTarget, optional
        By C-STORE.
    stow : str, optional
        By DICOMweb; credentials come from the environment or a netrc file.
    stow_ca : Path, optional
        PEM file of the authority behind the DICOMweb service.
    """

    dimse: DimseTarget | None = None
    stow: str | None = None
    stow_ca: Path | None = None

    def __post_init__(self) -> None:
        if (self.dimse is None) == (self.stow is None):
            raise InputError(
                "name the archive that results go to, with --pacs or --stow, one of them; there is no default",
                code="archive-missing",
            )
        if self.stow is not None:
            check_url(self.stow)

    @property
    def place(self) -> str:
        """What to call it in messages."""
        return self.dimse.place if self.dimse is not None else str(self.stow)

    def send(self, files: Sequence[Path]) -> list[Delivery]:
        """Send files; return what became of each.

        Raises
        ------
        InputError
            If a package is missing or a certificate cannot be used.
        """
        if self.dimse is not None:
            return send_dimse(files, self.dimse)
        return send_stow(files, str(self.stow), ca_file=self.stow_ca)


class Sender:
    """Delivers what lies in the folder of results.

    Parameters
    ----------
    folder : Path
        The node's own.
    ledger, archive
        Where is noted what was delivered, and where to.
    clock : callable
        Seconds, as the ledger has them.
    """

    def __init__(
        self,
        folder: Path,
        ledger: Ledger,
        archive: Archive,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._results = folder / RESULTS
        self._results.mkdir(mode=0o700, exist_ok=True)
        self._ledger, self._archive, self._clock = ledger, archive, clock
        for place in self._results.iterdir():  # what was being written when the node stopped
            if place.name not in {series.id for series in ledger.at(Stage.DELIVERING)}:
                shutil.rmtree(place, ignore_errors=True)

    def folder_of(self, name: str) -> Path:
        """Return the folder of the objects of run `name`."""
        return self._results / name

    def look(self) -> int:
        """Send what is due; return of how many runs all objects arrived."""
        return sum(self._deliver(series) for series in self._ledger.at(Stage.DELIVERING, due_s=self._clock()))

    def _deliver(self, series: Series) -> bool:
        files = sorted(self.folder_of(series.id).glob("*.dcm"), key=_order)
        problem = ""
        if files:
            try:
                sent = self._archive.send(files)
            except TwinTrackError as error:
                problem = error.code
            except Exception as error:  # what it says may name the patient; others' results must not wait behind it
                problem = f"unexpected: {type(error).__name__}"
            else:
                for item in sent:
                    if item.arrived:  # a node that is killed before this sends the same object, of the same UID, again
                        item.path.unlink()
                problem = next((item.problem for item in sent if not item.arrived), "")
        left = [file for file in files if file.exists()]
        if not left:
            self._finish(series, Stage.DONE)
            logger.info("run %s: delivered to %s", series.id, self._archive.place)
            return True
        if waited_s(series.attempts) > KEPT_S:
            self._finish(series, Stage.FAILED, "archive-refused")
            logger.warning("run %s: %s did not take the results for days; deleted", series.id, self._archive.place)
            return False
        if series.attempts == 0:
            logger.warning(
                "run %s: %s did not take %d objects (%s); tried again until it does",
                series.id, self._archive.place, len(left), problem,
            )  # fmt: skip
        self._ledger.put_off(series, self._clock() + back_off_s(series.attempts))
        return False

    def _finish(self, series: Series, stage: Stage, code: str | None = None) -> None:
        self._ledger.end(series, stage, code)
        shutil.rmtree(self.folder_of(series.id), ignore_errors=True)


def _order(file: Path) -> tuple[bool, str]:
    """Put the report behind what it refers to."""
    return file.name.startswith("report"), file.name
