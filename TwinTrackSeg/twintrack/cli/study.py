"""Sub-commands of a study with several readers: calibrate, apply, evaluate, phantom."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twintrack.cli.cohort import InsecureOption, SchedulerOption, WaitOption, cluster
from twintrack.cli.options import (
    ContactMmOption,
    Device,
    DeviceOption,
    JsonOption,
    OutFolder,
    Overwrite,
    Verbose,
    bundle_named,
    progress_bar,
    say_json,
    start_log,
    tell_how_read,
)
from twintrack.execution.cluster.versions import WAIT_FOR_WORKERS_S
from twintrack.studies.table_format import METHOD_NAMES
from twintrack.system.terminal import say, say_error

if TYPE_CHECKING:
    from twintrack.calibration import Calibrator, ScoreSketch
    from twintrack.calibration.statements import Statements
    from twintrack.io.manifest import ManifestInputs

__all__ = ["apply", "calibrate", "evaluate", "phantom"]


class Target(str, Enum):
    """What a calibrator is fitted to."""

    MHR = "mhr"
    SINGLE_RATER = "single-rater"
    HARD_LABEL = "hard-label"


class Domain(str, Enum):
    """The voxels a calibrator is fitted on."""

    ROI = "roi"
    ALL = "all"


class RaterPopulation(str, Enum):
    """How the raters of a phantom draw."""

    DEFAULT = "default"
    LIDC = "lidc"


class Panel(str, Enum):
    """Who the raters of several phantoms are."""

    ANONYMOUS = "anonymous"
    FIXED = "fixed"


class Weights(str, Enum):
    """What weighs the same in a fit."""

    VOXEL = "voxel"
    CASE = "case"


VesselNamesOption = Annotated[
    str | None,
    typer.Option(
        help="Which is which in the column vessels: NAME=value or NAME=label.",
        show_default="names in the file, else PORTA=1 to SMA=5",
    ),
]


def calibrate(
    manifest: Annotated[
        list[Path],
        typer.Argument(help="CSV with case, score (or image) and annotation_<NAME>; or sketches (.npz); also several."),
    ],
    out: Annotated[Path | None, typer.Option(help="The calibrator.json to write.")] = None,
    bundle: Annotated[
        Path | None, typer.Option(help="Bundle that scores the column image.", parser=bundle_named, metavar="PATH")
    ] = None,
    target: Annotated[Target, typer.Option(help="What to fit.")] = Target.MHR,
    rater: Annotated[
        str | None, typer.Option(help="Name of the rater of --target single-rater (column annotation_<NAME>).")
    ] = None,
    bins: Annotated[int | None, typer.Option(help="Equal-mass bins.", show_default="250")] = None,
    select_bins: Annotated[
        bool, typer.Option("--select-bins", help="Choose the bins by leaving out each case in turn.")
    ] = False,
    domain: Annotated[Domain, typer.Option(help="Fit on voxels with a score above 0, or on all.")] = Domain.ROI,
    weights: Annotated[Weights, typer.Option(help="Weigh every voxel the same, or every case.")] = Weights.VOXEL,
    bootstrap: Annotated[int, typer.Option(min=0, help="Resamples of the cases for the band; 0 for none.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Reliability picture to write.")] = None,
    sketch: Annotated[Path | None, typer.Option(help="Sketch of the cases to write (.npz), to be added up.")] = None,
    vessel_names: VesselNamesOption = None,
    contact_mm: ContactMmOption = None,
    device: DeviceOption = Device.AUTO,
    scheduler: SchedulerOption = None,
    insecure_scheduler: InsecureOption = False,
    wait_s: WaitOption = WAIT_FOR_WORKERS_S,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Fit a calibrator on multi-rater cases; with a column vessels also what is said of each vessel."""
    start_log(verbose)
    if out is None and (sketch is None or plot is not None):
        raise typer.BadParameter("give the calibrator to write, or --sketch FILE.npz alone", param_hint="--out")
    if select_bins and bins is not None:
        raise typer.BadParameter("leave one of --bins and --select-bins out", param_hint="--select-bins")
    if (target is Target.SINGLE_RATER) != (rater is not None):
        raise typer.BadParameter("goes with --target single-rater, and that with --rater NAME", param_hint="--rater")
    from twintrack.calibration import save_sketch, write_calibrator
    from twintrack.calibration.reliability import check_picture_name
    from twintrack.calibration.sketch_file import check_sketch_name
    from twintrack.progress.callbacks import part
    from twintrack.settings import parse_vessel_names
    from twintrack.studies.calibrate import bundle_statements, calibration_inputs, fit_sketch, sketch_cases
    from twintrack.studies.statement_rows import StatementOptions
    from twintrack.system.atomic import atomic_path, check_output_files

    # What is wrong with a name shall show before hours of work.
    if plot is not None:
        check_picture_name(plot)
    if sketch is not None:
        check_sketch_name(sketch)
    options = StatementOptions(None if vessel_names is None else parse_vessel_names(vessel_names), contact_mm)
    inputs = calibration_inputs(manifest, bundle)
    outputs = [path for path in (sketch, out, plot) if path is not None]
    if len({path.absolute() for path in outputs}) < len(outputs):
        raise typer.BadParameter("two of the files to write have the same name; give each its own", param_hint="--out")
    check_output_files(*outputs, inputs=inputs, overwrite=overwrite)
    warnings: list[str] = []
    spreading = cluster(scheduler, wait_s, insecure=insecure_scheduler, bundle=bundle)
    with progress_bar() as progress, spreading as map_cases:
        found = sketch_cases(
            [_as_workers_see_it(path, scheduler) for path in manifest],
            bundle_path=bundle,
            domain=domain.value,
            weighting=weights.value,
            device=device.value,
            statements=options,
            map_cases=map_cases,
            warn=warnings.append,
            progress=part(progress, 0.0, 0.9),
        )
        if sketch is not None:
            save_sketch(found, sketch, inputs=inputs, overwrite=overwrite)
        if out is None:
            _tell_of_cases(inputs, warnings)
            say(f"{sketch}: sketch of {found.cases} cases, {found.voxels} voxels")
            return
        calibrator = fit_sketch(
            found,
            target=target.value,
            rater=rater,
            bins=None if select_bins else 250 if bins is None else bins,
            resamples=bootstrap,
            seed=seed,
            prior=bundle_statements(bundle),
            where=", ".join(str(path) for path in manifest),
            progress=part(progress, 0.9, 1.0),
        )
        place = partial(atomic_path, inputs=inputs, overwrite=overwrite)
        with place(out) as new, nullcontext() if plot is None else place(plot) as drawn:  # both, or neither
            write_calibrator(calibrator, new)
            if drawn is not None:
                _draw(drawn, found, calibrator)
    _tell_of_cases(inputs, warnings)
    if sketch is not None:
        say(f"{sketch}: sketch of {found.cases} cases, {found.voxels} voxels")
    _tell(out, calibrator)


