"""What is sent to a server: whole, under names that say nothing."""

from __future__ import annotations

import pytest

from expected_errors import raises_error
from twintrack.errors import InputError
from twintrack.execution.server.spool import CHUNK_BYTES
from twintrack.execution.server.upload import Upload, pack
from twintrack.settings import SegmentSettings

pytestmark = pytest.mark.process


def said_here(upload: Upload, path: str) -> str:
    """What the user reads of an error that the server met with one of its files."""
    error = InputError("no CT", code="not-a-ct", path=path)
    upload.name_here(error, "/f")
    return str(error)


def test_a_file_is_sent_whole_under_a_name_that_says_nothing(tmp_path):
    ct = tmp_path / "DOE_JANE.nii.gz"
    content = bytes(range(256)) * (CHUNK_BYTES // 256) + b"the rest"
    ct.write_bytes(content)
    own = tmp_path / "site.json"
    own.write_bytes(b"")
    upload = pack(ct, tmp_path / "out", SegmentSettings(calibrator=str(own)))
    assert list(upload.files) == ["ct.nii.gz", "calibrator/site.json"]
    assert upload.size == len(content)
    parts = list(upload.chunks())
    assert [(name, offset) for name, offset, _ in parts] == [
        ("ct.nii.gz", 0),
        ("ct.nii.gz", CHUNK_BYTES),
        ("calibrator/site.json", 0),
    ]
    assert b"".join(data for _, _, data in parts) == content
    assert upload.settings_in("/f")["calibrator"] == "/f/calibrator/site.json"
    assert upload.settings_in("/f")["vessels"] is None
    assert said_here(upload, "/f/ct.nii.gz") == f"{ct}: no CT"
    assert said_here(upload, "/f/result") == f"{tmp_path / 'out'}: no CT"


def test_of_a_results_segmentation_the_whole_vessels_are_sent(tmp_path):
    for name in ("ct", "segmentation", "vessels"):
        (tmp_path / f"{name}.nii.gz").write_text(name)
    given = SegmentSettings(vessels=str(tmp_path / "segmentation.nii.gz"))
    sent = pack(tmp_path / "ct.nii.gz", tmp_path / "out", given).files["vessels.nii.gz"]
    assert sent.read_text() == "segmentation"  # nothing says that the other file is a result's
    (tmp_path / "result.json").write_text('{"labels": {"tumor": 1, "SMA": 2}, "vessel_values": {"SMA": 5}}')
    sent = pack(tmp_path / "ct.nii.gz", tmp_path / "out", given).files["vessels.nii.gz"]
    assert sent.read_text() == "vessels"


def test_the_label_of_the_case_is_not_sent(tmp_path):
    (tmp_path / "ct.nii.gz").write_bytes(b"x")
    upload = pack(tmp_path / "ct.nii.gz", tmp_path / "out", SegmentSettings(case="DOE JANE", threshold=0.4))
    assert upload.settings_in("/f") == SegmentSettings(threshold=0.4).to_json()


def test_a_dicom_series_is_sent_as_numbers(tmp_path):
    for name in ("DOE2.dcm", "DOE1.dcm", "DOE3"):
        (tmp_path / name).write_bytes(bytes(128) + b"DICM" + name.encode())
    (tmp_path / "sub").mkdir()
    whole = pack(tmp_path, "out", SegmentSettings())
    assert whole.source == "series"
    assert [path.name for path in whole.files.values()] == ["DOE1.dcm", "DOE2.dcm", "DOE3"]
    assert not any("DOE" in name for name in whole.files)
    one = pack(tmp_path / "DOE2.dcm", "out", SegmentSettings())
    assert one.source == "series/000001"
    assert one.files == whole.files
    assert said_here(one, "/f/series/000001") == f"{tmp_path / 'DOE2.dcm'}: no CT"
    assert said_here(whole, "/f/series") == f"{tmp_path}: no CT"


@pytest.mark.parametrize("name", ["ct.mhd", "ct.nhdr"])
def test_a_volume_of_two_files_is_refused(tmp_path, name):
    (tmp_path / name).write_text("ObjectType = Image")
    with raises_error(InputError, "voxels-elsewhere"):
        pack(tmp_path / name, "out", SegmentSettings())
