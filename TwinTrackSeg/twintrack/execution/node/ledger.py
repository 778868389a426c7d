"""What the node remembers: which series came, what became of them, what has still to be delivered.

A SQLite file, so that a node that was killed goes on where it was. Series and instances stand in it as hashes of their
UIDs; nothing of a patient does. The files of a series lie in a folder of the same random name as its row.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from twintrack.errors import OutputError
from twintrack.execution.server.audit import Audit

__all__ = ["Ledger", "Series", "Stage", "hashed"]

TABLES = """
CREATE TABLE IF NOT EXISTS series (
    id TEXT PRIMARY KEY, source TEXT NOT NULL, caller TEXT NOT NULL, stage TEXT NOT NULL, touched_s REAL NOT NULL,
    broken_s REAL, run TEXT, attempts INTEGER NOT NULL DEFAULT 0, due_s REAL NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX IF NOT EXISTS one_arrival ON series (source) WHERE stage = 'arriving';
CREATE INDEX IF NOT EXISTS of_stage ON series (stage);
CREATE INDEX IF NOT EXISTS of_source ON series (source);
CREATE TABLE IF NOT EXISTS instance (
    series TEXT NOT NULL, name TEXT NOT NULL, bytes INTEGER NOT NULL, PRIMARY KEY (series, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS touch (
    association TEXT NOT NULL, series TEXT NOT NULL, opened_s REAL NOT NULL, PRIMARY KEY (association, series)
) WITHOUT ROWID;
"""


REMEMBERED = 5000
"""Series that have ended and are remembered, the last ones: with 300 slices each some 100 MB. One that is sent again
after so many others is run again; its objects are the same as before."""

ENDED = "('done', 'failed', 'known', 'joined', 'late', 'broken')"
"""The last stages of a series, in SQL."""


class Stage(str, Enum):
    """Where a series is."""

    ARRIVING = "arriving"
    WAITING = "waiting"
    RUNNING = "running"
    DELIVERING = "delivering"
    DONE = "done"
    FAILED = "failed"
    KNOWN = "known"
    """Its results are in the archive, or on their way."""
    JOINED = "joined"
    """Further slices came before it was run."""
    LATE = "late"
    """Further slices came when the files of the others were gone."""
    BROKEN = "broken"
    """An association broke, and nobody sent the rest."""


@dataclass(frozen=True)
class Series:
    """What came of one series until it was complete.

    Attributes
    ----------
    id : str
        Random; the name of its folder and of its run in log and audit.
    source : str
        Hash of the UIDs of study and series.
    caller : str
        AE title that it came from.
    stage : Stage
        Where it is.
    touched_s : float
        When the last instance came, on the node's clock.
    broken_s : float or None
        When an association that had touched it broke, unless a later one has brought it since.
    attempts : int
        Of what is done with it now.
    open : int
        Associations that touched it and have not ended.
    """

    id: str
    source: str
    caller: str
    stage: Stage
    touched_s: float
    broken_s: float | None
    attempts: int
    open: int


COLUMNS = (
    "id, source, caller, stage, touched_s, broken_s, attempts, (SELECT count(*) FROM touch WHERE touch.series = id)"
)


def hashed(*uids: str) -> str:
    """Return what stands for UIDs in the ledger and in names of files."""
    return hashlib.sha256("\0".join(uids).encode("utf-8", "replace")).hexdigest()[:32]


class Ledger:
    """The table of series; every change is whole or not at all, and kept when the process is killed.

    Parameters
    ----------
    path : Path
        The SQLite file.
    audit : Audit
        Gets a line for each series that came to an end.

    Raises
    ------
    OutputError
        If it cannot be opened.
    """

    def __init__(self, path: Path, audit: Audit) -> None:
        self._lock, self._audit = threading.RLock(), audit
        try:
            self._tables = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            # A commit is in the system's hands: it outlives the process, not a power cut.
            self._tables.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + TABLES)
        except sqlite3.Error as error:
            raise OutputError(
                "cannot be used as the node's ledger; check the folder, its permissions and the free space",
                code="ledger-unusable",
                path=path,
            ) from error

    def close(self) -> None:
        """Close the file, and the audit."""
        with self._lock:
            self._tables.close()
            self._audit.close()

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        """Yield the tables for one change.

        Raises
        ------
        OutputError
            If it cannot be kept, most often because the disk is full.
        """
        with self._lock:
            try:
                self._tables.execute("BEGIN IMMEDIATE")
                yield self._tables
                self._tables.execute("COMMIT")
            except sqlite3.Error as error:
                raise OutputError(
                    f"the node's ledger cannot be written ({error}); make room on its disk", code="ledger-not-writable"
                ) from error
            finally:
                if self._tables.in_transaction:
                    self._tables.execute("ROLLBACK")

    def arrival(self, source: str, caller: str, association: str, opened_s: float, now_s: float) -> str:
        """Return the name of the series that `association` brings an instance of now; a new one if none is coming."""
        with self._change() as tables:
            row = tables.execute("SELECT id FROM series WHERE source = ? AND stage = 'arriving'", (source,)).fetchone()
            name = str(row[0]) if row else secrets.token_hex(16)
            if row is None:
                tables.execute(
                    "INSERT INTO series (id, source, caller, stage, touched_s) VALUES (?, ?, ?, 'arriving', ?)",
                    (name, source, caller, now_s),
                )
            tables.execute("INSERT OR IGNORE INTO touch VALUES (?, ?, ?)", (association, name, opened_s))
            return name

    def add(self, name: str, instance: str, size: int, now_s: float) -> None:
        """Enter an instance whose file is there."""
        with self._change() as tables:
            tables.execute("INSERT OR REPLACE INTO instance VALUES (?, ?, ?)", (name, instance, size))
            tables.execute("UPDATE series SET touched_s = ? WHERE id = ?", (now_s, name))

    def ended(self, association: str, *, broken: bool, now_s: float) -> None:
        """Note the end of an association: one that was opened after a break and released heals what it touched."""
        with self._change() as tables:
            of_it = "id IN (SELECT series FROM touch WHERE association = ?)"
            tables.execute(
                f"UPDATE series SET touched_s = ? WHERE stage = 'arriving' AND {of_it}", (now_s, association)
            )
            if broken:
                tables.execute(
                    f"UPDATE series SET broken_s = ? WHERE stage = 'arriving' AND {of_it}", (now_s, association)
                )
            else:
                tables.execute(
                    "UPDATE series SET broken_s = NULL WHERE broken_s < "
                    "(SELECT opened_s FROM touch WHERE association = ? AND series = id)",
                    (association,),
                )
            tables.execute("DELETE FROM touch WHERE association = ?", (association,))

    def start_again(self, now_s: float) -> None:
        """Begin after a stop: associations of before are broken, and what was quiet has to be quiet again."""
        with self._change() as tables:
            tables.execute("UPDATE series SET touched_s = ? WHERE stage = 'arriving'", (now_s,))
            tables.execute(
                "UPDATE series SET broken_s = ? WHERE stage = 'arriving' AND "
                "(broken_s IS NOT NULL OR id IN (SELECT series FROM touch))",
                (now_s,),
            )
            tables.execute("DELETE FROM touch")
            tables.execute("UPDATE series SET due_s = 0")
            tables.execute("UPDATE series SET stage = 'waiting' WHERE stage = 'running'")

    def join(self, series: Series) -> None:
        """Put what came of the same series before, and has not been run yet, aside for this one."""
        with self._change() as tables:
            tables.execute(
                "UPDATE series SET stage = 'joined' WHERE source = ? AND id != ? AND stage = 'waiting'",
                (series.source, series.id),
            )

    def next_run(self, now_s: float) -> Series | None:
        """Take the first series to be run, unless further slices of it are coming."""
        with self._change() as tables:
            row = tables.execute(
                "SELECT id FROM series WHERE stage = 'waiting' AND due_s <= ? "
                "AND source NOT IN (SELECT source FROM series WHERE stage = 'arriving') ORDER BY rowid",
                (now_s,),
            ).fetchone()
            if row is None:
                return None
            tables.execute("UPDATE series SET stage = 'running' WHERE id = ?", row)
            taken = tables.execute(f"SELECT {COLUMNS} FROM series WHERE id = ?", row).fetchone()
            return _series(taken)

    def at(self, stage: Stage, *, due_s: float | None = None) -> list[Series]:
        """Return the series of one stage, the first that came first; with `due_s` those alone that wait no longer."""
        with self._lock:
            rows = self._tables.execute(
                f"SELECT {COLUMNS} FROM series WHERE stage = ? AND due_s <= ? ORDER BY rowid",
                (stage.value, float("inf") if due_s is None else due_s),
            ).fetchall()
        return [_series(row) for row in rows]

    def instances(self, name: str) -> dict[str, int]:
        """Return the bytes of each instance of a series."""
        with self._lock:
            return dict(self._tables.execute("SELECT name, bytes FROM instance WHERE series = ?", (name,)).fetchall())

    def earlier(self, series: Series) -> list[str]:
        """Return the names of what came of the same series before."""
        with self._lock:
            rows = self._tables.execute(
                "SELECT id FROM series WHERE source = ? AND id != ? ORDER BY rowid", (series.source, series.id)
            ).fetchall()
        return [row[0] for row in rows]

    def needs(self, name: str) -> bool:
        """Whether files of the series of this name are needed: until it has been run, and while slices of it come."""
        with self._lock:
            row = self._tables.execute(
                "SELECT stage IN ('arriving', 'waiting', 'running') "
                "OR source IN (SELECT source FROM series WHERE stage = 'arriving') FROM series WHERE id = ?",
                (name,),
            ).fetchone()
        return row is not None and bool(row[0])

    def runs(self, series: Series, run: str) -> list[frozenset[str]]:
        """Return the sets of instances of which the results of `run` are there or on their way, the last one first."""
        with self._lock:
            rows = self._tables.execute(
                "SELECT id FROM series WHERE source = ? AND run = ? AND id != ? AND stage IN ('delivering', 'done') "
                "ORDER BY rowid DESC",
                (series.source, run, series.id),
            ).fetchall()
            return [frozenset(self.instances(row[0])) for row in rows]

    def move(self, name: str, stage: Stage, *, run: str | None = None) -> None:
        """Put a series into a stage, with no attempt made in it; `run` is the hash of all settings it was run with."""
        with self._change() as tables:
            tables.execute(
                "UPDATE series SET stage = ?, attempts = 0, due_s = 0, run = coalesce(?, run) WHERE id = ?",
                (stage.value, run, name),
            )

    def end(self, series: Series, stage: Stage, code: str | None = None) -> None:
        """Put a series into its last stage; `code` is that of the error, where there was one."""
        self.move(series.id, stage)
        sizes = self.instances(series.id).values()
        self._audit.write(
            "series",
            run=series.id,
            who=series.caller,
            instances=len(sizes),
            bytes=sum(sizes),
            end=stage.value,
            code=code,
        )
        self._forget()

    def _forget(self) -> None:
        """Remove what ended long ago."""
        old = f"SELECT id FROM series WHERE stage IN {ENDED} ORDER BY rowid DESC LIMIT -1 OFFSET {REMEMBERED}"
        with self._change() as tables:
            tables.execute(f"DELETE FROM instance WHERE series IN ({old})")
            tables.execute(f"DELETE FROM series WHERE id IN ({old})")

    def put_off(self, series: Series, due_s: float) -> None:
        """Count a failed attempt; the next is not made before `due_s`."""
        with self._change() as tables:
            tables.execute(
                "UPDATE series SET attempts = attempts + 1, due_s = ?, "
                "stage = CASE stage WHEN 'running' THEN 'waiting' ELSE stage END WHERE id = ?",
                (due_s, series.id),
            )


def _series(row: tuple[Any, ...]) -> Series:
    name, source, caller, stage, touched_s, broken_s, attempts, count = row
    return Series(name, source, caller, Stage(stage), touched_s, broken_s, attempts, count)
