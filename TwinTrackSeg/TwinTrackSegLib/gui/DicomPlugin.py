"""Slicer's own dialog "Export to DICOM" offers a result: segmentation, map and report on the source series."""

from pathlib import Path

import slicer.util
from DICOMLib import DICOMPlugin

import slicer
from twintrack.errors import TwinTrackError
from TwinTrackSegLib.gui.Dependencies import Packages
from TwinTrackSegLib.mrml.export.DicomExport import DICOM_NEEDS, exportDicomSeg
from TwinTrackSegLib.mrml.result.SceneResult import resultWith
from TwinTrackSegLib.present import Exporting

__all__ = ["TwinTrackSegDicomPlugin", "register"]

CONFIDENCE = 0.9
"""Above the plug-ins that know nothing of readers and vessels; the user can choose another."""


class TwinTrackSegDicomPlugin(DICOMPlugin):
    """Exports results; importing is left to Slicer's own plug-ins, which read the objects."""

    def __init__(self):
        super().__init__()
        self.loadType = Exporting.pluginTitle()

    def examineForImport(self, _fileLists):
        """Offer nothing."""
        return []

    def examineForExport(self, subjectHierarchyItemID):
        """Offer the map or the segmentation of a result."""
        result = resultWith(_nodeOf(subjectHierarchyItemID))
        if result is None:
            return []
        exportable = slicer.qSlicerDICOMExportable()
        exportable.name = self.loadType
        exportable.tooltip = Exporting.pluginTip()
        exportable.subjectHierarchyItemID = subjectHierarchyItemID
        exportable.pluginClass = self.__module__
        exportable.confidence = CONFIDENCE
        exportable.setTag("Modality", "SEG")
        return [exportable]

    def export(self, exportables):
        """Write the objects of every exportable into its folder; return an error text, empty if all went well."""
        packages = Packages(Path(slicer.util.modulePath("TwinTrackSeg")).parent / "Resources" / "requirements.txt")
        for number, exportable in enumerate(exportables):
            result = resultWith(_nodeOf(exportable.subjectHierarchyItemID))
            if result is None:
                return Exporting.resultGone()
            try:
                packages.ensure(Exporting.dicomPurpose(), *DICOM_NEEDS)
                exportDicomSeg(result, Path(exportable.directory) / Exporting.pluginFile(number))
            except TwinTrackError as error:
                return str(error)
        return ""


def register() -> None:
    """Make the plug-in known to Slicer's DICOM module."""
    if not hasattr(slicer.modules, "dicomPlugins"):
        slicer.modules.dicomPlugins = {}
    slicer.modules.dicomPlugins[TwinTrackSegDicomPlugin.__module__] = TwinTrackSegDicomPlugin


def _nodeOf(item):
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    return hierarchy.GetItemDataNode(item)
