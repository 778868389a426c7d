"""The sub-command that shows a result, or a CT, in a browser on this computer."""

from __future__ import annotations

import importlib
import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from twintrack.cli.options import Verbose, bundle_named, start_log
from twintrack.errors import InputError
from twintrack.system.terminal import say

__all__ = ["view"]

NEEDED = ("trame_slicer", "slicer", "tornado", "PIL", "TwinTrackSegLib")
CT_FOLDER = "ct"
"""Where a result folder may hold its own CT, as that of ``twintrack demo`` does."""


def view(
    place: Annotated[
        Path,
        typer.Argument(metavar="RESULT_OR_CT", help="Result folder of twintrack segment or demo, or a CT to segment."),
    ],
    ct: Annotated[
        Path | None,
        typer.Option("--ct", help="The CT of the result, where it does not lie in its folder ct.", show_default=False),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Model bundle to segment with: a folder or a zip.", parser=bundle_named, metavar="PATH"),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port on this computer; 0 for any free one.")] = 0,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Only print the page's address.")] = False,
    verbose: Verbose = False,
) -> None:
    """Show a result in a browser: slices, 3D, threshold, vessels, curve. For one user, on this computer alone."""
    start_log(verbose)
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"the viewer needs packages that are not installed ({', '.join(missing)}); install them with "
            'pip install ".[view]" from a checkout, best into an environment of its own (docs/view.md)',
            code="extra-missing",
        )
    result = place if (place / "result.json").is_file() else None
    if result is not None:
        ct = ct or _own_ct(result)
    elif ct is not None:
        raise InputError("holds no result.json; leave out --ct, or name a result folder", code="no-result", path=place)
    # The viewer builds on Slicer's side, which the engine does not know: it is looked up only here, by name.
    app = importlib.import_module("TwinTrackSegLib.web.App")
    app.view(app.Wanted(ct or place, result, bundle, port, not no_browser), say)
    say("the viewer has ended")


def _own_ct(result: Path) -> Path:
    """Return the CT that lies in a result folder."""
    path = result / CT_FOLDER
    if not path.exists():
        raise InputError("holds no CT; name the CT that was segmented with --ct", code="ct-needed", path=result)
    return path
