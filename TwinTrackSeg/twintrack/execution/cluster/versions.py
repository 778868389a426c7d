"""What every use of Dask here shares: the resource of workers with networks, and equal versions."""

from __future__ import annotations

from typing import Any

from twintrack import __version__
from twintrack.errors import InputError

__all__ = ["GPU", "SAME_VERSIONS", "WAIT_FOR_WORKERS_S", "check_versions"]

GPU = "GPU"
"""Dask resource of workers that run networks."""

WAIT_FOR_WORKERS_S = 300
"""A cluster that starts its workers when there is work has this time for the first one, unless the user says more."""

SAME_VERSIONS = ("python", "distributed", "dask", "msgpack", "cloudpickle", "numpy", "twintrack")
"""Packages whose versions have to be the same here and on the workers; of Python and numpy the first two numbers."""


ON_WORKERS_ONLY = ("numpy", "twintrack")
"""Those of them that a scheduler does not need."""


def check_versions(address: str, versions: Any) -> None:
    """Refuse a cluster whose packages differ from those of this process; workers and versions are named.

    Parameters
    ----------
    address : str
        The scheduler's.
    versions : dict
        What `Client.get_versions` gives for the package twintrack.

    Raises
    ------
    InputError
        Names the first difference.
    """
    here = versions["client"]["packages"] | {"twintrack": __version__}
    places = {"its scheduler": versions["scheduler"]} if versions.get("scheduler") else {}
    places |= {f"its worker {worker}": found for worker, found in sorted(versions["workers"].items())}
    for place, found in places.items():
        for package in SAME_VERSIONS:
            if place == "its scheduler" and package in ON_WORKERS_ONLY:
                continue
            there = found["packages"].get(package)
            if _relevant(package, there) != _relevant(package, here.get(package)):
                raise InputError(
                    f"{place} has {package} {there or '(missing)'}, this machine {here.get(package)}; "
                    "install the same versions everywhere",
                    code="versions-differ",
                    path=address,
                )


def _relevant(package: str, version: str | None) -> str | None:
    if version is None or package not in ("python", "numpy"):
        return version
    return ".".join(version.split(".")[:2])
