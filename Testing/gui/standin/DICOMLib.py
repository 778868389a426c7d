"""What a DICOM plug-in of a scripted module meets of Slicer's DICOMLib: its base class and the exportable."""

import logging

import slicer


class DICOMPlugin:
    def __init__(self):
        self.loadType = "Generic DICOM"
        self.tags = {}


class qSlicerDICOMExportable:
    def __init__(self):
        self.name = self.tooltip = self.pluginClass = self.directory = ""
        self.subjectHierarchyItemID, self.confidence, self._tags = 0, 0.0, {}

    def setTag(self, name, value):
        self._tags[name] = value

    def tag(self, name):
        return self._tags.get(name, "")


slicer.qSlicerDICOMExportable = qSlicerDICOMExportable


class DICOMUtils:
    """In Slicer a module of its own; here its one function that the panel calls."""

    @staticmethod
    def importDicom(dicomDataDir, dicomDatabase=None, copyFiles=False):
        try:
            (dicomDatabase or slicer.dicomDatabase).insertFolder(dicomDataDir, copyFiles)
        except Exception:
            logging.exception("Failed to import DICOM folder %s", dicomDataDir)
            return False
        return True
