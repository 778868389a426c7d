"""What must be known about a result, beside its numbers: what it may be used for, warnings, edits, where it is from."""

from slicer.i18n import tr as _

from twintrack.results.report.wording import (
    MISSING,
    contact_pattern,
    is_calibrated,
    readers_volume,
    statement_source,
)
from twintrack.results.which_ct import WhichCt
from TwinTrackSegLib.gui.Feedback import Look, dress

__all__ = ["ResultNotes"]

DEMO_WARNING = "Demo bundle"
"""How the engine's warning of a demo bundle begins: the badge says it louder."""


class ResultNotes:
    """Fills the labels around the numbers.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    """

    def __init__(self, ui) -> None:
        self.ui = ui
        dress(ui.warningsLabel, Look.NOTE)
        dress(ui.editedLabel, Look.NOTE)

    def show(self, result, drawnBy="") -> None:
        """Show what belongs to `result`, or nothing; with `drawnBy`, one reader's map is shown, in these words."""
        record = result.record.result if result is not None else {}
        demo = bool(record.get("bundle", {}).get("demo"))
        self._showBadge(demo)
        warnings = [line for line in record.get("warnings", []) if not (demo and line.startswith(DEMO_WARNING))]
        self.ui.warningsLabel.visible = bool(warnings)
        self.ui.warningsLabel.text = "\n".join(f"⚠ {line}" for line in warnings)
        self._showEdited(result.record.edited if result is not None else None)
        if drawnBy:
            self._showOneReader(drawnBy)
        else:
            self._showReaders(result.record if result is not None else None)
        lines = [*self._which(record), *self._origin(record)]
        self.ui.notesLabel.text = "\n".join(lines)
        self.ui.notesLabel.visible = bool(lines)

    def _showBadge(self, demo: bool) -> None:
        """Say what the numbers may be used for, loudly if for nothing."""
        dress(self.ui.resultBadge, Look.LOUD if demo else Look.PLAIN)
        self.ui.resultBadge.text = (
            _("⚠ DEMO MODEL: phantoms only, meaningless for a patient.")
            if demo
            else _("Research use only, not for diagnosis or treatment.")
        )

    def _showEdited(self, edited) -> None:
        self.ui.editedLabel.visible = edited is not None
        if edited is not None:
            self.ui.editedLabel.text = _(
                "EDITED BY HAND: {added:.1f} mL added, {removed:.1f} mL removed. Volume, angle and length of this "
                "outline are the edited one's; what readers are expected to say is the model's, from before the edit."
            ).format(added=edited["added_ml"], removed=edited["removed_ml"])

    def _showOneReader(self, drawnBy) -> None:
        """Say what is shown, and that it is no statement; what is said of all readers does not stand beside it."""
        self.ui.sourceLabel.visible = True
        dress(self.ui.sourceLabel, Look.NOTE)
        self.ui.sourceLabel.text = _(
            "Shown {words}: one reader's habits as the networks learnt them, not calibrated and not the result."
        ).format(words=_(drawnBy))
        self.ui.readersLabel.text = _("choose all readers for what they are expected to say")

    def _showReaders(self, record) -> None:
        """Say what readers are expected to say, and first where that comes from."""
        self.ui.sourceLabel.visible = record is not None
        if record is None:
            self.ui.readersLabel.text = ""
            return
        said = record.invasion or record.result.get("statements") or {}
        dress(self.ui.sourceLabel, Look.PLAIN if is_calibrated(said) else Look.NOTE)
        source = statement_source(said)
        self.ui.sourceLabel.text = _("What readers are expected to say: {source}.").format(source=_(source))
        lines = [*self._pattern(record), *self._volumes(record, source)]
        self.ui.readersLabel.text = "\n".join(lines)

    def _pattern(self, record) -> list[str]:
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
        lines.append(f"{line} ({pattern['reason']})" if pattern.get("reason") else line)
        apart = is_calibrated(record.invasion) and not is_calibrated(pattern)
        return [*lines, _(told["Where this comes from"])] if apart else lines

    def _volumes(self, record, source: str) -> list[str]:
        """Say how many readers are expected to mark any tumour, and which volumes."""
        readers, lines = readers_volume(record.result), []
        if readers.any_tumour:
            lines.append(_("Any tumour: {fraction} of readers").format(fraction=readers.any_tumour))
        parts = []
        if readers.median != MISSING:
            parts.append(_("median {volume}").format(volume=readers.median))
        if readers.p10_p90 != MISSING:
            parts.append(_("8 of 10 readers {range}").format(range=readers.p10_p90))
        if parts and readers.source != source:
            parts[-1] += f" ({_(readers.source)})"
        if record.expectedVolumeMl is not None:
            parts.append(_("mean {volume:.1f} mL").format(volume=record.expectedVolumeMl))
        return [*lines, _("Volume: {parts}").format(parts=", ".join(parts))] if parts else lines

    def _which(self, record) -> list[str]:
        """Say which CT the result belongs to, also after its volume node got another name."""
        which = WhichCt.of(record)
        return [" · ".join(filter(None, (*which.page_head, which.name)))] if which.short else []

    def _origin(self, record) -> list[str]:
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
