"""A user's way through the module with the demo bundle and a phantom, photographed in both themes."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import qt
from mrml_environment import preparedScene
from slicer_application import loadModule, start
from themes import THEMES, useTheme
from window_picture import PANEL_PX, ViewArea, grabPanel, savePicture, sideBySide

import slicer

__all__ = ["Tour"]

MODULE = Path(__file__).resolve().parent.parent.parent / "TwinTrackSeg" / "TwinTrackSeg.py"
SEED = 50007
"""A phantom that the demo networks have not seen."""

READERS = 5
SCREEN_PX = (1366, 768)
"""The smallest screen that is usual in a hospital."""

VIEWS_PX = (SCREEN_PX[0] - PANEL_PX, SCREEN_PX[1])
FIELD_MM, NEAR_FIELD_MM = 110.0, 95.0
TIMEOUT_SEC = 900


class Tour:
    """A user's way through the module, with a camera.

    Parameters
    ----------
    target : Path
        Where the pictures go.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.scene = preparedScene()
        start()
        useTheme("light")
        self.widget = loadModule(MODULE).makeWidget()
        self.widget.enter()
        self.panel = self.widget.pythonWidget
        self.ui = self.panel.ui
        self.views = None

    def go(self) -> None:
        """Take every picture."""
        from twintrack.phantom import make_phantom

        self.ui.bundlePathEdit.currentPath = "demo_bundle"
        self.take("empty")
        self.phantom = make_phantom(SEED, raters=READERS)
        self.load()
        self.choose()
        self.fail()
        self.segment()
        self.read()
        self.compare()
        self.visit()
        self.correct()
        self.names()

    def take(self, name: str, views: bool = False) -> None:
        """Save the panel in both themes and, if asked for, beside the views."""
        for theme in THEMES:
            panel = grabPanel(self.panel, theme, SCREEN_PX[1] if views else 200)
            ending = "" if theme == "light" else "_dark"
            if views:
                seen = panel.copy(0, 0, PANEL_PX, SCREEN_PX[1])  # the rest is scrolled to
                savePicture(sideBySide(seen, self.views.paint(theme)), self.target / f"window_{name}{ending}.png")
            else:
                savePicture(panel, self.target / f"panel_{name}{ending}.png")

    def load(self) -> None:
        """Bring the phantom into the scene."""
        from TwinTrackSegLib.mrml.display.Views import LAYOUT_XML
        from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume

        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene)
        self.views = ViewArea(self.scene, LAYOUT_XML, *VIEWS_PX)
        self.ct = nodeFromVolume(self.phantom.ct, "Phantom")
        self.ct.GetDisplayNode().AutoWindowLevelOff()
        self.ct.GetDisplayNode().SetWindowLevel(400, 60)
        self.ui.inputSelector.setCurrentNode(self.ct)

    def choose(self) -> None:
        """Look at the options, with vessels of the scene."""
        from segment_drawing import drawSegment

        from twintrack.labels import VESSEL_VALUES

        node = self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Vessels drawn before")
        node.SetReferenceImageGeometryParameterFromVolumeNode(self.ct)
        for name, value in VESSEL_VALUES.items():
            identifier = node.GetSegmentation().AddEmptySegment(name, name)
            drawSegment(node, identifier, self.phantom.vessels.array == value, self.ct)
        self.ui.caseCollapsibleButton.collapsed = self.ui.setupCollapsibleButton.collapsed = False
        self.ui.vesselSelector.setCurrentNode(node)
        self.take("options")
        self.ui.vesselSelector.setCurrentNode(None)
        self.ui.caseCollapsibleButton.collapsed = self.ui.setupCollapsibleButton.collapsed = True
        self.scene.RemoveNode(node)

    def fail(self) -> None:
        """Ask for a region that lies outside the CT."""
        region = self.scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Region")
        region.SetSize(40, 40, 40)
        region.SetCenter(900, 0, 0)
        self.ui.roiSelector.setCurrentNode(region)
        self.ui.segmentButton.click()
        self.take("error")
        self.ui.roiSelector.setCurrentNode(None)
        self.scene.RemoveNode(region)

    def segment(self) -> None:
        """Press Segment and wait."""
        self.ui.keepScoreCheckBox.checked = True
        self.ui.segmentButton.click()
        self.wait(lambda: self.ui.progressBar.value > 300 or not self.panel.logic.running)
        self.take("running")
        self.wait(lambda: not self.panel.logic.running)

    def read(self) -> None:
        """Look at the result, move its threshold, choose a vessel."""
        result = self.panel.results.result
        center = result.center()
        for view in self.views.slices.values():
            view.lookAt(center, FIELD_MM)
        self.views.view3d.lookAt(center, FIELD_MM, (0.45, 1.0, 0.25))
        self.panel.reading.onLayout()
        self.take("result")
        self.take("result", views=True)
        self.ui.thresholdSlider.value = 0.2
        self.take("dragging")
        self.take("dragging", views=True)
        self.ui.thresholdSlider.value = 0.5
        self.ui.vesselTable.selectRow(0)
        for view in self.views.slices.values():
            width, height, _ = view.node.GetDimensions()
            view.node.SetFieldOfView(NEAR_FIELD_MM, NEAR_FIELD_MM * height / width, 1.0)
        self.take("vessel")
        self.take("vessel", views=True)
        self.ui.jumpButton.click()

    def compare(self) -> None:
        """Tick the phantom's readers and evaluate."""
        from segment_drawing import drawSegment

        node = self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "Site")
        node.SetReferenceImageGeometryParameterFromVolumeNode(self.ct)
        for number, reader in enumerate(self.phantom.annotations, start=1):
            identifier = node.GetSegmentation().AddEmptySegment(f"reader{number}", f"Reader {number}")
            drawSegment(node, identifier, reader.array > 0, self.ct)
        self.ui.readersCollapsibleButton.collapsed = False
        self.panel.raters.presenter.update()
        for row in range(self.ui.readersList.count):
            self.ui.readersList.item(row).setCheckState(qt.Qt.Checked)
        self.ui.evaluateButton.click()
        self.ui.addCaseButton.click()
        self.take("readers")
        self.take("readers", views=True)
        self.ui.readersCollapsibleButton.collapsed = True
        slicer.mrmlScene.RemoveNode(node)
        self.ui.jumpButton.click()

    def visit(self) -> None:
        """Look at the CT of another patient while the first stays the input, then go back."""
        from TwinTrackSegLib.mrml.result.ResultViews import showCt
        from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume

        other = nodeFromVolume(self.phantom.ct.with_array(self.phantom.ct.array[:, :, ::-1]), "Another patient")
        other.CreateDefaultDisplayNodes()
        other.GetDisplayNode().AutoWindowLevelOff()
        other.GetDisplayNode().SetWindowLevel(400, 60)
        showCt(other)
        self.take("other_ct")
        self.take("other_ct", views=True)
        showCt(self.ct)
        self.scene.RemoveNode(other)
        self.ui.jumpButton.click()

    def correct(self) -> None:
        """Add a rim to the tumour by hand and measure it."""
        from scipy.ndimage import binary_dilation
        from segment_drawing import drawSegment

        from TwinTrackSegLib.mrml.VolumeConversion import segmentMask

        result = self.panel.results.result
        mask = segmentMask(result.nodes.segmentation, "tumor", self.ct)
        drawSegment(result.nodes.segmentation, "tumor", binary_dilation(mask, iterations=2), self.ct)
        self.ui.recomputeButton.click()
        self.take("edited")

    def names(self) -> None:
        """Look at vessels that were named by anatomy, one of them corrected by hand."""
        from named_example import writeNamedResult

        from TwinTrackSegLib.mrml.result.VesselNames import namePiece
        from TwinTrackSegLib.mrml.SelfTest import makeExampleCt

        ct = makeExampleCt()
        self.ui.inputSelector.setCurrentNode(ct)
        with tempfile.TemporaryDirectory() as folder:
            self.panel._takeResult(self.panel.logic.loadResult(writeNamedResult(Path(folder) / "result", ct), ct))
        namePiece(self.panel.results.result, "SMV", "PORTA")
        self.panel.results.refresh()
        self.ui.namesCollapsibleButton.collapsed = False
        self.take("names")

    def wait(self, condition) -> None:
        """Let Slicer's stand-in go on until `condition` holds."""
        deadline = time.monotonic() + TIMEOUT_SEC
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError("the model is not done")
            slicer.app.processEvents()
            time.sleep(0.05)

    def end(self) -> None:
        """Leave the module."""
        self.widget.exit()
        self.panel.cleanup()
