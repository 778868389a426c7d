"""The whole way through the panel inside Slicer, step by step, with one line on each: what a first run there tells."""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import slicer.util
import vtk.util.numpy_support

import slicer
from TwinTrackSegLib.gui.Dependencies import missingRequirements
from TwinTrackSegLib.gui.SampleDataEntry import CATEGORY
from TwinTrackSegLib.mrml.display.Views import LAYOUT_ID
from TwinTrackSegLib.mrml.result.ResultSegmentation import TUMOR_SEGMENT_ID
from TwinTrackSegLib.mrml.result.SceneResult import allResults
from TwinTrackSegLib.mrml.SampleCase import SAMPLE_NAME
from TwinTrackSegLib.mrml.SelfTest import makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.VolumeConversion import ijkToRas, nodeFromVolume, segmentMask

__all__ = ["RUN_SEC", "SelfTestFailed", "StepNotRun", "WholeWay"]

RUN_SEC = 1800
"""Longest time of the model on the phantom: minutes, on a slow computer."""

READERS = 3
MARGIN_VOXELS = 12
"""Around the tumour, so that the model takes seconds on a graphics card."""

SLICE_OFF_VOXELS = 2


class SelfTestFailed(RuntimeError):
    """Steps of the self test failed; the lines before say which, and why."""


class StepNotRun(Exception):
    """A step cannot be tried here."""