def _tell_of_cases(inputs: ManifestInputs, warnings: Sequence[str]) -> None:
    """Say how the manifests were read, and what must be known of single cases."""
    for rows in inputs.manifests:
        tell_how_read(rows.path, rows.assumed)
    for warning in warnings:
        say_error(f"warning: {warning}")


def _as_workers_see_it(manifest: Path, scheduler: str | None) -> Path:
    """Return a path that also leads there from a worker, whose working folder is another."""
    return manifest if scheduler is None else manifest.absolute()


def _draw(plot: Path, sketch: ScoreSketch, calibrator: Calibrator) -> None:
    from twintrack.calibration import plot_reliability, reliability_curve

    curves = {"score": reliability_curve(sketch), "map": reliability_curve(sketch, calibrator)}
    plot_reliability(plot, curves, titles={"map": "calibrated map"}, calibrator=calibrator)


def _tell(out: Path, calibrator: Calibrator) -> None:
    """Say what was fitted, how the bins were chosen, and why the map may not be trusted."""
    from twintrack.calibration.calibrator import UPPER_SCORE

    selection = calibrator.selection
    if selection is not None:
        say("bins  held-out Brier score  above the least  standard error")
        rows = zip(selection.bins, selection.loss, selection.excess, selection.excess_error, strict=True)
        for bins, loss, excess, error in rows:
            mark = "  <- chosen" if bins == selection.chosen else ""
            say(f"{bins:4d}  {loss:20.9f}  {excess:15.3e}  {error:14.3e}{mark}")
        if selection.constant_loss is not None:
            say(f"none  {selection.constant_loss:20.9f}  a constant: the base rate of the other cases")
    for warning in calibrator.warnings:
        say_error(f"warning: {warning}")
    _tell_of_statements(calibrator.statements)
    say(
        f"{out}: fitted to {calibrator.target} on {calibrator.cases} cases, {calibrator.voxels} voxels, "
        f"{calibrator.bins} bins, {calibrator.upper_bins} of them above score {UPPER_SCORE}"
    )


def _tell_of_statements(statements: Statements | None) -> None:
    """Say how the statements were chosen; why there are none is a warning, where vessels were given."""
    if statements is None:
        return
    say("statements      held-out loss  difference's error")
    for name, (loss, error) in statements.compared.items():
        mark = "  <- chosen" if name == statements.fitted.family.name else ""
        say(f"{name:14s} {loss:14.4f} {error:19.4f}{mark}")
    say(
        f"statements about {statements.key.vessel_source} vessels, contact within {statements.key.contact_mm:g} mm, on "
        f"{statements.cases} cases; also {', '.join(sorted(statements.fitted.others)) or 'nothing else'}"
    )


