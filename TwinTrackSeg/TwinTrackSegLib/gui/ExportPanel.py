"""Export: DICOM objects to a folder or the database, volumes, report."""

import slicer
from TwinTrackSegLib.present.Exporting import ExportPresenter

__all__ = ["ExportPanel", "importIntoDatabase"]


class ExportPanel:
    """Passes on which form of the shown result is wanted.

    Parameters
    ----------
    ui : namespace
        The panel's widgets.
    results : ReadingPresenter
        Knows what is shown.
    host : SlicerHost
        The application.
    """

    def __init__(self, ui, results, host) -> None:
        presenter = ExportPresenter(host, results, ui.inputSelector.currentNode)
        ui.exportButton.connect("clicked()", presenter.dicom)
        ui.databaseButton.connect("clicked()", lambda: presenter.database(importIntoDatabase))
        ui.saveButton.connect("clicked()", presenter.volumes)
        ui.reportButton.connect("clicked()", presenter.report)


def importIntoDatabase(folder) -> list[str]:
    """Copy the DICOM files in `folder` into Slicer's database; return the instance UIDs that are inside afterwards."""
    import pydicom
    from DICOMLib import DICOMUtils

    went = DICOMUtils.importDicom(str(folder), copyFiles=True)
    database = getattr(slicer, "dicomDatabase", None)
    if not went or database is None:
        return []
    files = sorted(folder.glob("*.dcm"))
    uids = [str(pydicom.dcmread(file, stop_before_pixels=True).SOPInstanceUID) for file in files]
    return [uid for uid in uids if database.fileForInstance(uid)]
