"""The command ``twintrack``: each sub-command reads its options, calls the engine once and shows errors once."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from twintrack import __version__
from twintrack.errors import Cancelled, InputError, TwinTrackError
from twintrack.progress import Progress, no_progress

__all__ = ["app", "main"]

app = typer.Typer(
    name="twintrack",
    help="Calibrated multi-rater tumour segmentation on contrast CT. Research use only, not a medical device.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
bundle_app = typer.Typer(help="Make, check or describe a model bundle.")
app.add_typer(bundle_app, name="bundle")

# Typer brings its own copy of click from 0.26 on; older versions use the package.
USAGE_ERROR: type[Exception] = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")


class Device(str, Enum):
    """Where the networks run."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    MPS = "mps"


class Target(str, Enum):
    """What a calibrator is fitted to."""

    MHR = "mhr"
    SINGLE_RATER = "single-rater"
    HARD_LABEL = "hard-label"


Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Log more, and show the traceback of an error.")]
OutFolder = Annotated[Path, typer.Option("--out", help="Result folder.")]
DeviceOption = Annotated[Device, typer.Option(help="Where the networks run.")]


@app.command()
def demo(out: OutFolder, device: DeviceOption = Device.AUTO, verbose: Verbose = False) -> None:
    """Run the main job on a generated phantom CT (a DICOM series) with the shipped demo bundle."""
    _log(verbose)
    from twintrack.demo import run_demo

    with _progress() as progress:
        result = run_demo(out, device=device.value, progress=progress)
    _summarise(result)


@app.command()
def segment(
    ct: Annotated[Path, typer.Argument(help="NIfTI/NRRD/MHA file, DICOM folder, or one DICOM file of the series.")],
    bundle: Annotated[Path, typer.Option(help="Model bundle: a folder or a zip.")],
    out: OutFolder,
    vessels: Annotated[Path | None, typer.Option(help="Vessel label map on the CT's grid.")] = None,
    vessel_names: Annotated[
        str | None, typer.Option(help="Values in --vessels. [default: PORTA=1,SMV=2,AORTA=3,CELIAC=4,SMA=5]")
    ] = None,
    roi: Annotated[str, typer.Option(help="auto, full, or i0,i1,j0,j1,k0,k1 (voxel index, end exclusive).")] = "auto",
    threshold: Annotated[float, typer.Option(help="Fraction of readers at which the outline is drawn.")] = 0.5,
    device: DeviceOption = Device.AUTO,
    keep_score: Annotated[bool, typer.Option("--keep-score", help="Also write the uncalibrated score.")] = False,
    dicom: Annotated[bool, typer.Option("--dicom", help="Also export DICOM (the input must be DICOM).")] = False,
    no_calibration: Annotated[bool, typer.Option("--no-calibration", help="Give the raw score.")] = False,
    verbose: Verbose = False,
) -> None:
    """Segment one CT: calibrated map, vessel readouts, pictures and report."""
    _log(verbose)
    from twintrack.results import segment_file
    from twintrack.settings import SegmentSettings, parse_roi, parse_vessel_names

    settings = SegmentSettings(
        roi=parse_roi(roi),
        threshold=threshold,
        device=device.value,
        calibrate=not no_calibration,
        keep_score=keep_score,
        dicom=dicom,
        vessels=None if vessels is None else str(vessels),
        vessel_names=None if vessel_names is None else parse_vessel_names(vessel_names),
    )
    with _progress() as progress:
        result = segment_file(ct, bundle, out, settings, progress=progress)
    _summarise(result)


@app.command()
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
    _log(verbose)
    from twintrack.calibration import plot_reliability, reliability_curve, write_calibrator
    from twintrack.fitting import fit_from_manifest

    with _progress() as progress:
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


@app.command()
def apply(
    score: Annotated[Path, typer.Argument(help="Volume with a pooled score in [0, 1].")],
    calibrator: Annotated[Path, typer.Option(help="calibrator.json")],
    out: Annotated[Path, typer.Option(help="The map to write (.nii.gz).")],
    verbose: Verbose = False,
) -> None:
    """Calibrate a score volume."""
    _log(verbose)
    from twintrack.fitting import apply_to_file

    apply_to_file(score, calibrator, out)
    typer.echo(f"{out}: written")


