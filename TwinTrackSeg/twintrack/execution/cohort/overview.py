"""What a run's folder says about all cases, from the beginning to the end: tables, page and ``cohort.json``."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from twintrack import __version__
from twintrack.errors import OutputError
from twintrack.execution.cohort.html_index import INDEX, write_index
from twintrack.execution.cohort.outdated import RecordState
from twintrack.execution.cohort.plan import CASES, CohortPlan
from twintrack.execution.cohort.tables import COHORT, FAILURES, PARQUET, TIMINGS, Counts, write_tables
from twintrack.io.manifest import ManifestInputs
from twintrack.system.atomic import atomic_folder, check_output_folder
from twintrack.system.ownership import check_inputs
from twintrack.system.paths import file_sha256

__all__ = ["RUN", "Overview"]

RUN = "cohort.json"
"""What the folder is about."""

TABLES = (COHORT, FAILURES, TIMINGS, PARQUET, INDEX)
"""All that is made from the case folders."""

TABLES_COMMAND, RUN_COMMAND = "cohort tables", "cohort run"
"""What the list of files in the run's folder calls their writers: the one does not take the other's files away."""

EVERY_S = 60.0
"""How often tables and page are written anew during a run, at most."""

SHARE = 0.05
"""Part of a run's time that goes into that, at most: a hundred thousand cases take a minute or two to write down."""


class Overview:
    """Writes the files about all cases; each is the earlier one or the new one at any time.

    Parameters
    ----------
    plan : CohortPlan
        The run.
    manifest : Path
        As the user named it.
    announce : callable, optional
        Told when the files cannot be brought up to date during the run.

    Attributes
    ----------
    has_begun : bool
        Whether anything was written.
    """

    def __init__(self, plan: CohortPlan, manifest: Path, announce: Callable[[str], None] | None = None) -> None:
        self._plan, self._announce, self._told = plan, announce, False
        self._inputs = ManifestInputs((plan.rows,), (plan.bundle_path,))
        self._about: dict[str, Any] = {
            "schema": 1,
            "version": __version__,
            "manifest": {"path": str(manifest.expanduser().absolute()), "sha256": file_sha256(manifest)},
            "cases": len(plan),
            "bundle": {"path": str(plan.bundle_path), "sha256": plan.bundle_sha256},
            "settings": plan.settings.to_json(),
        }
        self._next = 0.0
        self.has_begun = False

    def check(self) -> None:
        """Refuse a folder in which something else lies at the places of these files, or an input among the cases.

        Raises
        ------
        OutputError
            Names it.
        """
        check_inputs((self._plan.out / CASES,), self._inputs)
        for command, names in ((TABLES_COMMAND, TABLES), (RUN_COMMAND, (RUN,))):
            check_output_folder(
                self._plan.out, names, command=command, inputs=self._inputs, overwrite=self._plan.overwrite
            )

    def begin(self, states: Mapping[RecordState, int]) -> None:
        """Say what the run is about, and what it found; tables of an earlier run stay."""
        found: Counter[str] = Counter()
        for state, number in states.items():
            record = "failed" if state.status == "open" and state.difference.changes else state.status
            there = record != "open"
            found["done" if record == "outdated" else record] += number
            found["other settings"] += number * (there and bool(state.difference.changes))
            found["further outputs"] += number * (there and bool(state.difference.dropped))
        counts = Counts(found["done"], found["failed"], found["other settings"], found["further outputs"])
        self._write_run("running", counts)
        self.has_begun = True
        self._next = time.monotonic() + EVERY_S

    def refresh(self) -> None:
        """Write everything anew if it is time for that; what is in the way is told, and in the end an error."""
        if time.monotonic() < self._next:
            return
        try:
            self.write("running")
        except OutputError as error:
            self._next = time.monotonic() + EVERY_S
            if self._announce is not None and not self._told:
                self._announce(f"the tables cannot be brought up to date now: {error}")
                self._told = True

    def write(self, state: str) -> Counts:
        """Write everything anew.

        Parameters
        ----------
        state : str
            ``running``, ``complete``, or ``stopped`` by an error or by the user.
        """
        started = time.monotonic()
        with self._files(TABLES_COMMAND, INDEX) as folder:
            counts = write_tables(self._plan, folder)
            write_index(self._plan, folder, counts, self._note(state, counts))
        self._write_run(state, counts)
        ended = time.monotonic()
        self._next = ended + max(EVERY_S, (ended - started) / SHARE)
        return counts

    def _note(self, state: str, counts: Counts) -> str:
        there, cases = counts.done + counts.failed, len(self._plan)
        note = "" if state == "complete" else f"This run is {state}: {there} of {cases} cases are there. "
        if counts.other_settings:
            note += (
                f"{counts.other_settings} of them were made with other settings, another bundle or another version; "
                "case.json in their folders says which."
            )
        return note.strip()

    def _write_run(self, state: str, counts: Counts) -> None:
        about = self._about | {"state": state, "results": counts._asdict()}
        with self._files(RUN_COMMAND, RUN) as folder:
            (folder / RUN).write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")

    def _files(self, command: str, last: str) -> AbstractContextManager[Path]:
        plan = self._plan
        return atomic_folder(plan.out, command=command, last=last, inputs=self._inputs, overwrite=plan.overwrite)
