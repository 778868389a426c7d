"""What must be known about a result, in sentences: what it may be used for, what readers say, this outline, its origin.

The two kinds of numbers stay apart, as in the report: what is said of readers does not move with the threshold, and
first says whether it is calibrated; this outline moves with it and is nobody's opinion. The words of a number are the
report's own (`twintrack.results.report.wording`).
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twintrack.results.report.wording import (
    MISSING,
    NOT_CALIBRATED,
    contact_pattern,
    is_calibrated,
    is_score,
    outline_text,
    readers_volume,
    statement_source,
)
from twintrack.results.which_ct import WhichCt
from TwinTrackSegLib.mrml.result.RaterView import drawnByReader, readerVolumeMl
from TwinTrackSegLib.mrml.result.ResultRecord import ResultRecord
from TwinTrackSegLib.mrml.result.SampleView import drawnBySample, sampleVolumeMl
from TwinTrackSegLib.mrml.result.SceneResult import SceneResult
from TwinTrackSegLib.mrml.vessels.VesselTable import TITLES
from TwinTrackSegLib.present.Translation import tr as _

__all__ = ["Notes", "notesOf", "outlineWords", "volumeText"]

DEMO_WARNING = "Demo bundle"
"""How the engine's warning of a demo bundle begins: the badge says it louder."""

LINE_LENGTH = 52
"""Characters of a folded warning: a line of a panel of 420 pixels, beside the button that unfolds it."""


@dataclass(frozen=True)
class Notes:
    """The sentences around the numbers; empty where there is nothing to say.

    Attributes
    ----------
    badge : str
        Loud, and only of a demonstration model's result: that it means nothing for a patient.
    warnings, edited : str
        What the engine warns of, and what an edit by hand means for the numbers; folded, a line each that begins it.
    more : str
        Text of what unfolds them, or folds them again; empty where nothing is folded.
    moreTip : str
        All of them at full length.
    source : str
        Where what is said of readers comes from, or whose map is shown.
    sourceIsWarning : bool
        Whether that is to be as loud as a warning: the fractions are not calibrated.
    readers : str
        What readers are expected to say.
    which, origin : str
        Which CT it is, and which model made the result, and where.
    """

    badge: str = ""
    warnings: str = ""
    edited: str = ""
    more: str = ""
    moreTip: str = ""
    source: str = ""
    sourceIsWarning: bool = False
    readers: str = ""
    which: str = ""
    origin: str = ""

    @property
    def alerting(self) -> bool:
        """Whether there is a warning, or an edit by hand."""
        return bool(self.warnings or self.edited)

    @property
    def about(self) -> str:
        """Which CT it is, and where the result comes from, a line each."""
        return "\n".join(filter(None, (self.which, self.origin)))


def notesOf(result: SceneResult | None, *, unfolded: bool = False) -> Notes:
    """Return what must be known about `result`, as it is shown now; nothing without one.

    Several warnings, or a long one, would push the numbers out of sight: they are a line as long as they are folded.
    """
    if result is None:
        return Notes()
    record, apart = result.record.result, _ofOneShown(result)
    demo = bool(record.get("bundle", {}).get("demo"))
    warnings, edited = _warnings(record, demo), _edited(result.record.edited)
    whole = "\n".join((*warnings, *filter(None, (" ".join(edited),))))
    folds = len(warnings) > 1 or any(len(line) > LINE_LENGTH for line in warnings) or bool(edited)
    shown = warnings if unfolded or not folds else [_shortened(line) for line in warnings[:1]]
    said = result.record.invasion or record.get("statements") or {}
    return Notes(
        badge=_("⚠ DEMO MODEL: means nothing for a patient.") if demo else "",
        warnings="\n".join(shown),
        edited=" ".join(edited if unfolded else edited[:1]),
        more=_more(len(warnings), unfolded=unfolded) if folds else "",
        moreTip=whole,
        source=apart or _("What readers are expected to say: {source}.").format(source=_(statement_source(said))),
        sourceIsWarning=bool(apart) or not is_calibrated(said),
        readers=_wayBack(result) if apart else _ofReaders(result.record),
        which=_which(record),
        origin="\n".join(_origin(record)),
    )


