"""Sub-commands that repeat a published experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twintrack.cli.options import (
    Device,
    DeviceOption,
    OutFolder,
    Overwrite,
    Verbose,
    bundle_named,
    look_and_tell,
    progress_bar,
    start_log,
)
from twintrack.errors import InputError
from twintrack.system.terminal import say

__all__ = ["experiment_app"]

experiment_app = typer.Typer(help="Repeat a published experiment, on phantoms or on your own cases.")


@experiment_app.command()
def table1(
    out: OutFolder,
    cases: Annotated[
        int | None, typer.Option(min=2, help="Phantoms to calibrate on (default 40).", show_default=False)
    ] = None,
    tests: Annotated[
        int | None, typer.Option(min=2, help="Phantoms to test on (default 64).", show_default=False)
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="Real cases instead: CSV with case, image, split (calibration|test), annotation_<NAME>, vessels."
        ),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(
            help="Segmenter (default: the demo bundle, which knows phantoms only).",
            parser=bundle_named,
            metavar="PATH",
            show_default=False,
        ),
    ] = None,
    bins: Annotated[int, typer.Option(min=2, help="Equal-mass bins of every calibrator.")] = 250,
    rater: Annotated[str, typer.Option(help="Name of the rater of the row single-rater.")] = "1",
    bootstrap: Annotated[int, typer.Option(min=1, help="Resamples of the test cases for the intervals.")] = 5000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling; also chooses the phantoms.")] = 0,
    device: DeviceOption = Device.AUTO,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Repeat table 1 of the TwinTrack paper: four calibration targets, eight metrics. Run it again to go on."""
    start_log(verbose)
    from twintrack.studies.table1.run import CASES, TESTS, Table1Settings, run_table1

    if manifest is not None and (cases is not None or tests is not None):
        raise InputError(
            "--cases and --tests count phantoms; with --manifest its column split says who is who",
            code="options-exclude",
        )
    settings = Table1Settings(
        cases=cases or CASES,
        tests=tests or TESTS,
        bins=bins,
        rater=rater,
        bootstrap=bootstrap,
        seed=seed,
        device=device.value,
    )
    with progress_bar() as progress:
        run_table1(out, settings, bundle_path=bundle, manifest=manifest, overwrite=overwrite, progress=progress)
    look_and_tell(manifest)
    say(str(out / "table1.md"))
