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
from twintrack.cli.study import Panel
from twintrack.cli.train import PresetChoice, StrategyChoice
from twintrack.errors import InputError
from twintrack.system.terminal import say

__all__ = ["experiment_app"]

experiment_app = typer.Typer(help="Repeat a published experiment, on phantoms or on your own cases.")


def _strategies(text: str) -> tuple[StrategyChoice, ...]:
    """Read names with commas between them."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    known = {one.value: one for one in StrategyChoice}
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        raise typer.BadParameter(f"must be some of {', '.join(known)}, got {text!r}", param_hint="--strategies")
    return tuple(dict.fromkeys(known[name] for name in names))


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
    say(f"{out / 'table1.md'}: written, the means of {(tests or TESTS) if manifest is None else 'all'} test cases")


@experiment_app.command()
def raters(
    out: OutFolder,
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="Real cases instead of phantoms: CSV with case, image, split (train|calibration|test), "
            "annotation_<ID>, and organ or anatomy."
        ),
    ] = None,
    strategies: Annotated[
        str | None,
        typer.Option(
            help="Those to compare, with commas, of: " + ", ".join(one.value for one in StrategyChoice) + ".",
            metavar="A,B,...",
            show_default="all",
        ),
    ] = None,
    preset: Annotated[PresetChoice, typer.Option(help="Size of the networks.")] = PresetChoice.TINY,
    train_seeds: Annotated[
        int, typer.Option(min=1, help="Trainings of each strategy, each with a seed of its own.")
    ] = 1,
    members: Annotated[
        int, typer.Option(min=1, help="Networks of a training; of each rater for rater-specific and label-sampling.")
    ] = 1,
    epochs: Annotated[int | None, typer.Option(min=1, help="Instead of the preset's.", show_default=False)] = None,
    rater: Annotated[
        str | None, typer.Option(help="Of the strategy single (default: the one in the middle).", show_default=False)
    ] = None,
    panel: Annotated[Panel, typer.Option(help="Phantoms' raters: the same in all cases, or new ones.")] = Panel.FIXED,
    panel_seed: Annotated[int, typer.Option(min=0, help="What the fixed panel is drawn from.")] = 4,
    cases: Annotated[
        tuple[int, int, int],
        typer.Option(min=2, help="Phantoms to train, to calibrate and to test on.", metavar="TRAIN CALIBRATION TEST"),
    ] = (150, 100, 150),
    bootstrap: Annotated[int, typer.Option(min=1, help="Resamples of the test cases for the intervals.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="First training seed; also chooses the phantoms.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Trainings at a time, each on one core.")] = 2,
    device: DeviceOption = Device.AUTO,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Compare ways to train on several raters, before and after the calibrator. Run it again to go on."""
    start_log(verbose)
    from twintrack.studies.raters.one_run import CaseChoice
    from twintrack.studies.raters.run import RatersSettings, run_raters
    from twintrack.training.strategies import Strategy

    chosen = tuple(StrategyChoice) if strategies is None else _strategies(strategies)
    choice = CaseChoice(
        None if manifest is None else str(manifest),
        *cases,
        panel_seed=panel_seed if panel is Panel.FIXED else None,
        seed=seed,
    )
    settings = RatersSettings(
        strategies=tuple(Strategy(one.value) for one in chosen),
        seeds=train_seeds,
        members=members,
        preset=preset.value,
        epochs=epochs,
        rater=rater,
        bootstrap=bootstrap,
        seed=seed,
        device=device.value,
        jobs=jobs,
    )
    with progress_bar() as progress:
        run_raters(out, choice, settings, overwrite=overwrite, progress=progress)
    look_and_tell(manifest)
    say(f"{out / 'table.md'}: written, {len(chosen)} strategies")
