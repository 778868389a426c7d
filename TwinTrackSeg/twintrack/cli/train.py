"""The sub-command ``train``: networks that learn from several raters, as a bundle."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from twintrack.cli.options import Device, DeviceOption, Verbose, bundle_named, look_and_tell, progress_bar, start_log
from twintrack.system.terminal import say, say_error

__all__ = ["train"]


# The engine's own, in `twintrack.training`, would bring numpy into the start of every command.
class StrategyChoice(str, Enum):
    """What the networks learn where readers differ."""

    SOFT = "soft"
    SINGLE = "single"
    MAJORITY = "majority"
    LABEL_SAMPLING = "label-sampling"
    RATER_SPECIFIC = "rater-specific"
    ORDINAL = "ordinal"
    HEADS = "heads"
    HARMONIZER = "harmonizer"


class PresetChoice(str, Enum):
    """Size of the networks and length of the training."""

    TINY = "tiny"
    SMALL = "small"
    FULL = "full"


def train(
    manifest: Annotated[
        Path,
        typer.Argument(
            help="CSV with case, image, split (train|calibration|test), annotation_<NAME>; optional anatomy, vessels, "
            "organ, patient."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The bundle to write; beside it lies OUT.training, to go on from.")],
    strategy: Annotated[
        StrategyChoice,
        typer.Option(help="What the networks learn where readers differ: soft is the fraction of readers."),
    ] = StrategyChoice.SOFT,
    preset: Annotated[
        PresetChoice, typer.Option(help="Size of the networks and length of the training.")
    ] = PresetChoice.SMALL,
    coarse: Annotated[
        Path | None,
        typer.Option(
            help="Bundle whose stage 1 finds the organ.",
            parser=bundle_named,
            metavar="BUNDLE",
            show_default="train one on the column organ or anatomy",
        ),
    ] = None,
    rater: Annotated[
        str | None, typer.Option(help="Reader of --strategy single.", show_default="the first one")
    ] = None,
    members: Annotated[
        int | None,
        typer.Option(min=1, help="Networks, of each reader if they are rater-specific.", show_default="the preset's"),
    ] = None,
    ordinal_weight: Annotated[
        float, typer.Option(help="Weight of the binary part of --strategy ordinal; above 0.")
    ] = 1.0,
    max_minutes: Annotated[
        float | None, typer.Option(help="End after this time with what is learnt by then.", show_default="no limit")
    ] = None,
    device: DeviceOption = Device.AUTO,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, patches and augmentation.")] = 0,
    verbose: Verbose = False,
) -> None:
    """Train networks on several readers' masks and make a calibrated bundle. Run it again to go on."""
    start_log(verbose)
    from twintrack.bundle.model_bundle import Bundle
    from twintrack.studies.train.run import TrainSettings, train_bundle
    from twintrack.training import Preset, Strategy

    settings = TrainSettings(
        strategy=Strategy(strategy.value),
        preset=Preset(preset.value),
        rater=rater,
        members=members,
        ordinal_weight=ordinal_weight,
        max_minutes=max_minutes,
        device=device.value,
        seed=seed,
    )
    with progress_bar() as progress:
        train_bundle(manifest, out, settings, coarse=coarse, warn=_warn, progress=progress)
    look_and_tell(manifest)
    with Bundle.open(out) as bundle:
        metrics = (bundle.training or {}).get("metrics", {})
    held_out = ", ".join(f"{name} {value:.4g}" for name, value in metrics.items() if value is not None)
    say(f"{out}: complete{'; held out: ' + held_out if held_out else ''}")


def _warn(text: str) -> None:
    say_error(f"warning: {text}")
