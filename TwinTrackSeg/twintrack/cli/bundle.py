"""Sub-commands of ``twintrack bundle``: make, check or describe a model bundle."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from twintrack.cli.options import (
    JsonOption,
    Overwrite,
    Verbose,
    bundle_named,
    look_and_tell,
    parse_pair,
    progress_bar,
    say_json,
    start_log,
)
from twintrack.errors import InputError, TwinTrackError
from twintrack.system.terminal import say, say_lines

__all__ = ["bundle_app"]

bundle_app = typer.Typer(help="Make, check or describe a model bundle.")

Json = Annotated[bool, typer.Option("--json", help="JSON even on a terminal.")]


@bundle_app.command("create")
def bundle_create(
    coarse: Annotated[Path, typer.Option(help="nnU-Net results folder of stage 1 (with plans.json).")],
    fine: Annotated[Path, typer.Option(help="nnU-Net results folder of stage 2.")],
    out: Annotated[Path, typer.Option(help="The bundle to write: a folder, or a name ending in .zip.")],
    folds: Annotated[str, typer.Option(help="Members of the fine ensemble.")] = "0,1,2",
    coarse_folds: Annotated[str, typer.Option(help="Members of the coarse model.")] = "0",
    checkpoint: Annotated[
        str, typer.Option(help="Weights to take from each fold of the fine model, e.g. checkpoint_best.pth.")
    ] = "checkpoint_final.pth",
    coarse_checkpoint: Annotated[str, typer.Option(help="The same for the coarse model.")] = "checkpoint_final.pth",
    tumor_labels: Annotated[
        str,
        typer.Option(help="Labels that add up to tumour, with a weight where it is not 1: level_1=0.5,level_2=1."),
    ] = "tumor",
    organ_labels: Annotated[str, typer.Option(help="Labels of the coarse model that make the organ.")] = "pancreas",
    vessel_labels: Annotated[str, typer.Option(help="Vessel labels, e.g. PORTA=portal_vein,SMA=sma.")] = "",
    calibrator: Annotated[
        Path | None, typer.Option(help="calibrator.json; without it the bundle gives scores.")
    ] = None,
    roi_margin_mm: Annotated[float, typer.Option(help="Dilation of the organ.")] = 20.0,
    roi_component_fraction: Annotated[
        float, typer.Option(help="Drop parts of the organ below this fraction of the largest; 1: keep the largest.")
    ] = 0.1,
    roi_probability: Annotated[
        float | None,
        typer.Option(help="Organ: where its probability is at least this; by default the likeliest class."),
    ] = None,
    contact_mm: Annotated[
        float | None, typer.Option(help="Distance in mm within which tumour touches a vessel (0.5 to 5).")
    ] = None,
    mirroring: Annotated[
        bool, typer.Option("--mirroring", help="Average over mirrored inputs: up to 8 times the cost.")
    ] = False,
    name: Annotated[str, typer.Option(help="Name; by default that of --out.")] = "",
    version_label: Annotated[str, typer.Option(help="Version of the model.")] = "1.0",
    license: Annotated[str, typer.Option(help="Licence of the weights.")] = "unknown",
    description: Annotated[str, typer.Option(help="What the model knows and does not.")] = "",
    intended_use: Annotated[str, typer.Option(help="What it may be used for; by default research only.")] = "",
    raters: Annotated[int | None, typer.Option(min=1, help="Number of raters behind the calibrator.")] = None,
    rater_members: Annotated[
        str, typer.Option(help="Members that learnt from one rater, by a pseudonym for each: A=0+5,B=1.")
    ] = "",
    rater_labels: Annotated[
        str, typer.Option(help="Labels that speak for one rater, by a pseudonym for each: A=rater_A,B=rater_B.")
    ] = "",
    training: Annotated[
        Path | None, typer.Option(help="JSON file that says how the networks were trained; shown by bundle show.")
    ] = None,
    fingerprint: Annotated[
        Path | None, typer.Option(help="dataset_fingerprint.json of the fine model, if not in its folder.")
    ] = None,
    coarse_fingerprint: Annotated[Path | None, typer.Option(help="The same for the coarse model.")] = None,
    inputs: Annotated[
        Path | None, typer.Option(help="Manifest of training CTs (column image); other CTs then get a warning.")
    ] = None,
    disagreement: Annotated[
        Path | None,
        typer.Option(
            help="Manifest of CTs not trained on; the networks run on them, and more disagreement is warned of."
        ),
    ] = None,
    half: Annotated[bool, typer.Option("--half", help="Store weights as float16: half the size.")] = False,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Make a bundle from nnU-Net results folders. Checkpoints are read without running code that they may hold."""
    start_log(verbose)
    from twintrack.bundle.model_bundle import Bundle
    from twintrack.settings import checked_contact_mm
    from twintrack.studies.make_bundle.card import RESEARCH_USE
    from twintrack.studies.make_bundle.create import BundleCard, StageSource, create_bundle
    from twintrack.studies.make_bundle.inputs import measure_disagreement, measure_inputs
    from twintrack.studies.make_bundle.nnunet_results import read_json_object
    from twintrack.system.private_folder import PrivateFolder

    card = BundleCard(
        name=name or out.stem,
        license=license,
        version=version_label,
        description=description,
        intended_use=intended_use or RESEARCH_USE,
        raters=raters,
        tumor_weights=_weights(tumor_labels),
        organ_labels=_listed(organ_labels),
        vessel_labels=_vessels(vessel_labels),
        roi_margin_mm=roi_margin_mm,
        roi_component_fraction=roi_component_fraction,
        roi_probability=roi_probability,
        mirroring=mirroring,
        rater_members=_rater_members(rater_members, rater_labels),
        training=None if training is None else read_json_object(training),
        contact_mm=None if contact_mm is None else checked_contact_mm(contact_mm),
        inputs=None if inputs is None else measure_inputs(inputs),
    )
    sources = (
        StageSource(coarse, _listed(coarse_folds), coarse_checkpoint, coarse_fingerprint),
        StageSource(fine, _listed(folds), checkpoint, fingerprint),
    )
    if disagreement is not None:
        with PrivateFolder() as scratch:
            raw = create_bundle(*sources, card, out=scratch / "bundle", half=half)
            with Bundle.open(raw) as bundle, progress_bar() as progress:
                apart = measure_disagreement(disagreement, bundle, progress=progress)
        card = replace(card, inputs=apart if card.inputs is None else card.inputs.joined(apart))
    with progress_bar() as progress:
        progress(0.0, "reading checkpoints, and loading each network once")
        create_bundle(*sources, card, out=out, calibrator=calibrator, half=half, overwrite=overwrite)
    look_and_tell(*dict.fromkeys((inputs, disagreement)))
    networks = len(_listed(coarse_folds)) + len(_listed(folds))
    kind = "calibrated" if calibrator is not None else "no calibrator, so that it gives scores (twintrack calibrate)"
    say(f"{out}: written, {networks} networks, {kind}")