@app.command()
def evaluate(
    manifest: Annotated[Path, typer.Argument(help="CSV with case, probability, annotation_1..N; optional vessels.")],
    out: OutFolder,
    bootstrap: Annotated[int, typer.Option(min=1, help="Resamples of the cases for the intervals.")] = 5000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling.")] = 0,
    compare: Annotated[Path | None, typer.Option(help="Manifest with the same cases and another method.")] = None,
    verbose: Verbose = False,
) -> None:
    """Score maps with the CURVAS-PDACVI protocol and further metrics."""
    _log(verbose)
    from twintrack.evaluation import evaluate_manifest

    with _progress() as progress:
        evaluate_manifest(manifest, out, bootstrap=bootstrap, seed=seed, compare=compare, progress=progress)
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    for warning in summary["warnings"]:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(f"{out / 'summary.md'}: {summary['cases']} cases")


@app.command()
def invasion(
    probability: Annotated[Path, typer.Argument(help="Probability map.")],
    vessels: Annotated[Path, typer.Option(help="Vessel label map on the same grid.")],
    out: Annotated[Path, typer.Option(help="The .json to write; a .csv comes beside it.")],
    vessel_names: Annotated[str, typer.Option(help="Values in --vessels.")] = "PORTA=1,SMV=2,AORTA=3,CELIAC=4,SMA=5",
    verbose: Verbose = False,
) -> None:
    """Measure how far the tumour wraps around each vessel."""
    _log(verbose)
    from twintrack.results import measure_files
    from twintrack.settings import parse_vessel_names

    with _progress() as progress:
        measure_files(probability, vessels, parse_vessel_names(vessel_names), out, progress=progress)
    typer.echo(f"{out}: written")


@app.command()
def export(
    result: Annotated[Path, typer.Argument(help="Result folder of twintrack segment.")],
    series: Annotated[Path, typer.Option(help="Folder (or one file) of the CT's DICOM series.")],
    out: OutFolder,
    verbose: Verbose = False,
) -> None:
    """Write the DICOM segmentation and parametric map of a result."""
    _log(verbose)
    from twintrack.export import export_result

    for path in export_result(result, series, out):
        typer.echo(str(path))


@app.command()
def phantom(
    cases: Annotated[int, typer.Option(min=1, help="Number of cases.")],
    out: OutFolder,
    raters: Annotated[int, typer.Option(min=1, help="Readers a case.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first case; the next ones count on.")] = 0,
    verbose: Verbose = False,
) -> None:
    """Draw synthetic multi-rater cases with a manifest.csv."""
    _log(verbose)
    from twintrack.phantom import write_cohort

    with _progress() as progress:
        manifest = write_cohort(out, cases=cases, raters=raters, seed=seed, progress=progress)
    typer.echo(str(manifest))


@bundle_app.command("create")
def bundle_create(
    coarse: Annotated[Path, typer.Option(help="nnU-Net results folder of stage 1 (with plans.json).")],
    fine: Annotated[Path, typer.Option(help="nnU-Net results folder of stage 2.")],
    out: Annotated[Path, typer.Option(help="The bundle to write: a folder, or a name ending in .zip.")],
    folds: Annotated[str, typer.Option(help="Members of the fine ensemble.")] = "0,1,2",
    coarse_folds: Annotated[str, typer.Option(help="Members of the coarse model.")] = "0",
    tumor_labels: Annotated[str, typer.Option(help="Labels that add up to tumour.")] = "tumor",
    organ_labels: Annotated[str, typer.Option(help="Labels of the coarse model that make the organ.")] = "pancreas",
    vessel_labels: Annotated[str, typer.Option(help="Vessel labels, e.g. PORTA=portal_vein,SMA=sma.")] = "",
    calibrator: Annotated[Path | None, typer.Option(help="calibrator.json")] = None,
    roi_margin_mm: Annotated[float, typer.Option(help="Dilation of the organ.")] = 20.0,
    name: Annotated[str, typer.Option(help="Name; by default that of --out.")] = "",
    license: Annotated[str, typer.Option(help="Licence of the weights.")] = "unknown",
    description: Annotated[str, typer.Option(help="What the model knows and does not.")] = "",
    verbose: Verbose = False,
) -> None:
    """Make a bundle from nnU-Net results folders."""
    _log(verbose)
    from twintrack.bundle_create import create_bundle

    vessels = dict(_pair(entry) for entry in vessel_labels.split(",") if entry)
    create_bundle(
        coarse,
        fine,
        out=out,
        name=name or out.stem,
        license=license,
        folds=folds.split(","),
        coarse_folds=coarse_folds.split(","),
        tumor_labels=tumor_labels.split(","),
        organ_labels=organ_labels.split(","),
        vessel_labels=vessels,
        calibrator=calibrator,
        roi_margin_mm=roi_margin_mm,
        description=description,
    )
    typer.echo(str(out))


