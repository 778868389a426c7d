"""The module's parameters, kept in the scene and bound to the widgets named in the .ui file."""

import pathlib
from typing import Annotated

from slicer.parameterNodeWrapper import WithinRange, parameterNodeWrapper

from slicer import vtkMRMLMarkupsROINode, vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode

__all__ = ["TwinTrackSegParameterNode"]


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