@bundle_app.command("verify")
def bundle_verify(
    bundle: Annotated[Path, typer.Argument(parser=bundle_named, metavar="BUNDLE")],
    as_json: JsonOption = False,
    verbose: Verbose = False,
) -> None:
    """Check every file of a bundle against its hash, and that networks and calibrator can be used."""
    start_log(verbose)
    from twintrack.bundle.model_bundle import Bundle
    from twintrack.studies.make_bundle.create import check_bundle

    with progress_bar() as progress:
        progress(0.0, "comparing files with their hashes")
        with Bundle.open(bundle) as opened:
            progress(0.5, "loading each network once")
            try:
                check_bundle(opened)
            except TwinTrackError as error:  # a zip's files have temporary names here
                error.rename(opened.path, bundle)
                raise
            files, sha256, is_calibrated = len(opened.files), opened.sha256, opened.calibrator_path is not None
    if as_json:
        content = {"bundle": str(bundle), "intact": True, "files": files, "sha256": sha256, "calibrated": is_calibrated}
        say_json(content)
        return
    say(f"{bundle}: intact, {files} files, sha256 {sha256}")


@bundle_app.command("show")
def bundle_show(
    bundle: Annotated[Path, typer.Argument(parser=bundle_named, metavar="BUNDLE")],
    as_json: Json = False,
    verbose: Verbose = False,
) -> None:
    """Describe a bundle: as text on a terminal, as JSON otherwise."""
    start_log(verbose)
    from twintrack.bundle.describe import bundle_text
    from twintrack.bundle.model_bundle import Bundle

    with Bundle.open(bundle) as opened:
        about = opened.describe()
    say_lines(bundle_text(about) if _for_people(as_json) else _json(about))


def _for_people(as_json: bool) -> bool:
    return sys.stdout.isatty() and not as_json


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2)


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _weights(text: str) -> dict[str, float]:
    """Read labels, each with a weight after ``=`` where it is not 1."""
    weights: dict[str, float] = {}
    for entry in _listed(text):
        name, given = parse_pair(entry) if "=" in entry else (entry, "1")
        try:
            weight = float(given)
        except ValueError:
            weight = float("nan")
        if not 0 < weight <= 1 or name in weights:
            raise InputError(
                f"--tumor-labels {text}: give each label once, with a weight above 0 and at most 1, as in level_1=0.5",
                code="weight-malformed",
            )
        weights[name] = weight
    return weights


def _rater_members(members: str, labels: str) -> list[dict[str, Any]]:
    """Read whose members or whose labels are which, as ``bundle.json`` holds them."""
    by_member = [{"id": name, "members": folds.split("+")} for name, folds in map(parse_pair, _listed(members))]
    return [*by_member, *({"id": name, "label": label} for name, label in map(parse_pair, _listed(labels)))]


def _vessels(text: str) -> dict[str, str]:
    pairs = [parse_pair(entry) for entry in _listed(text)]
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise InputError(f"--vessel-labels {text}: names a vessel twice", code="vessel-named-twice")
    return dict(pairs)
