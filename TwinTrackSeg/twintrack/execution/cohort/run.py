"""The run over a cohort: what is done stays, what is missing is computed, tables grow meanwhile."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain, compress
from pathlib import Path
from typing import TYPE_CHECKING

from twintrack.errors import InputError, OutputError, TwinTrackError
from twintrack.execution.cluster.client import GPU, cluster_client, dashboard, slots
from twintrack.execution.cluster.submit import DEATHS, one_on_each_worker, through_cluster
from twintrack.execution.cluster.versions import WAIT_FOR_WORKERS_S
from twintrack.execution.cluster.waiting import ClusterWait
from twintrack.execution.cohort.case_folder import folder_name, read_record, writing
from twintrack.execution.cohort.outdated import RecordState, notes, outdated_text
from twintrack.execution.cohort.overview import RUN, Overview
from twintrack.execution.cohort.plan import CASES, CohortPlan, make_plan
from twintrack.execution.cohort.process_case import (
    CASE_FILES,
    COMMAND,
    Failure,
    SegmentTask,
    process_case,
    publish_failure,
)
from twintrack.execution.cohort.worker_checks import check_workers
from twintrack.io.manifest import reading_note
from twintrack.progress.callbacks import CancelToken, Progress, no_progress
from twintrack.settings import SegmentSettings
from twintrack.system.atomic import check_output_folder, put_in_order
from twintrack.system.locks import try_lock
from twintrack.system.ownership import is_litter
from twintrack.system.private_folder import remove_abandoned

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["CohortSummary", "run_cohort"]

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
    unchanged : int
        Cases that were there already.
    """

    out: Path
    cases: int
    done: int
    failed: int
    unchanged: int