def outlineWords(record: ResultRecord, level: float) -> str:
    """Say which voxels the outline at `level` takes in."""
    return _(outline_text(level, calibrated=record.isMhr))


def volumeText(result: SceneResult | None) -> str:
    """Return volume and vessels of the outline that is shown, and nothing that is said of readers."""
    if result is None:
        return ""
    reader, record, outline = result.nodes.shownRater, result.record, result.outline
    if result.nodes.shownSample:
        return _volumeOfSample(result)
    if reader:
        return _("{volume:.1f} mL, {words}").format(
            volume=readerVolumeMl(result, reader), words=_(drawnByReader(reader))
        )
    words = _("outline edited by hand") if record.edited else outlineWords(record, outline.threshold)
    lines = [_("{volume:.1f} mL, {outline}").format(volume=outline.volumeMl, outline=words)]
    measured = [readout for readout in outline.readouts if readout.outlineCategory]
    if measured and not any(readout.angle_deg for readout in measured):  # which ones it touches stands in their rows
        lines.append(_("Touches no vessel that was measured"))
    if record.edited and record.outlinePattern.get("pattern"):
        pattern = _("Contact pattern of this outline: {pattern} ({source})")
        source = _(statement_source(record.edited["invasion"]))
        lines.append(pattern.format(pattern=record.outlinePattern["pattern"], source=source))
    return "\n".join(lines)


def _warnings(record: Mapping[str, Any], demo: bool) -> list[str]:
    """Return the engine's warnings, those of how the CT was read last; the badge says louder that it is a demo."""
    read = record.get("input", {}).get("notes") or ()
    lines = [line for line in record.get("warnings", []) if not (demo and line.startswith(DEMO_WARNING))]
    return [f"⚠ {line}" for line in sorted(lines, key=lambda line: line in read)]


def _shortened(line: str) -> str:
    """Return the beginning of a line, up to a word's end."""
    return textwrap.shorten(line, LINE_LENGTH, placeholder=" …")


def _more(warnings: int, *, unfolded: bool) -> str:
    if unfolded:
        return _("Less")
    return _("All {number}").format(number=warnings) if warnings > 1 else _("More")


def _edited(edited: Mapping[str, Any] | None) -> list[str]:
    """Return what was changed, then what that means."""
    if edited is None:
        return []
    changed = _("EDITED BY HAND: {added:.1f} mL added, {removed:.1f} mL removed.")
    return [
        changed.format(added=edited["added_ml"], removed=edited["removed_ml"]),
        _(
            "Volume, angle and length of this outline are the edited one's; what readers are expected to say is the "
            "model's, from before the edit."
        ),
    ]


def _ofOneShown(result: SceneResult) -> str:
    """Say what is shown in the result's place, and that it is no statement; empty where the result itself is shown."""
    nodes = result.nodes
    if nodes.shownSample:
        return _(
            "Shown: one plausible outline of {count} drawn by the model, not a reader; not calibrated and not the "
            "result."
        ).format(count=nodes.sampleCount)
    if nodes.shownRater:
        return _(
            "Shown {words}: one reader's habits as the networks learnt them, not calibrated and not the result."
        ).format(words=_(drawnByReader(nodes.shownRater)))
    return ""


def _wayBack(result: SceneResult) -> str:
    """Say where that is which does not stand beside what is shown in the result's place."""
    if result.nodes.shownSample:
        return _("No vessel is measured in a sample. Choose all readers for vessels and for what readers say.")
    return _("Choose all readers for what they are expected to say.")


