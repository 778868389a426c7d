"""Lower part of the panel: slider, readouts, vessels, corrections."""

import qt
import slicer.util
from slicer.i18n import tr as _

import slicer
from twintrack.results.report.wording import outline_text, statement_source
from TwinTrackSegLib.gui.Feedback import dressTick, sayStatus, shownErrors
from TwinTrackSegLib.gui.ResultNotes import ResultNotes
from TwinTrackSegLib.gui.VesselTableView import VesselTableView
from TwinTrackSegLib.mrml.display.MhrDisplay import raterLevels
from TwinTrackSegLib.mrml.display.Views import showLayout, showTable
from TwinTrackSegLib.mrml.result.Correction import measureOutline, measuringNeeds, noticeEdit, restoreOutline
from TwinTrackSegLib.mrml.result.RaterView import (
    drawnByReader,
    readerReadouts,
    readerVolumeMl,
    showDisagreement,
    showReader,
)
from TwinTrackSegLib.mrml.result.ResultSegmentation import TUMOR_SEGMENT_ID
from TwinTrackSegLib.mrml.result.ResultTitle import resultTitle
from TwinTrackSegLib.mrml.result.ResultViews import clearTables
from TwinTrackSegLib.mrml.vessels.VesselFocus import focusVessel, jumpToVessel, leaveVessel
from TwinTrackSegLib.mrml.vessels.VesselPlot import moveThresholdMark, plotVessel

__all__ = ["SETTLE_MSEC", "ResultPanel"]

SAME_THRESHOLD = 1e-6
"""Thresholds this close are the same."""

SAME_LEVEL = 1e-3
"""Levels nearer than this are the same on the slider."""

TITLE_LETTERS = 40
"""Longest label in the section's title, which must not widen the panel; the notes below say all of it."""

SETTLE_MSEC = 200
"""This long after the slider's last move the drag is over, and the segment's voxels follow."""


