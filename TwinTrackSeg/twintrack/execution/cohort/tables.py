"""Tables of a cohort, one row a case in the manifest's order, written from the case folders one after the other.

`COHORT` and `FAILURES` depend on the cases, the bundle and the settings alone: a run that was killed and started again
gives the same bytes as one that was not. Times are in a table of their own.
"""

from __future__ import annotations

import csv
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from twintrack.execution.cohort.case_folder import folder_name
from twintrack.execution.cohort.plan import CASES, CohortPlan
from twintrack.execution.cohort.process_case import FROM_MAP, STAGES, case_columns
from twintrack.system.csv_cells import harmless

if TYPE_CHECKING:
    from _csv import Writer

__all__ = ["COHORT", "FAILURES", "PARQUET", "TIMINGS", "Counts", "write_tables"]

COHORT, FAILURES, TIMINGS, PARQUET = "cohort.csv", "failures.csv", "timings.csv", "cohort.parquet"

NUMBERS = (
    *("_ml", "_deg", "_s", "p_contact", "p_encased", "lesions", "_coverage", "_gap_mm_at_0.5", "any_tumour"),
    *("_level_contact", "_level_encased", "_angle_deg_at_0.5"),
)
"""Endings of the columns that hold numbers."""

ROWS_AT_A_TIME = 1000
"""Of `PARQUET`: a row is tens of strings until it is written."""


class Counts(NamedTuple):
    """What is in the tables.

    Attributes
    ----------
    done, failed : int
        Cases with a result, and with a reason why not.
    other_settings : int
        Those of them that were made with another bundle, version or settings than are asked for now.
    further_outputs : int
        Results with an output that nobody asks for any more.
    """

    done: int
    failed: int
    other_settings: int = 0
    further_outputs: int = 0


def write_tables(plan: CohortPlan, folder: Path) -> Counts:
    """Write the CSV tables, and `PARQUET` where pyarrow is installed, into a private folder."""
    columns = case_columns(plan.vessels)
    done = failed = other = further = 0
    with ExitStack() as stack:
        cohort, failures, timings = (_writer(stack, folder / name) for name in (COHORT, FAILURES, TIMINGS))
        cohort.writerow(columns)
        failures.writerow(("case", "kind", "reason", "code"))
        timings.writerow(("case", *(f"{stage}_s" for stage in STAGES), "worker"))
        for case, record in plan.records():
            found = plan.difference(case, record)
            other += bool(found.changes)
            further += bool(found.dropped)
            timings.writerow(
                (harmless(case.case), *(record["seconds"].get(stage, "") for stage in STAGES), record["worker"])
            )
            if record["status"] == "failed":
                failed += 1
                reason, code = harmless(record["reason"]), record.get("code", "")
                failures.writerow((harmless(case.case), record["kind"], reason, code))
                continue
            done += 1
            known = {"case": harmless(case.case), "key": record["key"], "folder": f"{CASES}/{folder_name(case.case)}"}
            row = {"statements": FROM_MAP} | record["row"] | known
            cohort.writerow(["" if row.get(column) is None else row[column] for column in columns])
    if find_spec("pyarrow"):
        _write_parquet(folder / COHORT, folder / TIMINGS, folder / PARQUET)
    return Counts(done, failed, other, further)


def _writer(stack: ExitStack, path: Path) -> Writer:
    return csv.writer(stack.enter_context(path.open("w", newline="", encoding="utf-8")))


def _write_parquet(cohort: Path, timings: Path, path: Path) -> None:
    """Write the table with the times of its cases, `ROWS_AT_A_TIME`."""
    import pyarrow
    import pyarrow.parquet

    with (
        cohort.open(newline="", encoding="utf-8") as rows,
        timings.open(newline="", encoding="utf-8") as times,
    ):
        table, timed = csv.DictReader(rows), csv.DictReader(times)
        names = [*(table.fieldnames or ()), *(timed.fieldnames or ())[1:]]
        types = [(name, pyarrow.float64() if name.endswith(NUMBERS) else pyarrow.string()) for name in names]
        schema = pyarrow.schema(types)
        with pyarrow.parquet.ParquetWriter(path, schema) as writer:
            block: list[dict[str, Any]] = []
            for row in table:
                time = next(other for other in timed if other["case"] == row["case"])  # failed cases have times too
                block.append({name: _value(name, (row | time)[name]) for name in names})
                if len(block) == ROWS_AT_A_TIME:
                    writer.write_table(pyarrow.Table.from_pylist(block, schema))
                    block = []
            writer.write_table(pyarrow.Table.from_pylist(block, schema))


def _value(name: str, text: str) -> float | str | None:
    if text == "":
        return None
    return float(text) if name.endswith(NUMBERS) else text
