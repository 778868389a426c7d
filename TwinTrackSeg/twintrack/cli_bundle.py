"""Sub-commands of ``twintrack bundle``: make, check or describe a model bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from twintrack.cli_shell import Verbose, parse_pair, start_log

__all__ = ["bundle_app"]

bundle_app = typer.Typer(help="Make, check or describe a model bundle.")


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
    start_log(verbose)
    from twintrack.bundle_create import create_bundle

    vessels = dict(parse_pair(entry) for entry in vessel_labels.split(",") if entry)
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
    start_log(verbose)
    from twintrack.bundle import Bundle
    from twintrack.inference import check_weights

    with Bundle.open(bundle) as opened:
        opened.verify()
        check_weights(opened)
        typer.echo(f"{bundle}: intact, {len(opened.files)} files, sha256 {opened.sha256}")


@bundle_app.command("show")
def bundle_show(bundle: Annotated[Path, typer.Argument()], verbose: Verbose = False) -> None:
    """Describe a bundle as JSON."""
    start_log(verbose)
    from twintrack.bundle import Bundle

    with Bundle.open(bundle) as opened:
        typer.echo(json.dumps(opened.describe(), indent=2))
