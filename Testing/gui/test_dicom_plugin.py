"""Slicer's DICOM export dialog finds our plug-in, offers a result and nothing else, and gets files or a sentence."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("slicer")
pytest.importorskip("PySide6")


@pytest.fixture
def plugin(module):
    import slicer

    slicer.app.startupCompleted.emit()
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
    from twintrack.dicom import read_series, write_ct_series
    from TwinTrackSegLib.mrml.ResultLoader import loadResult
    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt, writeExampleResult
    from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume, volumeFromNode

    write_ct_series(volumeFromNode(makeExampleCt()), tmp_path / "ct", description="Example")
    scene.Clear(False)
    series = read_series(tmp_path / "ct")
    node = nodeFromVolume(series.volume, "CT")
    node.SetAttribute("DICOM.instanceUIDs", " ".join(series.sop_instance_uids))
    files = dict(zip(series.sop_instance_uids, map(str, series.files), strict=True))
    monkeypatch.setattr(
        slicer, "dicomDatabase", SimpleNamespace(fileForInstance=lambda uid: files.get(uid, "")), raising=False
    )
    result = loadResult(writeExampleResult(tmp_path / "r", node), node)
    assert plugin.examineForExport(itemOf(node)) == []
    (offered,) = plugin.examineForExport(itemOf(result.segmentationNode))
    assert slicer.modules.dicomPlugins[offered.pluginClass] is type(plugin)
    offered.directory = str(tmp_path)
    assert plugin.export([offered]) == ""
    assert pydicom.dcmread(tmp_path / "segmentation.dcm").Modality == "SEG"


def test_a_result_that_is_no_dicom_gives_the_sentence(plugin, scene, tmp_path):
    from TwinTrackSegLib.mrml.ResultLoader import loadResult
    from TwinTrackSegLib.mrml.SelfTest import makeExampleCt, writeExampleResult

    node = makeExampleCt()
    result = loadResult(writeExampleResult(tmp_path / "r", node), node)
    (offered,) = plugin.examineForExport(itemOf(result.mhrNode))
    offered.directory = str(tmp_path)
    assert "was not loaded from DICOM" in plugin.export([offered])


def test_importing_is_left_to_slicers_own_plugins(plugin):
    assert plugin.examineForImport([["a.dcm"]]) == []
