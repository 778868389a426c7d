"""Sub-commands that make and use one result: demo, segment, invasion."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twintrack.cli.options import (
    AcquisitionOption,
    Backend,
    BackendOption,
    CalibratorOption,
    ContactMmOption,
    Device,
    DeviceOption,
    JsonOption,
    NameVessels,
    NameVesselsOption,
    OutFolder,
    Overwrite,
    Verbose,
    bundle_named,
    own_calibrator,
    progress_bar,
    say_json,
    start_log,
)
from twintrack.system.terminal import say, say_error

if TYPE_CHECKING:
    pass

__all__ = ["demo", "invasion", "segment"]

CaseOption = Annotated[
    str | None,
    typer.Option(
        "--case",
        metavar="LABEL",
        help="Label of the case in result and report, 1 to 64 characters.",
        show_default="first digits of the CT's hash",
    ),
]
RulesOption = Annotated[str, typer.Option(help="Rule set for the contact pattern: nccn, ahpba, alliance or dpcg.")]


def demo(
    out: OutFolder = Path("demo-output"),
    case: CaseOption = None,
    device: DeviceOption = Device.AUTO,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Run the main job on a generated phantom CT (a DICOM series) with the shipped demo bundle."""
    start_log(verbose)
    from twintrack.studies.demo import run_demo

    with progress_bar() as progress:
        result = run_demo(out, device=device.value, case=case, overwrite=overwrite, progress=progress)
    _summarize(result)