class WholeWay:
    """Walks from a CT to a result, its correction, files and a saved scene, all by the panel's own buttons.

    A step that fails is told, and the next ones go on; where the model cannot run, with the example result.

    Parameters
    ----------
    widget : TwinTrackSegWidget
        The opened panel.
    say : callable
        Takes a line.
    """

    def __init__(self, widget, say) -> None:
        self._widget, self._say = widget, say
        self._ui = widget.ui
        self._phantom = self._ct = None
        self._seen = ()
        self._folder = Path()

    def steps(self):
        """Return the steps: what each does, and how."""
        return (
            ("packages", self.packages),
            ("phantom CT", self.loadCt),
            ("segment with the demo bundle", self.segment),
            ("result in the panel", self.result),
            ("threshold slider", self.slider),
            ("vessel table and curve", self.vessels),
            ("layout", self.layout),
            ("correction by hand", self.correct),
            ("undo of the correction", self.undo),
            ("another CT in the views", self.anotherCt),
            ("volumes", self.volumes),
            ("report", self.report),
            ("DICOM objects", self.dicom),
            ("DICOM export dialog", self.dicomPlugin),
            ("sample data", self.sampleData),
            ("save the scene", self.save),
            ("open the scene", self.open),
            ("close the scene", self.close),
        )

    def run(self) -> None:
        """Walk.

        Raises
        ------
        SelfTestFailed
            If a step failed.
        """
        failed, steps = [], self.steps()
        with tempfile.TemporaryDirectory() as folder:
            self._folder = Path(folder)
            for number, (title, step) in enumerate(steps, start=1):
                began = time.monotonic()
                try:
                    told = f"ok ({step()})"
                except StepNotRun as reason:
                    told = f"NOT RUN ({reason})"
                except Exception as error:
                    failed.append(title)
                    told = f"FAILED ({type(error).__name__}: {error})"
                seconds = time.monotonic() - began
                self._say(f"TwinTrackSeg self test {number}/{len(steps)}, {title}: {told}, {seconds:.1f} s")
        if failed:
            raise SelfTestFailed(f"{len(failed)} of {len(steps)} steps failed: {', '.join(failed)}")

    def packages(self) -> str:
        """Say where it runs and what is not installed; without, some steps cannot run."""
        missing = [requirement.name for requirement in missingRequirements(self._requirements)]
        where = f"Slicer {slicer.app.majorVersion}.{slicer.app.minorVersion}, Python {sys.version.split()[0]}"
        return f"{where}, not installed: {', '.join(missing) or 'none'}"

    def loadCt(self) -> str:
        """Draw a phantom that the demo bundle has not seen."""
        from twintrack.phantom import make_phantom
        from twintrack.studies.demo import DEMO_SEED

        self._phantom = make_phantom(DEMO_SEED, raters=READERS)
        self._ct = nodeFromVolume(self._phantom.ct, "Phantom")
        self._ui.inputSelector.setCurrentNode(self._ct)
        _check(self._ui.segmentButton.enabled, "the Segment button stays grey")
        return f"{' x '.join(map(str, self._phantom.ct.geometry.size))} voxels"

    def segment(self) -> str:
        """Choose bundle and region, press Segment, wait."""
        try:
            self._needs()
            if self._widget.inputs.setUp.remote:
                raise StepNotRun("'Run on' is a server; choose this computer")
            self._ui.demoBundleButton.click()
            self._ui.roiSelector.setCurrentNode(self._regionAroundTumor())
            self._ui.segmentButton.click()
            self._waitForRun()
        finally:
            if self._result is None:
                example = writeExampleResult(self._folder / "example", self._ct)
                self._widget._takeResult(self._widget.logic.loadResult(example, self._ct))
        return self._ui.statusLabel.text or "done"

    def result(self) -> str:
        """Look whether the panel shows the result."""
        _check(self._ui.resultBox.enabled, "the result is not shown")
        _check(self._result.outline.volumeMl > 0, "there is no tumour")
        _check(len(self._result.nodes.contours) > 0, "there are no contours")
        return self._ui.volumeLabel.text.split("\n")[0]

    def slider(self) -> str:
        """Move the threshold; less of the map is above a higher one."""
        volumes = []
        for threshold in (0.2, 0.6):
            self._ui.thresholdSlider.value = threshold
            volumes.append(self._result.outline.volumeMl)
        self._widget.results.settle()
        _check(volumes[1] < volumes[0], f"the volume does not follow the slider: {volumes}")
        voxels = segmentMask(self._result.nodes.segmentation, TUMOR_SEGMENT_ID, self._ct).any()
        _check(voxels, "the segment is empty after the drag")
        return f"{volumes[0]:.1f} mL at 20 %, {volumes[1]:.1f} mL at 60 %"

    def vessels(self) -> str:
        """Choose the first vessel of the table."""
        table, readouts = self._ui.vesselTable, self._result.outline.readouts
        _check(table.rowCount == len(readouts) > 0, f"{table.rowCount} rows for {len(readouts)} vessels")
        table.selectRow(0)
        charts = [chart.GetTitle() for chart in slicer.util.getNodesByClass("vtkMRMLPlotChartNode")]
        _check(any(title.startswith(readouts[0].title) for title in charts), f"no curve of it, but {charts}")
        self._ui.jumpButton.click()
        return f"{len(readouts)} vessels, first {readouts[0].title}"

    def layout(self) -> str:
        """Arrange the views."""
        node = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        if node is None:
            raise StepNotRun("there is no main window")
        self._ui.layoutButton.click()
        _check(node.GetViewArrangement() == LAYOUT_ID, f"the layout is {node.GetViewArrangement()}")
        slicer.app.processEvents()
        return f"number {LAYOUT_ID}"

    def correct(self) -> str:
        """Cut slices off the tumour segment, as Segment Editor would, and measure."""
        self._needs("scikit-image")
        segmentation = self._result.nodes.segmentation
        mask = segmentMask(segmentation, TUMOR_SEGMENT_ID, self._ct).copy()
        mask[: np.argwhere(mask)[:, 0].min() + SLICE_OFF_VOXELS] = False
        _draw(segmentation, mask, self._ct)
        self._ui.recomputeButton.click()
        edited = self._result.record.edited
        _check(edited is not None and edited["removed_ml"] > 0, f"not measured: {self._ui.statusLabel.text}")
        return f"{edited['removed_ml']:.2f} mL taken away"

    def undo(self) -> str:
        """Go back to the map's outline."""
        self._ui.restoreButton.click()
        _check(self._result.record.edited is None, "the outline is still marked as edited")
        _check(not self._result.outline.changed(), "the outline is not the map's")
        return "the map's outline again"

    def anotherCt(self) -> str:
        """Put a second CT into the slice views and back: the result is seen with its own alone."""
        layers = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        if not layers:
            raise StepNotRun("there are no slice views")
        own, other = self._result, makeExampleCt(name="Other CT")
        for node in layers:
            node.SetBackgroundVolumeID(other.GetID())
        hidden = not own.nodes.segmentation.GetDisplayVisibility() and self._ui.vesselTable.rowCount == 0
        for node in layers:
            node.SetBackgroundVolumeID(self._ct.GetID())
        slicer.mrmlScene.RemoveNode(other)
        _check(hidden, "panel or views show the result of one CT while another is in the views")
        shown = own.nodes.segmentation.GetDisplayVisibility() and self._ui.vesselTable.rowCount > 0
        _check(shown, "the result did not come back with its CT")
        return "hidden with it, back with its own"

    def volumes(self) -> str:
        """Save map and segments."""
        pattern = f"*{self._ct.GetName()}*.nrrd"
        return self._exported(self._ui.saveButton, self._folder / "map.nrrd", pattern)

    def report(self) -> str:
        """Save the report."""
        self._needs("matplotlib", "jinja2")
        return self._exported(self._ui.reportButton, self._folder / "report.html", "report.html")

    def dicom(self) -> str:
        """Write the phantom as a DICOM series and the result as objects that refer to it."""
        self._needs("highdicom", "scikit-image")
        from twintrack.dicom import write_ct_series

        write_ct_series(self._phantom.ct, self._folder / "series", description="Phantom")
        path = self._folder / "segmentation.dcm"
        self._widget.logic.exportDicomSeg(path, self._folder / "series", self._result)
        return ", ".join(file.name for file in sorted(self._folder.glob("segmentation*.dcm")))

    def dicomPlugin(self) -> str:
        """Look whether Slicer's dialog for DICOM export would find the module's plug-in."""
        plugins = getattr(slicer.modules, "dicomPlugins", None)
        if plugins is None:
            raise StepNotRun("this Slicer has no DICOM module")
        name = "TwinTrackSegLib.gui.DicomPlugin"
        _check(name in plugins, f"it is not among {len(plugins)} plug-ins")
        return plugins[name]().loadType

    def sampleData(self) -> str:
        """Look whether Slicer's Sample Data module offers the phantom."""
        sources = getattr(slicer.modules, "sampleDataSources", None)
        if sources is None:
            raise StepNotRun("this Slicer has no Sample Data module")
        found = [source for source in sources.get(CATEGORY, []) if source.sampleName == SAMPLE_NAME]
        _check(len(found) == 1, f"{SAMPLE_NAME} is offered {len(found)} times")
        return SAMPLE_NAME

    def save(self) -> str:
        """Save the scene as one file."""
        path = self._folder / "scene.mrb"
        self._seen = (self._result.outline.threshold, self._ui.vesselTable.rowCount)
        _check(slicer.mrmlScene.WriteToMRB(str(path)), "the scene cannot be written")
        return f"{path.stat().st_size / 1e6:.1f} MB"

    def open(self) -> str:
        """Open the saved scene; the result is live again."""
        slicer.mrmlScene.Clear(False)
        _check(slicer.mrmlScene.ReadFromMRB(str(self._folder / "scene.mrb"), True), "the scene cannot be read")
        slicer.app.processEvents()
        _check(len(allResults()) == 1, f"{len(allResults())} results in the opened scene")
        self._widget.initializeParameterNode()  # as entering the module does
        _check(self._result is not None, "the panel does not show the result of the opened scene")
        seen = (self._result.outline.threshold, self._ui.vesselTable.rowCount)
        _check(np.allclose(seen, self._seen), f"threshold and rows were {self._seen} and are {seen}")
        before = self._result.outline.volumeMl
        self._ui.thresholdSlider.value = 0.3
        _check(self._result.outline.volumeMl != before, "the slider does not move the opened result")
        return "result, threshold and table are there"

    def close(self) -> str:
        """Close the scene; nothing of it stays in the panel."""
        slicer.mrmlScene.Clear(False)
        _check(self._ui.vesselTable.rowCount == 0, "the table is still there")
        _check(self._result is None, "the result is still there")
        return "the panel is empty"

    # -- what the steps share

    @property
    def _result(self):
        return self._widget.results.result

    @property
    def _requirements(self):
        return self._widget.resourcePath("requirements.txt")

    def _needs(self, *names: str) -> None:
        missing = [requirement.name for requirement in missingRequirements(self._requirements, *names)]
        if missing:
            raise StepNotRun(f"not installed: {', '.join(missing)}; press the button in the panel to install it")

    def _waitForRun(self) -> None:
        _check(self._widget.logic.running, f"nothing was started: {self._ui.statusLabel.text}")
        until = time.monotonic() + RUN_SEC
        while self._widget.logic.running:
            _check(time.monotonic() < until, f"not done after {RUN_SEC} s: {self._ui.statusLabel.text}")
            slicer.app.processEvents()
            time.sleep(0.02)
        log = " | ".join(self._widget.logic.log[-3:])
        _check(self._result is not None, f"{self._ui.statusLabel.text} {log}")

    def _regionAroundTumor(self):
        """Return a region of interest around the phantom's tumour."""
        inside = np.argwhere(self._phantom.true_mhr.array > 0)[:, ::-1]  # i, j, k
        corners = np.array([inside.min(axis=0) - MARGIN_VOXELS, inside.max(axis=0) + MARGIN_VOXELS])
        matrix = slicer.util.arrayFromVTKMatrix(ijkToRas(self._ct))
        ras = corners @ matrix[:3, :3].T + matrix[:3, 3]
        region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "Around the tumour")
        region.SetCenter(*ras.mean(axis=0))
        region.SetSize(*np.abs(ras[1] - ras[0]))
        return region

    def _exported(self, button, path: Path, pattern: str) -> str:
        """Press the button, answer its dialog, and return the files that were written."""
        host = self._widget.host
        host.askSave = lambda _question, _ct, chosen: chosen(str(path))
        try:
            button.click()
        finally:
            del host.askSave  # the user's own dialogs again
        files = sorted(path.name for path in self._folder.glob(pattern))
        _check(bool(files), self._ui.statusLabel.text)
        return ", ".join(files)


def _check(holds, otherwise: str) -> None:
    if not holds:
        raise SelfTestFailed(otherwise)


def _draw(segmentation, mask, volumeNode) -> None:
    """Make `mask` (z, y, x) on the grid of `volumeNode` the tumour's voxels, by the logic that Segment Editor uses."""
    image = slicer.vtkOrientedImageData()
    image.SetDimensions(*reversed(mask.shape))
    image.SetGeometryFromImageToWorldMatrix(ijkToRas(volumeNode))
    voxels = vtk.util.numpy_support.numpy_to_vtk(np.ascontiguousarray(mask, np.uint8).ravel(), deep=True)
    image.GetPointData().SetScalars(voxels)
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    done = logic.SetBinaryLabelmapToSegment(image, segmentation, TUMOR_SEGMENT_ID, logic.MODE_REPLACE)
    _check(done, "the segment cannot be drawn")
