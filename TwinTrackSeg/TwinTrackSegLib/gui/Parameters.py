"""What the panel remembers: parameters in the scene, bound to the widgets of the .ui file, and choices on the machine.

Choices belong to the user's machine, not to a scene: they are in the application's settings.
"""

import pathlib
from typing import Annotated

import qt
from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

__all__ = ["TwinTrackSegParameterNode", "forget", "recall", "remember"]

GROUP = "TwinTrackSeg/"


@parameterNodeWrapper
class TwinTrackSegParameterNode:
    """Parameters of the module.

    Attributes
    ----------
    inputVolume : vtkMRMLScalarVolumeNode
        The CT.
    bundlePath : pathlib.Path
        The model bundle, a folder or zip file.
    vesselSegmentation : vtkMRMLSegmentationNode
        Vessels to be measured in place of the bundle's.
    vesselMapping : str
        Which of its segments is which vessel, as JSON.
    regionOfInterest : vtkMRMLMarkupsROINode
        Where to look, in place of the region that the model finds.
    rules : str
        Rule set for the contact pattern of all vessels together.
    threshold : float
        MHR of the working outline.
    resultVolume : vtkMRMLScalarVolumeNode
        MHR volume of the result that is shown; everything else of the result is found from it.
    """

    inputVolume: vtkMRMLScalarVolumeNode
    bundlePath: pathlib.Path
    vesselSegmentation: vtkMRMLSegmentationNode
    vesselMapping: str = ""
    regionOfInterest: vtkMRMLMarkupsROINode
    rules: str = "nccn"
    threshold: Annotated[float, WithinRange(0.01, 0.99)] = 0.5
    resultVolume: vtkMRMLScalarVolumeNode


def remember(name: str, value: str) -> None:
    """Store `value` under `name` for the next start."""
    qt.QSettings().setValue(GROUP + name, str(value))


def recall(name: str, exists: bool = False) -> str:
    """Return what was stored under `name`, empty if nothing was, or if it must exist as a path and does not."""
    value = qt.QSettings().value(GROUP + name)
    text = "" if value is None else str(value)
    return "" if exists and text and not pathlib.Path(text).exists() else text


def forget(name: str) -> None:
    """Store nothing under `name` any more."""
    qt.QSettings().remove(GROUP + name)
