"""Whether the workers of a cluster see the files that the run is about."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from twintrack.atomic import STAGING_PREFIX
from twintrack.cohort.plan import CohortPlan
from twintrack.errors import InputError

if TYPE_CHECKING:
    from distributed import Client

__all__ = ["check_seen"]


def check_seen(client: Client, plan: CohortPlan) -> None:
    """Make sure that every worker sees the bundle and the run's folder, and may write there.

    Raises
    ------
    InputError
        Names the worker and the path that it does not see.
    """
    probe = plan.out / f"{STAGING_PREFIX}probe-{uuid.uuid4().hex}"
    probe.write_text("", encoding="utf-8")
    try:
        problems = client.run(trouble, str(plan.bundle_path), plan.bundle_sha256, str(probe))
    finally:
        probe.unlink(missing_ok=True)
    for worker, problem in sorted(problems.items()):
        if problem is not None:
            raise InputError(f"{problem} (worker {worker}); the cluster needs a file system that all machines share")


def trouble(bundle: str, sha256: str, probe: str) -> str | None:
    """Say what a worker does not see; None if all is well."""
    found = Path(bundle)
    if not found.exists():
        return f"{bundle}: the bundle is not visible from the workers"
    document = found / "bundle.json"
    if document.is_file() and hashlib.sha256(document.read_bytes()).hexdigest() != sha256:
        return f"{bundle}: another bundle lies there on the workers"
    folder = Path(probe).parent
    if not Path(probe).exists():
        return f"{folder}: the result folder is not visible from the workers"
    own = folder / f"{STAGING_PREFIX}probe-{uuid.uuid4().hex}"
    try:
        own.write_text("", encoding="utf-8")
        own.unlink()
    except OSError as error:
        return f"{folder}: workers may not write there ({error.strerror})"
    return None
