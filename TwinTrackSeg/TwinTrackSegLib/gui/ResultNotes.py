"""What must be known about a result, beside its numbers: what it may be used for, warnings, edits, where it is from."""

from slicer.i18n import tr as _

from twintrack.results.which_ct import WhichCt
from TwinTrackSegLib.gui.Feedback import DEMO, EDITED, WARNING, dress

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
        dress(ui.warningsLabel, WARNING)
        dress(ui.editedLabel, EDITED)

    def show(self, result) -> None:
        """Show what belongs to `result`, or nothing."""
        record = result.record.result if result is not None else {}
        demo = bool(record.get("bundle", {}).get("demo"))
        self._showBadge(demo)
        warnings = [line for line in record.get("warnings", []) if not (demo and line.startswith(DEMO_WARNING))]
        self.ui.warningsLabel.visible = bool(warnings)
        self.ui.warningsLabel.text = "\n".join(f"⚠ {line}" for line in warnings)
        self._showEdited(result.record.edited if result is not None else None)
        pattern = self._pattern(result.record.pattern if result is not None else {})
        lines = [*self._which(record), *pattern, *self._origin(record)]
        self.ui.notesLabel.text = "\n".join(lines)
        self.ui.notesLabel.visible = bool(lines)

    def _showBadge(self, demo: bool) -> None:
        """Say what the numbers may be used for, loudly if for nothing."""
        dress(self.ui.resultBadge, DEMO if demo else None)
        self.ui.resultBadge.text = (
            _("⚠ DEMO MODEL: phantoms only, meaningless for a patient.")
            if demo
            else _("Research use only, not for diagnosis or treatment.")
        )

    def _showEdited(self, edited) -> None:
        self.ui.editedLabel.visible = edited is not None
        if edited is not None:
            self.ui.editedLabel.text = _(
                "EDITED BY HAND: {added:.1f} mL added, {removed:.1f} mL removed. Angle and length are the outline's; "
                "fractions of readers stay the map's."
            ).format(added=edited["added_ml"], removed=edited["removed_ml"])

    def _pattern(self, pattern) -> list[str]:
        """Say the anatomic contact pattern of all vessels together, and by which rules."""
        if not pattern:
            return []
        line = _("Contact pattern by {rules}: {pattern}").format(
            rules=pattern.get("rule_set", ""), pattern=pattern.get("pattern") or _("not assessed")
        )
        return [f"{line} ({pattern['reason']})" if pattern.get("reason") else line]

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
