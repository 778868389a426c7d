"""Slicer's Sample Data module offers the sample case: a click draws it, without a network."""

import importlib.util
from pathlib import Path

import slicer.util

import slicer
from TwinTrackSegLib.gui.Feedback import shownErrors
from TwinTrackSegLib.mrml.SampleCase import SAMPLE_NAME, addSampleCase
from TwinTrackSegLib.present import FirstLook

__all__ = ["CATEGORY", "register", "registerWhenStarted"]

CATEGORY = "TwinTrackSeg"


def registerWhenStarted(icons) -> None:
    """Register the sample case as soon as Slicer's Sample Data module is there, at the latest when all are loaded.

    The signal that Slicer has started does not come for a module that is loaded later; then the other one is there.

    Parameters
    ----------
    icons : path
        The module's folder of icons.
    """
    if hasattr(slicer.modules, "sampledata"):
        register(icons)
    else:
        slicer.app.connect("startupCompleted()", lambda: register(icons))


def register(icons) -> None:
    """Make the sample case known to the Sample Data module; without that module do nothing.

    Registered again, it takes the place of what was registered before.
    """
    if importlib.util.find_spec("SampleData") is None:
        return
    from SampleData import SampleDataLogic

    SampleDataLogic.registerCustomSampleDataCategory(CATEGORY, title=FirstLook.title())
    known = SampleDataLogic.sampleDataSourcesByCategory(CATEGORY)
    known[:] = [source for source in known if source.sampleName != SAMPLE_NAME]
    SampleDataLogic.registerCustomSampleDataSource(
        category=CATEGORY,
        sampleName=SAMPLE_NAME,
        thumbnailFileName=str(Path(icons) / f"{SAMPLE_NAME}.png"),
        uris=[],  # nothing that Slicer could fetch
        fileNames=[],
        customDownloader=loadSampleCase,
    )


def loadSampleCase(_source=None):
    """Draw the sample case into the scene, as the button in the Sample Data module does; return its nodes."""
    slicer.util.showStatusMessage(FirstLook.drawing())
    with shownErrors(), slicer.util.WaitCursor():
        nodes = addSampleCase()
        slicer.util.showStatusMessage(FirstLook.drawn(), 3000)
        return list(nodes)
    return []
