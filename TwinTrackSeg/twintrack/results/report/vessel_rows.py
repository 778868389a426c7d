"""One vessel in words: what is said of readers, and what this outline of the map, or one drawn by hand, measures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from twintrack.results.report.wording import (
    CATEGORIES,
    FULL_TURN_DEG,
    LEAST_FRACTION,
    MISSING,
    NOT_READERS,
    angle_category,
    away,
    further_readers,
    is_calibrated,
    is_score,
    median_angle_deg,
    member_range,
    number,
    pair,
    percent,
    plain_text,
    series,
    share,
    value_at,
    vessel_source,
    with_unit,
    without_readers,
)

__all__ = ["Curve", "VesselRow", "by_severity", "outline_lines", "vessel_rows"]


@dataclass(frozen=True)
class Curve:
    """Contact angle against threshold as a drawing of 200 by 118 units.

    Attributes
    ----------
    path : str
        Points of the outline's line, as an SVG polyline takes them.
    dots : tuple of (float, float)
        Places of the single thresholds.
    threshold_x : float or None
        Place of the working threshold.
    description : str
        The curves in words, for people who do not see them.
    readers : str
        Points of the calibrated line: which fraction of readers (across) sees more than an angle (up); may be empty.
    """

    path: str
    dots: tuple[tuple[float, float], ...]
    threshold_x: float | None
    description: str
    readers: str = ""


@dataclass(frozen=True)
class VesselRow:
    """One vessel, all texts ready to show.

    Attributes
    ----------
    name, title, present, notes, curve
        Which vessel it is, whether it was found, what must be known of its numbers, and its curves.
    unnamed
        Whether it is not told because its name, by anatomy, is missing or was not checked: it may well be there.
    category, contact, encased, median_angle, expected_angle, further
        Statements about readers: the median reader's category, fractions who see contact and more than 180 degrees, the
        median and mean angle, and between which angles 8 of 10 further readers lie.
    contact_interval, encased_interval, expected_angle_interval
        How far they would move with other calibration cases; empty where that is not known.
    source
        Where these come from, where it is not where those of other vessels come from; else empty.
    members
        The range over the networks of the ensemble; empty where there is none.
    outline, angle, length, distance
        Category, contact angle and length of this outline, and how far it is away.
    searched
        How much of the wall near the tumour was searched.
    severity
        Fractions of readers who see more than 180 degrees and contact, and the median angle, to sort by: -1 where
        nothing is known; where of more than 180 degrees alone nothing is known, the worst that may be.
    bar
        Lengths of a bar, 0 to 100, for readers who see contact, and more than 180 degrees.
    """

    name: str
    title: str
    present: bool
    category: str
    contact: str
    contact_interval: str
    encased: str
    encased_interval: str
    median_angle: str
    expected_angle: str
    expected_angle_interval: str
    further: str
    source: str
    members: str
    outline: str
    angle: str
    length: str
    distance: str
    searched: str
    notes: str
    curve: Curve | None
    severity: tuple[float, float, float]
    bar: tuple[float, float]
    unnamed: bool = False

    @property
    def heading(self) -> str:
        """The vessel's name for people."""
        return self.title[:1].upper() + self.title[1:] if self.title else self.name

    @property
    def readers_line(self) -> str:
        """What readers are expected to say, or why nothing is said of them."""
        if not self.present:
            return self.category if self.unnamed else "not found on this CT"
        if self.contact == MISSING:
            return self.category
        if max(self.severity[:2]) < LEAST_FRACTION:
            return f"{self.contact} of readers see contact"
        over = (
            "it is not known how many more than 180°" if self.encased == MISSING else f"{self.encased} more than 180°"
        )
        said = f"{self.contact} of readers see contact, {over}"
        if self.median_angle == MISSING:
            return said
        low, dash, high = self.further.partition("–")
        between = f" (8 of 10 between {low}° and {high})" if dash else ""
        return f"{said}; median reader {self.median_angle}{between}"

    @property
    def outline_line(self) -> str:
        """What this outline measures, and how much of the vessel was looked at; empty where neither is known."""
        return _outline_line(self.present, self.angle, self.length, self.distance, self.searched)


def by_severity(rows: list[VesselRow]) -> list[VesselRow]:
    """Return the rows, that which most readers call encased first; of what nothing is known last."""
    return sorted(rows, key=lambda row: row.severity, reverse=True)


