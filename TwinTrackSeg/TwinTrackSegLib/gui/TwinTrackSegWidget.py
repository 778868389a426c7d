"""The module's panel: life of the widget, and its parts put together."""

import qt
import slicer.util
from slicer.ScriptedLoadableModule import ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

import slicer
from TwinTrackSegLib.gui.Dependencies import Packages
from TwinTrackSegLib.gui.ExportPanel import ExportPanel
from TwinTrackSegLib.gui.InputsPanel import InputsPanel
from TwinTrackSegLib.gui.InstallPanel import InstallPanel
from TwinTrackSegLib.gui.ModelPanel import ModelPanel
from TwinTrackSegLib.gui.Parameters import TwinTrackSegParameterNode
from TwinTrackSegLib.gui.RatersPanel import RatersPanel
from TwinTrackSegLib.gui.ResultChoice import ResultChoice
from TwinTrackSegLib.gui.ResultPanel import ResultPanel
from TwinTrackSegLib.gui.RunPanel import RunPanel
from TwinTrackSegLib.gui.SampleDataEntry import loadSampleCase
from TwinTrackSegLib.gui.SlicerHost import SlicerHost
from TwinTrackSegLib.mrml.result.ResultViews import watchViews
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.present.CtAndResult import CtAndResult
from TwinTrackSegLib.present.Installing import tooOld

__all__ = ["TwinTrackSegWidget", "isSlicerNewEnough"]

OLDEST_SLICER = (5, 12)
"""Older ones ship pydicom 2, which highdicom and the engine cannot use and which must not be replaced from here."""


def isSlicerNewEnough() -> bool:
    """Whether this Slicer ships the packages that the module needs."""
    return (slicer.app.majorVersion, slicer.app.minorVersion) >= OLDEST_SLICER


class TwinTrackSegWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """The widget that Slicer makes for the module. It holds no state of its own: that is in the scene."""

    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.logic = None
        self._parameterNode = None
        self._parameterNodeGuiTag = None

    # -- life of the widget

    def setup(self):
        """Build the panel; called once by Slicer."""
        ScriptedLoadableModuleWidget.setup(self)
        if not isSlicerNewEnough():
            self._refuse()
            return
        uiWidget = slicer.util.loadUI(self.resourcePath("UI/TwinTrackSeg.ui"))
        self.layout.addWidget(uiWidget)
        self.ui = slicer.util.childWidgetVariables(uiWidget)
        uiWidget.setMRMLScene(slicer.mrmlScene)

        self.logic = TwinTrackSegLogic()
        requirements = self.resourcePath("requirements.txt")
        self.host = SlicerHost(self.ui, Packages(requirements))
        self.inputs = InputsPanel(self.ui, self.host)
        self.install = InstallPanel(self.ui, self.host, self.logic, self.inputs.setUp, requirements)
        self.models = ModelPanel(self.ui, self.host, self.logic, self.inputs)
        self.reading = ResultPanel(self.ui, self.host)
        self.results = self.reading.presenter
        self.export = ExportPanel(self.ui, self.results, self.host)
        self.raters = RatersPanel(self.ui, self.host, self.results)
        self.ct = CtAndResult(self.results, self.inputs.vessels.letGo, self.raters.presenter.update)
        self.choice = ResultChoice(self.ui, self.ct)
        self.ui.sampleButton.connect("clicked()", self.onSample)
        self.ui.statusLabel.visible = False
        self.run = RunPanel(
            self.ui,
            self.host,
            self.logic,
            asked=self.inputs.asked,
            device=lambda: self.inputs.setUp.device,
            finished=self._takeResult,
            parent=uiWidget,
        )
        self.ui.deviceComboBox.connect("currentIndexChanged(int)", lambda _index: self.run.refresh())

        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, self.onSceneStartClose)
        self.addObserver(scene, scene.EndCloseEvent, self.onSceneEndClose)
        self.addObserver(scene, scene.EndImportEvent, self.onSceneEndImport)
        watchViews().listeners.append(self.onViewsChanged)
        self.initializeParameterNode()

    def _refuse(self):
        """Say in place of the panel that this Slicer is too old."""
        label = qt.QLabel(tooOld(OLDEST_SLICER, (slicer.app.majorVersion, slicer.app.minorVersion)))
        label.wordWrap = True
        self.layout.addWidget(label)
        self.layout.addStretch(1)

    def cleanup(self):
        """End everything; called when Slicer quits or the module is reloaded."""
        if self.logic is not None:
            listeners = watchViews().listeners
            if self.onViewsChanged in listeners:
                listeners.remove(self.onViewsChanged)
            self.install.presenter.end()
            self.models.end()
            self.reading.exit()
            self.run.exit()
            self.run.presenter.end()
            self.results.show(None)
        self.setParameterNode(None)
        self.removeObservers()

    def enter(self):
        """Take up the scene's parameters when the user opens the module."""
        if self.logic is None:
            return
        self.initializeParameterNode()
        self.run.enter()
        self.reading.enter(self.parent)
        self.results.takeUpEdit()
        self.raters.presenter.update()

    def exit(self):
        """Let go of the scene when the user opens another module; a run goes on."""
        if self.logic is None:
            return
        self.results.settle()
        self.reading.exit()
        self.run.exit()
        self.setParameterNode(None)

    def onReload(self):
        """Reload the module's own packages too, not only the file that Slicer knows."""
        import sys

        watchViews().stop()
        for name in [n for n in sys.modules if n.split(".")[0] in ("TwinTrackSegLib", "twintrack")]:
            del sys.modules[name]
        ScriptedLoadableModuleWidget.onReload(self)

    def onSceneStartClose(self, _caller=None, _event=None):
        """End a run before its CT goes, and the model's process."""
        self.run.presenter.end()
        self.setParameterNode(None)
        self.results.show(None)

    def onSceneEndClose(self, _caller=None, _event=None):
        """Start afresh in the empty scene."""
        self.raters.presenter.update()
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
        node = TwinTrackSegParameterNode(self.logic.getParameterNode())
        self.setParameterNode(node)
        self.onViewsChanged()

    def setParameterNode(self, node):
        """Bind the panel to `node`, a wrapped parameter node, or to none."""
        if self._parameterNode is not None:
            self._parameterNode.disconnectGui(self._parameterNodeGuiTag)
            self.removeObserver(self._parameterNode.parameterNode, "ModifiedEvent", self.onParametersChanged)
        self._parameterNode = node
        if self.logic is not None:
            self.inputs.setNode(node)
            self.ct.bind(node)
        if node is not None:
            self._parameterNodeGuiTag = node.connectGui(self.ui)
            self.addObserver(node.parameterNode, "ModifiedEvent", self.onParametersChanged)
            self.onParametersChanged()

    def onParametersChanged(self, _caller=None, _event=None):
        """Let badge, button and result follow the parameters."""
        if self._parameterNode is None:
            return
        self.inputs.update()
        self.ct.follow()
        self.choice.update()
        self.run.presenter.setReady(self.ct.ready)
        offer, button = self.ct.offer, self.ui.sampleButton
        button.text, button.toolTip, button.visible = offer.text, offer.tip, offer.offered
        if self.ct.isNew:
            self.run.presenter.prepareSoon()

    def onViewsChanged(self):
        """Show the result of the CT that the slice views show."""
        self.ct.followViews()
        self.choice.update()

    def onSample(self):
        """Draw the sample case, and choose it."""
        self.ct.chooseCt(loadSampleCase())

    # -- a run

    def _takeResult(self, result):
        """Show a result; while the user is in another module, the panel takes it up when it is entered again."""
        node = self._parameterNode or TwinTrackSegParameterNode(self.logic.getParameterNode())
        node.resultVolume = result.nodes.mhr