def apply(
    score: Annotated[Path, typer.Argument(help="Volume with a pooled score in [0, 1].")],
    calibrator: Annotated[Path, typer.Option(help="calibrator.json")],
    out: Annotated[Path, typer.Option(help="The map to write (.nii.gz).")],
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Calibrate a score volume."""
    start_log(verbose)
    from twintrack.studies.calibrate import apply_to_file

    with progress_bar() as progress:
        progress(0.0, "calibrating")
        used = apply_to_file(score, calibrator, out, overwrite=overwrite)
    for warning in used.warnings:
        say_error(f"warning: {warning}")
    say(f"{out}: written, the score calibrated to {used.target} by {used.cases} cases")


def evaluate(
    manifest: Annotated[Path, typer.Argument(help="CSV with case, probability, annotation_<NAME>; optional vessels.")],
    out: OutFolder,
    bootstrap: Annotated[int, typer.Option(min=1, help="Resamples of the cases for the intervals.")] = 5000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the resampling.")] = 0,
    compare: Annotated[Path | None, typer.Option(help="Manifest with the same cases and another method.")] = None,
    name: Annotated[str, typer.Option(help="What tables and picture call the method.")] = METHOD_NAMES[0],
    compare_name: Annotated[str, typer.Option(help="What they call the method of --compare.")] = METHOD_NAMES[1],
    vessel_names: VesselNamesOption = None,
    scheduler: SchedulerOption = None,
    insecure_scheduler: InsecureOption = False,
    wait_s: WaitOption = WAIT_FOR_WORKERS_S,
    as_json: JsonOption = False,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Score maps with the CURVAS-PDACVI protocol and further metrics."""
    start_log(verbose)
    from twintrack.settings import parse_vessel_names
    from twintrack.studies.evaluate.run import evaluate_manifest
    from twintrack.studies.map_cases import one_by_one

    with progress_bar() as progress, cluster(scheduler, wait_s, insecure=insecure_scheduler) as map_cases:
        evaluate_manifest(
            _as_workers_see_it(manifest, scheduler),
            out,
            bootstrap=bootstrap,
            seed=seed,
            compare=None if compare is None else _as_workers_see_it(compare, scheduler),
            name=name,
            compare_name=compare_name,
            vessel_names=None if vessel_names is None else parse_vessel_names(vessel_names),
            map_cases=map_cases or one_by_one,
            overwrite=overwrite,
            progress=progress,
        )
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    tell_how_read(manifest, summary["manifest"].get("read"))
    if compare is not None:
        tell_how_read(compare, summary["compare"]["manifest"].get("read"))
    for warning in summary["warnings"]:
        say_error(f"warning: {warning}")
    if as_json:
        say_json(summary)
        return
    say(f"{out / 'summary.md'}: {summary['cases']} cases{_main_means(summary)}")


def _main_means(summary: Mapping[str, Any]) -> str:
    """Say the means that tell most of a method, where there are any."""
    told = [("tdsc", "TDSC", ".3f"), ("mhr_gap", "MHR gap", ".4f")]
    means = [
        f"{title} {summary['metrics'][name]['mean']:{digits}}"
        for name, title, digits in told
        if summary["metrics"].get(name, {}).get("mean") is not None
    ]
    return "".join(f", {mean}" for mean in means)


def phantom(
    cases: Annotated[int, typer.Option(min=1, help="Number of cases.")],
    out: OutFolder,
    raters: Annotated[int, typer.Option(min=1, help="Readers a case.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first case; the next ones count on.")] = 0,
    healthy: Annotated[
        float,
        typer.Option(
            metavar="FRACTION",
            min=0.0,
            max=1.0,
            help="Share of cases without a tumour; of the others, half this share has two tumours.",
        ),
    ] = 0.0,
    rater_model: Annotated[
        RaterPopulation,
        typer.Option(help="How the readers draw; lidc: agreeing as far as the radiologists of LIDC-IDRI."),
    ] = RaterPopulation.DEFAULT,
    panel: Annotated[
        Panel, typer.Option(help="New readers in every case, or the same ones, who keep their habits.")
    ] = Panel.ANONYMOUS,
    panel_seed: Annotated[
        int | None, typer.Option(min=0, help="Seed of the readers of --panel fixed.", show_default="0")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="TRAIN,CALIBRATION,TEST",
            help="How many cases train, calibrate and test: the column split.",
            show_default="no column",
        ),
    ] = None,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Draw synthetic multi-rater cases with a manifest.csv."""
    start_log(verbose)
    if panel is not Panel.FIXED and panel_seed is not None:
        raise typer.BadParameter("goes with --panel fixed", param_hint="--panel-seed")
    counts = None if split is None else split.split(",")
    if counts is not None and not all(count.strip().isdecimal() for count in counts):
        raise typer.BadParameter("must be whole numbers such as 24,10,6", param_hint="--split")
    from twintrack.phantom import write_cohort

    with progress_bar() as progress:
        manifest = write_cohort(
            out,
            cases=cases,
            raters=raters,
            seed=seed,
            healthy=healthy,
            rater_model=rater_model.value,
            panel_seed=(panel_seed or 0) if panel is Panel.FIXED else None,
            split=None if counts is None else [int(count) for count in counts],
            overwrite=overwrite,
            progress=progress,
        )
    say(f"{manifest}: {cases} cases, {raters} readers each")
