"""TwinTrackSeg: calibrated multi-rater tumour probability maps on CT, in 3D Slicer. Research use only."""

import importlib.util
import sys
from pathlib import Path

import slicer.util
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleTest

import slicer
from TwinTrackSegLib.gui import TwinTrackSegWidget as _widget
from TwinTrackSegLib.gui.SampleDataEntry import registerWhenStarted
from TwinTrackSegLib.mrml.display.Views import registerLayout
from TwinTrackSegLib.mrml.result.ResultViews import watchViews
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic

__all__ = ["TwinTrackSeg", "TwinTrackSegLogic", "TwinTrackSegTest", "TwinTrackSegWidget"]


class TwinTrackSeg(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = _("TwinTrackSeg")
        parent.categories = [translate("qSlicerAbstractCoreModule", "Segmentation")]
        parent.dependencies = []
        parent.contributors = ["The TwinTrackSeg developers"]
        parent.helpText = _(
            "Shows for every voxel of a contrast CT the fraction of expert readers who would mark it as pancreatic "
            "tumour, and how far the tumour wraps around the vessels beside it. What readers are expected to say is "
            "told apart from the outline at the threshold, and whether it is calibrated. <b>For research use only, not "
            "for diagnosis or treatment.</b>"
        )
        parent.acknowledgementText = _(
            "Builds on nnU-Net (F. Isensee et al.), the TwinTrack and CURVAS-PDACVI work on calibrated multi-rater "
            "segmentation, highdicom and 3D Slicer."
        )
        if _widget.isSlicerNewEnough():
            self.registerDicomPlugin()
            registerWhenStarted(Path(__file__).parent / "Resources" / "Icons")

    def setup(self):
        """Called by Slicer once its main window is there, before it opens scenes that it was started with.

        From then on the layout is known, and results stay in the views of their own CT, also without the panel.
        """
        registerLayout()
        watchViews()

    def registerDicomPlugin(self):
        """Let Slicer's DICOM export offer results, where Slicer has its DICOM module; as its own plug-ins do, now.

        The signal that Slicer has started does not come for a module that is loaded later.
        """
        if importlib.util.find_spec("DICOMLib") is not None:
            from TwinTrackSegLib.gui.DicomPlugin import register

            register()


class TwinTrackSegWidget(_widget.TwinTrackSegWidget):
    """The panel; see `TwinTrackSegLib.gui.TwinTrackSegWidget`."""


class TwinTrackSegTest(ScriptedLoadableModuleTest):
    """Self test inside Slicer, without and with ``--testing``; see `TwinTrackSegLib.gui.WholeWay`."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)

    def runTest(self):
        for test in (self.test_resultFolderBecomesAScene, self.test_wholeWay):
            self.setUp()
            test()

    def test_resultFolderBecomesAScene(self):
        from TwinTrackSegLib.mrml.SelfTest import checkExampleResult

        self.delayDisplay(_("Loading an example result"))
        checkExampleResult(TwinTrackSegLogic())
        self.delayDisplay(_("Test passed"))

    def test_wholeWay(self):
        from TwinTrackSegLib.gui.WholeWay import WholeWay

        widget = slicer.util.getModuleWidget("TwinTrackSeg")
        if slicer.util.mainWindow() is not None:
            slicer.util.selectModule("TwinTrackSeg")
        else:
            widget.enter()
        WholeWay(widget, self.say).run()

    def say(self, line):
        """Print a line at once: it is the last one if the application goes down."""
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
        self.delayDisplay(line)
