"""Lower part of the panel: slider, readouts, vessels, corrections."""

import qt
import slicer.util
from slicer.i18n import tr as _

import slicer
from twintrack.results.which_ct import WhichCt
from TwinTrackSegLib.gui.Feedback import dressTick, sayStatus, shownErrors
from TwinTrackSegLib.gui.ResultNotes import ResultNotes
from TwinTrackSegLib.gui.VesselTableView import VesselTableView
from TwinTrackSegLib.mrml.display.MhrDisplay import raterLevels, ratersAt
from TwinTrackSegLib.mrml.display.Views import showLayout, showTable
from TwinTrackSegLib.mrml.result.Correction import measureOutline, noticeEdit, restoreOutline
from TwinTrackSegLib.mrml.result.ResultSegmentation import TUMOR_SEGMENT_ID
from TwinTrackSegLib.mrml.vessels.VesselFocus import focusVessel, leaveVessel
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
    """

    def __init__(self, ui) -> None:
        self.ui = ui
        self.result = None
        self._ticks = []
        self._notes = ResultNotes(ui)
        self._table = VesselTableView(ui.vesselTable, self._onVessel)
        ui.tableLegend.text = _(
            "● encasement > 180°   ◐ abutment ≤ 180°   ○ no contact\n% rd.: percentage of readers expected to see it"
        )
        self._settle = qt.QTimer()
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MSEC)
        self._settle.connect("timeout()", self.settle)
        ui.thresholdSlider.connect("valueChanged(double)", self.onThreshold)
        ui.jumpButton.connect("clicked()", self.onJump)
        ui.layoutButton.connect("clicked()", self.onLayout)
        ui.editButton.connect("clicked()", self.onEdit)
        ui.recomputeButton.connect("clicked()", self.onRecompute)
        ui.restoreButton.connect("clicked()", self.onRestore)
        self.show(None)

    def show(self, result) -> None:
        """Show `result`, or nothing."""
        self._settle.stop()
        self.result = result
        for section in (self.ui.resultsCollapsibleButton, self.ui.exportCollapsibleButton):
            section.enabled = result is not None
            section.collapsed = result is None  # nothing to see and nothing to press
        case = WhichCt.of(result.record.result).case if result is not None else ""
        title = case if len(case) <= TITLE_LETTERS else case[: TITLE_LETTERS - 1] + "…"
        self.ui.resultsCollapsibleButton.text = _("Result: {case}").format(case=title) if case else _("Result")
        self._showTicks()
        if result is not None:
            result.outline.settle()  # a scene that was saved in the middle of a drag
            self.ui.thresholdSlider.value = result.outline.threshold
            showTable(result.nodes.vesselTable)
            self._plotWorst()
        self.refresh()

    def _plotWorst(self) -> None:
        """Draw the curve of the most severe vessel until the user chooses one: an empty view says nothing."""
        measured = [readout for readout in self.result.outline.readouts if readout.category]
        if measured:
            result = self.result
            plotVessel(result.nodes.mhr, result.record.invasion, measured[0].name, result.outline.threshold)

    def refresh(self) -> None:
        """Show the numbers of the result as they are now."""
        edited = self.result is not None and self.result.record.edited is not None
        self.ui.thresholdSlider.enabled = not edited
        self.ui.readerTicks.enabled = not edited
        self.ui.restoreButton.enabled = self.result is not None
        self._showVolume()
        self._markTick()
        self._notes.show(self.result)
        self._table.show(self.result.outline.readouts if self.result is not None else [])

    def onThreshold(self, threshold: float) -> None:
        """Move the working outline; called while the slider is dragged."""
        if not self._isLive() or self.result.record.edited:
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
        """Put slices, 3D, table and curve side by side."""
        showLayout()
        if self._isLive():
            showTable(self.result.nodes.vesselTable)

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
                focusVessel(result.nodes.mhr, result.record.invasion, name, result.outline.threshold)

    def _isLive(self) -> bool:
        return self.result is not None and bool(slicer.mrmlScene.IsNodePresent(self.result.nodes.mhr))

    def _showTicks(self) -> None:
        """Put a button for every rater below the slider: at least 1 of 5, 2 of 5 ..."""
        layout = self.ui.readerTicks.layout()
        while layout.count():
            layout.takeAt(0).widget().deleteLater()
        raters = self.result.record.raters if self.result is not None else None
        self._ticks = []
        for level in raterLevels(raters) if self.result is not None else ():
            text = _("{k} of {n}").format(k=ratersAt(level, raters), n=raters) if raters else f"{level:.1f}"
            button = qt.QToolButton()
            button.text = text
            button.toolTip = _("Outline of what at least this many readers would mark")
            button.connect("clicked()", lambda level=level: self._setSlider(level))
            button.checkable = True
            button.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
            layout.addWidget(button)
            self._ticks.append((level, button))

    def _setSlider(self, level: float) -> None:
        self.ui.thresholdSlider.value = level
        self._markTick()

    def _markTick(self) -> None:
        """Press the tick that says how many raters the threshold stands for."""
        for level, button in self._ticks:
            raters = self.result.record.raters
            threshold = self.result.outline.threshold
            at = ratersAt(threshold, raters) / raters if raters else threshold
            dressTick(button, not self.result.record.edited and abs(level - at) < SAME_LEVEL)

    def _showVolume(self) -> None:
        result = self.result
        if result is None:
            self.ui.volumeLabel.text = ""
            return
        volume, raters = result.outline.volumeMl, result.record.raters
        if result.record.edited:
            text = _("{volume:.1f} mL, outline edited by hand").format(volume=volume)
        elif raters:
            text = _("{volume:.1f} mL at the threshold: at least {k} of {n} readers").format(
                volume=volume, k=ratersAt(result.outline.threshold, raters), n=raters
            )
        else:
            text = _("{volume:.1f} mL at the threshold").format(volume=volume)
        self.ui.volumeLabel.text = "\n".join([text, *self._expectedVolume(result.record)])

    def _expectedVolume(self, record) -> list[str]:
        """Return the mean over the raters, with the range that most of them fall into where that is known."""
        if record.expectedVolumeMl is None:
            return []
        volumes = record.result.get("volume_ml", {})
        low, high = volumes.get("p10"), volumes.get("p90")
        if high is None:
            text = _("{expected:.1f} mL expected")
        elif low is None:
            text = _("{expected:.1f} mL expected (10 %: not available, 90 %: {high:.1f} mL)")
        else:
            text = _("{expected:.1f} mL expected (10–90 %: {low:.1f} – {high:.1f} mL)")
        text = text.format(expected=record.expectedVolumeMl, low=low, high=high)
        return [_("Map, before the edit: {text}").format(text=text) if record.edited else text]
