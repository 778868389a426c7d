"""The table of lesions: connected parts of the tumour at the threshold."""

from __future__ import annotations

from typing import Any

import vtk

import slicer
from twintrack.imaging.lesions import find_lesions
from twintrack.volume import Volume
from TwinTrackSegLib.mrml.VolumeConversion import LPS_SIGNS

__all__ = ["COLUMNS", "newLesionTable", "updateLesionTable"]

COLUMNS = ("Lesion", "Volume (mL)", "Longest diameter (mm)", "Highest MHR", "R (mm)", "A (mm)", "S (mm)")


def newLesionTable(name: str) -> Any:
    """Add an empty table node with the columns of the list."""
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTableNode", name)
    node.SetUseColumnTitleAsColumnHeader(True)
    for title in COLUMNS:
        column = vtk.vtkStringArray()
        column.SetName(title)
        node.AddColumn(column)
    return node


def updateLesionTable(node: Any, mhr: Volume, threshold: float) -> None:
    """List the lesions of `mhr` at `threshold`, largest first; centres in RAS mm without the volume's transform."""
    lesions = find_lesions(mhr, threshold)
    table = node.GetTable()
    wasModifying = node.StartModify()
    table.SetNumberOfRows(len(lesions))
    for row, lesion in enumerate(lesions):
        values = (lesion.volume_ml, lesion.longest_diameter_mm, lesion.max_probability)
        texts = [str(row + 1), *(f"{v:.{d}f}" for v, d in zip(values, (2, 1, 2), strict=True))]
        texts += [f"{v:.1f}" for v in LPS_SIGNS * lesion.centroid_lps_mm]
        for column, text in enumerate(texts):
            table.GetColumn(column).SetValue(row, text)
    table.Modified()
    node.Modified()
    node.EndModify(wasModifying)
