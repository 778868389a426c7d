"""A result says which CT it belongs to, although the engine got the voxels in a private file."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("slicer")
import pydicom

import slicer
from twintrack.dicom import read_series, write_ct_series
from TwinTrackSegLib.mrml.result.CtOrigin import ctOrigin
from TwinTrackSegLib.mrml.SelfTest import makeExampleCt, writeExampleResult
from TwinTrackSegLib.mrml.TwinTrackSegLogic import TwinTrackSegLogic
from TwinTrackSegLib.mrml.VolumeConversion import nodeFromVolume, volumeFromNode
from TwinTrackSegLib.mrml.worker.RunSettings import RunSettings

pytestmark = pytest.mark.process

NOTHING = dict.fromkeys(("name", "series_number", "series_description", "study_date"))


@pytest.fixture
def node(scene, tmp_path, monkeypatch):
    """A CT that was loaded from Slicer's DICOM database."""
    files = write_ct_series(volumeFromNode(makeExampleCt()), tmp_path / "series", description="Portal venous")
    for path in files:
        dataset = pydicom.dcmread(path)
        dataset.StudyDate, dataset.SeriesNumber = "20240229", 4
        dataset.save_as(path)
    read = read_series(tmp_path / "series")
    known = dict(zip(read.sop_instance_uids, map(str, read.files), strict=True))
    database = SimpleNamespace(fileForInstance=lambda uid: known.get(uid, ""))
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    node = nodeFromVolume(read.volume, "4: Portal venous")
    node.SetAttribute("DICOM.instanceUIDs", " ".join(read.sop_instance_uids))
    return node


def test_of_a_dicom_volume_the_series_is_told(node):
    told = {"series_number": 4, "series_description": "Portal venous", "study_date": "2024-02-29"}
    assert ctOrigin(node) == NOTHING | told


def test_of_a_volume_from_a_file_its_name_is_told(scene, tmp_path):
    node = makeExampleCt()
    assert ctOrigin(node) == NOTHING
    node.AddDefaultStorageNode()
    assert ctOrigin(node) == NOTHING
    node.GetStorageNode().SetFileName(str(tmp_path / "DOE JANE.nrrd"))
    assert ctOrigin(node) == NOTHING | {"name": "DOE JANE.nrrd"}


def test_what_left_the_database_or_is_damaged_is_not_told(node, tmp_path, monkeypatch):
    for path in (tmp_path / "series").iterdir():
        path.write_bytes(bytes(128) + b"DICM" + bytes(50))
    assert ctOrigin(node) == NOTHING
    for path in (tmp_path / "series").iterdir():
        path.unlink()
    assert ctOrigin(node) == NOTHING
    monkeypatch.delattr(slicer, "dicomDatabase")
    assert ctOrigin(node) == NOTHING


def test_after_a_run_the_result_states_it(node, scriptedWorker, tmp_path):
    ready = writeExampleResult(tmp_path / "ready", node)
    body = f"shutil.copytree({str(ready)!r}, request['out'])\nsay(event='done', out=request['out'])\n"
    result = TwinTrackSegLogic(scriptedWorker(body)).segment(node, RunSettings("b"))
    stated = result.record.result["input"]
    assert stated["series_description"] == "Portal venous"
    assert stated["study_date"] == "2024-02-29"
    assert stated["size"] == list(volumeFromNode(node).geometry.size)


@pytest.mark.render
def test_report_and_page_say_it(node, tmp_path):
    from TwinTrackSegLib.mrml.export.ResultFiles import saveReport

    logic = TwinTrackSegLogic(["unused"])
    result = logic.loadResult(writeExampleResult(tmp_path / "r", node), node)
    page = saveReport(result, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<title>4: Portal venous - TwinTrack report</title>" in page
    assert saveReport(result, tmp_path / "report.pdf").stat().st_size > 10_000
