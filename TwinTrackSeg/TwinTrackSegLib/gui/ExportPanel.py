"""Export: DICOM objects to a folder or the database, volumes, report."""

from pathlib import Path

import slicer.util

import slicer
from TwinTrackSegLib.gui.Paths import askSaveName
from TwinTrackSegLib.mrml.export.DicomExport import DICOM_NEEDS
from TwinTrackSegLib.mrml.export.ResultFiles import saveReport, saveVolumes
from TwinTrackSegLib.mrml.worker.TemporaryFiles import temporaryFolder
from TwinTrackSegLib.present import Exporting

__all__ = ["ExportPanel", "addToDatabase"]


class ExportPanel:
    """Writes the shown result in several forms.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    logic : TwinTrackSegLogic
        Writes DICOM objects.
    results : ReadingPresenter
        Knows what is shown.
    host : SlicerHost
        The application.
    """

    def __init__(self, ui, logic, results, host) -> None:
        self.ui, self.logic, self.results = ui, logic, results
        self._presenter = Exporting.ExportPresenter(host, results)
        ui.exportButton.connect("clicked()", self.onDicom)
        ui.databaseButton.connect("clicked()", self.onDatabase)
        ui.saveButton.connect("clicked()", self.onVolumes)
        ui.reportButton.connect("clicked()", self.onReport)

    def onDicom(self) -> None:
        """Write DICOM objects where the user says."""
        path = self.askDicomPath() if self._isMeant() else ""
        if path:
            self._presenter.write(lambda result: self.logic.exportDicomSeg(path, result=result).name, DICOM_NEEDS)

    def onDatabase(self) -> None:
        """Write DICOM objects into Slicer's database."""

        def write(result) -> str:
            with temporaryFolder() as folder:
                objects = folder / "dicom"
                objects.mkdir()
                self.logic.exportDicomSeg(objects / "segmentation.dcm", result=result)
                return Exporting.inDatabase(addToDatabase(str(objects)))

        if self._isMeant():
            self._presenter.write(write, DICOM_NEEDS)

    def onVolumes(self) -> None:
        """Save map and segments as volume files."""
        folder, ending = self.askVolumes() if self._isMeant() else ("", "")
        if folder:
            self._presenter.write(lambda result: ", ".join(p.name for p in saveVolumes(result, folder, ending)))

    def onReport(self) -> None:
        """Save the report."""
        path = self.askReportPath() if self._isMeant() else ""
        if path:
            self._presenter.write(lambda result: saveReport(result, path).name, Exporting.reportNeeds(path))

    def _isMeant(self) -> bool:
        return self._presenter.isMeant(self.ui.inputSelector.currentNode())

    def askDicomPath(self) -> str:
        """Ask where to write; empty if the user thinks better of it."""
        return self._ask(Exporting.dicomQuestion)

    def askReportPath(self) -> str:
        """Ask for the report's file; its ending chooses the form."""
        return self._ask(Exporting.reportQuestion)

    def askVolumes(self) -> tuple[str, str]:
        """Ask for the map's file; its folder and ending are taken for all volumes."""
        path = self._ask(Exporting.volumesQuestion)
        return (str(Path(path).parent), Exporting.volumesEnding(path)) if path else ("", "")

    def _ask(self, question) -> str:
        result = self.results.result
        asked = question(result)
        return askSaveName(asked.title, asked.name, asked.kinds, result.nodes.ct)


def addToDatabase(folder: str) -> int:
    """Copy the DICOM files in `folder` into Slicer's database; return how many there were.

    Raises
    ------
    OutputError
        If they are not in the database afterwards. It is asked, since Slicer's import returns True as long as nothing
        is raised on the way: a database that is not open, or a full disk, only leaves a line in the log.
    """
    import pydicom
    from DICOMLib import DICOMUtils

    files = sorted(Path(folder).glob("*.dcm"))
    went = DICOMUtils.importDicom(folder, copyFiles=True)
    database = getattr(slicer, "dicomDatabase", None)
    uids = [str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in files]
    inside = [uid for uid in uids if went and database is not None and database.fileForInstance(uid)]
    if len(inside) < len(files):
        raise Exporting.incompleteDatabase(len(files) - len(inside), len(files))
    return len(files)
