"""The report on paper: one page with notices, picture, volumes, vessels and provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from twintrack.results.report.overview import DEMO_NOTICE, RESEARCH_NOTICE, drawable
from twintrack.results.report.wording import (
    MISSING,
    contact_pattern,
    is_score,
    outline_text,
    readers_volume,
    statement_source,
)
from twintrack.results.which_ct import WhichCt
from twintrack.system.atomic import atomic_path
from TwinTrackSegLib.mrml.vessels.VesselTable import COLUMNS, VesselReadout

WIDTHS = {
    "Vessel": 0.2,
    "Category": 0.115,
    **dict.fromkeys(("Contact (% readers)", "Over 180° (% readers)", "Median (°)", "10–90 % (°)"), 0.076),
    **dict.fromkeys(("Outline (°)", "Outline (mm)"), 0.066),
    "Gap (mm)": 0.108,
    **dict.fromkeys(("Networks (°)", "Searched (%)"), 0.07),
}
"""The columns on paper; where they come from stands above the table, what is noted below it."""

__all__ = ["writePdf"]

A4_INCH = (8.27, 11.69)
LEFT, RIGHT = 0.07, 0.93
PICTURE_TOP = 0.893

PATTERN_ROWS = ("Readers expected to see", "Pattern of the median reader", "Pattern of this outline, edited by hand")

LINE_LETTERS = 115
"""As much of a line that says which CT it is finds room."""


def writePdf(
    path: Path,
    record: Mapping[str, Any],
    invasion: Mapping[str, Any] | None,
    readouts: Sequence[VesselReadout],
    picture: Path,
) -> None:
    """Write the page.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    figure = Figure(figsize=A4_INCH)
    demo = record.get("bundle", {}).get("demo")
    figure.text(LEFT, 0.965, "TwinTrackSeg report", fontsize=16, weight="bold", va="top")
    figure.text(LEFT, 0.94, RESEARCH_NOTICE, fontsize=9, va="top")
    if demo:
        figure.text(RIGHT, 0.965, DEMO_NOTICE, fontsize=9, color="#b04a00", weight="bold", va="top", ha="right")
    for line, text in enumerate(_which(record)):
        figure.text(LEFT, 0.924 - 0.0125 * line, text, fontsize=8, va="top", parse_math=False)
    image = imread(picture)
    height = (RIGHT - LEFT) * image.shape[0] / image.shape[1] * A4_INCH[0] / A4_INCH[1]
    axes = figure.add_axes((LEFT, PICTURE_TOP - height, RIGHT - LEFT, height))
    axes.imshow(image)
    axes.axis("off")
    top = PICTURE_TOP - 0.02 - height
    lines = [shown for line in _lines(record, invasion) for shown in wrap(line, LINE_LETTERS)]
    figure.text(LEFT, top, "\n".join(lines), fontsize=8.5, va="top", linespacing=1.5, parse_math=False)
    top -= 0.0185 * (len(lines) + 1)
    if readouts:
        _draw(figure, top, readouts)
    figure.text(LEFT, 0.10, "\n".join(_notes(record, readouts)), fontsize=7.5, va="top", wrap=True)
    with atomic_path(path, overwrite=True) as partial:  # the user was asked
        figure.savefig(partial, format="pdf", metadata={"Title": "TwinTrackSeg report", "Creator": "TwinTrackSeg"})


def _which(record: Mapping[str, Any]) -> list[str]:
    """Return the lines that tell one page from another."""
    which = WhichCt.of(record)
    lines = (which.short, " · ".join(which.page_head[1:] if which.short else which.page_head))
    return [drawable(line[:LINE_LETTERS]) for line in lines if line]


def _lines(record: Mapping[str, Any], invasion: Mapping[str, Any] | None) -> list[str]:
    """Return what is said in words of the result itself."""
    volume, bundle = record.get("volume_ml", {}), record.get("bundle", {})
    calibrator = record.get("calibrator") or {}
    level = outline_text(record.get("threshold"), calibrated=record.get("calibrator", True) is not None)
    outline = "edited by hand" if record.get("edited") else level
    readers = readers_volume(record)
    said = invasion if isinstance(invasion, Mapping) else record.get("statements")
    return [
        statement_source(said) if is_score(record) else f"What readers are expected to say: {statement_source(said)}",
        *([f"Readers who mark any tumour: {readers.any_tumour}"] if readers.any_tumour else []),
        *([] if is_score(record) else [_readersVolume(record)]),
        *(f"{name}: {text}" for name, text in contact_pattern(invasion or {}) if name in PATTERN_ROWS),
        f"This outline ({outline}): {volume.get('at_threshold', 0):.1f} mL",
        f"Model: {bundle.get('name', 'unknown')} {bundle.get('version', '')}, SHA-256 {bundle.get('sha256', '')[:16]}",
        f"Calibrator: {calibrator.get('file', 'of the bundle') if calibrator else 'none'}"
        f"{', target ' + str(calibrator.get('target')) if calibrator else ''}; "
        f"TwinTrack {record.get('version', '')}",
    ]


def _readersVolume(record: Mapping[str, Any]) -> str:
    readers = readers_volume(record)
    median = "" if readers.median == MISSING else f"median reader {readers.median}, "
    return (
        f"Volume: {median}8 of 10 readers between {readers.p10_p90} ({readers.source}); "
        f"mean over readers {record.get('volume_ml', {}).get('expected', 0):.1f} mL"
    )


def _notes(record: Mapping[str, Any], readouts: Sequence[VesselReadout]) -> list[str]:
    """Return why numbers are missing, and what whoever reads the page must know."""
    missing = [f"{readout.title}: {readout.note}" for readout in readouts if readout.note]
    if any(readout.calibrated for readout in readouts):
        apart = [readout for readout in readouts if readout.p_contact is not None and not readout.calibrated]
        missing += [f"{readout.title}: {readout.source}" for readout in apart]
    return [*missing, *(str(line) for line in record.get("warnings", []))]


def _draw(figure: Any, top: float, readouts: Sequence[VesselReadout]) -> None:
    """Draw the vessel table below `top`."""
    height = 0.026 * (len(readouts) + 1)
    axes = figure.add_axes((LEFT, top - height, RIGHT - LEFT, height))
    axes.axis("off")
    table = axes.table(
        cellText=[
            [cell for title, cell in zip(COLUMNS, readout.cells(), strict=True) if title in WIDTHS]
            for readout in readouts
        ],
        colLabels=[title.replace(" (", "\n(") for title in WIDTHS],
        colWidths=list(WIDTHS.values()),
        cellLoc="left",
        bbox=(0, 0, 1, 1),
    )
    table.auto_set_font_size(False)
    table.set_fontsize(6.2)
