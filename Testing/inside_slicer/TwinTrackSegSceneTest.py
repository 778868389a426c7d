"""Run by ctest inside Slicer (``--testing --python-script``): the module loads, builds its panel and shows a result.

Nothing here needs the model or a package that Slicer does not ship.
"""

import slicer.util

import slicer


def main():
    slicer.mrmlScene.Clear(0)
    slicer.util.selectModule("TwinTrackSeg")
    widget = slicer.util.getModuleWidget("TwinTrackSeg")

    from TwinTrackSegLib.mrml.SelfTest import checkExampleResult, makeExampleCt

    checkExampleResult(widget.logic)
    result = widget.logic.result
    widget.logic.getParameterNode().SetNodeReferenceID("resultVolume", result.nodes.mhr.GetID())
    widget.ui.thresholdSlider.value = 0.3
    if abs(result.outline.threshold - 0.3) > 1e-6:
        raise RuntimeError(f"the slider did not move the result: its threshold is {result.outline.threshold}")
    if widget.ui.vesselTable.rowCount != len(result.outline.readouts):
        raise RuntimeError("the panel does not show the vessel table of the result")

    layers = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    other = makeExampleCt(name="Other CT")
    for node in layers:
        node.SetBackgroundVolumeID(other.GetID())
    if layers and (widget.ui.vesselTable.rowCount or result.nodes.segmentation.GetDisplayVisibility()):
        raise RuntimeError("panel or views show the result of one CT while another is in the views")
    for node in layers:
        node.SetBackgroundVolumeID(result.nodes.ct.GetID())
    if not widget.ui.vesselTable.rowCount or not result.nodes.segmentation.GetDisplayVisibility():
        raise RuntimeError("the result did not come back with its CT")

    slicer.mrmlScene.Clear(0)
    if widget.ui.vesselTable.rowCount != 0:
        raise RuntimeError("the panel still shows a table after the scene was closed")


try:
    main()
    slicer.util.exit(slicer.util.EXIT_SUCCESS)
except Exception:
    import traceback

    traceback.print_exc()
    slicer.util.exit(slicer.util.EXIT_FAILURE)
