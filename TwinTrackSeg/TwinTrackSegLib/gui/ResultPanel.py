"""The result in the panel: slider, readouts, vessels, corrections."""

import qt
import slicer.util

import slicer
from TwinTrackSegLib.gui.Feedback import Look, dress, dressTick
from TwinTrackSegLib.gui.NamesPanel import NamesPanel
from TwinTrackSegLib.gui.VesselTableView import VesselTableView
from TwinTrackSegLib.mrml.display.Views import showLayout
from TwinTrackSegLib.mrml.result.ResultSegmentation import TUMOR_SEGMENT_ID
from TwinTrackSegLib.present.Reading import ReadingPresenter
from TwinTrackSegLib.present.ViewChoices import WINDOWS_HU, ViewChoices
from TwinTrackSegLib.present.WhichResult import wayBack

__all__ = ["ResultPanel", "offerWayBack", "openSegmentEditor", "takeWayBack"]

WAY_BACK = "TwinTrackSegWayBack"
"""Name of the button that leads back from Segment Editor."""


class ResultPanel:
    """Shows the state of a `ReadingPresenter`, and passes on what the user does.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    host : SlicerHost
        The application.

    Attributes
    ----------
    presenter : ReadingPresenter
        Knows the result, and does what is asked of it.
    names : NamesPanel
        The names of vessels that anatomy found.
    """

    def __init__(self, ui, host) -> None:
        self.ui = ui
        self._ticks, self._levels, self._showing = [], (), False
        self.presenter = ReadingPresenter(host, self.refresh, openSegmentEditor)
        self._views, self._keys, self._lesions, self._readers = ViewChoices(), [], (), ()
        presenter = self.presenter
        self._table = VesselTableView(ui.vesselTable, presenter.chooseVessel)
        self.names = NamesPanel(ui, host, presenter)
        for label in (ui.warningsLabel, ui.editedLabel):
            dress(label, Look.NOTE)
        dress(ui.resultBadge, Look.LOUD)
        ui.moreButton.connect("clicked()", presenter.foldWarnings)
        ui.thresholdSlider.connect("valueChanged(double)", self._onThreshold)
        ui.readerComboBox.connect("activated(int)", self._onReader)
        ui.sampleSlider.connect("valueChanged(double)", self._onSample)
        ui.disagreementCheckBox.connect("clicked()", self._onDisagreement)
        ui.jumpButton.connect("clicked()", presenter.backToTumor)
        ui.layoutButton.connect("clicked()", self.onLayout)
        ui.editButton.connect("clicked()", presenter.edit)
        ui.recomputeButton.connect("clicked()", presenter.measure)
        ui.restoreButton.connect("clicked()", presenter.restore)
        ui.lesionComboBox.connect("activated(int)", self._onLesion)
        ui.overlayCheckBox.connect("clicked()", self._onOverlay)
        ui.opacitySlider.connect("valueChanged(int)", self._onOpacity)
        self._windowButtons = {name: getattr(ui, f"{name}WindowButton") for name in WINDOWS_HU}
        for name, button in self._windowButtons.items():
            button.connect("clicked()", lambda name=name: self._onWindow(name))
        presenter.show(None)

    def enter(self, parent) -> None:
        """Let the keys step through vessels and thresholds while the module is open; the way back was found."""
        if slicer.util.mainWindow() is not None:
            takeWayBack(slicer.util.mainWindow().statusBar())
        if self._keys:
            return
        for key, step in self.presenter.keys.items():
            shortcut = qt.QShortcut(slicer.util.mainWindow() or parent)
            shortcut.setKey(qt.QKeySequence(key))
            shortcut.connect("activated()", step)
            self._keys.append(shortcut)

    def exit(self) -> None:
        """Give the keys back."""
        for shortcut in self._keys:
            shortcut.setEnabled(False)
            shortcut.deleteLater()
        self._keys = []

    def refresh(self) -> None:
        """Show the presenter's state as it is now."""
        state = self.presenter.state
        self._showing = True
        self.ui.resultBox.visible = self.ui.resultBox.enabled = state.present  # nothing to see and nothing to press
        if state.present:
            self.ui.thresholdSlider.value = state.threshold
        self.ui.thresholdSlider.enabled = self.ui.readerTicks.enabled = state.movable
        self.ui.editButton.enabled = self.ui.recomputeButton.enabled = state.editable
        self.ui.restoreButton.enabled = state.restorable
        self.ui.volumeLabel.text = state.volume
        self._showNotes(state.notes)
        self._showTicks(state.ticks)
        self._showReaders(state)
        self._table.show(state.rows, state.chosen)
        self._showViews()
        self.names.refresh()
        self._showing = False

    def onLayout(self) -> None:
        """Put slices, 3D and curve side by side."""
        showLayout()

    def _onThreshold(self, threshold: float) -> None:
        if not self._showing:
            self.presenter.moveThreshold(threshold)

    def _onReader(self, index: int) -> None:
        self.presenter.showReader(self.ui.readerComboBox.itemData(index) or "")

    def _onSample(self, number: float) -> None:
        if not self._showing:
            self.presenter.showSample(round(number))

    def _onDisagreement(self) -> None:
        self.presenter.showDisagreement(self.ui.disagreementCheckBox.checked)

    def _onLesion(self, index: int) -> None:
        self._views.showLesion(self.presenter.result, index)

    def _onOverlay(self) -> None:
        self._views.showOverlay(self.presenter.result, self.ui.overlayCheckBox.checked)

    def _onOpacity(self, percent: int) -> None:
        if not self._showing:
            self._views.setOpacity(self.presenter.result, percent)
            self._showViews()

    def _onWindow(self, name: str) -> None:
        self._views.setWindow(self.presenter.result, name)
        self._showViews()

    def _showViews(self) -> None:
        """Show what the views show: lesions to choose from, overlay, grey values."""
        before, self._showing = self._showing, True
        ui, state = self.ui, self._views.stateOf(self.presenter.result)
        ui.overlayCheckBox.checked = state.overlay
        ui.opacitySlider.value = state.opacity_percent
        for preset in state.windows:
            button = self._windowButtons[preset.name]
            button.text, button.toolTip = preset.text, preset.tip
            dressTick(button, preset.pressed)
        if state.lesions != self._lesions:
            self._lesions, chosen = state.lesions, max(ui.lesionComboBox.currentIndex, 0)
            ui.lesionComboBox.clear()
            for text in state.lesions:
                ui.lesionComboBox.addItem(text)
            ui.lesionComboBox.setCurrentIndex(min(chosen, len(state.lesions) - 1))
        ui.lesionRow.visible = bool(state.lesions)
        self._showing = before

    def _showNotes(self, notes) -> None:
        ui = self.ui
        dress(ui.sourceLabel, Look.NOTE if notes.sourceIsWarning else Look.PLAIN)
        pairs = (
            (ui.resultBadge, notes.badge),
            (ui.warningsLabel, notes.warnings),
            (ui.editedLabel, notes.edited),
            (ui.sourceLabel, notes.source),
            (ui.readersLabel, notes.readers),
            (ui.notesLabel, notes.about),
        )
        for label, text in pairs:
            label.text, label.visible = text, bool(text)
        if notes.moreTip:
            ui.warningsLabel.toolTip = ui.editedLabel.toolTip = ui.moreButton.toolTip = notes.moreTip
        ui.moreButton.text, ui.moreButton.visible = notes.more, bool(notes.more)
        ui.alertsRow.visible = notes.alerting

    def _showTicks(self, ticks) -> None:
        """Put a button for every rater below the slider: voxels that at least 20 %, 40 % ... mark."""
        layout, levels = self.ui.readerTicks.layout(), tuple((tick.level, tick.text) for tick in ticks)
        if levels != self._levels:
            while layout.count():
                layout.takeAt(0).widget().deleteLater()
            self._ticks, self._levels = [], levels
            for tick in ticks:
                button = qt.QToolButton()
                button.text, button.checkable = tick.text, True
                button.connect("clicked()", lambda level=tick.level: self._onTick(level))
                button.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
                layout.addWidget(button)
                self._ticks.append(button)
        for tick, button in zip(ticks, self._ticks, strict=True):
            button.toolTip = tick.tip
            dressTick(button, tick.pressed)

    def _onTick(self, level: float) -> None:
        self.ui.thresholdSlider.value = level
        self.refresh()  # one that is pressed already stays down

    def _showReaders(self, state) -> None:
        combo = self.ui.readerComboBox
        self.ui.readerRow.visible = bool(state.readers)
        if state.readers != self._readers:
            self._readers = state.readers
            combo.clear()
            for name, text in state.readers:
                combo.addItem(text, name)
        combo.setCurrentIndex(max(combo.findData(state.reader), 0) if state.readers else -1)
        self.ui.disagreementCheckBox.checked, self.ui.disagreementCheckBox.visible = state.disagreement, state.spread
        self.ui.sampleRow.visible = bool(state.samples)
        if state.samples:
            self.ui.sampleSlider.maximum = state.samples
            self.ui.sampleSlider.value = state.sample


