"""The run over a cohort: what is done stays, what is missing is computed, tables at the end."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twintrack import __version__
from twintrack.bundle import file_sha256
from twintrack.cohort.case import CaseTask, process_case, publish_failure
from twintrack.cohort.cluster import GPU, cluster_client, dashboard, slots
from twintrack.cohort.flow import through_cluster
from twintrack.cohort.folder import folder_name, writing
from twintrack.cohort.index import write_index
from twintrack.cohort.patience import Patience
from twintrack.cohort.plan import CASES, CohortPlan, make_plan
from twintrack.cohort.seen import check_seen
from twintrack.cohort.tables import TABLES, write_tables
from twintrack.dask_shared import WORKER_PATIENCE_S
from twintrack.errors import InputError, OutputError
from twintrack.progress import CancelToken, Progress, no_progress
from twintrack.settings import SegmentSettings
from twintrack.system.atomic import atomic_path
from twintrack.system.locks import HELD_ELSEWHERE, try_lock

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["CohortSummary", "run_cohort"]

RUN = "cohort.json"
"""What the folder is about."""

LOCK = ".twintrack-run"
"""Locked while a run uses the folder."""

SHARE_OF_GPU = 0.5
"""A case takes half of a worker's GPU resource: while the networks work for one, another is read or written. The
networks themselves work for one case at a time."""

LEAST_WINDOW = 64
"""Cases handed to the scheduler ahead of time, at least: a cluster that grows by need grows by what waits."""

WINDOW_PER_SLOT = 4


@dataclass(frozen=True)
class CohortSummary:
    """How a run ended.

    Attributes
    ----------
    out : Path
        Where everything lies.
    cases, done, failed : int
        All cases of the manifest, and how many of them have a result or a reason why not.
    kept : int
        Cases that were there already.
    """

    out: Path
    cases: int
    done: int
    failed: int
    kept: int


def run_cohort(
    manifest: str | Path,
    bundle_path: str | Path,
    out: str | Path,
    settings: SegmentSettings | None = None,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    patience_s: float = WORKER_PATIENCE_S,
    retry_failed: bool = False,
    announce: Callable[[str], None] | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
) -> CohortSummary:
    """Segment every case of a manifest that has no valid result in `out`, and write the tables.

    Parameters
    ----------
    manifest : path
        CSV with ``case`` and ``image``; ``vessels`` if vessel maps are given, ``series`` if a folder holds several.
    bundle_path : path
        Bundle folder or zip, at the same place for all workers.
    out : path
        The run's folder, at the same place for all workers; what an earlier run finished there is kept.
    settings : SegmentSettings, optional
        Options of all cases.
    scheduler, workers
        See `twintrack.cohort.cluster.cluster_client`.
    patience_s : float
        How long a cluster without workers is waited for, at the beginning and later.
    announce : callable, optional
        Told the dashboard's address when the work begins.
    retry_failed : bool
        Whether cases that failed before are tried again.

    Raises
    ------
    InputError, BundleError
        Before anything is computed, if manifest, bundle, folder or cluster cannot be used.
    OutputError
        If results cannot be written.
    Cancelled
        If `cancel` was triggered; finished cases stay.
    """
    cancel = cancel or CancelToken()
    plan = make_plan(manifest, bundle_path, out, settings)
    _check_folder(plan, Path(manifest))
    with _locked(plan.out):
        progress(0.0, "looking for finished cases")
        redo = ("open", "failed") if retry_failed else ("open",)
        chosen = bytes(state in redo for state in plan.states())
        todo = sum(chosen)
        if todo:
            with cluster_client(
                scheduler, workers=workers, device=plan.settings.device, patience_s=patience_s, announce=announce
            ) as client:
                check_seen(client, plan)
                _begin(plan, Path(manifest))
                if announce is not None:
                    announce(f"dashboard: {dashboard(client)}")
                tasks = map(plan.task, compress(plan.cases(), chosen))
                patience = Patience(
                    client, patience_s=patience_s, resource=GPU, progress=progress, announce=announce, cancel=cancel
                )
                _compute(client, tasks, todo, patience, cancel)
        else:
            _begin(plan, Path(manifest))
        progress(1.0, "writing tables")
        done, failed = write_tables(plan)
        write_index(plan)
    return CohortSummary(plan.out, len(plan), done, failed, len(plan) - todo)


def _compute(client: Client, tasks: Iterator[CaseTask], todo: int, patience: Patience, cancel: CancelToken) -> None:
    """Let the cluster work on the open cases; write down those that no worker survives."""
    from distributed import KilledWorker

    window = max(LEAST_WINDOW, WINDOW_PER_SLOT * slots(client, GPU))
    started, failed = time.monotonic(), 0
    running = through_cluster(
        client, process_case, tasks, window=window, resources={GPU: SHARE_OF_GPU}, patience=patience
    )
    for number, (task, future) in enumerate(running, start=1):
        cancel.check()
        try:
            failed += patience.result(future) == "failed"
        except KilledWorker:
            failed += 1
            _note_killer(task)
        rate = 3600 * number / (time.monotonic() - started)
        trouble = f", {failed} failed" if failed else ""
        patience.report(number / todo, f"{number} of {todo} cases{trouble}, {rate:.0f} an hour")


def _note_killer(task: CaseTask) -> None:
    publish_failure(
        task,
        "KilledWorker",
        "several workers died in the middle of this case; too little memory? try it with twintrack segment",
    )


def _check_folder(plan: CohortPlan, manifest: Path) -> None:
    """Refuse a folder that holds something else, or the cases of another manifest."""
    out = plan.out
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; give a folder for the results")
    if not out.is_dir() or not any(path.name != LOCK for path in out.iterdir()):
        return
    run = out / RUN
    if not run.is_file():
        raise InputError(f"{out}: holds other files than a cohort's results; choose a new folder, or empty it")
    try:
        other = Path(json.loads(run.read_text(encoding="utf-8"))["manifest"]["path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{run}: cannot be read; choose another folder, or remove that file to go on here") from error
    if other == manifest.expanduser().absolute():
        return
    names = {folder_name(row.case) for row in plan.rows}
    there = {path.name for path in (out / CASES).glob("[!.]*")}
    if strangers := sorted(there - names):
        why = f"with cases that {manifest} has not ({', '.join(strangers[:3])})"
    elif there and all(state == "open" for state in plan.states()):
        why = f"with none of the results that {manifest} asks for"  # another study may give its cases the same names
    else:
        return
    raise InputError(f"{out}: holds another run, of {other}, {why}; choose another folder")


def _begin(plan: CohortPlan, manifest: Path) -> None:
    """Say what the folder is about; take tables away that are about to be out of date, and what killed runs left."""
    about: dict[str, Any] = {
        "schema": 1,
        "version": __version__,
        "manifest": {
            "path": str(manifest.expanduser().absolute()),
            "sha256": file_sha256(manifest),
        },
        "cases": len(plan),
        "bundle": {"path": str(plan.bundle_path), "sha256": plan.bundle_sha256},
        "settings": plan.settings.to_json(),
    }
    with atomic_path(plan.out / RUN, overwrite=True) as partial:
        partial.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
    with writing(plan.out):
        for name in TABLES:
            (plan.out / name).unlink(missing_ok=True)
        (plan.out / CASES).mkdir(exist_ok=True)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep a second run out of the folder; the lock ends with the process, however that ends."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = try_lock(out / LOCK)
    except OSError as error:
        if error.errno in HELD_ELSEWHERE:
            raise InputError(
                f"{out}: another run is writing to this folder; wait for it, or choose another folder"
            ) from error
        if not (out / LOCK).exists():
            raise OutputError(f"{out}: cannot be written ({error.strerror}); choose another folder") from error
        descriptor = None  # a share without locks
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
