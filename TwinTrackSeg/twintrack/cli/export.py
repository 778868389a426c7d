"""The sub-command that writes a result as DICOM objects and sends them to an archive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twintrack.cli.options import AcquisitionOption, OutFolder, Overwrite, Verbose, progress_bar, start_log
from twintrack.errors import InputError
from twintrack.system.terminal import say, say_error

if TYPE_CHECKING:
    from twintrack.dicom import DimseTarget

__all__ = ["export"]


def export(
    result: Annotated[Path, typer.Argument(help="Result folder of twintrack segment.")],
    out: OutFolder,
    series: Annotated[Path | None, typer.Option(help="The CT's DICOM series: folder, ZIP or one file.")] = None,
    series_uid: Annotated[str | None, typer.Option(help="UID of the series, where there are several.")] = None,
    acquisition: AcquisitionOption = None,
    make_series: Annotated[
        Path | None, typer.Option(help="Instead of --series: the volume file that was segmented, to make one from.")
    ] = None,
    fractional: Annotated[
        bool, typer.Option("--fractional", help="Also a fractional segmentation (not for Slicer or OHIF).")
    ] = False,
    labelmap: Annotated[bool, typer.Option("--labelmap", help="Also a label map (few viewers read it yet).")] = False,
    names_checked: Annotated[
        bool,
        typer.Option("--names-checked", help="A reader checked the names that anatomy gave: export them all."),
    ] = False,
    send: Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Send to an archive by C-STORE.")] = None,
    aet: Annotated[str, typer.Option(help="The archive's AE title.")] = "ANY-SCP",
    own_aet: Annotated[str, typer.Option(help="The AE title to call from.")] = "TWINTRACK",
    tls: Annotated[bool, typer.Option("--tls", help="Encrypt the C-STORE connection.")] = False,
    tls_ca: Annotated[Path | None, typer.Option(help="PEM file of the authority behind the archive.")] = None,
    tls_cert: Annotated[Path | None, typer.Option(help="PEM file with own certificate and key.")] = None,
    stow: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Send by DICOMweb; credentials from TWINTRACK_STOW_* or netrc only."),
    ] = None,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Write the DICOM objects of a result: segmentation, parametric map, structured report; send them if asked to."""
    start_log(verbose)
    from twintrack.dicom import DimseTarget, check_url
    from twintrack.results.dicom_objects import export_result

    # What is wrong with the addresses shall show before anything is written.
    target = None
    if send is not None:
        ca = tls_ca if tls else None
        target = DimseTarget.parse(send, title=aet, own_title=own_aet, tls=tls, ca_file=ca, certificate=tls_cert)
    url = None if stow is None else check_url(stow)
    if tls_ca is not None and not tls and stow is None:
        raise InputError("--tls-ca is for encrypted connections only; add --tls or --stow", code="options-exclude")
    with progress_bar() as progress:
        progress(0.0, "writing DICOM objects")
        made = export_result(
            result,
            series,
            out,
            series_uid=series_uid,
            acquisition=acquisition,
            make_series=make_series,
            fractional=fractional,
            labelmap=labelmap,
            names_checked=names_checked,
            overwrite=overwrite,
        )
    for warning in made.warnings:
        say_error(f"warning: {warning}")
    for path in made.files:
        say(str(path))
    say(f"{out}: {len(made.files)} DICOM objects")
    _send((*made.series, *made.files), target, url, tls_ca)


def _send(files: Sequence[Path], target: DimseTarget | None, url: str | None, ca_file: Path | None) -> None:
    """Send to where it was asked for, and say what arrived."""
    from twintrack.dicom import check_arrived, send_dimse, send_stow

    if target is not None:
        with progress_bar() as progress:
            deliveries = send_dimse(files, target, progress=progress)
        check_arrived(deliveries, target.place)
        say(f"{target.place}: took {len(files)} objects")
    if url is not None:
        with progress_bar() as progress:
            deliveries = send_stow(files, url, ca_file=ca_file, progress=progress)
        check_arrived(deliveries, url)
        say(f"{url}: took {len(files)} objects")