def openSegmentEditor(result) -> None:
    """Switch to Slicer's Segment Editor with the tumour segment selected, which then cuts no vessel."""
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    editor.setSegmentationNode(result.nodes.segmentation)
    editor.setSourceVolumeNode(result.nodes.ct)
    editor.setCurrentSegmentID(TUMOR_SEGMENT_ID)
    # By default what is drawn is taken from the other segments: a dented vessel has less contact than there is.
    editor.mrmlSegmentEditorNode().SetOverwriteMode(slicer.vtkMRMLSegmentEditorNode.OverwriteNone)
    if slicer.util.mainWindow() is not None:
        offerWayBack(slicer.util.mainWindow().statusBar())


def offerWayBack(bar) -> None:
    """Put a button into the status bar that leads back to the result, and goes away when it is pressed."""
    takeWayBack(bar)
    text, tip = wayBack()
    button = qt.QPushButton(text)
    button.objectName, button.toolTip = WAY_BACK, tip

    def back() -> None:
        takeWayBack(bar)
        slicer.util.selectModule("TwinTrackSeg")

    button.connect("clicked()", back)
    bar.addPermanentWidget(button)


def takeWayBack(bar) -> None:
    """Take the button out of the status bar, if it is there."""
    for button in bar.findChildren(qt.QPushButton, WAY_BACK):
        button.setVisible(False)
        button.setParent(None)
        button.deleteLater()
