"""Export: DICOM objects to a folder or the database, volumes, report."""

from pathlib import Path

import slicer.util
from slicer.i18n import tr as _

import slicer
from twintrack.errors import OutputError
from twintrack.results.which_ct import WhichCt
from TwinTrackSegLib.gui.Feedback import sayStatus, shownErrors
from TwinTrackSegLib.gui.Paths import askSaveName, fileNameOf
from TwinTrackSegLib.gui.ResultChoice import isOfAnotherCt
from TwinTrackSegLib.mrml.export.DicomExport import DICOM_NEEDS
from TwinTrackSegLib.mrml.export.ResultFiles import ENDINGS, REPORT_NEEDS, safeName, saveReport, saveVolumes
from TwinTrackSegLib.mrml.result.Correction import noticingNeeds
from TwinTrackSegLib.mrml.result.ResultTitle import distinctNames
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
    packages : Packages
        Sees to what the export needs.
    """

    def __init__(self, ui, logic, results, packages) -> None:
        self.ui, self.logic, self.results, self._packages = ui, logic, results, packages
        ui.exportButton.connect("clicked()", self.onDicom)
        ui.databaseButton.connect("clicked()", self.onDatabase)
        ui.saveButton.connect("clicked()", self.onVolumes)
        ui.reportButton.connect("clicked()", self.onReport)

    def onDicom(self) -> None:
        """Write DICOM objects where the user says."""
        path = self.askDicomPath() if self._isMeant() else ""
        if path:
            self._write(lambda: self.logic.exportDicomSeg(path, result=self.results.result).name, DICOM_NEEDS)

    def onDatabase(self) -> None:
        """Write DICOM objects into Slicer's database."""

        def write() -> str:
            with temporaryFolder() as folder:
                objects = folder / "dicom"
                objects.mkdir()
                self.logic.exportDicomSeg(objects / "segmentation.dcm", result=self.results.result)
                return _("{number} objects to the DICOM database").format(number=addToDatabase(str(objects)))

        if self._isMeant():
            self._write(write, DICOM_NEEDS)

    def onVolumes(self) -> None:
        """Save map and segments as volume files."""
        folder, ending = self.askVolumes() if self._isMeant() else ("", "")
        if folder:
            self._write(lambda: ", ".join(p.name for p in saveVolumes(self.results.result, folder, ending)))

    def onReport(self) -> None:
        """Save the report."""
        path = self.askReportPath() if self._isMeant() else ""
        if path:
            needs = REPORT_NEEDS.get(Path(path).suffix.lower(), ())
            self._write(lambda: saveReport(self.results.result, path).name, needs)

    def _isMeant(self) -> bool:
        """Ask whether the result of another CT than the input volume is meant."""
        result, inputVolume = self.results.result, self.ui.inputSelector.currentNode()
        if not isOfAnotherCt(result, inputVolume):
            return True
        ct, inputName = distinctNames(result.nodes.ct or result.nodes.mhr, inputVolume)
        question = _("This is the result of '{ct}'. The input volume is '{input}'. Export the result of '{ct}'?")
        return slicer.util.confirmOkCancelDisplay(question.format(ct=ct, input=inputName), "TwinTrackSeg")

    def askDicomPath(self) -> str:
        """Ask where to write; empty if the user thinks better of it."""
        return self._askName(_("Export DICOM"), "segmentation.dcm", _("DICOM files") + " (*.dcm)")

    def askReportPath(self) -> str:
        """Ask for the report's file; its ending chooses the form."""
        return self._askName(_("Save report"), "report.html", _("Report") + " (*.html *.pdf)")

    def askVolumes(self) -> tuple[str, str]:
        """Ask for the map's file; its folder and ending are taken for all volumes."""
        nodes = self.results.result.nodes
        name = f"{safeName(nodes.mhr.GetName())}{ENDINGS[0]}"  # the map's own: what the dialog asks of is written
        path = askSaveName(_("Save volumes"), name, _("Volumes") + " (*.nii.gz *.nrrd)", nodes.ct)
        if not path:
            return "", ""
        return str(Path(path).parent), ENDINGS[1] if path.endswith(ENDINGS[1]) else ENDINGS[0]

    def _askName(self, title: str, name: str, kinds: str) -> str:
        result = self.results.result
        case = WhichCt.of(result.record.result).case or (result.nodes.ct.GetName() if result.nodes.ct else "")
        return askSaveName(title, fileNameOf(case, name), kinds, result.nodes.ct)

    def _write(self, write, needs=()) -> None:
        """Bring the scene up to date, see to the packages that are needed, write, and say what was written."""
        self.results.settle()
        with shownErrors(
            lambda sentence: sayStatus(self.ui, _("Not exported: {reason}").format(reason=sentence), True)
        ):
            self._packages.ensure(_("The export"), *dict.fromkeys((*needs, *noticingNeeds(self.results.result))))
            with slicer.util.WaitCursor():
                written = write()
            self.results.refresh()  # writing notices an outline that was edited by hand
            text = _("Exported {name}.").format(name=written)
            if self.results.reader:  # one reader's map is never exported
                text += " " + _("It holds the result of all readers.")
            sayStatus(self.ui, text)


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
        raise OutputError(
            _(
                "{missing} of {number} objects did not get into the DICOM database; open Slicer's DICOM module, check "
                "the database's folder and the free space there, and export again"
            ).format(missing=len(files) - len(inside), number=len(files)),
            code="database-incomplete",
        )
    slicer.util.showStatusMessage(_("The objects are in the DICOM database"), 3000)
    return len(files)
