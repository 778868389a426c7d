"""The module's panel: choose CT and bundle, segment or cancel, move the threshold, read the vessels, export."""

import contextlib
import logging
import traceback
from pathlib import Path

import qt
import slicer.util
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

import slicer
from twintrack.bundle import demo_bundle_path
from twintrack.errors import BundleError, Cancelled, TwinTrackError
from TwinTrackSegLib.gui.Dependencies import ensureDependencies
from TwinTrackSegLib.gui.HeadStart import HeadStart
from TwinTrackSegLib.gui.ParameterNode import TwinTrackSegParameterNode
from TwinTrackSegLib.gui.TimeLeft import withTimeLeft
from TwinTrackSegLib.mrml.BundleInfo import readBundleInfo
from TwinTrackSegLib.mrml.SceneResult import SceneResult, firstCandidate
from TwinTrackSegLib.mrml.SegmentationRun import RunSettings
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic

__all__ = ["TwinTrackSegWidget"]

logger = logging.getLogger(__name__)

POLL_INTERVAL_MSEC = 100
PROGRESS_STEPS = 1000


class TwinTrackSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The widget that Slicer makes for the module. It holds no state of its own: that is in the scene."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None
        self._result = None

    # -- life of the widget

    def setup(self):
        """Build the panel; called once by Slicer."""
        ScriptedLoadableModuleWidget.setup(self)
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/TwinTrackSeg.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)

        self.logic = TwinTrackSegLogic()
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_INTERVAL_MSEC)
        self._timer.connect("timeout()", self.onPoll)
        self._headStart = HeadStart(self.logic, self.resourcePath("requirements.txt"))

        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndImportEvent, self.onSceneEndImport)
        self.ui.segmentButton.connect("clicked()", self.onSegmentOrCancel)
        self.ui.thresholdSlider.connect("valueChanged(double)", self.onThreshold)
        self.ui.exportButton.connect("clicked()", self.onExport)
        self.ui.demoBundleButton.connect("clicked()", self.onDemoBundle)
        self.ui.progressBar.setRange(0, PROGRESS_STEPS)
        self._showRunning(False)
        self.initializeParameterNode()

    def cleanup(self):
        """End everything; called when Slicer quits or the module is reloaded."""
        self._end()
        self._timer.stop()
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self):
        """Take up the scene's parameters when the user opens the module."""
        self.initializeParameterNode()

    def exit(self):
        """Let go of the scene when the user opens another module; a run goes on."""
        self.setParameterNode(None)

    def onReload(self):
        """Reload the module's own packages too, not only the file that Slicer knows."""
        import sys

        for name in [n for n in sys.modules if n.split(".")[0] in ("TwinTrackSegLib", "twintrack")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, _caller=None, _event=None):
        """End a run before its CT goes, and the model's process."""
        self._end()
        self.setParameterNode(None)
        self._showResult(None)

    def onSceneEndClose(self, _caller=None, _event=None):
        """Start afresh in the empty scene."""
        if self.parent.isEntered:
            self.initializeParameterNode()

    def onSceneEndImport(self, _caller=None, _event=None):
        """Take up the parameters and the result of an opened scene."""
        if self.parent.isEntered:
            self.setParameterNode(None)
            self.initializeParameterNode()

    # -- parameters

    def initializeParameterNode(self):
        """Bind the panel to the scene's parameter node, with sensible first choices."""
        self.setParameterNode(TwinTrackSegParameterNode(self.logic.getParameterNode()))
        node = self._parameterNode
        if node.inputVolume is None:
            node.inputVolume = firstCandidate()
        if node.bundlePath == Path():
            self._useDemoBundle()

    def setParameterNode(self, node):
        """Bind the panel to `node`, a wrapped parameter node, or to none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode.parameterNode, "ModifiedEvent", self.onParametersChanged)
        self._parameterNode = node
        if node is not None:
            self._parameterNodeGuiTag = node.connectGui(self.ui)
            self.addObserver(node.parameterNode, "ModifiedEvent", self.onParametersChanged)
            self.onParametersChanged()

    def onParametersChanged(self, _caller=None, _event=None):
        """Let badge, button and result follow the parameters."""
        node = self._parameterNode
        if node is None:
            return
        self._showBundle(node.bundlePath)
        if node.resultVolume is not (self._result.mhrNode if self._result else None):
            self._showResult(SceneResult(node.resultVolume) if node.resultVolume is not None else None)
        if not self.logic.running:
            self.ui.segmentButton.enabled = node.inputVolume is not None
            self.ui.segmentButton.toolTip = (
                _("Run the model on the input volume")
                if node.inputVolume is not None
                else _("Choose an input volume first")
            )
            if node.inputVolume is not None and node.resultVolume is None:
                self._headStart.schedule()

    def onDemoBundle(self):
        """Go back to the demo bundle."""
        with self._shownErrors():
            self._parameterNode.bundlePath = demo_bundle_path()

    def _useDemoBundle(self):
        with contextlib.suppress(BundleError):  # an installation without one: the user chooses
            self._parameterNode.bundlePath = demo_bundle_path()

    # -- a run

    def onSegmentOrCancel(self):
        """Start a run, or cancel the one that is going on."""
        if self.logic.running:
            self.ui.statusLabel.text = _("Cancelling...")
            self.ui.segmentButton.enabled = False
            self.logic.cancel()
            return
        node = self._parameterNode
        with self._shownErrors():
            ensureDependencies(self.resourcePath("requirements.txt"))
            settings = RunSettings(bundle=str(node.bundlePath), threshold=node.threshold)
            self.logic.start(node.inputVolume, settings, self.onProgress)
            self._showRunning(True)
            self._timer.start()

    def onProgress(self, fraction, message):
        """Show how far the model is."""
        self.ui.progressBar.value = round(fraction * PROGRESS_STEPS)
        self.ui.statusLabel.text = withTimeLeft(message, self.logic.remainingSec)

    def onPoll(self):
        """Ask the logic for news; called by the timer during a run."""
        status = ""
        with self._shownErrors():
            try:
                if self.logic.poll():
                    return
                self._takeResult()
                status = _("Done.")
            except Cancelled:
                status = _("Cancelled.")
        self._timer.stop()
        self._showRunning(False)
        self.ui.statusLabel.text = status or _("Failed.")

    def _takeResult(self):
        result = self.logic.result
        if self._parameterNode is not None:
            self._parameterNode.resultVolume = result.mhrNode
        else:  # the user is in another module; the panel takes it up when it is entered again
            wrapped = TwinTrackSegParameterNode(self.logic.getParameterNode())
            wrapped.resultVolume = result.mhrNode

    def _end(self):
        """End the run and the model's process."""
        if self.logic is None:
            return
        self._headStart.drop()
        wasRunning = self.logic.running
        self.logic.close()
        if wasRunning:
            self._timer.stop()
            self._showRunning(False)
            self.ui.statusLabel.text = _("Cancelled.")

    # -- the result

    def onThreshold(self, threshold):
        """Move the working outline."""
        if self._result is None or not slicer.mrmlScene.IsNodePresent(self._result.mhrNode):
            return
        with self._shownErrors():
            self._result.setThreshold(threshold)
            self._showVolume()

    def onExport(self):
        """Write the DICOM-SEG file that the user names."""
        with self._shownErrors():
            path = self.askExportPath()
            if not path:
                return
            with slicer.util.WaitCursor():
                written = self.logic.exportDicomSeg(path, result=self._result)
            self.ui.statusLabel.text = _("Exported {name}.").format(name=written.name)

    def askExportPath(self):
        """Ask where to write; empty if the user thinks better of it."""
        return qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Export DICOM-SEG"), "segmentation.dcm", _("DICOM files") + " (*.dcm)"
        )

    # -- showing

    def _showRunning(self, running):
        self.ui.segmentButton.text = _("Cancel") if running else _("Segment")
        self.ui.segmentButton.enabled = running or (
            self._parameterNode is not None and self._parameterNode.inputVolume is not None
        )
        self.ui.progressBar.visible = running
        self.ui.progressBar.value = 0
        self.ui.inputsCollapsibleButton.enabled = not running

    def _showBundle(self, path):
        """Say which model is chosen, and loudly if it knows phantoms only."""
        try:
            info = readBundleInfo(path)
        except (TwinTrackError, OSError) as error:
            self.ui.bundleLabel.text = str(error)
            self.ui.demoBadge.visible = False
            return
        self.ui.bundleLabel.text = _("{name} {version}, licence {license}").format(
            name=info.name, version=info.version, license=info.license
        )
        self.ui.bundleLabel.toolTip = info.description
        self.ui.demoBadge.visible = info.demo

    def _showResult(self, result):
        self._result = result
        self.ui.resultsCollapsibleButton.enabled = result is not None
        self.ui.vesselTable.setMRMLTableNode(result.tableNode if result is not None else None)
        if result is None:
            self.ui.volumeLabel.text = ""
            return
        self.ui.vesselTable.resizeColumnsToContents()
        self.ui.thresholdSlider.value = result.threshold
        self._showVolume()

    def _showVolume(self):
        text = _("{volume:.1f} mL at the threshold").format(volume=self._result.volumeMl)
        expected = self._result.expectedVolumeMl
        if expected is not None:
            text = _("{text}, {expected:.1f} mL expected over the readers").format(text=text, expected=expected)
        self.ui.volumeLabel.text = "\n".join([text, *self._result.warnings])

    @contextlib.contextmanager
    def _shownErrors(self):
        """Show errors: a known one by its sentence, any other with its traceback for the report."""
        try:
            yield
        except TwinTrackError as error:
            logger.info("%s: %s", type(error).__name__, error)
            slicer.util.errorDisplay(str(error), "TwinTrackSeg")
        except Exception as error:
            logger.exception("unexpected error in the panel")
            slicer.util.errorDisplay(
                _("Unexpected error: {error}").format(error=error), "TwinTrackSeg", detailedText=traceback.format_exc()
            )