def _volumeOfSample(result: SceneResult) -> str:
    nodes, volumes_ml = result.nodes, result.record.result["samples"]["volumes_ml"]
    line = _("{volume:.1f} mL, {words}").format(
        volume=sampleVolumeMl(result, nodes.shownSample), words=_(drawnBySample(nodes.shownSample, nodes.sampleCount))
    )
    spread = _("All {count} samples: {least:.1f} to {most:.1f} mL").format(
        count=nodes.sampleCount, least=min(volumes_ml), most=max(volumes_ml)
    )
    return f"{line}\n{spread}"


def _ofReaders(record: ResultRecord) -> str:
    said = record.invasion or record.result.get("statements") or {}
    return "\n".join([*_pattern(record), *_volumes(record, statement_source(said))])


def _pattern(record: ResultRecord) -> list[str]:
    """Say how many readers are expected to see each contact pattern, then the median reader's, by which rules."""
    told = dict(contact_pattern(record.invasion))
    if not told:
        return []
    pattern, lines = record.pattern, []
    fractions = told.get("Readers expected to see")
    if fractions:
        lines.append(_("Contact pattern: {fractions}").format(fractions=fractions))
    line = _("Median reader, by {rules}: {pattern}").format(
        rules=pattern.get("rule_set", ""), pattern=pattern.get("pattern") or _("not assessed")
    )
    lines.append(f"{line} ({_lacking(pattern)})" if pattern.get("reason") else line)
    apart = is_calibrated(record.invasion) and not is_calibrated(pattern)
    return [*lines, _(told["Where this comes from"])] if apart else lines


def _lacking(pattern: Mapping[str, Any]) -> str:
    """Say which vessels the pattern does not hold for; the engine's sentence where there is no pattern at all."""
    missing = pattern.get("not_assessed")
    if not missing or not pattern.get("pattern"):
        return _(pattern["reason"])
    return _("not assessed: {vessels}").format(vessels=", ".join(_(TITLES.get(name, name)) for name in missing))


def _volumes(record: ResultRecord, source: str) -> list[str]:
    """Say how many readers are expected to mark any tumour, and which volumes."""
    readers, lines = readers_volume(record.result), []
    parts = []
    if readers.median != MISSING:
        parts.append(_("median {volume}").format(volume=readers.median))
    if readers.p10_p90 != MISSING:
        parts.append(_("8 of 10 readers {range}").format(range=readers.p10_p90))
    if parts and (readers.source == NOT_CALIBRATED) is not source.startswith(NOT_CALIBRATED):
        parts[-1] += f" ({_(readers.source)})"
    if record.expectedVolumeMl is not None and not is_score(record.result):
        parts.append(_("mean {volume:.1f} mL").format(volume=record.expectedVolumeMl))
    if readers.any_tumour:
        lines.append(_("Any tumour: {fraction} of readers").format(fraction=readers.any_tumour))
    if parts:
        lines.append(_("Volume: {parts}").format(parts=", ".join(parts)))
    return [". ".join(lines)] if lines else []


def _which(record: Mapping[str, Any]) -> str:
    """Say which CT the result belongs to, also after its volume node got another name."""
    which = WhichCt.of(record)
    return " · ".join(filter(None, (*which.page_head, which.name))) if which.short else ""


def _origin(record: Mapping[str, Any]) -> list[str]:
    """Return which model made the result, by whose calibrator, and where."""
    lines = []
    bundle, calibrator = record.get("bundle", {}), record.get("calibrator") or {}
    if bundle.get("name"):
        lines.append(_("Made by {name} {version}").format(name=bundle["name"], version=bundle.get("version", "")))
    if calibrator.get("file"):
        lines.append(
            _("Calibrator of your own: {file} ({cases} cases)").format(
                file=calibrator["file"], cases=calibrator.get("cases", "?")
            )
        )
    if record.get("device"):
        lines.append(_("Computed on: {device}").format(device=record["device"]))
    return lines + record.get("engine", {}).get("notes", [])
