"""The vessels of a result as rows to read: the fraction of readers first, then the median reader, then this outline.

A row is five cells, so that all of it stands in a narrow panel; everything else that is known of a vessel is in the
row's tooltip, in the table view and in the report. The words are the report's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from twintrack.labels import SHORT_TITLES
from twintrack.results.report.wording import MISSING as NOT_SAID
from twintrack.results.report.wording import SIGNS, away, bare, percent, share, signed_category, span, with_unit
from TwinTrackSegLib.mrml.vessels.VesselTable import MISSING, NOT_PRESENT, VesselReadout
from TwinTrackSegLib.present.Translation import tr as _

__all__ = ["CATEGORY_COLORS", "CONTACT", "ENCASED", "MEDIAN", "OUTLINE", "VESSEL", "Row", "heads", "rowsOf", "signs"]

VESSEL, CONTACT, ENCASED, MEDIAN, OUTLINE = range(5)

CATEGORY_COLORS = {"encasement": (228, 60, 100), "abutment": (168, 118, 0), "none": (70, 130, 230), "": (128, 128, 128)}
"""Red, green and blue of the square beside a vessel: crimson, amber, blue, grey, far apart for every kind of colour
vision, at least 3:1 on every row of light and dark tables. They are data like the colours of segments, and no styling.
"""


@dataclass(frozen=True)
class Row:
    """One vessel.

    Attributes
    ----------
    name : str
        The engine's name of it.
    cells : tuple of str
        In the order of `heads`.
    category : str
        The median reader's, for a colour beside the words; empty where it is not known.
    why : str
        Why numbers are missing, or whose map the row is of; stands from the cell `whyFrom` to the median reader's.
    whyFrom : int or None
        None where all cells are filled.
    tip : str
        The whole row in lines.
    """

    name: str
    cells: tuple[str, ...]
    category: str
    why: str
    whyFrom: int | None
    tip: str


def heads() -> tuple[tuple[str, str], ...]:
    """Return title and tooltip of every column; two lines, so that all fit into a panel."""
    return (
        (_("Vessel"), _("The most severe contact first")),
        (_("% see\ncontact"), _("Percentage of readers expected to see contact")),
        (_("% see\n> 180°"), _("Percentage of readers expected to see more than 180°, encasement")),
        (
            _("Median reader\n(8 of 10)"),
            _(
                "Contact angle of the median reader, and between which angles 8 of 10 further readers lie.\n{signs}"
            ).format(signs=signs()),
        ),
        (
            _("This\noutline"),
            _("Largest contact angle of this outline or, after {n}, how far away it is; no reader's.\n{signs}").format(
                n=SIGNS["none"], signs=signs()
            ),
        ),
    )


def signs() -> str:
    """Say what the signs mean."""
    return _("{e} encasement, more than 180°; {a} abutment, up to 180°; {n} no contact").format(
        e=SIGNS["encasement"], a=SIGNS["abutment"], n=SIGNS["none"]
    )


def rowsOf(readouts: Sequence[VesselReadout]) -> list[Row]:
    """Return a row for each readout, in their order."""
    return [_row(readout) for readout in readouts]


def _row(readout: VesselReadout) -> Row:
    cells = _cells(readout)
    first = next((n for n in (CONTACT, ENCASED, MEDIAN) if cells[n] == MISSING), None)
    note = _("NOT NAMED, not assessed") if readout.unnamed else readout.note
    why = note or (readout.source if readout.reader else "")  # a row of one reader's is taken for no other
    return Row(
        name=readout.name,
        cells=cells,
        category=readout.category,
        why=_(why) if why else "",
        whyFrom=first if why else None,
        tip="\n".join(line for line in _tip(readout) if line),
    )


def _cells(readout: VesselReadout) -> tuple[str, ...]:
    title = SHORT_TITLES.get(readout.name, readout.fullTitle)
    title = _(title or readout.name)
    if not readout.present:
        return (title, MISSING, MISSING, MISSING, MISSING if readout.unnamed else _(NOT_PRESENT))
    return (
        title,
        _shown(percent(readout.p_contact)),
        _shown(percent(readout.p_encased)),
        _median(readout),
        _outline(readout),
    )


def _shown(text: str) -> str:
    return MISSING if text == NOT_SAID else bare(text)


def _median(readout: VesselReadout) -> str:
    """Return sign and angle of the median reader with the range of further ones."""
    if readout.reader:
        return MISSING
    if readout.angle_median_deg is None:
        return MISSING if readout.note else _(signed_category(readout.category, readout.p_contact))
    text = f"{SIGNS[readout.category]} {readout.angle_median_deg:.0f}°"
    between = span(readout.angle_p10_deg, readout.angle_p90_deg)
    return text if between == NOT_SAID else f"{text} ({between})"


def _outline(readout: VesselReadout) -> str:
    if readout.angle_deg is None:
        return MISSING
    sign = "" if readout.reader else f"{SIGNS[readout.outlineCategory]} "
    if readout.angle_deg == 0:
        return f"{sign}0°" if readout.gap_mm is None else f"{sign}{with_unit(readout.gap_mm, 'mm')}"
    return f"{sign}{readout.angle_deg:.0f}°"


def _tip(readout: VesselReadout) -> list[str]:
    """Return what is known of a vessel, one line each."""
    lines = [_(readout.fullTitle or readout.title)]
    if readout.present and not readout.reader:
        lines.append(_(signed_category(readout.category, readout.p_contact)))
    lines.append(_(readout.note) if readout.note else "")
    lines.append(_("Readers: {source}").format(source=_(readout.source)) if readout.source else "")
    if readout.expected_angle_deg is not None:
        lines.append(_("Mean over readers: {angle:.0f}°").format(angle=readout.expected_angle_deg))
    free = readout.present and readout.angle_deg == 0
    if free and readout.gap_mm is not None:
        lines.append(_("This outline: {distance}").format(distance=_(away(readout.gap_mm))))
    elif readout.length_mm is not None:
        lines.append(_("This outline, along the vessel: {length:.0f} mm").format(length=readout.length_mm))
    if readout.members_deg:
        lines.append(_("Over the networks, at level 0.5: {angles}").format(angles=span(*readout.members_deg, "°")))
    if readout.coverage is not None:
        lines.append(_("Of its wall near the tumour searched: {share}").format(share=share(readout.coverage)))
    return lines
