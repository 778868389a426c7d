"""Export: DICOM objects to a folder or the database, volumes, report."""

from pathlib import Path

import qt
import slicer.util
from slicer.i18n import tr as _

import slicer
from TwinTrackSegLib.gui.Feedback import sayStatus, shownErrors
from TwinTrackSegLib.gui.ResultChoice import isOfAnotherCt
from TwinTrackSegLib.mrml.export.ResultFiles import ENDINGS, saveReport, saveVolumes
from TwinTrackSegLib.mrml.worker.TemporaryFiles import temporaryFolder

__all__ = ["ExportPanel", "addToDatabase"]


class ExportPanel:
    """Writes the shown result in several forms.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    logic : TwinTrackSegLogic
        Writes DICOM objects.
    results : ResultPanel
        Knows what is shown.
    """

    def __init__(self, ui, logic, results) -> None:
        self.ui, self.logic, self.results = ui, logic, results
        ui.exportButton.connect("clicked()", self.onDicom)
        ui.databaseButton.connect("clicked()", self.onDatabase)
        ui.saveButton.connect("clicked()", self.onVolumes)
        ui.reportButton.connect("clicked()", self.onReport)

    def onDicom(self) -> None:
        """Write DICOM objects where the user says."""
        path = self.askDicomPath() if self._isMeant() else ""
        if path:
            self._write(lambda: self.logic.exportDicomSeg(path, result=self.results.result).name)

    def onDatabase(self) -> None:
        """Write DICOM objects into Slicer's database."""

        def write() -> str:
            with temporaryFolder() as folder:
                objects = folder / "dicom"
                objects.mkdir()
                self.logic.exportDicomSeg(objects / "segmentation.dcm", result=self.results.result)
                return _("{number} objects to the DICOM database").format(number=addToDatabase(str(objects)))

        if self._isMeant():
            self._write(write)

    def onVolumes(self) -> None:
        """Save map and segments as volume files."""
        folder, ending = self.askVolumes() if self._isMeant() else ("", "")
        if folder:
            self._write(lambda: ", ".join(p.name for p in saveVolumes(self.results.result, folder, ending)))

    def onReport(self) -> None:
        """Save the report."""
        path = self.askReportPath() if self._isMeant() else ""
        if path:
            self._write(lambda: saveReport(self.results.result, path).name)

    def _isMeant(self) -> bool:
        """Ask whether the result of another CT than the input volume is meant."""
        result, inputVolume = self.results.result, self.ui.inputSelector.currentNode()
        if not isOfAnotherCt(result, inputVolume):
            return True
        ct = result.nodes.ct.GetName() if result.nodes.ct is not None else result.nodes.mhr.GetName()
        question = _("This is the result of '{ct}'. The input volume is '{input}'. Export the result of '{ct}'?")
        return slicer.util.confirmOkCancelDisplay(question.format(ct=ct, input=inputVolume.GetName()), "TwinTrackSeg")

    def askDicomPath(self) -> str:
        """Ask where to write; empty if the user thinks better of it."""
        return _saveName(_("Export DICOM"), "segmentation.dcm", _("DICOM files") + " (*.dcm)")

    def askReportPath(self) -> str:
        """Ask for the report's file; its ending chooses the form."""
        return _saveName(_("Save report"), "report.html", _("Report") + " (*.html *.pdf)")

    def askVolumes(self) -> tuple[str, str]:
        """Ask for the map's file; its folder and ending are taken for all volumes."""
        path = _saveName(_("Save volumes"), f"map{ENDINGS[0]}", _("Volumes") + " (*.nii.gz *.nrrd)")
        if not path:
            return "", ""
        return str(Path(path).parent), ENDINGS[1] if path.endswith(ENDINGS[1]) else ENDINGS[0]

    def _write(self, write) -> None:
        """Bring the scene up to date, write, and say what was written."""
        self.results.settle()
        with shownErrors(
            lambda sentence: sayStatus(self.ui, _("Not exported: {reason}").format(reason=sentence), True)
        ):
            with slicer.util.WaitCursor():
                written = write()
            self.results.refresh()  # writing notices an outline that was edited by hand
            sayStatus(self.ui, _("Exported {name}.").format(name=written))


def addToDatabase(folder: str) -> int:
    """Copy the DICOM files in `folder` into Slicer's database; return how many there were."""
    from DICOMLib import DICOMUtils

    DICOMUtils.importDicom(folder, copyFiles=True)
    slicer.util.showStatusMessage(_("The objects are in the DICOM database"), 3000)
    return len(list(Path(folder).glob("*.dcm")))


def _saveName(title: str, name: str, kinds: str) -> str:
    return qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), title, name, kinds)
