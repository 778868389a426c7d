"""Sub-command for many cases: cohort."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twintrack.cli.options import (
    Backend,
    BackendOption,
    CalibratorOption,
    ContactMmOption,
    Device,
    DeviceOption,
    JsonOption,
    NameVessels,
    NameVesselsOption,
    OutFolder,
    Overwrite,
    Verbose,
    bundle_named,
    own_calibrator,
    progress_bar,
    say_json,
    start_log,
)
from twintrack.errors import InputError
from twintrack.execution.cluster.versions import WAIT_FOR_WORKERS_S
from twintrack.labels import VESSEL_VALUES_TEXT
from twintrack.system.terminal import say, say_error

if TYPE_CHECKING:
    from twintrack.studies.map_cases import MapCases

__all__ = ["InsecureOption", "SchedulerOption", "WaitOption", "cluster", "cohort"]

SchedulerOption = Annotated[
    str | None, typer.Option(help="Address of a Dask scheduler, e.g. tls://host:8786; its workers do the work.")
]

InsecureOption = Annotated[
    bool,
    typer.Option(
        "--insecure-scheduler", help="Allow a scheduler on another computer without TLS, e.g. tcp://host:8786."
    ),
]

WaitOption = Annotated[
    int,
    typer.Option(
        min=1, max=10_000_000, help="Seconds to wait while the scheduler has no workers, e.g. for jobs in a queue."
    ),
]


@contextmanager
def cluster(
    scheduler: str | None, wait_s: int, *, insecure: bool, bundle: Path | None = None
) -> Iterator[MapCases | None]:
    """Yield what spreads work, or the networks of a bundle, over the workers of a scheduler; None without one."""
    if scheduler is None:
        yield None
        return
    from twintrack.execution.cluster.client import cluster_client
    from twintrack.execution.cohort.tree_sum import map_over

    networks = bundle is not None
    with cluster_client(scheduler, networks=networks, wait_s=wait_s, insecure=insecure, announce=_tell) as client:
        yield map_over(client, bundle=bundle, announce=_tell, wait_s=wait_s)


def _tell(line: str) -> None:
    """Say something above the progress bar, which has put itself between us and standard error."""
    say_error(line)


class Region(str, Enum):
    """Where the networks look."""

    AUTO = "auto"
    FULL = "full"


def cohort(
    manifest: Annotated[Path, typer.Argument(help="CSV with case and image; optional vessels.")],
    bundle: Annotated[
        Path,
        typer.Option(
            help="Model bundle: a folder or a zip, visible from all workers.", parser=bundle_named, metavar="PATH"
        ),
    ],
    out: OutFolder,
    scheduler: SchedulerOption = None,
    insecure_scheduler: InsecureOption = False,
    wait_s: WaitOption = WAIT_FOR_WORKERS_S,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Processes on this machine (by default one a GPU, or what the CPU allows)."),
    ] = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Open Dask's pages for everybody who uses this computer.")
    ] = False,
    redo: Annotated[
        bool, typer.Option("--redo", help="Do cases again whose settings, bundle, files or version changed.")
    ] = False,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try cases again that failed before.")] = False,
    vessel_names: Annotated[
        str | None, typer.Option(help=f"Values in the column vessels (by default {VESSEL_VALUES_TEXT}).")
    ] = None,
    name_vessels: NameVesselsOption = NameVessels.AUTO,
    rules: Annotated[
        str, typer.Option(help="Rule set for the contact pattern: nccn, ahpba, alliance or dpcg.")
    ] = "nccn",
    contact_mm: ContactMmOption = None,
    roi: Annotated[Region, typer.Option(help="Look around the organ, or everywhere.")] = Region.AUTO,
    threshold: Annotated[float, typer.Option(help="Fraction of readers at which the outline is drawn.")] = 0.5,
    device: DeviceOption = Device.AUTO,
    backend: BackendOption = Backend.AUTO,
    every_tile: Annotated[
        bool, typer.Option("--every-tile", help="All networks look everywhere, also where the first sees no tumour.")
    ] = False,
    keep_score: Annotated[bool, typer.Option("--keep-score", help="Also write the uncalibrated score.")] = False,
    dicom: Annotated[bool, typer.Option("--dicom", help="Also export DICOM (all images must be DICOM).")] = False,
    calibrator: CalibratorOption = None,
    no_calibration: Annotated[bool, typer.Option("--no-calibration", help="Give the raw score.")] = False,
    as_json: JsonOption = False,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Segment many CTs, on this machine or a Dask cluster. Run it again to go on where it stopped."""
    start_log(verbose)
    if scheduler is not None and workers is not None:
        raise typer.BadParameter("a running scheduler has its own workers; leave one out", param_hint="--workers")
    if scheduler is not None and dashboard:
        raise typer.BadParameter("a running scheduler has its own pages; leave one out", param_hint="--dashboard")
    from twintrack.execution.cohort import run_cohort
    from twintrack.invasion import check_rules
    from twintrack.settings import SegmentSettings, parse_vessel_names

    check_rules(rules)
    settings = SegmentSettings(
        roi=roi.value,
        threshold=threshold,
        device=device.value,
        backend=backend.value,
        every_tile=every_tile,
        calibrate=not no_calibration,
        calibrator=own_calibrator(calibrator, no_calibration),
        keep_score=keep_score,
        dicom=dicom,
        vessel_names=None if vessel_names is None else parse_vessel_names(vessel_names),
        name_vessels=name_vessels.value,
        rules=rules,
        contact_mm=contact_mm,
    )
    with progress_bar() as progress:
        found = run_cohort(
            manifest,
            bundle,
            out,
            settings,
            scheduler=scheduler,
            workers=workers,
            wait_s=wait_s,
            insecure=insecure_scheduler,
            pages=dashboard,
            redo=redo,
            retry_failed=retry_failed,
            overwrite=overwrite,
            announce=_tell,
            progress=progress,
        )
    if found.failed:
        say_error(f"warning: {found.failed} of {found.cases} cases failed; see {out / 'failures.csv'}")
    if not found.done:
        raise InputError(
            "no case has a result; it says why; then use --retry-failed",
            code="no-case-done",
            path=out / "failures.csv",
        )
    if as_json:
        say_json(
            {
                "out": str(out),
                "cases": found.cases,
                "done": found.done,
                "failed": found.failed,
                "unchanged": found.unchanged,
            }
        )
        return
    unchanged = f" ({found.unchanged} cases as they were)" if found.unchanged else ""
    if not (out / "cohort.parquet").exists():
        say("cohort.parquet is left out: it needs pyarrow (pip install pyarrow)")
    say(f"{found.done} of {found.cases} cases have a result{unchanged}")
    say(f"overview: {out / 'index.html'}")
