"""The sub-command that names vessels of a map of arteries and veins."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from twintrack.cli.options import JsonOption, OutFolder, Overwrite, Verbose, progress_bar, say_json, start_log
from twintrack.system.terminal import say, say_error

__all__ = ["vessels"]


def vessels(
    labels: Annotated[
        Path, typer.Argument(metavar="MAP", help="Label map, DICOM-SEG or folder of masks: all arteries, all veins.")
    ],
    out: OutFolder,
    vessel_names: Annotated[
        str | None,
        typer.Option(
            help="Which is which: VEINS=2,ARTERIES=3, also AORTA, IVC, PORTAL_SPLENIC, liver, spleen, pancreas.",
            show_default="names in the file",
        ),
    ] = None,
    as_json: JsonOption = False,
    overwrite: Overwrite = False,
    verbose: Verbose = False,
) -> None:
    """Name the vessels of a map of arteries and veins by anatomy, with evidence and a picture to check."""
    start_log(verbose)
    from twintrack.results.name_vessels import PICTURE, name_vessels_of_file
    from twintrack.settings import parse_vessel_names

    names = None if vessel_names is None else parse_vessel_names(vessel_names)
    with progress_bar() as progress:
        progress(0.0, "following the vessels")
        found = name_vessels_of_file(labels, out, names, overwrite=overwrite)
    for warning in found["warnings"]:
        say_error(f"warning: {warning}")
    if as_json:
        say_json(found)
        return
    for name, one in found["vessels"].items():
        if one["named"]:
            say(f"{name}: named, {one['confidence']} confidence ({one['reason']}), {one['volume_ml']:.1f} mL")
        else:
            say(f"{name}: NOT NAMED ({one['reason']})")
    named = sum(bool(one["named"]) for one in found["vessels"].values())
    say(f"{named} of {len(found['vessels'])} named: look at {out / PICTURE} before measuring")
