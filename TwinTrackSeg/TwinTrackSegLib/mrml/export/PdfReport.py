"""The report on paper: one page with notices, picture, volumes, vessels and provenance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from twintrack.results.report.overview import DEMO_NOTICE, RESEARCH_NOTICE, drawable
from twintrack.results.which_ct import WhichCt
from twintrack.system.atomic import atomic_path
from TwinTrackSegLib.mrml.vessels.VesselTable import COLUMNS, VesselReadout

NOTE = COLUMNS.index("Note")
NUMBERS = COLUMNS[:NOTE] + COLUMNS[NOTE + 1 :]
"""The columns on paper; what is noted stands below the table."""

__all__ = ["writePdf"]

A4_INCH = (8.27, 11.69)
LEFT, RIGHT = 0.07, 0.93
PICTURE_TOP = 0.893

LINE_LETTERS = 120
"""As much of a line that says which CT it is finds room."""


def writePdf(path: Path, record: Mapping[str, Any], readouts: Sequence[VesselReadout], picture: Path) -> None:
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
    figure.text(LEFT, top, "\n".join(_lines(record)), fontsize=9, va="top", linespacing=1.5)
    top -= 0.02 * (len(_lines(record)) + 1)
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


def _lines(record: Mapping[str, Any]) -> list[str]:
    """Return what is said in words of the result itself."""
    volume, bundle = record.get("volume_ml", {}), record.get("bundle", {})
    calibrator = record.get("calibrator") or {}
    edited = record.get("edited")
    outline = "edited by hand" if edited else f"at threshold {record.get('threshold', 0):.2f}"
    return [
        f"Tumour volume {outline}: {volume.get('at_threshold', 0):.1f} mL",
        f"Expected volume over the readers: {volume.get('expected', 0):.1f} mL "
        f"(10 to 90 %: {_known(volume.get('p10'))} to {_known(volume.get('p90'))} mL)",
        f"Model: {bundle.get('name', 'unknown')} {bundle.get('version', '')}, SHA-256 {bundle.get('sha256', '')[:16]}",
        f"Calibrator: {calibrator.get('file', 'of the bundle') if calibrator else 'none'}"
        f"{', target ' + str(calibrator.get('target')) if calibrator else ''}; "
        f"TwinTrack {record.get('version', '')}",
    ]


def _known(volumeMl: float | None) -> str:
    return "not available" if volumeMl is None else f"{volumeMl:.1f}"


def _notes(record: Mapping[str, Any], readouts: Sequence[VesselReadout]) -> list[str]:
    """Return why numbers are missing, and what whoever reads the page must know."""
    missing = [f"{readout.title}: {readout.note}" for readout in readouts if readout.note]
    return [*missing, *(str(line) for line in record.get("warnings", []))]


def _draw(figure: Any, top: float, readouts: Sequence[VesselReadout]) -> None:
    """Draw the vessel table below `top`."""
    height = 0.026 * (len(readouts) + 1)
    axes = figure.add_axes((LEFT, top - height, RIGHT - LEFT, height))
    axes.axis("off")
    table = axes.table(
        cellText=[cells[:NOTE] + cells[NOTE + 1 :] for cells in (readout.cells() for readout in readouts)],
        colLabels=[title.replace(" (", "\n(") for title in NUMBERS],
        colWidths=[0.16, 0.16, *[0.68 / (len(NUMBERS) - 2)] * (len(NUMBERS) - 2)],
        cellLoc="left",
        bbox=(0, 0, 1, 1),
    )
    table.auto_set_font_size(False)
    table.set_fontsize(7.5)