@bundle_app.command("verify")
def bundle_verify(bundle: Annotated[Path, typer.Argument()], verbose: Verbose = False) -> None:
    """Check every file of a bundle against its hash, and that the networks load."""
    _log(verbose)
    from twintrack.bundle import Bundle
    from twintrack.inference import check_weights

    with Bundle.open(bundle) as opened:
        opened.verify()
        check_weights(opened)
        typer.echo(f"{bundle}: intact, {len(opened.files)} files, sha256 {opened.sha256}")


@bundle_app.command("show")
def bundle_show(bundle: Annotated[Path, typer.Argument()], verbose: Verbose = False) -> None:
    """Describe a bundle as JSON."""
    _log(verbose)
    from twintrack.bundle import Bundle

    with Bundle.open(bundle) as opened:
        typer.echo(json.dumps(opened.describe(), indent=2))


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit: 0 done, 2 bad input or usage, 130 cancelled, 1 anything unexpected."""
    sys.exit(_run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int:
    verbose = "-v" in arguments or "--verbose" in arguments
    if arguments == ["--version"]:
        typer.echo(__version__)
        return 0
    try:
        code = typer.main.get_command(app).main(arguments, prog_name="twintrack", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except (typer.Abort, Cancelled, KeyboardInterrupt):
        typer.echo("cancelled", err=True)
        return 130
    except USAGE_ERROR as error:
        return _fail(f"{error.format_message()} (see twintrack --help)", 2, verbose)  # type: ignore[attr-defined]
    except TwinTrackError as error:
        return _fail(str(error), 2, verbose)
    except Exception as error:
        return _fail(f"unexpected: {error or type(error).__name__} (run again with -v and report it)", 1, verbose)


def _fail(message: str, code: int, verbose: bool) -> int:
    if verbose:
        import traceback

        traceback.print_exc()
    typer.echo("error: " + " ".join(message.split()), err=True)
    return code


def _pair(entry: str) -> tuple[str, str]:
    name, equals, value = entry.partition("=")
    if not equals or not name or not value:
        raise InputError(f"expected NAME=VALUE, got {entry!r}")
    return name, value


def _log(verbose: bool) -> None:
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, format="%(levelname)s %(name)s: %(message)s")


@contextmanager
def _progress() -> Iterator[Progress]:
    """Show a bar on a terminal, nothing otherwise."""
    if not sys.stderr.isatty():
        yield no_progress
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (BarColumn(), TaskProgressColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=1.0)
        update: Callable[[float, str], Any] = lambda done, text: bar.update(task, completed=done, description=text)  # noqa: E731
        yield update


def _summarise(folder: Path) -> None:
    """Print what was found, and where it lies."""
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    for warning in result["warnings"]:
        typer.echo(f"warning: {warning}", err=True)
    volume = result["volume_ml"]
    typer.echo(f"tumour at {result['threshold']:g} of readers: {volume['at_threshold']:.1f} mL")
    typer.echo(f"expected over readers: {volume['expected']:.1f} mL ({volume['p10']:.1f} to {volume['p90']:.1f} mL)")
    typer.echo(f"lesions: {len(result['lesions'])}")
    typer.echo(f"report: {folder / 'report.html'}")