def run_cohort(
    manifest: str | Path,
    bundle_path: str | Path,
    out: str | Path,
    settings: SegmentSettings | None = None,
    *,
    scheduler: str | None = None,
    workers: int | None = None,
    wait_s: float = WAIT_FOR_WORKERS_S,
    insecure: bool = False,
    pages: bool = False,
    redo: bool = False,
    retry_failed: bool = False,
    overwrite: bool = False,
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
    scheduler, workers, insecure, pages
        See `twintrack.execution.cluster.client.cluster_client`.
    wait_s : float
        How long a cluster without workers is waited for, at the beginning and later.
    announce : callable, optional
        Told the dashboard's address, if there is one, when the work begins, and what changed since the last run.
    redo : bool
        Whether cases are done again whose settings, bundle, files or version of TwinTrack changed.
    retry_failed : bool
        Whether cases that failed before are tried again.
    overwrite : bool
        Whether other files at the places of the results are replaced; never those that the manifest names.

    Raises
    ------
    InputError, BundleError
        Before anything is computed or written, if manifest, bundle, folder or cluster cannot be used, or results would
        be done again without `redo`.
    OutputError
        If results cannot be written.
    Cancelled
        If `cancel` was triggered; finished cases stay.
    """
    cancel = cancel or CancelToken()
    plan = make_plan(manifest, bundle_path, out, settings, overwrite=overwrite)
    _check_folder(plan, Path(manifest))
    overview = Overview(plan, Path(manifest), announce)
    overview.check()
    announce = announce or _say_nothing
    with _locked(plan.out):
        _clear_up(plan.out)
        progress(0.0, "looking for finished cases")
        chosen, states = _chosen(plan, redo=redo, retry_failed=retry_failed)
        todo = sum(chosen)
        if plan.rows.assumed:
            announce(reading_note(manifest, plan.rows.assumed))
        for line in notes(states):
            announce(line)
        try:
            if todo:
                progress(0.0, "starting what segments them" if scheduler is None else "waiting for the cluster")
                with cluster_client(
                    scheduler,
                    workers=workers,
                    device=plan.settings.device,
                    wait_s=wait_s,
                    insecure=insecure,
                    pages=pages,
                    announce=announce,
                ) as client:
                    check_workers(client, plan)
                    _begin(plan, overview, states)
                    if link := dashboard(client):
                        announce(f"dashboard: {link}")
                    tasks = map(plan.task, compress(plan.cases(), chosen))
                    waiting = ClusterWait(
                        client, wait_s=wait_s, resource=GPU, progress=progress, announce=announce, cancel=cancel
                    )
                    _compute(client, tasks, todo, waiting, cancel, overview.refresh)
            else:
                _begin(plan, overview, states)
        except BaseException:
            if overview.has_begun:
                with suppress(TwinTrackError, OSError):  # what ended the run is what the user has to know
                    overview.write("stopped")
            raise
        progress(1.0, "writing tables")
        counts = overview.write("complete")
    return CohortSummary(plan.out, len(plan), counts.done, counts.failed, len(plan) - todo)


def _say_nothing(line: str) -> None:
    """Announce to nobody."""


def _chosen(plan: CohortPlan, *, redo: bool, retry_failed: bool) -> tuple[bytes, Counter[RecordState]]:
    """Return for each case whether it is to be done, and how often each state occurs.

    Raises
    ------
    InputError
        If results would be done again without `redo`.
    OutputError
        If something else lies at the place of a case's result.
    """
    wanted = ("open", *(["outdated"] if redo else ()), *(["failed"] if retry_failed else ()))
    states: Counter[RecordState] = Counter()
    chosen = bytearray()
    for state in plan.states():
        states[state] += 1
        chosen.append(state.status in wanted)
    if not redo and (text := outdated_text(states)):
        raise InputError(f"{text}", code="cohort-changed", path=plan.out)
    for case in compress(plan.cases(), chosen):
        if (folder := plan.folder(case)).exists():
            check_output_folder(folder, CASE_FILES, command=COMMAND, overwrite=plan.overwrite)
    return bytes(chosen), states


def _compute(
    client: Client,
    tasks: Iterator[SegmentTask],
    todo: int,
    waiting: ClusterWait,
    cancel: CancelToken,
    refresh: Callable[[], None],
) -> None:
    """Let the cluster work on the open cases; write down those that no worker survives.

    A worker that dies takes all cases with it that it had in hand, of which one may be the cause. Each of them gets a
    worker to itself before others come, and only what dies there too is a failure.
    """
    from distributed import KilledWorker

    window = max(LEAST_WINDOW, WINDOW_PER_SLOT * slots(client, GPU))
    started, number, failed = time.monotonic(), 0, 0

    def ended(status: str) -> None:
        nonlocal number, failed
        number, failed = number + 1, failed + (status == "failed")
        rate = 3600 * number / (time.monotonic() - started)
        failures = f", {failed} failed" if failed else ""
        waiting.report(number / todo, f"{number} of {todo} cases{failures}, {rate:.0f} an hour")
        refresh()
        cancel.check()

    for first in tasks:
        suspects: list[SegmentTask] = []
        some = chain((first,), _while_few(tasks, suspects, window))
        running = through_cluster(
            client, process_case, some, window=window, resources={GPU: SHARE_OF_GPU}, waiting=waiting
        )
        for task, future in running:
            try:
                ended(waiting.result(future))
            except KilledWorker:
                suspects.append(task)
        for task, status in one_on_each_worker(client, process_case, suspects, resource=GPU, waiting=waiting):
            ended(status or _note_killer(task))


def _while_few(tasks: Iterator[SegmentTask], suspects: list[SegmentTask], most: int) -> Iterator[SegmentTask]:
    """Yield tasks as long as there are not too many suspects."""
    while len(suspects) < most:
        try:
            yield next(tasks)
        except StopIteration:
            return


def _note_killer(task: SegmentTask) -> str:
    """Write down that workers died with a case, unless one had just finished it."""
    record = read_record(Path(task.folder), task.key)
    if record is not None:
        return str(record["status"])
    publish_failure(
        task,
        Failure(
            "KilledWorker",
            f"{DEATHS} workers died while they had this case alone; too little memory, or a file that ends its reader? "
            "try it with twintrack segment",
            "worker-died",
        ),
    )
    return "failed"


def _check_folder(plan: CohortPlan, manifest: Path) -> None:
    """Refuse a folder that holds something else, or the cases of another manifest."""
    out = plan.out
    if out.exists() and not out.is_dir():
        raise InputError("is a file; give a folder for the results", code="not-a-folder", path=out)
    put_in_order(out)
    if not out.is_dir() or not any(path.name != LOCK and not is_litter(path.name) for path in out.iterdir()):
        return
    run = out / RUN
    if not run.is_file():
        if plan.overwrite:
            return
        raise InputError(
            "holds other files than a cohort's results; choose a new folder, or add --overwrite to use it",
            code="folder-of-others",
            path=out,
        )
    try:
        other = Path(json.loads(run.read_text(encoding="utf-8"))["manifest"]["path"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            "cannot be read; choose another folder, or remove that file to go on here", code="file-unreadable", path=run
        ) from error
    if other == manifest.expanduser().absolute():
        return
    names = {folder_name(row.case) for row in plan.rows}
    there = {path.name for path in (out / CASES).glob("[!.]*")}
    if strangers := sorted(there - names):
        why = f"with cases that {manifest} has not ({', '.join(strangers[:3])})"
    elif there and all(state.status in ("open", "outdated") for state in plan.states()):
        why = f"with none of the results that {manifest} asks for"  # another study may give its cases the same names
    else:
        return
    raise InputError(
        f"holds another run, of {other}, {why}; choose another folder", code="folder-of-another-run", path=out
    )


def _clear_up(out: Path) -> None:
    """Finish or undo what a run that was killed left in the folders of cases; there can be very many."""
    remove_abandoned()
    run, cases = out / RUN, out / CASES
    with suppress(OSError, ValueError, KeyError, TypeError):
        if json.loads(run.read_text(encoding="utf-8"))["state"] != "complete" and cases.is_dir():
            for folder in cases.iterdir():
                put_in_order(folder)


def _begin(plan: CohortPlan, overview: Overview, states: Counter[RecordState]) -> None:
    """Say what the folder is about, and what it holds."""
    overview.begin(states)
    with writing(plan.out):
        (plan.out / CASES).mkdir(exist_ok=True)


@contextmanager
def _locked(out: Path) -> Iterator[None]:
    """Keep a second run out of the folder; the lock ends with the process, however that ends."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        descriptor = try_lock(out / LOCK)
    except OSError as error:
        if isinstance(error, BlockingIOError):
            raise InputError(
                "another run is writing to this folder; wait for it, or choose another folder",
                code="folder-locked",
                path=out,
            ) from error
        if isinstance(error, PermissionError) or not (out / LOCK).exists():
            raise OutputError(
                f"cannot be written ({error.strerror}); choose another folder", code="not-writable", path=out
            ) from error
        descriptor = None  # a share without locks
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)