def outline_lines(invasion: Mapping[str, object], thresholds: Sequence[float]) -> dict[str, list[str]]:
    """Return the `VesselRow.outline_line` of each vessel of ``invasion.json`` at each threshold, and nothing else."""
    vessels, levels = invasion.get("vessels"), invasion.get("thresholds")
    found: dict[str, list[str]] = {}
    for name, vessel in vessels.items() if isinstance(vessels, Mapping) else ():
        present, searched = vessel.get("present") is not False, share(vessel.get("coverage"))
        angles = series(levels, vessel.get("angle_deg"))
        lengths = series(levels, vessel.get("contact_length_mm"))
        gaps = series(levels, vessel.get("gap_mm")) if isinstance(vessel.get("gap_mm"), list) else None
        found[name] = [
            _outline_line(
                present,
                with_unit(angle := value_at(angles, threshold), "°", 0),
                with_unit(value_at(lengths, threshold), "mm", 0),
                _distance(gaps, angle, threshold),
                searched,
            )
            for threshold in thresholds
        ]
    return found


def vessel_rows(invasion: Mapping[str, object] | None, threshold: object) -> list[VesselRow]:
    """Return one reading for each vessel of ``invasion.json``."""
    if not isinstance(invasion, Mapping):
        return []
    invasion = without_readers(invasion)
    vessels = invasion.get("vessels")
    if not isinstance(vessels, Mapping):
        return []
    return [
        _reading(str(name), vessel, invasion, number(threshold))
        for name, vessel in vessels.items()
        if isinstance(vessel, Mapping)
    ]


def _reading(
    name: str, vessel: Mapping[str, object], invasion: Mapping[str, object], threshold: float | None
) -> VesselRow:
    """Put one vessel into words."""
    category = vessel.get("category")
    present = vessel.get("present") is not False
    levels = invasion.get("thresholds")
    angles = series(levels, vessel.get("angle_deg"))
    lengths = series(levels, vessel.get("contact_length_mm"))
    angle = value_at(angles, threshold)
    apart = is_calibrated(invasion) != is_calibrated(vessel) and number(vessel.get("p_contact")) is not None
    return VesselRow(
        name=name,
        title=str(vessel.get("title") or ""),
        present=present,
        category=CATEGORIES.get(category, category) if isinstance(category, str) else _not_assessed(vessel),
        contact=percent(vessel.get("p_contact")),
        contact_interval=_interval(vessel.get("p_contact_interval")),
        encased=percent(vessel.get("p_encased")),
        encased_interval=_interval(vessel.get("p_encased_interval")),
        median_angle=with_unit(median_angle_deg(invasion, vessel), "°", 0),
        expected_angle=with_unit(vessel.get("expected_angle_deg"), "°", 0),
        expected_angle_interval=_angles(vessel.get("expected_angle_deg_interval")),
        further=further_readers(vessel),
        source=vessel_source(invasion, vessel) if apart else "",
        members=member_range(vessel.get("member_range")),
        outline=CATEGORIES.get(angle_category(angle) or "", MISSING),
        angle=with_unit(angle, "°", 0),
        length=with_unit(value_at(lengths, threshold), "mm", 0),
        distance=_distance(
            series(levels, vessel.get("gap_mm")) if isinstance(vessel.get("gap_mm"), list) else None, angle, threshold
        ),
        searched=share(vessel.get("coverage")),
        notes=_notes(vessel),
        curve=_curve(name, angles, threshold, _over(invasion, vessel)) if present else None,
        severity=_severity(*_rank(vessel, score=is_score(invasion)), median_angle_deg(invasion, vessel)),
        bar=(_length(vessel.get("p_contact")), _length(vessel.get("p_encased"))),
        unnamed=not present and vessel.get("named_by") is not None,
    )


def _rank(vessel: Mapping[str, object], *, score: bool) -> tuple[object, object]:
    """Return how bad encasement and contact are; of a score its levels, which say what to look at first."""
    kind = "level" if score else "p"
    return vessel.get(f"{kind}_encased"), vessel.get(f"{kind}_contact")


def _severity(encased: object, contact: object, median_deg: object) -> tuple[float, float, float]:
    touched = _or_less(contact)
    return (touched if number(encased) is None else _or_less(encased)), touched, _or_less(median_deg)


