"""Sub-commands of a study with several readers: calibrate, apply, evaluate, phantom."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from twintrack.cli_shell import Device, DeviceOption, OutFolder, Verbose, progress_bar, start_log

__all__ = ["apply", "calibrate", "evaluate", "phantom"]


class Target(str, Enum):
    """What a calibrator is fitted to."""

    MHR = "mhr"
    SINGLE_RATER = "single-rater"
    HARD_LABEL = "hard-label"


def calibrate(
    manifest: Annotated[Path, typer.Argument(help="CSV with case, score (or image) and annotation_1..N.")],
    out: Annotated[Path, typer.Option(help="The calibrator.json to write.")],
    bundle: Annotated[Path | None, typer.Option(help="Bundle that scores the column image.")] = None,
    target: Annotated[Target, typer.Option(help="What to fit.")] = Target.MHR,
    rater: Annotated[int | None, typer.Option(help="The rater of --target single-rater, from 1.")] = None,
    bins: Annotated[int, typer.Option(help="Equal-mass bins.")] = 250,
    plot: Annotated[Path | None, typer.Option(help="Reliability picture to write.")] = None,
    device: DeviceOption = Device.AUTO,
    verbose: Verbose = False,
) -> None:
    """Fit a calibrator on multi-rater cases."""
    start_log(verbose)
    from twintrack.calibration import plot_reliability, reliability_curve, write_calibrator
    from twintrack.fitting import fit_from_manifest

    with progress_bar() as progress:
        calibrator, sketch = fit_from_manifest(
            manifest,
            bundle_path=bundle,
            target=target.value,
            rater=rater,
            bins=bins,
            device=device.value,
            progress=progress,
        )
        write_calibrator(calibrator, out)
        if plot is not None:
            curves = {"score": reliability_curve(sketch), "calibrated": reliability_curve(sketch, calibrator)}
            plot_reliability(plot, curves, calibrator=calibrator)
    for warning in calibrator.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{out}: fitted to {calibrator.target} on {calibrator.cases} cases, {calibrator.voxels} voxels")


def apply(
    score: Annotated[Path, typer.Argument(help="Volume with a pooled score in [0, 1].")],
    calibrator: Annotated[Path, typer.Option(help="calibrator.json")],
    out: Annotated[Path, typer.Option(help="The map to write (.nii.gz).")],
    verbose: Verbose = False,
) -> None:
    """Calibrate a score volume."""
    start_log(verbose)
    from twintrack.fitting import apply_to_file

    apply_to_file(score, calibrator, out)
    typer.echo(f"{out}: written")


def evaluate(
    manifest: Annotated[Path, typer.Argument(help="CSV with case, probability, annotation_1..N; optional vessels.")],
    out: OutFolder,
    bootstrap: Annotated[int, typer.Option(min=1, help="Resamples of the cases for the intervals.")] = 5000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling.")] = 0,
    compare: Annotated[Path | None, typer.Option(help="Manifest with the same cases and another method.")] = None,
    verbose: Verbose = False,
) -> None:
    """Score maps with the CURVAS-PDACVI protocol and further metrics."""
    start_log(verbose)
    from twintrack.evaluation import evaluate_manifest

    with progress_bar() as progress:
        evaluate_manifest(manifest, out, bootstrap=bootstrap, seed=seed, compare=compare, progress=progress)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    for warning in summary["warnings"]:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{out / 'summary.md'}: {summary['cases']} cases")


def phantom(
    cases: Annotated[int, typer.Option(min=1, help="Number of cases.")],
    out: OutFolder,
    raters: Annotated[int, typer.Option(min=1, help="Readers a case.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first case; the next ones count on.")] = 0,
    verbose: Verbose = False,
) -> None:
    """Draw synthetic multi-rater cases with a manifest.csv."""
    start_log(verbose)
    from twintrack.phantom import write_cohort

    with progress_bar() as progress:
        manifest = write_cohort(out, cases=cases, raters=raters, seed=seed, progress=progress)
    typer.echo(str(manifest))
