"""Whether the workers of a cluster see the files that the work is about."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from twintrack.errors import InputError, TwinTrackError
from twintrack.execution.cluster.versions import GPU
from twintrack.execution.cohort.case_folder import writing
from twintrack.execution.cohort.plan import CohortPlan
from twintrack.io.manifest import ManifestRow
from twintrack.settings import SegmentSettings
from twintrack.system.atomic import STAGING_PREFIX
from twintrack.system.paths import file_sha256

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["check_workers", "check_workers_read_row"]

ANYWHERE = (("auto", "auto"), ("auto", "torch"), ("cpu", "auto"), ("cpu", "torch"))
"""Devices and backends that every machine has."""


def check_workers(client: Client, plan: CohortPlan) -> None:
    """Make sure that every worker sees the bundle, the first CT and the run's folder, and can write and compute there.

    Raises
    ------
    InputError
        Names the worker, and the path that it does not see or the device that it has not.
    """
    first = next(plan.cases())
    probe = plan.out / f"{STAGING_PREFIX}probe-{uuid.uuid4().hex}"
    with writing(plan.out):
        probe.write_text("", encoding="utf-8")
    try:
        files = {"CT": first.source} if first.vessels is None else {"CT": first.source, "vessel map": first.vessels}
        _refuse(client.run(problem_seeing, str(plan.bundle_path), plan.bundle_sha256, files, str(probe)))
    finally:
        probe.unlink(missing_ok=True)
    if (plan.settings.device, plan.settings.backend) not in ANYWHERE:
        infos = client.scheduler_info(n_workers=-1)["workers"]
        workers = [worker for worker, info in infos.items() if GPU in (info.get("resources") or {})]
        for worker, problem in sorted(client.run(_problem_computing, plan.settings, workers=workers).items()):
            if problem is not None:
                raise InputError(f"{problem} (worker {worker})", code="cluster-worker-unfit")


def check_workers_read_row(client: Client, row: ManifestRow, bundle: Path | None = None) -> None:
    """Make sure that every worker sees what a row names and this process sees, and the bundle if there is one.

    Raises
    ------
    InputError
        Names the worker and the path that it does not see.
    """
    masks = {f"annotation_{rater}": path for rater, path in row.annotations.items()}
    files = {name: str(path.absolute()) for name, path in (row.files | masks).items() if path.exists()}
    document = None if bundle is None else bundle / "bundle.json"
    sha256 = file_sha256(document) if document is not None and document.is_file() else None
    _refuse(client.run(problem_seeing, None if bundle is None else str(bundle.absolute()), sha256, files, None))


def _refuse(problems: Mapping[str, str | None]) -> None:
    for worker, problem in sorted(problems.items()):
        if problem is not None:
            raise InputError(
                f"{problem} (worker {worker}); the cluster needs a file system that all machines share",
                code="cluster-worker-unfit",
            )


def problem_seeing(bundle: str | None, sha256: str | None, files: Mapping[str, str], probe: str | None) -> str | None:
    """Say what a worker does not see; None if all is well."""
    if bundle is not None:
        found = Path(bundle)
        if not found.exists():
            return f"{bundle}: the bundle is not visible from the workers"
        document = found / "bundle.json"
        if document.is_file() and file_sha256(document) != sha256:
            return f"{bundle}: another bundle lies there on the workers"
    for what, file in files.items():
        if not Path(file).exists():
            return f"{file}: the {what} is not visible from the workers"
    return None if probe is None else _problem_writing(Path(probe))


def _problem_computing(settings: SegmentSettings) -> str | None:
    """Say why the networks cannot run here as the settings want it."""
    from twintrack.inference.loaded_model import LoadedModel

    try:
        LoadedModel().store(settings)
    except TwinTrackError as error:
        return str(error)
    return None


def _problem_writing(probe: Path) -> str | None:
    """Say why a worker cannot write beside a file that the client wrote."""
    folder = probe.parent
    if not probe.exists():
        return f"{folder}: the result folder is not visible from the workers"
    own = folder / f"{STAGING_PREFIX}probe-{uuid.uuid4().hex}"
    try:
        own.write_text("", encoding="utf-8")
        own.unlink()
    except OSError as error:
        return f"{folder}: workers may not write there ({error.strerror})"
    return None