def segment(
    context: typer.Context,
    ct: Annotated[Path, typer.Argument(help="NIfTI/NRRD/MHA file, DICOM folder or ZIP, or one file of the series.")],
    out: OutFolder,
    bundle: Annotated[
        Path | None, typer.Option(help="Model bundle: a folder or a zip.", parser=bundle_named, metavar="PATH")
    ] = None,
    series: Annotated[
        str | None,
        typer.Option("--series", "--series-uid", help="UID or number of the DICOM series, where there are several."),
    ] = None,
    acquisition: AcquisitionOption = None,
    case: CaseOption = None,
    vessels: Annotated[Path | None, typer.Option(help="Vessel label map of the CT.")] = None,
    vessel_names: Annotated[
        str | None,
        typer.Option(help="Which is which in --vessels: NAME=value or NAME=label.", show_default="names in the file"),
    ] = None,
    name_vessels: NameVesselsOption = NameVessels.AUTO,
    rules: RulesOption = "nccn",
    contact_mm: ContactMmOption = None,
    roi: Annotated[str, typer.Option(help="auto, full, or i0,i1,j0,j1,k0,k1 (voxel index, end exclusive).")] = "auto",
    threshold: Annotated[float, typer.Option(help="Fraction of readers at which the outline is drawn.")] = 0.5,
    device: DeviceOption = Device.AUTO,
    backend: BackendOption = Backend.AUTO,
    every_tile: Annotated[
        bool, typer.Option("--every-tile", help="All networks look everywhere, also where the first sees no tumour.")
    ] = False,
    keep_score: Annotated[bool, typer.Option("--keep-score", help="Also write the uncalibrated score.")] = False,
    raters: Annotated[
        bool,
        typer.Option("--raters", help="Also write how each single reader would draw; the bundle must tell them apart."),
    ] = False,
    samples: Annotated[
        int,
        typer.Option(
            min=0,
            max=16,
            help="Also write this many outlines that readers might draw; for a bundle of --strategy harmonizer.",
        ),
    ] = 0,
    no_panel: Annotated[
        bool, typer.Option("--no-panel", help="No live panel in the report, which holds a piece of the CT.")
    ] = False,
    dicom: Annotated[bool, typer.Option("--dicom", help="Also export DICOM (the input must be DICOM).")] = False,
    calibrator: CalibratorOption = None,
    no_calibration: Annotated[bool, typer.Option("--no-calibration", help="Give the raw score.")] = False,
    run_on: Annotated[
        str | None,
        typer.Option(help="Address of a server (twintrack serve) that does it with its own bundle: https://HOST:PORT."),
    ] = None,
    tls: Annotated[
        Path | None, typer.Option("--tls", help="Folder with the certificates for --run-on, or with the token.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the token for --run-on, in place of a certificate.")
    ] = None,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Segment one CT: calibrated map, vessel readouts, pictures and report."""
    start_log(verbose)
    if bundle is None and run_on is None:
        raise typer.BadParameter(
            "give a bundle: demo (it knows phantoms only), one of twintrack model list, or a folder or zip of your "
            "own, by twintrack bundle create or twintrack train; or --run-on and the address of a server",
            param_hint="--bundle",
        )
    if run_on is None and (tls or token_file) is not None:
        hint = "--tls" if token_file is None else "--token-file"
        raise typer.BadParameter("that is for a server; give its address too", param_hint=hint)
    from twintrack.settings import SegmentSettings, parse_roi, parse_vessel_names

    settings = SegmentSettings(
        roi=parse_roi(roi),
        threshold=threshold,
        device=device.value,
        backend=backend.value,
        every_tile=every_tile,
        calibrate=not no_calibration,
        calibrator=own_calibrator(calibrator, no_calibration),
        keep_score=keep_score,
        rater_maps=raters,
        samples=samples,
        panel=not no_panel,
        dicom=dicom,
        series=series,
        acquisition=acquisition,
        vessels=None if vessels is None else str(vessels),
        vessel_names=None if vessel_names is None else parse_vessel_names(vessel_names),
        name_vessels=name_vessels.value,
        rules=rules,
        contact_mm=contact_mm,
        case=case,
    )
    with progress_bar() as progress:
        if run_on is None and bundle is not None:
            from twintrack.results.folder import segment_file

            result = segment_file(ct, bundle, out, settings, overwrite=overwrite, began=context.obj, progress=progress)
        else:
            from twintrack.execution.server.client import segment_there

            result = segment_there(
                ct,
                bundle,
                out,
                settings,
                address=run_on or "",
                certificates=tls,
                token_file=token_file,
                announce=say_error,
                overwrite=overwrite,
                progress=progress,
            )
    _summarize(result)


def invasion(
    probability: Annotated[Path, typer.Argument(help="Probability map.")],
    vessels: Annotated[Path, typer.Option(help="Vessel label map of the same patient space.")],
    out: Annotated[Path, typer.Option(help="The .json to write; a .csv comes beside it.")],
    vessel_names: Annotated[
        str | None,
        typer.Option(help="Which is which in --vessels: NAME=value or NAME=label.", show_default="names in the file"),
    ] = None,
    name_vessels: NameVesselsOption = NameVessels.AUTO,
    rules: RulesOption = "nccn",
    contact_mm: ContactMmOption = None,
    calibrator: Annotated[
        Path | None,
        typer.Option(help="calibrator.json with statements, for the score that segment --keep-score wrote."),
    ] = None,
    as_json: JsonOption = False,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Measure how far the tumour wraps around each vessel."""
    start_log(verbose)
    from twintrack.results.measure_again import measure_files
    from twintrack.settings import parse_vessel_names

    with progress_bar() as progress:
        found = measure_files(
            probability,
            vessels,
            None if vessel_names is None else parse_vessel_names(vessel_names),
            out,
            name_vessels=name_vessels.value,
            rules=rules,
            contact_mm=contact_mm,
            calibrator=calibrator,
            overwrite=overwrite,
            progress=progress,
        )
    if calibrator is not None:
        say_error(f"statements: {found['statements_note']}")
    for warning in found["warnings"]:
        say_error(f"warning: {warning}")
    if as_json:
        say_json(found)
        return
    for name, vessel in found["vessels"].items():
        if vessel["reason"] is not None:
            say_error(f"{name}: {vessel['reason']}")
    _say_vessels(found)
    measured = sum(vessel["reason"] is None for vessel in found["vessels"].values())
    say(f"{out}: written, {measured} of {len(found['vessels'])} vessels measured")


def _summarize(folder: Path) -> None:
    """Print what was found, and where it lies."""
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    for warning in result["warnings"]:
        say_error(f"warning: {warning}")
    from twintrack.results.report.wording import NO_CALIBRATOR, is_score, readers_volume

    volume, readers = result["volume_ml"], readers_volume(result)
    say(f"this outline, at {result['threshold']:g}: {volume['at_threshold']:.1f} mL")
    if is_score(result):
        say(NO_CALIBRATOR)
    else:
        say(f"readers: mean {volume['expected']:.1f} mL, 8 of 10 between {readers.p10_p90} ({readers.source})")
    say(f"lesions: {len(result['lesions'])}")
    invasion = folder / "invasion.json"
    if invasion.is_file():
        _say_vessels(json.loads(invasion.read_text(encoding="utf-8")))
    say(f"report: {folder / 'report.html'}")


def _say_vessels(invasion: Mapping[str, object]) -> None:
    """Print what readers are expected to say of each vessel, the worst first, or why nothing: silence reads as free."""
    from twintrack.results.report.vessel_rows import by_severity, vessel_rows
    from twintrack.results.report.wording import is_score, statement_source

    if not is_score(invasion):
        say(f"what readers are expected to say of the vessels: {statement_source(invasion)}")
    for row in by_severity(vessel_rows(invasion, None)):
        say(f"  {row.name}: {row.readers_line}{f' ({row.source})' if row.source else ''}")