def _or_less(value: object) -> float:
    known = number(value)
    return -1.0 if known is None else known


def _length(fraction: object) -> float:
    return round(100 * min(max(number(fraction) or 0.0, 0.0), 1.0), 1)


def _interval(found: object) -> str:
    """Write how far a fraction of raters would move with other calibration cases; empty where that is not known."""
    ends = pair(found)
    if ends is None:
        return ""
    low, high = map(percent, ends)
    return low if low == high else f"{low} to {high}"


def _angles(found: object) -> str:
    """Write how far an angle would move with other calibration cases; empty where that is not known."""
    ends = pair(found)
    return "" if ends is None else f"{ends[0]:.0f}–{ends[1]:.0f}°"


def _over(invasion: Mapping[str, object], vessel: Mapping[str, object]) -> list[tuple[float, float]]:
    """Return calibrated fractions of raters whose angle exceeds others, as angles with fractions."""
    return series(invasion.get("fraction_angles_deg"), vessel.get("fraction_over")) if is_calibrated(vessel) else []


def _not_assessed(vessel: Mapping[str, object]) -> str:
    """Say why a vessel has no category, and of a score what it says instead."""
    reason = vessel.get("reason")
    if reason == NOT_READERS:
        contact, encased = number(vessel.get("level_contact")), number(vessel.get("level_encased"))
        if not contact:
            return f"{NOT_READERS}: no contact" if contact == 0 else NOT_READERS
        over = f", more than 180° up to {encased:.2f}" if encased else ""
        return f"{NOT_READERS}: contact up to a score of {contact:.2f}{over}"
    return f"not assessed: {reason.removeprefix('not assessed: ')}" if isinstance(reason, str) and reason else MISSING


def _notes(vessel: Mapping[str, object]) -> str:
    """Return what must be known of the numbers; what stands in the row already is not said twice."""
    notes = vessel.get("notes")
    told = [note for note in notes if note != vessel.get("reason")] if isinstance(notes, list) else notes
    if vessel.get("near_180") is True:
        told = [*(told if isinstance(told, list) else ()), "180° lies within the measurement's own error"]
    return plain_text(told) if told else ""


def _distance(gaps: list[tuple[float, float]] | None, angle: float | None, threshold: float | None) -> str:
    """Say how far the tumour is from the vessel at the threshold."""
    if angle is None or gaps is None:
        return MISSING
    if angle > 0:
        return "in contact"
    return away(value_at(gaps, threshold)) or "none near"


def _outline_line(present: bool, angle: str, length: str, distance: str, searched: str) -> str:
    """Say what an outline measures, and how much of the vessel was looked at; empty where neither is known."""
    told = []
    if present and angle != MISSING:
        touching = distance == "in contact"
        told.append("This outline: " + (f"{angle} over {length}" if touching else f"no contact, tumour {distance}"))
    if searched != MISSING:
        told.append(f"{searched} of the vessel searched")
    return "; ".join(told)


def _curve(
    name: str, outline: list[tuple[float, float]], threshold: float | None, over: list[tuple[float, float]]
) -> Curve | None:
    """Lay out the curves; the frame is 32 to 192 across for 0 to 1 and 92 up to 8 for 0 to 360 degrees."""
    if len(outline) < 2:
        return None
    dots = tuple((_x(level), _y(angle)) for level, angle in outline)
    said = ", ".join(f"{angle:.0f}° at {level:g}" for level, angle in outline)
    told = ", ".join(f"{percent(fraction)} over {angle:.0f}°" for angle, fraction in over if angle % 90 == 0)
    return Curve(
        path=" ".join(f"{x},{y}" for x, y in dots),
        dots=dots,
        threshold_x=None if threshold is None else _x(threshold),
        description=f"{name}: contact angle of the outline {said}" + (f"; readers: {told}" if told else ""),
        readers=" ".join(f"{_x(fraction)},{_y(angle)}" for angle, fraction in over) if len(over) > 1 else "",
    )


def _x(level: float) -> float:
    return round(32 + 160 * min(max(level, 0.0), 1.0), 1)


def _y(angle_deg: float) -> float:
    return round(92 - min(max(angle_deg, 0.0), FULL_TURN_DEG) / FULL_TURN_DEG * 84, 1)
