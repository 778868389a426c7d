"""What a computer has for the software, and whether a small run of the demo bundle comes out right on it."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from twintrack import __version__
from twintrack.errors import TwinTrackError
from twintrack.progress.callbacks import Progress, no_progress
from twintrack.studies.demo import DEMO_SEED
from twintrack.system.capacity import available_memory, size_text, total_memory, usable_cores

__all__ = ["Finding", "examine"]

DISTRIBUTION = "twintrack"

LEAST_MEMORY_BYTES = 4e9
"""A CT of 512 x 512 x 300 voxels takes some 2.7 GB with small networks."""

LEAST_DISK_BYTES = 1e9

LEAST_DICE = 0.5
"""Overlap with the majority of readers from which the networks count as working: damaged weights or a library that
computes something else find next to nothing."""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes
    ----------
    topic : str
        What it belongs to: ``software``, ``computer``, ``packages``, ``extras``, ``places`` or ``self-test``.
    name : str
        What it is.
    value : str
        What was found, for people; no name of a person, a patient or this computer in it.
    problem : str or None
        Why it will not do, and what to do about it; None where it will.
    """

    topic: str
    name: str
    value: str
    problem: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the attributes as JSON values."""
        return asdict(self)


def examine(port: int, *, self_test: bool = True, progress: Progress = no_progress) -> Iterator[Finding]:
    """Look at the computer and yield what is found, one by one.

    Nothing is sent anywhere, and nothing is written but a temporary folder and the cache of compiled networks.

    Parameters
    ----------
    port : int
        On which ``twintrack serve`` listens where no other is asked for.
    self_test : bool
        Also run the demo bundle on a small phantom, which takes some ten seconds.
    progress : callable
        Told what is being done.

    Yields
    ------
    Finding
        In the order in which a bug report would tell them.
    """
    looks: tuple[tuple[str, Callable[[], Iterator[Finding]]], ...] = (
        ("software", _software),
        ("computer", _computer),
        ("packages", _packages),
        ("places", lambda: _places(port)),
    )
    for number, (what, look) in enumerate(looks):
        progress(0.1 * number, f"looking at {what}")
        yield from look()
    if self_test:
        progress(0.4, "running the demo model on a small phantom")
        yield from _self_test()
    progress(1.0, "")


def _software() -> Iterator[Finding]:
    yield Finding("software", "twintrack", __version__)
    yield Finding("software", "Python", f"{platform.python_version()}, {sys.maxsize.bit_length() + 1} bit")
    yield Finding("software", "system", f"{platform.system()} {platform.release()}, {platform.machine()}")
    names = sorted(name for name in os.environ if name.startswith(("TWINTRACK_", "OMP_NUM_THREADS", "CUDA_VISIBLE")))
    yield Finding("software", "variables set", ", ".join(names) or "none")


def _computer() -> Iterator[Finding]:
    yield Finding("computer", "processor cores", str(usable_cores()))
    total, free = total_memory(), available_memory()
    problem = None
    if free is not None and free < LEAST_MEMORY_BYTES:
        problem = f"a CT of usual size needs about {_size(LEAST_MEMORY_BYTES)}; close other programs"
    yield Finding("computer", "memory", f"{_size(free)} free of {_size(total)}", problem)
    try:
        from twintrack.inference.devices import find_processors, may_have_gpu, select_device

        found = find_processors()
        if len(found) == 1 and may_have_gpu():
            yield Finding("computer", "graphics", "a driver may be there, but this build of torch uses none")
        for processor in found:
            if processor.device != "cpu":
                memory = f"{_size(processor.free_bytes)} free of {_size(processor.total_bytes)}"
                yield Finding("computer", processor.device, f"{processor.title or 'graphics unit'}, {memory}")
        yield Finding("computer", "networks run on", select_device())
    except ImportError as error:  # told with its package
        yield Finding("computer", "networks run on", "unknown", f"{error.name or 'a package'} cannot be imported")


def _packages() -> Iterator[Finding]:
    """Compare what is installed with what this version asks for, and say what extras are there."""
    from packaging.requirements import Requirement

    try:
        asked = [Requirement(line) for line in metadata.requires(DISTRIBUTION) or ()]
    except metadata.PackageNotFoundError:
        # Inside 3D Slicer the package is a folder of the extension, which checks what it needs by itself.
        yield Finding("packages", DISTRIBUTION, "not installed by pip: its list of packages is not known")
        return
    extras: dict[str, list[Requirement]] = {}
    for requirement in asked:
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield _package(requirement)
        else:
            for name in metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or ():
                if requirement.marker.evaluate({"extra": name}):
                    extras.setdefault(name, []).append(requirement)
    for name, requirements in extras.items():
        if name not in ("test", "lint", "docs"):
            lacking = [each.name for each in requirements if _package(each).problem is not None]
            value = "there" if not lacking else f"not there; pip install {' '.join(lacking)}"
            yield Finding("extras", name, value)


def _package(requirement: Any) -> Finding:
    """Say which version is installed, and whether it is one of those that are asked for."""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return Finding("packages", requirement.name, "missing", f"install it: pip install '{_plain(requirement)}'")
    if requirement.specifier.contains(version, prereleases=True):
        return Finding("packages", requirement.name, version)
    remedy = f"{requirement.specifier} is needed; install it: pip install '{_plain(requirement)}'"
    return Finding("packages", requirement.name, version, remedy)


def _plain(requirement: Any) -> str:
    return f"{requirement.name}{requirement.specifier}"


def _places(port: int) -> Iterator[Finding]:
    from twintrack.inference.openvino import cache_folder

    yield _place("temporary files", Path(tempfile.gettempdir()), LEAST_DISK_BYTES)
    yield _place("compiled networks", cache_folder(), 0.0)
    with socket.socket() as listener:
        try:
            listener.bind(("127.0.0.1", port))
            yield Finding("places", f"port {port}", "free")
        except OSError:
            yield Finding("places", f"port {port}", "in use: a server needs another one, serve --port")


def _place(name: str, folder: Path, least_bytes: float) -> Finding:
    """Say whether a folder, or the one it would be made in, can be written to, and how much room there is."""
    there = next(each for each in (folder, *folder.parents) if each.is_dir())
    shown = _without_home(folder)
    if not os.access(there, os.W_OK | os.X_OK):
        return Finding("places", name, shown, f"no permission to write to {_without_home(there)}")
    free = None
    with suppress(OSError):  # a file system that does not tell
        free = shutil.disk_usage(there).free
    problem = None
    if free is not None and free < least_bytes:
        problem = f"less than {_size(least_bytes)} free; free some, or set TMPDIR to another place"
    return Finding("places", name, f"{shown}, {_size(free)} free", problem)


def _self_test() -> Iterator[Finding]:
    """Verify the demo bundle, run it on a small phantom, and compare with that phantom's readers."""
    try:
        from twintrack.bundle.model_bundle import Bundle
        from twintrack.bundle.places import demo_bundle_path
        from twintrack.io.volumes import write_volume
        from twintrack.phantom import Slab, make_phantom
        from twintrack.pipeline import segment
        from twintrack.settings import SegmentSettings

        began = perf_counter()
        case = make_phantom(DEMO_SEED, slab=Slab(size=(96, 96, 24), volume_range_ml=(6.0, 8.0)))
        with Bundle.open(demo_bundle_path()) as bundle:
            bundle.verify()
            yield Finding("self-test", "demo bundle", f"version {bundle.version}, its files are as they were made")
            found = segment(case.ct, bundle, SegmentSettings())
        drawn = np.mean([mask.array for mask in case.annotations], axis=0) > 0.5
        marked = found.probability.array >= 0.5
        dice = 2 * np.sum(drawn & marked) / max(1, np.sum(drawn) + np.sum(marked))
        with tempfile.TemporaryDirectory(prefix="twintrack-doctor-") as folder:
            write_volume(found.probability, Path(folder) / "probability.nii.gz")
    except TwinTrackError as error:
        yield Finding("self-test", "a run", "failed", str(error))
    except Exception as error:
        said = str(error).partition("\n")[0]
        yield Finding(
            "self-test", "a run", "failed", f"{type(error).__name__}: {said}" if said else type(error).__name__
        )
    else:
        wrong = f"it should be over {LEAST_DICE:g}: networks compute something else here; report it with this text"
        problem = None if dice >= LEAST_DICE else wrong
        value = f"Dice {dice:.2f} with the majority of a phantom's readers, {perf_counter() - began:.0f} s"
        yield Finding("self-test", "a run", value, problem)


def _without_home(path: Path) -> str:
    """Write a path without the user's name in it."""
    with suppress(ValueError, RuntimeError):
        return str(Path("~") / path.relative_to(Path.home()))
    return str(path)


def _size(number: float | None) -> str:
    return "unknown" if number is None else size_text(number)
