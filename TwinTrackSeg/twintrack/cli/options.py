"""What every sub-command shares: option types, logging, the progress bar."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from twintrack.errors import BundleError, InputError
from twintrack.progress.callbacks import Progress, no_progress
from twintrack.system.terminal import PrintableFormatter, printable, say_error, say_lines

__all__ = [
    "AcquisitionOption",
    "Backend",
    "BackendOption",
    "CalibratorOption",
    "ContactMmOption",
    "Device",
    "DeviceOption",
    "JsonOption",
    "NameVessels",
    "NameVesselsOption",
    "OutFolder",
    "Overwrite",
    "Verbose",
    "bundle_named",
    "look_and_tell",
    "own_calibrator",
    "parse_pair",
    "progress_bar",
    "say_json",
    "start_log",
    "tell_how_read",
]


class Device(str, Enum):
    """Where the networks run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Backend(str, Enum):
    """What runs the networks on a CPU."""

    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"


class NameVessels(str, Enum):
    """Whether vessels get names by anatomy."""

    AUTO = "auto"
    OFF = "off"


Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Log more, and show the traceback of an error.")]
Overwrite = Annotated[
    bool,
    typer.Option("--overwrite", help="Replace other files at the places of the results; never an input."),
]
OutFolder = Annotated[Path, typer.Option("--out", help="Result folder.")]
DeviceOption = Annotated[Device, typer.Option(help="Where the networks run.")]
BackendOption = Annotated[
    Backend, typer.Option(help="What runs them on a CPU.", show_default="auto: OpenVINO where it is installed")
]

CalibratorOption = Annotated[
    Path | None,
    typer.Option(help="Calibrator file (of twintrack calibrate) in place of the bundle's.", show_default=False),
]

NameVesselsOption = Annotated[
    NameVessels,
    typer.Option(help="auto: names by anatomy where only arteries and veins are known; off: the classes are measured."),
]

AcquisitionOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Number of the acquisition (phase, pass) in the series, where several lie over each other.",
        show_default=False,
    ),
]

ContactMmOption = Annotated[
    float | None,
    typer.Option(
        help="Distance in mm from a vessel's lumen within which tumour touches it (0.5 to 5).",
        show_default="the bundle's, else 1.9",
    ),
]


JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the outcome as JSON on standard output, for another program.")
]


def say_json(content: Mapping[str, object]) -> None:
    """Print an outcome for another program; warnings go to standard error as always."""
    say_lines(json.dumps(content, indent=2, ensure_ascii=False))


def bundle_named(text: str) -> Path:
    """Read the option ``--bundle``: a path, ``demo`` for the shipped bundle, or the name of an installed model."""
    from twintrack.bundle.places import bundle_path

    try:
        return bundle_path(text)
    except BundleError as error:
        if error.code != "bundle-missing":
            raise
        from twintrack.models.known import find_known_model

        try:
            find_known_model(text)
        except InputError as reason:
            raise (error if reason.code == "model-unknown" else reason) from None
        raise BundleError(
            f"not installed yet; twintrack model get {text} shows its terms and size, and fetches it",
            code="model-not-installed",
            path=text,
        ) from None


def own_calibrator(path: Path | None, no_calibration: bool) -> str | None:
    """Return the setting for ``--calibrator``, which says the opposite of ``--no-calibration``."""
    if path is not None and no_calibration:
        raise InputError(
            "--calibrator and --no-calibration contradict each other; leave one out", code="options-exclude"
        )
    return None if path is None else str(path)


def start_log(verbose: bool) -> None:
    """Log warnings of the engine only, or more of it."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, handlers=[handler])


def tell_how_read(manifest: str | Path, assumed: str | None) -> None:
    """Say in one line how a manifest was read, where that had to be found out."""
    from twintrack.io.manifest import reading_note

    if assumed:
        say_error(reading_note(manifest, assumed))


def look_and_tell(*manifests: Path | None) -> None:
    """Look at manifests that were used, and say how they were read."""
    from twintrack.io.manifest import scan_manifest

    for manifest in manifests:
        if manifest is not None:
            tell_how_read(manifest, scan_manifest(manifest).assumed)


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """Show a bar on a terminal, nothing otherwise."""
    if not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    from twintrack.progress.time_left import TimeLeft

    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.description}", markup=False),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0, left="")
        time_left = TimeLeft()

        def update(done: float, text: str) -> None:
            bar.update(task, completed=done, description=printable(text), left=_left_text(time_left.update(done)))

        yield update


def _left_text(seconds: float | None) -> str:
    """Say how long it still takes; nothing as long as that is not known, nor at the very end."""
    from twintrack.progress.time_left import round_time

    if not seconds:
        return ""
    number, unit = round_time(seconds)
    return f"about {number} {unit} left,"


def parse_pair(entry: str) -> tuple[str, str]:
    """Read ``NAME=VALUE``."""
    name, equals, value = entry.partition("=")
    if not equals or not name or not value:
        raise InputError(f"expected NAME=VALUE, got {entry!r}", code="pair-expected")
    return name, value
