"""Slicer's DICOM export dialog finds our plug-in, offers a result and nothing else, and gets files or a sentence."""

from __future__ import annotations

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")
from dicom_series import dicomCt

pytestmark = pytest.mark.render


@pytest.fixture
def plugin(module):
    import slicer

    ((key, made),) = slicer.modules.dicomPlugins.items()
    assert key == made.__module__
    return made()


def itemOf(node) -> int:
    import slicer

    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    return hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)


def test_a_result_from_dicom_is_offered_and_written(plugin, scene, tmp_path, monkeypatch):
    import pydicom

    import slicer
    from TwinTrackSegLib.mrml.result.ResultLoader import loadResult
    from TwinTrackSegLib.mrml.SelfTest import writeExampleResult

    node, _database = dicomCt(scene, tmp_path, monkeypatch)
    result = loadResult(writeExampleResult(tmp_path / "r", node), node)
    assert plugin.examineForExport(itemOf(node)) == []
    (offered,) = plugin.examineForExport(itemOf(result.nodes.segmentation))
    assert slicer.modules.dicomPlugins[offered.pluginClass] is type(plugin)
    offered.directory = str(tmp_path)
    assert plugin.export([offered]) == ""
    assert pydicom.dcmread(tmp_path / "segmentation.dcm").Modality == "SEG"


def test_a_result_that_is_no_dicom_gives_the_sentence(plugin, scene, tmp_path):
    from TwinTrackSegLib.mrml.result.ResultLoader import loadResult
    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt, writeExampleResult

    node = makeExampleCt()
    result = loadResult(writeExampleResult(tmp_path / "r", node), node)
    (offered,) = plugin.examineForExport(itemOf(result.nodes.mhr))
    offered.directory = str(tmp_path)
    assert "was not loaded from DICOM" in plugin.export([offered])


def test_importing_is_left_to_slicers_own_plugins(plugin):
    assert plugin.examineForImport([["a.dcm"]]) == []