class ResultPanel:
    """Shows a result and moves its threshold.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    packages : Packages
        Sees to what measuring needs.
    """

    def __init__(self, ui, packages) -> None:
        self.ui, self._packages = ui, packages
        self.result = None
        self._ticks = []
        self._notes = ResultNotes(ui)
        self._table = VesselTableView(ui.vesselTable, self._onVessel)
        ui.tableLegend.text = _(
            "● encasement > 180°   ◐ abutment ≤ 180°   ○ no contact\n% rd.: percentage of readers expected to see it. "
            "Outline: this outline, which moves with the threshold"
        )
        self._settle = qt.QTimer()
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MSEC)
        self._settle.connect("timeout()", self.settle)
        ui.thresholdSlider.connect("valueChanged(double)", self.onThreshold)
        ui.readerComboBox.connect("activated(int)", self.onReader)
        ui.disagreementCheckBox.connect("clicked()", self.onDisagreement)
        ui.jumpButton.connect("clicked()", self.onJump)
        ui.layoutButton.connect("clicked()", self.onLayout)
        ui.editButton.connect("clicked()", self.onEdit)
        ui.recomputeButton.connect("clicked()", self.onRecompute)
        ui.restoreButton.connect("clicked()", self.onRestore)
        self.show(None)

    def show(self, result) -> None:
        """Show `result`, or nothing."""
        if self._settle.active:  # the result that was shown until now: its voxels follow its last drag
            self.settle()
        self.result = result
        for section in (self.ui.resultsCollapsibleButton, self.ui.exportCollapsibleButton):
            section.enabled = result is not None
            section.collapsed = result is None  # nothing to see and nothing to press
        title = resultTitle(result) if result is not None else ""
        short = title if len(title) <= TITLE_LETTERS else title[: TITLE_LETTERS - 1] + "…"
        self.ui.resultsCollapsibleButton.text = _("Result: {ct}").format(ct=short) if short else _("Result")
        self._showTicks()
        self._listReaders()
        if result is not None:
            result.outline.settle()  # a scene that was saved in the middle of a drag
            self.ui.thresholdSlider.value = result.outline.threshold
            showTable(result.nodes.shownTable)
        self._plotWorst()
        self.refresh()

    def _plotWorst(self) -> None:
        """Draw the curve of the most severe vessel until the user chooses one; no curve of another result stays.

        The curve is that of all readers: beside one reader's map there is none.
        """
        result = self.result
        if result is not None and self.reader:
            return
        measured = [readout for readout in result.outline.readouts if readout.category] if result is not None else []
        if measured:
            plotVessel(result.nodes.mhr, result.record.invasion, measured[0].name, result.outline.threshold)
        else:
            clearTables(result.nodes.mhr if result is not None else None)

    def refresh(self) -> None:
        """Show the numbers of the result as they are now."""
        edited = self.result is not None and self.result.record.edited is not None
        reader = self.reader
        self.ui.thresholdSlider.enabled = not edited and not reader
        self.ui.readerTicks.enabled = not edited and not reader
        self.ui.restoreButton.enabled = self.result is not None and not reader
        for button in (self.ui.editButton, self.ui.recomputeButton):
            button.enabled = not reader  # they are about the outline of all readers, which is not shown
        self._showVolume()
        self._markTick()
        self._notes.show(self.result, drawnByReader(reader) if reader else "")
        self._table.show(self._readouts())

    @property
    def reader(self) -> str:
        """The reader whose map is shown in place of that of all readers; empty for none."""
        return self.result.nodes.shownRater if self._isLive() else ""

    def onReader(self, index: int) -> None:
        """Show how the chosen reader would draw, or the result of all readers again."""
        if not self._isLive():
            return
        self.settle()
        with shownErrors():
            reader = self.ui.readerComboBox.itemData(index) or ""
            if reader:
                self._packages.ensure(_("Measuring a reader's map"), *measuringNeeds(self.result))
            with slicer.util.WaitCursor():
                showReader(self.result, reader)
        self._plotWorst()
        self._listReaders()
        self.refresh()

    def onDisagreement(self) -> None:
        """Lay the readers' disagreement over the CT, or the map again."""
        if self._isLive():
            with shownErrors():
                showDisagreement(self.result, self.ui.disagreementCheckBox.checked)

    def _listReaders(self) -> None:
        """Offer the readers whose maps came with the result; nothing where there are none."""
        combo, nodes = self.ui.readerComboBox, self.result.nodes if self.result is not None else None
        combo.clear()
        self.ui.readerRow.visible = nodes is not None and bool(nodes.raterMaps)
        if nodes is None or not nodes.raterMaps:
            return
        combo.addItem(_("all readers"), "")
        for reader in nodes.raterMaps:
            combo.addItem(_("reader {reader}").format(reader=reader), reader)
        combo.setCurrentIndex(max(combo.findData(nodes.shownRater), 0))
        self.ui.disagreementCheckBox.checked = nodes.showsDisagreement

    def _readouts(self) -> list:
        """Return the rows of the table: of the outline of all readers, or as measured in one reader's map."""
        if self.result is None:
            return []
        reader = self.reader
        return readerReadouts(self.result, reader) if reader else self.result.outline.readouts

    def onThreshold(self, threshold: float) -> None:
        """Move the working outline; called while the slider is dragged."""
        if not self._isLive() or self.result.record.edited or self.reader:
            return
        outline = self.result.outline
        if abs(threshold - outline.threshold) < SAME_THRESHOLD:
            return
        if outline.changed(quick=True):
            self.takeUpEdit()
            return
        with shownErrors():
            outline.setThreshold(threshold, settled=False)
            moveThresholdMark(self.result.nodes.mhr, outline.threshold)
            self._showVolume()
            self._markTick()
            self._table.show(outline.readouts)
            self._settle.start()

    def takeUpEdit(self) -> None:
        """Measure and mark an outline that was edited since it was drawn; the slider goes back to where it was.

        Called when the module is entered, and before the slider would overwrite what was drawn.
        """
        if not self._isLive() or not self.result.outline.changed(quick=True):
            return
        missing = self._packages.missing(*measuringNeeds(self.result))
        if missing:  # nobody asked for anything yet: no question either
            text = _(
                "The outline was edited by hand and is not measured yet: that needs a package which is not installed, "
                "{names}. Recompute readouts asks before it is installed, then measures."
            )
            sayStatus(self.ui, text.format(names=", ".join(missing)), failed=True)
            self.ui.thresholdSlider.value = self.result.outline.threshold
            return
        with shownErrors():
            with slicer.util.WaitCursor():
                edited = noticeEdit(self.result)
            if edited:
                sayStatus(
                    self.ui,
                    _(
                        "The outline was edited by hand and has been measured. The threshold moves again after Undo "
                        "edits, which keeps the edited outline as a segmentation of its own."
                    ),
                )
        self.ui.thresholdSlider.value = self.result.outline.threshold
        self.refresh()

    def settle(self) -> None:
        """Bring everything to the threshold that the drag left behind: its end, an export, a save."""
        self._settle.stop()
        if self._isLive():
            with shownErrors():
                self.result.outline.settle()

    def onJump(self) -> None:
        """Go back to the tumour and its map, in the usual orientations."""
        if self._isLive():
            leaveVessel()
            self.result.show()
            self.ui.vesselTable.clearSelection()

    def onLayout(self) -> None:
        """Put slices, 3D and curve side by side."""
        showLayout()

    def onEdit(self) -> None:
        """Open the tumour segment in Segment Editor."""
        with shownErrors():
            self.settle()
            self.openEditor()

    def openEditor(self) -> None:
        """Switch to Slicer's Segment Editor with the tumour segment selected, which then cuts no vessel."""
        slicer.util.selectModule("SegmentEditor")
        editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
        editor.setSegmentationNode(self.result.nodes.segmentation)
        editor.setSourceVolumeNode(self.result.nodes.ct)
        editor.setCurrentSegmentID(TUMOR_SEGMENT_ID)
        # By default what is drawn is taken from the other segments: a dented vessel has less contact than there is.
        editor.mrmlSegmentEditorNode().SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)

    def onRecompute(self) -> None:
        """Measure the segment as it is now."""
        if not self._isLive():
            return
        with shownErrors():
            self._packages.ensure(_("Measuring the outline"), *measuringNeeds(self.result))
            with slicer.util.WaitCursor():
                measureOutline(self.result)
            self.refresh()

    def onRestore(self) -> None:
        """Go back to the map's outline."""
        if not self._isLive():
            return
        with shownErrors():
            restoreOutline(self.result)
            self.refresh()

    def _onVessel(self, name: str) -> None:
        """Show the chosen vessel in the views."""
        if self._isLive():
            with shownErrors():
                result = self.result
                if self.reader:
                    jumpToVessel(result.nodes.mhr, result.record.raterInvasion(self.reader) or {}, name)
                    return
                focusVessel(result.nodes.mhr, result.record.invasion, name, result.outline.threshold)

    def _isLive(self) -> bool:
        return self.result is not None and bool(slicer.mrmlScene.IsNodePresent(self.result.nodes.mhr))

    def _showTicks(self) -> None:
        """Put a button for every rater below the slider: voxels that at least 20 %, 40 % ... mark."""
        layout = self.ui.readerTicks.layout()
        while layout.count():
            layout.takeAt(0).widget().deleteLater()
        raters = self.result.record.raters if self.result is not None else None
        self._ticks = []
        for level in raterLevels(raters) if self.result is not None else ():
            button = qt.QToolButton()
            button.text = f"≥ {level:.0%}".replace("%", " %") if self.result.record.isMhr else f"≥ {level:.1f}"
            button.toolTip = _("This outline: {voxels}").format(voxels=self._outlineText(level))
            button.connect("clicked()", lambda level=level: self._setSlider(level))
            button.checkable = True
            button.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
            layout.addWidget(button)
            self._ticks.append((level, button))

    def _setSlider(self, level: float) -> None:
        self.ui.thresholdSlider.value = level
        self._markTick()

    def _markTick(self) -> None:
        """Press the tick that the threshold is at."""
        for level, button in self._ticks:
            at = self.result.outline.threshold
            pressed = not self.result.record.edited and not self.reader
            dressTick(button, pressed and abs(level - at) < SAME_LEVEL)

    def _showVolume(self) -> None:
        result = self.result
        if result is None:
            self.ui.volumeLabel.text = ""
            return
        if self.reader:
            self._showReaderVolume()
            return
        record, outline = result.record, result.outline
        text = _("outline edited by hand") if record.edited else self._outlineText(outline.threshold)
        lines = [_("{volume:.1f} mL, {outline}").format(volume=outline.volumeMl, outline=text)]
        measured = [readout for readout in outline.readouts if readout.outlineCategory]
        touched = [readout.outlineText for readout in measured if readout.angle_deg > 0]
        if touched:
            lines.append(_("Touches {vessels}").format(vessels=", ".join(_(vessel) for vessel in touched)))
        elif measured:
            lines.append(_("Touches no vessel that was measured"))
        if record.outlinePattern.get("pattern"):
            pattern = _("Contact pattern of this outline: {pattern} ({source})")
            source = _(statement_source(record.edited["invasion"]))
            lines.append(pattern.format(pattern=record.outlinePattern["pattern"], source=source))
        self.ui.volumeLabel.text = "\n".join(lines)

    def _showReaderVolume(self) -> None:
        """Say what the shown reader would draw, and nothing that is said of readers."""
        text = _("{volume:.1f} mL, {words}").format(
            volume=readerVolumeMl(self.result, self.reader), words=_(drawnByReader(self.reader))
        )
        touched = [readout.outlineText for readout in self._readouts() if readout.angle_deg]
        lines = [text, _("Touches {vessels}").format(vessels=", ".join(touched))] if touched else [text]
        self.ui.volumeLabel.text = "\n".join(lines)

    def _outlineText(self, level: float) -> str:
        """Say which voxels the outline at `level` takes in."""
        return _(outline_text(level, calibrated=self.result.record.isMhr))
